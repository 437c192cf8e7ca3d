"""Choose a model for `model: auto`: cross-validate fixed candidates, and average those that predict best together.

The candidates are few and differ much, as portfolios that do well on many tables are (Salinas & Erickson 2024). The
weights are found by greedy selection (Caruana et al. 2004). Nothing depends on time or the number of cores, so the same
rows give the same choice.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd

from service.contract import Contract
from stages.entry import log
from stages.errors import UserError
from stages.estimators import fitting, folds, stopping
from stages.estimators.splitting import Fold
from stages.params.choice import Candidate, apply
from stages.params.params import Params
from stages.params.search import Settings
from stages.progress import track
from stages.schema import Split
from stages.scores.gate import main_metric

_FOLDS, _FEWER_FOLDS = 5, 3
_MANY_ROWS = 20_000
"""With more training rows there are fewer folds, and no forests, whose files would have hundreds of megabytes."""
_FEWEST = 2
_STEPS = 20
"""The weights are multiples of 1 / 20."""
_DIGITS = 10
"""Losses are rounded, so that the last bits, in which machines differ, don't decide."""
_LEAST_GAIN = 0.005
"""An average is chosen only if its loss is lower than the best model's by this share."""
_BOOSTED: Settings = {"learning_rate": 0.05, "early_stopping": 50}
_MOST_TREES, _FEW_CLASSES = 5_000, 5
_SMALL: Settings = {
    "lightgbm.num_leaves": 8,
    "lightgbm.colsample_bytree": 0.5,
    "lightgbm.subsample": 0.8,
    "lightgbm.reg_lambda": 1.0,
}
_LARGE: Settings = {"lightgbm.num_leaves": 128, "lightgbm.colsample_bytree": 0.7, "lightgbm.subsample": 0.8}
_FOREST: Settings = {"n_estimators": 200, "min_samples_leaf": 2}

Floats = npt.NDArray[np.float64]


