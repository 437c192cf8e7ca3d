"""Score the exported file through the code that the service runs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

import service.model
from stages import files
from stages.entry import log, run, timed
from stages.errors import UserError
from stages.estimators import folds
from stages.evaluate import card
from stages.evaluate import importance as _importance
from stages.evaluate import plots as _plots
from stages.evaluate import slices as _slices
from stages.evaluate import threshold as _threshold
from stages.evaluate.spreadsheet import write_csv
from stages.params import Params, load_params
from stages.schema import Schema
from stages.scores import intervals, metrics
from stages.scores import units as _units
from stages.scores.main_metric import main_metric
from stages.scores.metrics import Classified, Predicted
from stages.scores.units import Units


@dataclass(frozen=True, slots=True)
class Tables:
    """What stands behind the metrics."""

    slices: pd.DataFrame
    importance: pd.DataFrame
    plots: dict[str, pd.DataFrame]
    """By the name of the file in metrics/plots."""
    likeness: float | None
    """The correlation of neighbouring units' influence on the slices' metric; None where they have no order."""


def evaluate(
    model: service.model.Model,
    train_target: pd.Series,
    rows: pd.DataFrame,
    params: Params,
    units: Units | None = None,
) -> tuple[dict[str, float], Tables]:
    """Return the metrics of the test rows `rows`, with intervals, and the tables behind them.

    `units` are the independent units of the rows; None stands for the rows themselves. The
    threshold of a binary model is `evaluate.threshold`, or 0.5 if that is still `auto`.

    Raises UserError if the model's predictions are not finite.
    """
    contract = model.contract
    threshold = _threshold.DEFAULT if params.evaluate.threshold == "auto" else params.evaluate.threshold
    units = units or Units("row", np.arange(len(rows)))
    matrix = contract.encode(rows)
    outcome = _outcome(model, rows, model.scores(matrix), threshold)
    found = metrics.score(outcome)
    found |= intervals.intervals(outcome, units, params.random_state)
    found |= {f"baseline_{name}": value for name, value in metrics.score(_baseline(outcome, train_target)).items()}
    if contract.task == "binary":
        found["threshold"] = threshold
    importance = _importance.importance(model, matrix, rows[contract.target].to_numpy(), params.random_state)
    likeness = _slices.neighbours_correlation(outcome, units)
    slices = _slices.slices(outcome, contract, rows, units)
    return metrics.rounded(found), Tables(slices, importance, _plots.plots(outcome, importance), likeness)


def _outcome(
    model: service.model.Model, rows: pd.DataFrame, scores: metrics.Scores, threshold: float
) -> Classified | Predicted:
    y_true = rows[model.contract.target].to_numpy()
    wrong = ~np.isfinite(scores).reshape(len(scores), -1).all(axis=1)
    if wrong.any():
        raise UserError(
            f"{files.ONNX}: test row {int(wrong.argmax())}: the prediction is {scores[wrong][0]}; "
            "the target's values are too large for float32: use a smaller unit, or another model"
        )
    if not model.contract.classes:
        return Predicted(y_true.astype(np.float64), scores.astype(np.float64))
    return metrics.classified(model.contract, y_true, scores, model.labels(scores, threshold))


def _baseline(outcome: Classified | Predicted, train_target: pd.Series) -> Classified | Predicted:
    """What scikit-learn's dummies say: the most frequent class and the classes' shares, or the mean."""
    rows = len(outcome.y_true)
    if isinstance(outcome, Predicted):
        return Predicted(outcome.y_true, np.full(rows, train_target.astype(np.float64).mean()))
    shares = np.array([(train_target == label).mean() for label in outcome.labels])
    probabilities = np.tile(shares, (rows, 1))
    return Classified(
        outcome.labels, outcome.positive, outcome.y_true, probabilities, np.full(rows, int(shares.argmax()))
    )


def cross_validate(train: pd.DataFrame, schema: Schema, params: Params) -> tuple[dict[str, float], Params]:
    """Predict training rows out of fold; return the scores, and `params` with the threshold chosen if it is auto.

    Raises UserError if there are costs and more than two classes, or numbers.
    """
    task = schema.contract.task
    if params.evaluate.costs and task != "binary":
        raise UserError(f"params.yaml: evaluate.costs: is for a target of two classes, this one is {task}; use null")
    automatic = task == "binary" and params.evaluate.threshold == "auto"
    if not (params.evaluate.folds or automatic):
        return {}, params
    number = params.evaluate.folds or folds.DEFAULT
    with timed(f"predicting {min(len(train), folds.MOST_ROWS):,} training rows out of fold, {number} folds"):
        predicted = folds.predict_out_of_fold(train, schema.contract, schema.split, params)
    scores = predicted.scores(task) if params.evaluate.folds else {}
    if not automatic:
        return scores, params
    chosen = {"threshold": _threshold.choose(predicted, params.evaluate.costs)}
    return scores, params.model_copy(update={"evaluate": params.evaluate.model_copy(update=chosen)})


def main() -> None:
    """Read the artifact and the rows, write metrics, slices, plots and the model card."""
    params = load_params()
    schema = Schema.model_validate_json(files.SCHEMA.read_text(encoding="utf-8"))
    if params.evaluate.bootstrap is not None:
        log("evaluate.bootstrap has no effect any more, as intervals draw no resamples; delete it from params.yaml")
    model = service.model.load(files.ONNX)
    train, rows = pd.read_parquet(files.TRAIN), pd.read_parquet(files.TEST)
    units = _units.units(schema.split, rows)
    scores, decided = cross_validate(train, schema, params)
    target = train[schema.contract.target]
    with timed(f"scoring {len(rows):,} rows, intervals over {units.count:,} {units.plural}"):
        found, tables = evaluate(model, target, rows, decided, units)
    found = metrics.rounded(found | scores)
    facts = card.Facts(schema, params, found, tables.slices, tables.importance, target, rows, units, tables.likeness)
    _write(found, units, tables, facts)
    for line in _describe(found, schema, params, units, tables):
        log(line)


def _describe(found: dict[str, float], schema: Schema, params: Params, units: Units, tables: Tables) -> Iterator[str]:
    name = main_metric(schema.contract.task)
    yield f"{name} {found.get(name)}, baseline {found.get(f'baseline_{name}')}"
    if f"cv_{name}" in found:
        yield f"cv_{name} {found[f'cv_{name}']:.4f}, choose by this: it comes from training rows alone"
    elif params.evaluate.folds:
        yield f"no cv_{name}: the training rows allow no two folds that define it"
    if units.too_few:
        yield f"no intervals: {units.too_few}"
    yield from _slices.describe_worst(tables.slices)


def _write(found: dict[str, float], units: Units, tables: Tables, facts: card.Facts) -> None:
    counted = {"interval_unit": units.name, "interval_units": units.count}
    files.write_json(files.METRICS, dict(sorted((found | counted).items())))
    write_csv(files.SLICES, tables.slices)
    for name, table in tables.plots.items():
        write_csv(files.PLOTS / f"{name}.csv", table)
    files.write_text(files.CARD, card.card(facts))


if __name__ == "__main__":
    run(main)
