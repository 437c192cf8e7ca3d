"""The artifact in service. It is swapped as a whole, so each response comes from one version."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import takewhile
from threading import Event
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from service.contract import BooleanFeature, CategoryFeature, Contract, Feature, Label, class_name
from service.coverage import LevelError, intervals, sets
from service.encoding import Matrix
from service.http.problems import SHOWN_ERRORS, FieldError, Problem
from service.inputs import explain
from service.inputs.explain import Findings
from service.inputs.layout import Layout, Outside
from service.inputs.rows import RowReader
from service.instruments.registry import Instruments
from service.instruments.releases import InService
from service.scoring.artifact import Artifact
from service.shapley import Explainer, NoBackgroundError

_TRIED_ROWS: Final = 64
_TRIED_SIZES: Final = (2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 100, 128, 256, 512)
_WARM_UP_ROWS: Final = 256
_ORDERED_ROWS: Final = 100
"""From this number of rows on, ordering them saves more time than it takes."""
_GROUPS: Final = 8
_MOST_SET_BYTES: Final = 1000
"""Most bytes of all classes' names, so that a set of them fits into a prediction id."""
BASE_VALUE: Final = "base_value"

Members = dict[str, Any]
"""Members of a response beside the predictions."""
Instances = Callable[[], Sequence[Mapping[str, Any]]]
"""Parses the request's instances again, for error messages."""


class Scored(NamedTuple):
    """The model's results for some rows."""

    numbers: Matrix
    scores: npt.NDArray[np.float32]
    labels: Sequence[Label | None]
    outside: list[Outside]
    """Values outside training's range."""
    not_finite: list[int]
    """Rows for which the model gives no finite number."""

    @property
    def values(self) -> list[Any]:
        """Each row's probabilities in the order of the classes, or each row's value, in the fewest digits."""
        return shortest(self.scores)

    def part(self, start: int, end: int) -> "Scored":
        """Return the results of the rows from `start` up to `end`."""
        numbers, scores, labels, outside, not_finite = self
        outside = [Outside(row - start, feature) for row, feature in outside if start <= row < end]
        not_finite = [row - start for row in not_finite if start <= row < end]
        rows = slice(start, end)
        return Scored(numbers[rows], scores[rows], labels[rows], outside, not_finite)


Cover = Callable[[Scored], Members]


