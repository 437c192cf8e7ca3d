"""Score rows in Arrow's columns as the service scores them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from service.cells import Reading
from service.contract import Contract, class_name
from service.encoding import Matrix
from service.inputs import explain
from service.inputs.layout import warning_kind
from service.model import Model
from stages.predict.columns import ColumnEncoder, Encoded, Mask, show

ROWS: Final = 8192
"""Most rows that are encoded and scored at once: 600 kB of the demo, which a core's cache holds."""


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
    """Scores the rows of tables with one dialect."""

    def __init__(self, model: Model, threshold: float, reading: Reading) -> None:
        self._model = model
        self._threshold = threshold
        self._encoders = [ColumnEncoder(feature, reading) for feature in model.contract.features]

    @property
    def contract(self) -> Contract:
        """The model's contract."""
        return self._model.contract

    def score(self, columns: Mapping[str, pa.Array], rows: int, *, are_cells: bool) -> Scored:
        """Score rows; a feature that `columns` doesn't have is missing in each row.

        `are_cells` says whether the values are cells of CSV, for messages.
        """
        empty = pa.nulls(rows)
        arrays = [columns.get(encoder.feature.name, empty) for encoder in self._encoders]
        encoded = [encoder.encode(array) for encoder, array in zip(self._encoders, arrays, strict=True)]
        outside = [encoder.outside(each) for encoder, each in zip(self._encoders, encoded, strict=True)]
        errors = self._wrong(encoded, arrays, are_cells=are_cells) + self._too_far(outside, arrays)
        matrix, good = self._join(encoded, rows), None
        if errors:
            good = np.ones(rows, np.bool_)
            good[[error.row for error in errors]] = False
            matrix, outside = matrix[good], [each[good] for each in outside]
        scores = self._model.scores(matrix)
        endless = ~np.isfinite(scores).reshape(len(scores), -1).all(axis=1)
        if endless.any():
            numbers = np.arange(rows) if good is None else np.flatnonzero(good)
            message = "numbers for which the model gives a finite one", "numbers too large for it"
            errors += [RowError(row, None, *message) for row in numbers[endless].tolist()]
            good = np.ones(rows, np.bool_) if good is None else good
            good[numbers[endless]] = False
            scores, outside = scores[~endless], [each[~endless] for each in outside]
        return Scored(*self._answers(scores, outside), sorted(errors, key=lambda error: error.row), good)

    def _join(self, encoded: Sequence[Encoded], rows: int) -> Matrix:
        matrix: Matrix = np.empty((rows, len(self.contract.columns)), np.float32)
        start = 0
        for each in encoded:
            end = start + each.numbers.shape[1]
            matrix[:, start:end] = each.numbers
            start = end
        return matrix

    def _wrong(self, encoded: Sequence[Encoded], arrays: Sequence[pa.Array], *, are_cells: bool) -> list[RowError]:
        """Describe the values that the features don't accept."""
        errors = []
        for encoder, each, array in zip(self._encoders, encoded, arrays, strict=True):
            if each.wrong is None:
                continue
            feature = encoder.feature
            expected = explain.expected(feature, encoder.reader.cell_form if are_cells else "")
            rows = np.flatnonzero(each.wrong).tolist()
            errors += [RowError(row, feature.name, expected, explain.show(show(array, row))) for row in rows]
        return errors

    def _too_far(self, outside: Sequence[Mask], arrays: Sequence[pa.Array]) -> list[RowError]:
        """Describe values outside training's range of features for which the service refuses them."""
        return [
            RowError(
                row, encoder.feature.name, explain.expected_strictly(encoder.feature), explain.show(show(array, row))
            )
            for encoder, mask, array in zip(self._encoders, outside, arrays, strict=True)
            if encoder.feature.strict
            for row in np.flatnonzero(mask).tolist()
        ]

    def _answers(
        self, scores: npt.NDArray[Any], outside: Sequence[Mask]
    ) -> tuple[dict[str, pa.Array], dict[str, float]]:
        """Return the columns of the answer, and the number of rows of each class or the sum of the values."""
        classes = self.contract.classes
        if not classes:
            columns = {"prediction": pa.array(scores)}
            counts = {"": float(scores.sum(dtype=np.float64))}
        else:
            labels = self._model.labels(scores, self._threshold)
            names = [class_name(label) for label in classes]
            columns = {"prediction": pa.array(labels)}
            columns |= {f"probability_{name}": pa.array(scores[:, place]) for place, name in enumerate(names)}
            counts = {name: float(labels.count(label)) for name, label in zip(names, classes, strict=True)}
        return columns | {"warnings": self._warnings(outside, len(scores))}, counts

    def _warnings(self, outside: Sequence[Mask], rows: int) -> pa.Array:
        """Return text about each row's values that training didn't have, null for most rows."""
        found = [(encoder.feature, mask) for encoder, mask in zip(self._encoders, outside, strict=True) if mask.any()]
        if not found:
            return pa.nulls(rows, pa.string())
        masks = np.stack([mask for _, mask in found], axis=1)
        patterns, places = np.unique(np.packbits(masks, axis=1), axis=0, return_inverse=True)
        texts = []
        for bits in np.unpackbits(patterns, axis=1, count=len(found)).astype(bool):
            named = [
                f"{feature.name} {warning_kind(feature)}"
                for (feature, _), each in zip(found, bits, strict=True)
                if each
            ]
            texts.append("; ".join(named) or None)
        return pa.array(texts, pa.string()).take(pa.array(places.reshape(-1)))
