"""Score rows in Arrow's columns as the service scores them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from service.cells import Reading
from service.contract import class_name
from service.coverage import intervals, sets
from service.inputs import explain
from service.inputs.layout import warning_kind
from service.model import Model
from service.shapley import Explainer
from stages.predict.columns import ColumnEncoder, Columns, Doubts, Mask, show

_ROWS: Final = 1 << 18
_CELLS: Final = 5_000_000
"""Most rows and cells that are encoded at once; with fewer rows, calls of small functions take a third of the time."""
_AT_ONCE: Final = 2048
"""Most rows that are scored at once."""
_APART: Final = 16
"""Numbers, a line of the processor's cache, between the columns of encoded rows."""

SUM: Final = ""
"""The name under which `Scored.counts` has the sum of the values."""
_NOT_FINITE: Final = ("numbers for which the model gives a finite one", "numbers too large for it")


@dataclass(frozen=True, slots=True)
class RowError:
    """What is wrong with a row."""

    row: int
    column: str | None
    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class Scored:
    """The answers for some rows."""

    columns: dict[str, pa.Array]
    """`prediction`, the probabilities and the warnings, only of rows without errors."""
    counts: dict[str, float]
    """How many rows each class has, or the sum of the predictions."""
    errors: list[RowError]
    good: Mask | None
    """The rows without errors; None if that is all."""