def candidates(contract: Contract, params: Params, rows: int) -> dict[str, Settings]:
    """Return each candidate's hyperparameters that differ from the defaults, by its name."""
    linear = "logistic_regression" if contract.classes else "ridge"
    some = "sqrt" if contract.classes else 0.4
    # Each round of boosting has a tree for each class.
    boosted = _BOOSTED | {"n_estimators": _MOST_TREES // max(_FEW_CLASSES, len(contract.classes))}
    found: dict[str, Settings] = {
        linear: {"model": linear, "l2_penalty": 1.0},
        f"{linear}, strong penalty": {"model": linear, "l2_penalty": 100.0},
        "lightgbm": {"model": "lightgbm", **boosted},
        "lightgbm, small trees": {"model": "lightgbm", "min_samples_leaf": 10, **boosted, **_SMALL},
        "lightgbm, large trees": {"model": "lightgbm", "min_samples_leaf": 5, **boosted, **_LARGE},
        "hist_gradient_boosting": {"model": "hist_gradient_boosting", **boosted},
        "random_forest": {"model": "random_forest", "max_features": some, **_FOREST},
        "extra_trees": {"model": "extra_trees", **_FOREST},
    }
    unfit: tuple[str, ...] = ("random_forest", "extra_trees") if rows > _MANY_ROWS else ()
    unfit += (linear,) if params.monotone else ()  # it can't keep to constraints
    return {name: settings for name, settings in found.items() if settings["model"] not in unfit}


def choose(train: pd.DataFrame, contract: Contract, split: Split, params: Params) -> list[Candidate]:
    """Cross-validate the candidates on the training rows; return them with weights, the best first.

    The folds follow the split, on at most `folds.MOST_ROWS` rows. A candidate's score is the mean of the main metric
    over the folds; the weights give the least log loss or mean squared error of all out-of-fold predictions.

    Raises UserError if the training rows give fewer than two folds.
    """
    wanted = _FOLDS if len(train) <= _MANY_ROWS else _FEWER_FOLDS
    rows, drawn = folds.draw_folds(train, contract, split, params, wanted)
    if len(drawn) < _FEWEST:
        problem = f"the {len(train):,} training rows don't give two folds with two classes each"
        raise UserError(f"params.yaml: model: auto chooses by cross-validation, and {problem}; name a model")
    trial = _Trial(rows, drawn, contract, split, params, len(train))
    found, predictions = [], []
    tried = candidates(contract, params, len(train))
    for name, settings in track(tried.items(), len(tried), "candidate"):
        candidate, predicted = trial.run(name, settings)
        log(f"{name}: {main_metric(contract.task)} {candidate.score:.4f}")
        found.append(candidate)
        predictions.append(predicted)
    weights = weigh(predictions, trial.loss)
    weighted = [each.model_copy(update={"weight": weight}) for each, weight in zip(found, weights, strict=True)]
    return sorted(weighted, key=lambda each: -each.score)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Training rows with folds, on which candidates are compared."""

    rows: pd.DataFrame
    folds: list[Fold]
    contract: Contract
    split: Split
    params: Params
    size: int

    def run(self, name: str, settings: Settings) -> tuple[Candidate, Floats]:
        """Cross-validate a candidate; return it with its predictions of all folds' held-out rows.

        One that boosts gets the mean of the numbers of rounds that are best on each fold.
        """
        with fitting.controlled(), ThreadPoolExecutor(joblib.cpu_count()) as threads:
            if "early_stopping" in settings:
                rounds = [each for each in threads.map(partial(self._find_rounds, settings), self.folds) if each]
                settings = {key: value for key, value in settings.items() if key != "early_stopping"}
                settings |= {"n_estimators": round(float(np.mean(rounds)))} if rounds else {}
            scores = list(threads.map(partial(self._score, settings), self.folds))
        held_out = (self.rows.iloc[places] for _, places in self.folds)
        pairs = zip(held_out, scores, strict=True)
        outcomes = [folds.to_outcome(self.contract, rows, each) for rows, each in pairs]
        found = iter(folds.summarise(outcomes, self.contract.task).values())
        score, deviation, predictions = next(found, 0.0), next(found, 0.0), np.concatenate(scores)
        loss = self.loss(predictions)
        return Candidate(name=name, settings=settings, score=score, deviation=deviation, loss=loss), predictions

    def _find_rounds(self, settings: Settings, fold: Fold) -> int | None:
        return stopping.find_rounds(self.rows, fold, self.contract, apply(self.params, settings), self.size)

    def _score(self, settings: Settings, fold: Fold) -> Floats:
        params = apply(self.params, settings)
        return folds.score_fold(self.rows, fold, self.contract, self.split, params, size=self.size)

    def loss(self, predictions: Floats) -> float:
        """Return the mean log loss or squared error of predictions of the held-out rows, weighted as in a fit."""
        rows = self.rows.iloc[np.concatenate([held_out for _, held_out in self.folds])]
        y_true = rows[self.contract.target]
        weights = stopping.held_out_weights(rows, self.contract, self.params)
        if self.contract.classes:
            places = pd.Index(self.contract.classes).get_indexer(pd.Index(y_true))
            true = predictions[np.arange(len(rows)), places]
            losses = -np.log(np.maximum(true, np.finfo(np.float64).eps))
        else:
            losses = (predictions - y_true.to_numpy(np.float64)) ** 2
        return float(f"{np.average(losses, weights=weights):.{_DIGITS}g}")


def weigh(predictions: Sequence[Floats], loss: Callable[[Floats], float]) -> list[float]:
    """Return the weights of the average with the least loss, or 1 for the best one if that is nearly as good.

    Starting from nothing, the prediction that lowers the loss of the average most is added, again and again.
    """
    singles = [loss(each) for each in predictions]
    counts, total = np.zeros(len(predictions)), np.zeros_like(predictions[0])
    best, least = np.eye(len(predictions))[int(np.argmin(singles))], min(singles) * (1 - _LEAST_GAIN)
    for step in range(1, _STEPS + 1):
        losses = [loss((total + each) / step) for each in predictions]
        place = int(np.argmin(losses))
        counts[place] += 1
        total = total + predictions[place]
        if losses[place] < least:
            best, least = counts / step, losses[place]
    return [round(float(each), 6) for each in best]
