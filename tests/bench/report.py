"""The report of a bench: each figure with its ratio to a floor in the same run, as a table and as JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

BUILD = Path(__file__).parents[2] / "build"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the report; `ratio` is `value` over `floor`, and `bound` the most that it may be, or the `least`."""

    what: str
    value: float
    floor: float
    unit: str
    bound: float | None
    least: bool = False
    by_cpu: float | None = None
    """The ratio by processor time, which other load on the machine affects less."""

    @property
    def ratio(self) -> float:
        """Return the ratio to the floor."""
        return self.value / self.floor

    @property
    def is_missed(self) -> bool:
        """Return whether the ratio is beyond its bound."""
        return self.bound is not None and (self.ratio < self.bound if self.least else self.ratio > self.bound)


def markdown(rows: list[Row]) -> str:
    """Return the report as a table."""
    lines = ["| what | value | floor | ratio | by CPU | bound |", "|---|---:|---:|---:|---:|---|"]
    for row in rows:
        side = "≥ " if row.least else ""
        bound = "" if row.bound is None else f"{side}{row.bound:g}{' **missed**' if row.is_missed else ''}"
        by_cpu = "" if row.by_cpu is None else f"{row.by_cpu:.2f}"
        figures = f"{row.value:,.2f} {row.unit} | {row.floor:,.2f} {row.unit} | {row.ratio:.2f} | {by_cpu}"
        lines.append(f"| {row.what} | {figures} | {bound} |")
    return "\n".join(lines) + "\n"


def write(rows: list[Row], name: str) -> None:
    """Print the table, and write it to build/bench-NAME.md and .json."""
    BUILD.mkdir(exist_ok=True)
    found = [asdict(row) | {"ratio": row.ratio} for row in rows]
    (BUILD / f"bench-{name}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (BUILD / f"bench-{name}.md").write_text(markdown(rows), encoding="utf-8")
    print(markdown(rows), end="")
