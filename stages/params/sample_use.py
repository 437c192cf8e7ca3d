"""``sample.json``: how many training rows a model was fitted on, and what more of them would be worth."""

from pydantic import BaseModel, ConfigDict

from stages import files


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Point(_Frozen):
    """The score of a model that was fitted on a share of the sample."""

    share: float
    rows: int
    score: float


class SampleUse(_Frozen):
    """The whole file."""

    rows: int
    """The training rows that the model was fitted on."""
    of: int
    """All training rows."""
    metric: str
    held_out: int = 0
    """The rows of the sample, none of which was fitted on, that `curve` is scored on."""
    curve: tuple[Point, ...] = ()
    """Empty if all rows are used."""
    gain_low: float | None = None
    """The 95 % interval of the last point's score minus the one before it; None if the rows don't give one."""
    gain_high: float | None = None

    @property
    def is_all(self) -> bool:
        """Whether the model was fitted on all training rows."""
        return self.rows == self.of

    @property
    def share(self) -> float:
        """The share of the training rows that are used."""
        return self.rows / self.of

    @property
    def gain(self) -> float | None:
        """The last point's score minus the one before it."""
        return self.curve[-1].score - self.curve[-2].score if len(self.curve) > 1 else None

    def describe(self) -> str:
        """Return sentences about the sample and its cost; empty if all rows are used."""
        if self.is_all:
            return ""
        text = f"fitted on a sample of {self.rows:,} of {self.of:,} training rows ({self.share:.1%}, train.sample)"
        if not self.curve:
            return f"{text}; its rows are too few to say what more would be worth"
        scores = ", ".join(f"{each.score:.4f} on {each.rows:,}" for each in self.curve)
        text += f"; {self.metric} of models fitted on fewer of its rows, on the same {self.held_out:,} others: {scores}"
        if self.gain is None:
            return text
        bounds = "" if self.gain_low is None else f" [{self.gain_low:+.4f}, {self.gain_high:+.4f}]"
        times = self.curve[-1].rows / self.curve[-2].rows
        return (
            f"{text}; the last {times:.1f} times as many rows gain {self.gain:+.4f}{bounds}, and as many times more "
            "usually gain less"
        )


def write_sample_use(use: SampleUse) -> None:
    """Write the file."""
    files.write_json(files.SAMPLE, use.model_dump())


def read_sample_use() -> SampleUse:
    """Read the file."""
    return SampleUse.model_validate_json(files.SAMPLE.read_text(encoding="utf-8"))