class Scorer:
    """Scores the rows of tables with one dialect.

    Parameters
    ----------
    explainer
        Explains each row too, if it is given.
    bound
        The error of a level of coverage, from which intervals or sets are made, if it is given.
    """

    def __init__(
        self,
        model: Model,
        threshold: float,
        reading: Reading,
        explainer: Explainer | None = None,
        bound: float | None = None,
    ) -> None:
        self._model = model
        self._bound = bound
        self._threshold = threshold
        self._explainer = explainer
        self._contract = model.contract
        self._encoders = [ColumnEncoder(feature, reading) for feature in model.contract.features]
        ends = list(accumulate(len(feature.columns) for feature in model.contract.features))
        self._places = [slice(*each) for each in pairwise([0, *ends])]
        self._numbers: Columns = np.empty((0, 0), np.float32)
        self._no_scores = model.scores(np.zeros((1, len(model.contract.columns)), np.float32))[:0]

    def rows_at_once(self, columns: int) -> int:
        """Return how many rows to score at once, if there are so many columns."""
        return min(_ROWS, max(256, _CELLS // columns))

    def score(self, columns: Mapping[str, pa.Array], rows: int, *, are_cells: bool) -> Scored:
        """Score rows; a feature that `columns` doesn't have is missing in each row.

        `are_cells` says whether the values are cells of CSV, for messages.
        """
        empty = pa.nulls(rows)
        arrays = [columns.get(encoder.feature.name, empty) for encoder in self._encoders]
        numbers = self._prepare(rows)
        places = zip(self._encoders, arrays, self._places, strict=True)
        doubts = [encoder.encode(array, numbers[place]) for encoder, array, place in places]
        outside = [each.outside for each in doubts]
        errors = self._wrong(doubts, arrays, are_cells=are_cells) + self._too_far(outside, arrays)
        good = np.ones(rows, np.bool_)
        good[[error.row for error in errors]] = False
        numbers = numbers[:, good] if errors else numbers
        scores = self._run(numbers)
        explained = self._explain(numbers, scores)
        if not (np.isfinite(scores).all() and np.isfinite(explained[:, :-1]).all()):
            endless = _endless(scores) | _endless(explained[:, :-1])
            endless_rows = np.flatnonzero(good)[endless].tolist()
            errors += [RowError(row, None, *_NOT_FINITE) for row in endless_rows]
            good[endless_rows] = False
            scores, explained = scores[~endless], explained[~endless]
        if errors:
            outside = [None if each is None else each[good] for each in outside]
        answers, counts = self._answers(scores)
        answers |= self._explanations(explained) | {"warnings": self._warnings(outside, len(scores))}
        answers |= {} if self._bound is None else self._cover(scores, self._bound)
        return Scored(answers, counts, sorted(errors, key=lambda error: error.row), good if errors else None)

    def _prepare(self, rows: int) -> Columns:
        """Return where to encode so many rows."""
        if self._numbers.shape[1] < rows:
            # Columns a power of two apart would compete for the same lines of the processor's cache.
            self._numbers = np.empty((len(self._contract.columns), rows + _APART), np.float32)
        return self._numbers[:, :rows]

    def _explain(self, numbers: Columns, scores: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the base value, each feature's contribution and the error, shape (rows, features + 2)."""
        if self._explainer is None:
            return np.empty((len(scores), 0))
        labels = self._model.labels(scores, self._threshold) if self._contract.classes else [None] * len(scores)
        each_row = zip(np.ascontiguousarray(numbers.T), scores.reshape(len(scores), -1), labels, strict=True)
        found = [self._explainer.explain(*each) for each in each_row]
        lines = [[each.base_value, *each.contributions.tolist(), each.error] for each in found]
        return np.array(lines).reshape(len(scores), len(self._encoders) + 2)

    def _explanations(self, explained: npt.NDArray[np.float64]) -> dict[str, pa.Array]:
        if self._explainer is None:
            return {}
        names = [f"contribution_{encoder.feature.name}" for encoder in self._encoders]
        return dict(zip(["base_value", *names, "explanation_error"], map(pa.array, explained.T), strict=True))

    def _cover(self, scores: npt.NDArray[Any], bound: float) -> dict[str, pa.Array]:
        """Return the ends of each row's interval, or each row's set of classes."""
        if not self._contract.classes:
            low, high = zip(*intervals(scores, bound), strict=True) if len(scores) else ((), ())
            return {"low": pa.array(low, pa.float64()), "high": pa.array(high, pa.float64())}
        found = sets(scores, self._contract.classes, bound)
        return {"set": pa.array(found, pa.list_(pa.infer_type(self._contract.classes)))}

    def _run(self, numbers: Columns) -> npt.NDArray[Any]:
        """Return the scores. A few rows at a time are put together and scored, because a core's cache holds them."""
        parts = (numbers[:, first : first + _AT_ONCE].T for first in range(0, numbers.shape[1], _AT_ONCE))
        scores = (self._model.scores(np.ascontiguousarray(part)) for part in parts)
        return np.concatenate([self._no_scores, *scores])

    def _wrong(self, doubts: Sequence[Doubts], arrays: Sequence[pa.Array], *, are_cells: bool) -> list[RowError]:
        """Describe the values that the features don't accept."""
        errors = []
        for encoder, each, array in zip(self._encoders, doubts, arrays, strict=True):
            if each.wrong is None:
                continue
            feature = encoder.feature
            expected = explain.expected(feature, encoder.reader.cell_form if are_cells else "")
            rows = np.flatnonzero(each.wrong).tolist()
            errors += [RowError(row, feature.name, expected, explain.show(show(array, row))) for row in rows]
        return errors

    def _too_far(self, outside: Sequence[Mask | None], arrays: Sequence[pa.Array]) -> list[RowError]:
        """Describe values outside training's range of features for which the service refuses them."""
        return [
            RowError(
                row, encoder.feature.name, explain.expected_strictly(encoder.feature), explain.show(show(array, row))
            )
            for encoder, mask, array in zip(self._encoders, outside, arrays, strict=True)
            if encoder.feature.strict and mask is not None
            for row in np.flatnonzero(mask).tolist()
        ]

    def _answers(self, scores: npt.NDArray[Any]) -> tuple[dict[str, pa.Array], dict[str, float]]:
        """Return the columns of the answer, and the number of rows of each class or the sum of the values."""
        classes = self._contract.classes
        if not classes:
            return {"prediction": pa.array(scores)}, {SUM: float(scores.sum(dtype=np.float64))}
        places = self._model.places(scores, self._threshold)
        names = [class_name(label) for label in classes]
        codes = places.astype(np.min_scalar_type(len(classes)))
        columns = {"prediction": pa.DictionaryArray.from_arrays(codes, pa.array(classes))}
        columns |= {f"probability_{name}": pa.array(scores[:, place]) for place, name in enumerate(names)}
        return columns, dict(zip(names, np.bincount(places, minlength=len(names)).astype(float).tolist(), strict=True))

    def _warnings(self, outside: Sequence[Mask | None], rows: int) -> pa.Array:
        """Return text about each row's values that training didn't have, null for most rows."""
        pairs = zip(self._encoders, outside, strict=True)
        found = [(encoder.feature, mask) for encoder, mask in pairs if mask is not None]
        if not found:
            return pa.nulls(rows, pa.string())
        rare = np.flatnonzero(np.logical_or.reduce([mask for _, mask in found]))
        masks = np.stack([mask[rare] for _, mask in found], axis=1)
        patterns, inverse = np.unique(np.packbits(masks, axis=1), axis=0, return_inverse=True)
        places = np.full(rows, len(patterns))
        places[rare] = inverse.reshape(-1)
        texts = []
        for bits in np.unpackbits(patterns, axis=1, count=len(found)).astype(bool):
            named = [
                f"{feature.name} {warning_kind(feature)}"
                for (feature, _), each in zip(found, bits, strict=True)
                if each
            ]
            texts.append("; ".join(named))
        return pa.array([*texts, None], pa.string()).take(pa.array(places))


def _endless(numbers: npt.NDArray[Any]) -> Mask:
    """Return which rows have a number that isn't finite."""
    endless: Mask = np.logical_not(np.isfinite(numbers))
    return np.logical_or.reduce(endless, axis=1) if endless.ndim > 1 else endless
