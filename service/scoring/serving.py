"""The artifact in service: swapped as a whole, so that each answer comes from one version."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, Feature, Label
from service.encoding import Matrix
from service.http.problems import SHOWN_ERRORS, FieldError, Problem
from service.inputs import explain, extent
from service.inputs.explain import Findings, make_fields
from service.inputs.layout import Layout, Outside
from service.inputs.rows import Encoded, RowReader, Unclear, Values
from service.instruments.registry import Instruments
from service.instruments.releases import InService
from service.scoring.digits import shortest
from service.scoring.neighbours import FEW_ROWS, Neighbours
from service.scoring.together import Together

if TYPE_CHECKING:
    from service.scoring.artifact import Artifact

_log = logging.getLogger(__name__)
_ENCODER: Final = msgspec.json.Encoder()
_MANY_ROWS: Final = 256
_TRIED_ROWS: Final = 64
_TRIED_SIZES: Final = (2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 100, 128, 256, 512)

Value = Callable[[int, Feature], Any]


@dataclass(frozen=True, slots=True)
class Scored:
    """What the model says about some rows."""

    numbers: Matrix
    scores: npt.NDArray[np.float32]
    labels: Sequence[Label] | Sequence[None]
    values: list[Any]
    """Probabilities of each row by class, or the value of each row, in the fewest digits."""
    outside: list[Outside]


class Served:
    """An artifact and what is made ready for it."""

    def __init__(self, artifact: "Artifact", instruments: Instruments) -> None:
        self.artifact = artifact
        self.model = artifact.model
        self.contract: Contract = artifact.model.contract
        self.version = artifact.model.version
        self.layout = Layout(self.contract)
        self.reader = self._make_reader()
        self.fields = make_fields(self.contract, self.reader.readers)
        self.metrics = instruments.begin(self.model, self.layout)
        self.class_names = [class_name(label) for label in self.contract.classes]
        self._named = _namer(self.class_names)
        self._model = msgspec.Raw(_ENCODER.encode({"name": artifact.name, "version": self.version}))
        self.example = example(self.contract)
        self._neighbours = self._try_company()
        self.together = self._make_together() if self._neighbours else None
        """Scores small requests together, if the model allows it."""
        self._warm_up()

    def read(self, body: bytes, limit: int = _MANY_ROWS) -> Encoded:
        """Read a request's instances, at most `limit`. Raises Problem for whatever is wrong with them."""
        try:
            rows = self._decode(body, limit)
            encoded = self.reader.encode(rows, body, quotes=2)
            self.check_strict(encoded, lambda row, feature: self.reader.get(rows[row], feature))
        except Unclear:
            return self.encode(*explain.read_request(body, self.fields, limit))
        return encoded

    def encode(self, instances: Sequence[dict[str, Any]], rows: Sequence[Sequence[Any]]) -> Encoded:
        """Encode rows of values; `instances` are what came. Raises Problem for values that a strict feature refuses."""
        encoded = self.reader.encode_values(rows)
        self.check_strict(encoded, lambda row, feature: instances[row].get(feature.name))
        return encoded

    def check_strict(self, encoded: Encoded, value: Value) -> None:
        """Raise Problem for values beyond those of training that a strict feature refuses."""
        if encoded.outside and self.layout.strict:
            findings = Findings()
            self.find_outside(encoded, value, findings)
            if findings.count:
                raise findings.problem()

    def _decode(self, body: bytes, limit: int) -> list[Any]:
        if extent.is_suspect(body, limit + 1):
            raise Unclear
        rows = self.reader.decode(body)
        explain.check_number(len(rows), limit)
        return rows

    def find_outside(self, encoded: Encoded, value: Value, findings: Findings, first: int = 0) -> None:
        """Note each value of a strict feature that is beyond those of training.

        `value` gives it from the row's number, to which `first` is added for the caller, and the feature.
        """
        for each in self.layout.list_outside(encoded.numbers):
            if each.feature.strict:
                got = explain.shown(value(each.instance, each.feature))
                wanted = explain.expected_strictly(each.feature)
                error = FieldError(expected=wanted, got=got, instance=first + each.instance, field=each.feature.name)
                findings.add(error, "outside", each.feature.name)

    def score(self, encoded: Encoded, first: int = 0) -> Scored:
        """Score rows, the first of which has the number `first` for the caller.

        Raises Problem if the model gives no finite number for one.
        """
        scores = self._scores(self.layout.matrix(encoded.numbers))
        if np.count_nonzero(np.isfinite(scores)) != scores.size:
            raise _no_number(scores, first)
        labels: Sequence[Label] | Sequence[None] = (
            self.model.labels(scores, self.artifact.threshold) if self.contract.classes else [None] * len(scores)
        )
        outside = self.layout.list_outside(encoded.numbers) if encoded.outside else []
        return Scored(encoded.numbers, scores, labels, shortest(scores), outside)

    def score_together(self, requests: Sequence[Values]) -> list[Scored] | None:
        """Score and count the rows of several requests, in the event loop's thread.

        Gives None, and does nothing, if any value is beyond those of training or left out.
        """
        numbers = self.layout.array([row for values in requests for row in values])
        if self.layout.outside(numbers):
            return None
        whole = self.score(Encoded(numbers, outside=False))
        self.count(whole)
        return _parts(whole, [len(values) for values in requests])

    def score_many(self, requests: Sequence[Encoded]) -> list[Scored]:
        """Score and count the rows of several requests that were read, in the event loop's thread."""
        whole = self.score(Encoded(np.concatenate([each.numbers for each in requests]), outside=False))
        scored = _parts(whole, [len(each.numbers) for each in requests])
        self.count(whole)
        for number, request in enumerate(requests):
            if request.outside:
                scored[number] = replace(scored[number], outside=self.layout.list_outside(request.numbers))
                self.metrics.count_outside(scored[number].outside)
        return scored

    def answer(self, scored: Scored) -> bytes:
        """Give the JSON document of an answer."""
        document: dict[str, Any] = {}
        if self.class_names:
            document["predictions"] = scored.labels
            document["probabilities"] = self.probabilities(scored.values)
        else:
            document["predictions"] = scored.values
        document["model"] = self._model
        if scored.outside:
            document["warnings"] = [warning(each) for each in scored.outside]
        return _ENCODER.encode(document)

    def probabilities(self, values: list[list[float]]) -> list[Any]:
        """Give each row's probabilities by name of the class."""
        return list(starmap(self._named, values))

    def count(self, scored: Scored) -> None:
        """Count answered rows and what was odd about them; in the event loop's thread."""
        self.metrics.count(scored.numbers, scored.scores, scored.labels)
        if scored.outside:
            self.metrics.count_outside(scored.outside)

    def _make_reader(self) -> RowReader:
        return RowReader(self.contract)

    def _make_together(self) -> Together:
        return Together(self)

    def _warm_up(self) -> None:
        """Answer the example, alone and many times, so that the first caller does not wait."""
        for rows in (1, _MANY_ROWS):
            self.answer(self.score(self.read(_ENCODER.encode({"instances": [self.example] * rows}))))

    def _scores(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        if self._neighbours is None or len(matrix) < FEW_ROWS:
            return self.model.scores(matrix)
        order = self._neighbours.order(matrix)
        ordered = self.model.scores(matrix[order])
        scores = np.empty_like(ordered)
        scores[order] = ordered
        return scores

    def _try_company(self) -> Neighbours | None:
        """Try whether rows get the same scores alone as in batches and in any order, to the last digit.

        Trees add up in one order; matrix products may be arranged by the number of rows.
        """
        matrix = self.layout.draw(_TRIED_SIZES[-1])
        scores = self.model.scores(matrix)
        alone = np.concatenate([self.model.scores(matrix[row : row + 1]) for row in range(_TRIED_ROWS)])
        if np.array_equal(scores[::-1], self.model.scores(np.ascontiguousarray(matrix[::-1]))) and all(
            np.array_equal(alone[:size], self.model.scores(matrix[:size])[:_TRIED_ROWS]) for size in _TRIED_SIZES
        ):
            return Neighbours(matrix, scores)
        return None


def _no_number(scores: npt.NDArray[np.float32], first: int) -> Problem:
    """Refuse rows whose numbers are too large for the model's sums."""
    rows = np.flatnonzero(~np.isfinite(scores).reshape(len(scores), -1).all(axis=1)).tolist()
    error = partial(FieldError, "numbers for which the model gives a finite one", "numbers too large for it")
    errors = [error(instance=first + row) for row in rows[:SHOWN_ERRORS]]
    return Problem(422, "The model gives no finite number", title="No number", errors=errors, error_count=len(rows))


def _namer(names: Sequence[str]) -> Callable[..., Any]:
    """Give what makes of a row's probabilities an object for the encoder, whose names they become."""
    fields = {f"class_{number}": name for number, name in enumerate(names)}
    try:
        # Its names are encoded once: a third of the time that dictionaries take.
        return msgspec.defstruct("Probabilities", [(field, float) for field in fields], rename=fields, gc=False)
    except ValueError:  # the encoder would have to escape them
        return lambda *probabilities: dict(zip(names, probabilities, strict=True))


def _parts(whole: Scored, sizes: Sequence[int]) -> list[Scored]:
    """Cut into so many rows each."""
    if len(sizes) == 1:
        return [whole]
    scored, start = [], 0
    for size in sizes:
        rows = slice(start, start := start + size)
        scored.append(Scored(whole.numbers[rows], whole.scores[rows], whole.labels[rows], whole.values[rows], []))
    return scored


class Serving:
    """Holds what is served."""

    def __init__(
        self, artifact: "Artifact", instruments: Instruments, make: Callable[["Artifact", Instruments], Served] = Served
    ) -> None:
        self._instruments = instruments
        self._make = make
        self._current = make(artifact, instruments)
        self._before: Served | None = None

    @property
    def current(self) -> Served:
        """What is served now; a request takes it once."""
        return self._current

    def in_service(self) -> InService:
        """Return the release that is served now."""
        current = self._current
        return InService(current.artifact.folder, current.artifact.release, current.metrics)

    def swap(self, artifact: "Artifact") -> None:
        """Make `artifact` ready, warm it up, and serve it from the next request on; may run in any thread."""
        ready = self._make(artifact, self._instruments)
        self._before, self._current = self._current, ready
        _log.info("serving %s version %s", artifact.name, ready.version)

    def flush(self) -> None:
        """Count what waits to be counted; in the event loop's thread."""
        for served in (self._before, self._current):
            if served is not None:
                served.metrics.flush()

    def let_go(self) -> None:
        """Forget the artifact served before, so that its memory is free once its last request is answered."""
        self.flush()
        self._before = None


def class_name(label: Label) -> str:
    """Name a class as a member of a JSON object: true, 1, late."""
    return label if isinstance(label, str) else str(label).lower()


def warning(outside: Outside) -> dict[str, Any]:
    """Say that a value is beyond those of training."""
    return {"instance": outside.instance, "field": outside.feature.name, "kind": outside.kind}


def example(contract: Contract) -> dict[str, Any]:
    """Return a typical instance: the contract's own, or medians and modes where it has none (version 1)."""
    return dict(contract.example) or {feature.name: _middle(feature) for feature in contract.features}


def _middle(feature: Feature) -> Any:
    match feature:
        case CategoryFeature():
            return feature.categories[int(np.argmax(feature.bin_shares[:-1]))]
        case BooleanFeature():
            return feature.bin_shares[1] > feature.bin_shares[0]
        case DateFeature():
            return feature.maximum.removesuffix(".000000")
        case _:
            edges = feature.bin_edges or (feature.minimum,)
            return shortest(np.array([edges[len(edges) // 2]], dtype=np.float32))[0]
