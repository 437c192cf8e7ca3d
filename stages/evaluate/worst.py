"""The test rows that the model got most wrong, which the report shows if `evaluate.worst_rows` asks for them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stages.scores.metrics import Classified, Outcome
from stages.stored import Table, take

_MOST_FEATURES = 6


def find_worst(outcome: Outcome, rows: Table, features: Sequence[str], count: int) -> pd.DataFrame:
    """Return the `count` test rows with the least probability of the true class, or with the largest residual.

    Columns, as text: row (from 1), actual, predicted, the probability or the residual, and the first six `features`.
    """
    every = np.arange(len(outcome.y_true))
    if isinstance(outcome, Classified):
        errors = outcome.probabilities[every, outcome.y_true]
        order, name = np.argsort(errors, kind="stable"), "probability of actual"
        labels = np.array([str(label) for label in outcome.labels], dtype=object)
        actual, predicted = labels[outcome.y_true], labels[outcome.y_pred]
    else:
        errors = outcome.y_true - outcome.y_pred
        order, name = np.argsort(-np.abs(errors), kind="stable"), "residual"
        actual, predicted = (np.array([_figures(each) for each in side]) for side in (outcome.y_true, outcome.y_pred))
    places = order[:count]
    chosen = take(rows, places).reset_index(drop=True)
    found = {"row": [str(place + 1) for place in places], "actual": actual[places], "predicted": predicted[places]}
    found |= {name: [_figures(error) for error in errors[places]]}
    shown = {name: [_text(value) for value in chosen[name]] for name in features[:_MOST_FEATURES]}
    return pd.concat([pd.DataFrame(found), pd.DataFrame(shown)], axis=1)


def _figures(value: float) -> str:
    return f"{value:.4g}"


def _text(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return ""
    return _figures(float(value)) if isinstance(value, float) else str(value)