class Served:
    """An artifact with everything that answering requests needs."""

    def __init__(self, artifact: Artifact, instruments: Instruments) -> None:
        self.artifact = artifact
        self.model = artifact.model
        self.contract: Contract = artifact.model.contract
        self.version = artifact.model.version
        self.layout = Layout(self.contract)
        self.reader = RowReader(self.contract, self.layout)
        self.instruments = instruments.begin(self.model, self.layout)
        self.class_names = [class_name(label) for label in self.contract.classes]
        members = [orjson.dumps(name).replace(b"%", b"%%") + b":%b" for name in self.class_names]
        self._row = b"{" + b",".join(members) + b"}"
        self.example = example(self.contract)
        self.description: dict[str, Any] = {}
        """The OpenAPI document, once it was asked for."""
        self._column = self._find_order()
        self.rows_are_independent = self._column is not None
        """Whether a row's scores are the same to the last digit whatever rows it is scored with."""
        self._warm_up()

    def score(self, numbers: Matrix) -> Scored:
        """Score rows as `RowReader` gives them."""
        scores = self._scores(self.layout.matrix(numbers))
        finite = np.isfinite(scores)
        return Scored(
            numbers,
            scores,
            self.model.labels(scores, self.artifact.threshold) if self.contract.classes else [None] * len(scores),
            self.layout.find_outside(numbers),
            [] if finite.all() else np.flatnonzero(~finite.reshape(len(scores), -1).all(axis=1)).tolist(),
        )

    def check(self, scored: Scored, instances: Instances) -> None:
        """Raise Problem (422) for rows without a finite score and for values outside the range of a strict feature."""
        check_finite(scored)
        if scored.outside and self.layout.strict:
            findings = Findings()
            find_strict(scored, instances, findings)
            findings.refuse()

    @cached_property
    def _explainer(self) -> Explainer:
        try:
            if all(feature.name != BASE_VALUE for feature in self.contract.features):
                return Explainer(self.model)
            detail = f"A feature of the model is called {BASE_VALUE}; rename the column to get explanations"
        except NoBackgroundError:
            detail = "The release in service has no background rows; run `dvc repro` and `make promote`"
        raise Problem(409, detail, title="No explanations")

    def explain(self, scored: Scored, stop: Event) -> Members:
        """Return what explains each row's score, as members of the response; of no more rows once `stop` is set.

        Raises Problem: 409 if the model's file has no background rows, 422 if a sum of the model overflows.
        """
        rows, scores = self.layout.matrix(scored.numbers), scored.scores.reshape(len(scored.scores), -1)
        each_row = zip(rows, scores, scored.labels, strict=True)
        found = [self._explainer.explain(*each) for each in takewhile(lambda _: not stop.is_set(), each_row)]
        if not all(np.isfinite(each.contributions).all() for each in found):
            raise Problem(422, "The model gives no finite number for parts of a row", title="No number")
        names = [BASE_VALUE, *(feature.name for feature in self.contract.features)]
        numbers = [[each.base_value, *each.contributions.tolist()] for each in found]
        return {
            "explanations": [dict(zip(names, values, strict=True)) for values in numbers],
            "explanation_errors": [each.error for each in found],
        }

    def cover(self, level: float) -> Cover:
        """Return a function from results to the intervals or sets that contain the truth with probability `level`.

        Raises Problem: 409 if the model's file has no errors for it, 422 if the level is too high.
        """
        coverage, classes = self.model.coverage, self.contract.classes
        if coverage is None:
            detail = "The release in service has no prediction intervals or sets; run `dvc repro` and `make promote`"
            raise Problem(409, detail, title="No coverage")
        try:
            bound = coverage.bound(level)
        except LevelError as error:
            got = FieldError(expected=str(error), got=str(level), field="coverage")
            raise Problem(422, f"coverage={level} can't be promised: {error}", errors=[got]) from None
        if classes:
            return lambda scored: {"sets": sets(scored.scores, classes, bound)}
        return lambda scored: {"intervals": intervals(scored.scores, bound)}

    @cached_property
    def _live(self) -> float | None:
        """The bound of the level that feedback counts; None if there is none, or the sets don't fit into ids."""
        coverage, fits = self.model.coverage, len(orjson.dumps(self.contract.classes)) <= _MOST_SET_BYTES
        with suppress(LevelError):
            return coverage.bound(coverage.levels[0]) if coverage and fits else None
        return None

    def live(self, scored: Scored) -> list[Any]:
        """Return half the width of each row's interval, or its set, at the level that feedback counts, or None."""
        if self._live is None or not self.contract.classes:
            return [self._live] * len(scored.labels)
        return sets(scored.scores, self.contract.classes, self._live)

    def answer(self, scored: Scored, more: Members | None = None) -> bytes:
        """Return the response body in JSON, with the members `more`."""
        document: dict[str, Any] = {"predictions": scored.labels if self.class_names else scored.scores}
        if self.class_names:
            document["probabilities"] = self._probabilities(scored.scores)
        document["model"] = {"name": self.artifact.release.name, "version": self.version}
        if scored.outside:
            document["warnings"] = [warning(each) for each in scored.outside]
        return orjson.dumps(document | (more or {}), option=orjson.OPT_SERIALIZE_NUMPY)

    def _probabilities(self, scores: npt.NDArray[np.float32]) -> orjson.Fragment:
        """Return the JSON of `probabilities`. For 100 rows this takes half as long as with dictionaries."""
        numbers = orjson.dumps(scores.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
        rows = b",".join([self._row] * len(scores))
        return orjson.Fragment(b"[%b]" % (rows % tuple(numbers)))

    def probabilities(self, scored: Scored) -> list[dict[str, float]]:
        """Return each row's probabilities by name of the class."""
        return [dict(zip(self.class_names, row, strict=True)) for row in scored.values]

    def count(self, scored: Scored) -> None:
        """Count predicted rows and their warnings; call it in the event loop's thread."""
        self.instruments.count(scored.numbers, scored.scores, scored.labels)
        if scored.outside:
            self.instruments.count_outside(scored.outside)

    def _warm_up(self) -> None:
        """Predict the example once as one row and once as many, so the first caller doesn't wait."""
        for rows in (1, _WARM_UP_ROWS):
            body = orjson.dumps({"instances": [self.example] * rows})
            self.answer(self.score(self.reader.read_request(body, rows)))

    def _scores(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        if self._column is None or len(matrix) < _ORDERED_ROWS:
            return self.model.scores(matrix)
        order = matrix[:, self._column].argsort()
        ordered = self.model.scores(matrix[order])
        scores = np.empty_like(ordered)
        scores[order] = ordered
        return scores

    def _find_order(self) -> int | None:
        """Return the column by which many rows are ordered; None if a row's scores depend on the other rows.

        A forest of some megabytes is larger than a core's cache: rows that take the same paths through its trees
        reuse what the row before loaded, so 600 ordered rows take 0.8 of the time. Trees are summed in a fixed order,
        so scores stay the same to the last digit; matrix products can depend on the number of rows.
        """
        matrix = self.layout.draw(_TRIED_SIZES[-1])
        scores = self.model.scores(matrix)
        single = np.concatenate([self.model.scores(matrix[row : row + 1]) for row in range(_TRIED_ROWS)])
        if np.array_equal(scores[::-1], self.model.scores(np.ascontiguousarray(matrix[::-1]))) and all(
            np.array_equal(single[:size], self.model.scores(matrix[:size])[:_TRIED_ROWS]) for size in _TRIED_SIZES
        ):
            return int(np.argmax([_spread(scores, column) for column in matrix.T]))
        return None


def _spread(scores: npt.NDArray[np.float32], column: npt.NDArray[np.float32]) -> float:
    """Return the variance of the mean scores of _GROUPS groups of rows, from the lowest values to the highest."""
    groups = np.array_split(scores.reshape(len(scores), -1)[np.argsort(column)], _GROUPS)
    return float(np.var([group.mean(axis=0) for group in groups], axis=0).sum())


def check_finite(scored: Scored, first: int = 0) -> None:
    """Raise Problem (422) if numbers are too large for the model's sums. `first` is the first row's number."""
    if scored.not_finite:
        expected, got = "numbers for which the model gives a finite one", "numbers too large for it"
        errors = [FieldError(expected, got, instance=first + row) for row in scored.not_finite[:SHOWN_ERRORS]]
        count = len(scored.not_finite)
        raise Problem(422, "The model gives no finite number", title="No number", errors=errors, error_count=count)


def find_strict(scored: Scored, instances: Instances, findings: Findings, first: int = 0) -> None:
    """Add a finding for each value outside the range of a strict feature. `first` is the first row's number."""
    outside = [each for each in scored.outside if each.feature.strict]
    came = instances() if outside else ()
    for row, feature in outside:
        got, expected = explain.show(came[row].get(feature.name)), explain.expected_strictly(feature)
        error = FieldError(expected=expected, got=got, instance=first + row, field=feature.name)
        findings.add(error, "outside", feature.name)


def shortest(scores: npt.NDArray[np.float32]) -> list[Any]:
    """Return `scores` as (nested) lists of floats that print in the fewest digits from which float32 comes back.

    0.1 as float32 would print as 0.10000000149011612; this returns 0.1.
    """
    values: list[Any] = orjson.loads(orjson.dumps(scores, option=orjson.OPT_SERIALIZE_NUMPY))
    return values


class Serving:
    """Holds the artifact in service."""

    def __init__(self, artifact: Artifact, instruments: Instruments) -> None:
        self._instruments = instruments
        self.current = Served(artifact, instruments)
        """The artifact in service; each request reads this once."""

    def in_service(self) -> InService:
        """Return the release in service."""
        current = self.current
        return InService(current.artifact.folder, current.artifact.release, current.instruments)

    def swap(self, artifact: Artifact) -> None:
        """Prepare `artifact`, warm it up, and serve it from the next request on; any thread may call it."""
        self.current = Served(artifact, self._instruments)


def warning(outside: Outside) -> dict[str, Any]:
    """Return the warning about a value outside training's range."""
    return {"instance": outside.instance, "field": outside.feature.name, "kind": outside.kind}


def example(contract: Contract) -> dict[str, Any]:
    """Return a typical instance: the contract's example, or any possible one for a contract of version 1."""
    return dict(contract.example) or {feature.name: _possible_value(feature) for feature in contract.features}


def _possible_value(feature: Feature) -> Any:
    if isinstance(feature, CategoryFeature):
        return feature.categories[0]
    return True if isinstance(feature, BooleanFeature) else feature.minimum
