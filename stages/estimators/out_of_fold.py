"""Predictions of training rows by models that were not fitted on them, which several stages use."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from service.contract import Contract
from stages import files
from stages.estimators import folds, rounds
from stages.estimators.rounds import Point
from stages.params.params import Params
from stages.progress import track
from stages.schema import Split
from stages.scores.metrics import Codes, Floats, Outcome
from stages.stored import StoredTable

_VALUE = "value"
_PROBABILITY = "probability_"
_ROUNDS = "rounds"


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Out-of-fold predictions."""

    places: Codes
    """The row of each prediction in the training rows, shape (rows,)."""
    folds: Codes
    """The fold of each prediction, ascending from 0; shape (rows,)."""
    scores: Floats
    """Probabilities of shape (rows, classes), or values of shape (rows,)."""
    rounds: tuple[Point, ...] = ()
    """The learning curve; empty for a model that has none."""

    def outcomes(self, train: pd.DataFrame, contract: Contract) -> list[Outcome]:
        """Return each fold's predictions with the true values from `train`."""
        parts = (self.folds == fold for fold in np.unique(self.folds))
        return [folds.to_outcome(contract, train.iloc[self.places[part]], self.scores[part]) for part in parts]

    def placed(self, places: Codes) -> "OutOfFold":
        """Return the same predictions if `places` are those of the predicted table's rows in another table."""
        return replace(self, places=places[self.places])

    def write(self, path: Path) -> None:
        """Write a Parquet file."""
        columns = (
            {_VALUE: self.scores}
            if self.scores.ndim == 1
            else {f"{_PROBABILITY}{place}": column for place, column in enumerate(self.scores.T)}
        )
        table = pd.DataFrame({"row": self.places, "fold": self.folds, **columns})
        if self.rounds:
            table.attrs[_ROUNDS] = self.rounds
        with files.replacing(path) as beside:
            table.to_parquet(beside, index=False)


def predict(train: pd.DataFrame, contract: Contract, split: Split, params: Params) -> OutOfFold:
    """Fit each fold's pipeline, and predict the rows that it was not fitted on; see `folds.draw_folds`.

    `auto` in the hyperparameters is resolved from the number of all training rows.
    """
    rows, drawn = folds.draw_folds(train, contract, split, params)
    scores, losses = [], []
    for fold in track(drawn, len(drawn), "fold"):
        pipeline = folds.fit_fold(rows, fold, contract, split, params, size=len(train))
        scores.append(folds.predict_held_out(pipeline, rows.iloc[fold[1]], contract))
        losses.append(rounds.losses(pipeline, rows, fold, contract))
    places = folds.draw_places(len(train), params.random_state)
    parts = [
        OutOfFold(places[held_out], np.full(len(held_out), fold), each)
        for fold, ((_, held_out), each) in enumerate(zip(drawn, scores, strict=True))
    ]
    return replace(_join(contract, parts), rounds=rounds.average(losses))


def nothing(contract: Contract) -> OutOfFold:
    """Return no predictions."""
    return _join(contract, [])


def _join(contract: Contract, parts: list[OutOfFold]) -> OutOfFold:
    none = np.empty(0, np.intp)
    empty = np.empty((0, len(contract.classes)) if contract.classes else 0)
    return OutOfFold(
        np.concatenate([none, *(each.places for each in parts)]),
        np.concatenate([none, *(each.folds for each in parts)]),
        np.concatenate([empty, *(each.scores for each in parts)]),
    )


def read(path: Path) -> OutOfFold:
    """Read the file that `OutOfFold.write` wrote."""
    table = pd.read_parquet(path)
    scores = table.drop(columns=["row", "fold"]).to_numpy(np.float64)
    return OutOfFold(
        table["row"].to_numpy(np.intp),
        table["fold"].to_numpy(np.intp),
        scores[:, 0] if _VALUE in table else scores,
        tuple((int(count), *losses) for count, *losses in table.attrs.get(_ROUNDS, [])),
    )


def read_with_rows(path: Path, train: StoredTable) -> tuple[OutOfFold, pd.DataFrame]:
    """Read the file and only the training rows that it predicts; the places are those in the returned rows."""
    predicted = read(path)
    rows = train.take(predicted.places)
    return replace(predicted, places=np.arange(len(rows))), rows
