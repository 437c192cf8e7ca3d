"""Compare the served file's scores with scikit-learn's, a piece of the rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from service.model import Model
from stages import files
from stages.errors import UserError
from stages.estimators.calibrators import CalibratedClassifier
from stages.partitions.executors import Spread
from stages.partitions.pieces import map_pieces
from stages.partitions.served import ROWS_AT_ONCE, Scores, Served, quietly
from stages.progress import track
from stages.stored import Table, batches

TOLERANCE = 1e-5
"""Largest relative difference between the file's scores and scikit-learn's."""
_SMALLEST = 1e-6
"""Scores are compared relative to themselves, or to this share of the largest score if they are smaller."""
_RESOLUTION = 2.0**-22
"""Two probabilities of scikit-learn that differ by less are equal: four steps of float32."""


@dataclass(frozen=True, slots=True)
class _Sides:
    """What is compared."""

    pipeline: Pipeline
    served: Served
    smallest: float
    """Scores are compared relative to themselves, or to this if they are smaller."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some rows in the order of the table."""

    first: int
    rows: pd.DataFrame
    scores: Scores


@dataclass(frozen=True, slots=True)
class _Compared:
    """The worst row of a piece, and the first one with another label."""

    worst: float
    """The largest relative difference; infinite if a score isn't a number."""
    refusal: UserError
    """What to say about the row of `worst`, if it is too far."""
    ties: int
    other_label: UserError | None


def compare(
    pipeline: Pipeline, model: Model | Served, rows: Table, scores: Scores, spread: Spread | None = None
) -> tuple[float, int]:
    """Compare the file's `scores` of `rows` with scikit-learn's.

    Return the largest relative difference, and the number of rows whose two best classes are equally probable,
    so that either label is right.

    Raises UserError with the row and both results if they differ by more than `TOLERANCE`, or in a label.
    """
    # skl2onnx's operators and XGBoost compute in single precision, so that scores differ by a share of the largest, and
    # a steep calibration multiplies their last bit.
    calibrated = isinstance(pipeline.steps[-1][1], CalibratedClassifier)
    share = 1.0 if calibrated or "double" in pipeline.named_steps else _SMALLEST
    largest = max((float(np.abs(part[np.isfinite(part)]).max(initial=0.0)) for part in _cut(scores)), default=0.0)
    sides = _Sides(pipeline, Served.of(model), largest * share)
    pieces = track(_pieces(rows, scores), len(rows), "row", ROWS_AT_ONCE)
    compared = list(map_pieces(_compare, sides, pieces, spread or Spread()))
    worst = max(compared, key=lambda each: each.worst)
    if not worst.worst <= TOLERANCE:
        raise worst.refusal
    wrong = next((each.other_label for each in compared if each.other_label), None)
    if wrong:
        raise wrong
    return worst.worst, sum(each.ties for each in compared)


def _cut(scores: Scores) -> Iterator[Scores]:
    for first in range(0, len(scores), ROWS_AT_ONCE):
        yield scores[first : first + ROWS_AT_ONCE]


def _pieces(rows: Table, scores: Scores) -> Iterator[_Piece]:
    first = 0
    for batch in batches(rows, ROWS_AT_ONCE):
        yield _Piece(first, batch, scores[first : first + len(batch)])
        first += len(batch)


def _compare(sides: _Sides, piece: _Piece) -> _Compared:
    model = sides.served.model
    predict = sides.pipeline.predict_proba if model.contract.classes else sides.pipeline.predict
    expected = quietly(lambda: predict(piece.rows))
    scale = np.maximum(np.abs(expected), max(sides.smallest, float(np.finfo(np.float32).tiny)))
    by_row = (np.abs(piece.scores - expected) / scale).reshape(len(expected), -1).max(axis=1)
    by_row = np.where(np.isnan(by_row), np.inf, by_row)
    worst = int(by_row.argmax())
    refusal = _refuse(piece.first + worst, piece.scores[worst].tolist(), expected[worst].tolist())
    about = _compare_labels(model, piece, expected) if model.contract.classes else (0, None)
    return _Compared(float(by_row[worst]), refusal, *about)


def _compare_labels(model: Model, piece: _Piece, expected: Scores) -> tuple[int, UserError | None]:
    found = np.asarray(model.labels(piece.scores.astype(np.float32), 0.5))
    wanted = np.asarray(model.labels(expected.astype(np.float32), 0.5))
    best = np.sort(expected, axis=1)[:, -2:]
    ties = best[:, 1] - best[:, 0] < _RESOLUTION
    wrong = (found != wanted) & ~ties
    row = int(wrong.argmax())
    refusal = _refuse(piece.first + row, found[row].item(), wanted[row].item()) if wrong.any() else None
    return int(ties.sum()), refusal


def _refuse(row: int, found: object, expected: object) -> UserError:
    return UserError(
        f"{files.TEST}: row {row + 1}: ONNX gives {found}, scikit-learn {expected}; no file is written: "
        "choose another model in params.yaml, and report this with the row"
    )
