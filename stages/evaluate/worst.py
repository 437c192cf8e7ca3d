"""The test rows that the model got most wrong, which the report shows if `evaluate.worst_rows` asks for them."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import pandas as pd

from stages.scores.metrics import Classified, Outcome
from stages.stored import Table, take

_MOST_FEATURES = 6
_EXACT = 2**53
"""float64 represents whole numbers below it exactly; its digits beyond mean nothing."""


def find_worst(outcome: Outcome, rows: Table, features: Sequence[str], most: int) -> pd.DataFrame:
    """Return the `most` test rows with the least probability of the true class, or with the largest residual.

    Columns, as text: row (from 1), actual, predicted, the probability or the residual, and the first six `features`.
    If a feature has one of the first four names, that column's name gets an underscore.
    """
    if isinstance(outcome, Classified):
        errors, name = outcome.probabilities[np.arange(len(outcome.y_true)), outcome.y_true], "probability of actual"
        places = np.argsort(errors, kind="stable")[:most]
    else:
        errors, name = outcome.y_true - outcome.y_pred, "residual"
        places = np.argsort(-np.abs(errors), kind="stable")[:most]
    sides: list[list[Any]] = [side[places].tolist() for side in (outcome.y_true, outcome.y_pred)]
    if isinstance(outcome, Classified):
        sides = [[outcome.labels[code] for code in side] for side in sides]
    found = {"row": places + 1, "actual": sides[0], "predicted": sides[1], name: errors[places].tolist()}
    chosen = take(rows, places)[list(features[:_MOST_FEATURES])]
    columns = {_free_name(each, chosen): values for each, values in found.items()} | dict(chosen.items())
    return pd.DataFrame({each: [_text(value) for value in values] for each, values in columns.items()})


def _free_name(name: str, table: pd.DataFrame) -> str:
    return next(each for n in count() if (each := name + "_" * n) not in table.columns)


def _text(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value.is_integer() and abs(value) < _EXACT else f"{value:.7g}"
