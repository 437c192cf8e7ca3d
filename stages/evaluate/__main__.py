"""Score the exported ONNX file with the service's own code.

Example: dvc repro evaluate
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from service import memory
from service.model import Model, load
from stages import files
from stages.entry import log, run
from stages.errors import UserError
from stages.estimators import folds, out_of_fold
from stages.estimators.out_of_fold import OutOfFold
from stages.estimators.sample import read_sample
from stages.evaluate.calibration import ServedCalibration, metrics_before, read_calibration
from stages.evaluate.card import Facts, card
from stages.evaluate.contributions import explain_rows
from stages.evaluate.coverage import apply_levels, describe_coverage, describe_levels, find_parts
from stages.evaluate.groups import compute_groups, worst_differences
from stages.evaluate.importance import compute_importance
from stages.evaluate.interactions import compute_interactions
from stages.evaluate.plots import plot_candidates, plot_contributions, plot_rounds, plots, uncalibrated_curves
from stages.evaluate.slices import compute_slices, describe_worst, neighbours_correlation
from stages.evaluate.spreadsheet import write_csv
from stages.evaluate.threshold import DEFAULT, choose
from stages.evaluate.worst import find_worst
from stages.features.parts import Parts, cut
from stages.params.choice import apply_choice, read_candidates
from stages.params.costs import cost_matrix, errors_beyond
from stages.params.loading import load_params
from stages.params.params import Params
from stages.params.sample_use import read_sample_use
from stages.partitions.executors import Spread
from stages.partitions.served import Served
from stages.partitions.served import score as score_rows
from stages.progress import timed
from stages.schema import Schema, Split, read_schema
from stages.scores.calibration import calibration_metrics
from stages.scores.costs import cost_metrics
from stages.scores.gate import main_metric
from stages.scores.intervals import intervals
from stages.scores.metrics import Classified, Outcome, Predicted, Scores, classified_at, rounded, score
from stages.scores.units import Units, units_of
from stages.scores.wording import with_interval
from stages.stored import StoredTable, Table


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables behind the metrics."""

    slices: pd.DataFrame
    importance: pd.DataFrame
    groups: pd.DataFrame
    plots: dict[str, pd.DataFrame]
    """By the file's name in metrics/plots, without .csv."""
    correlation: float | None
    """Of neighbouring units' influence on the slices' metric; None if the units have no order."""


def evaluate(  # noqa: PLR0913  # what it scores, and with what
    served: Model | Served,
    train_target: pd.Series,
    rows: Table,
    params: Params,
    units: Units | None = None,
    *,
    parts: Parts | None = None,
    split: Split | None = None,
    spread: Spread | None = None,
) -> tuple[dict[str, float], Tables]:
    """Return the metrics of the test rows `rows`, with intervals, and the tables behind them.

    `units` are the independent units of the rows; None means that each row is one. The threshold
    of a binary model is `evaluate.threshold`, or 0.5 if that is still `auto`. With `parts`, the
    importance has derived features too; with `split` by time, coverage is over time too.

    Raises UserError if the model's predictions are not finite.
    """
    served = Served.of(served)
    model, seed = served.model, params.random_state
    contract = model.contract
    threshold = DEFAULT if params.evaluate.threshold == "auto" else params.evaluate.threshold
    units = units or Units("row", np.arange(len(rows)))
    costs = cost_matrix(params.evaluate.costs, contract) if params.evaluate.costs else None
    scores = score_rows(served, rows, spread)
    _check_finite(scores)
    scored = _outcome(model, rows[contract.target], scores, threshold)
    found = score(scored) | intervals(scored, units, seed, spread)
    found |= {f"baseline_{name}": value for name, value in score(_baseline(scored, train_target)).items()}
    if contract.task == "binary":
        found["threshold"] = threshold
    if isinstance(scored, Classified):
        found |= calibration_metrics(scored, units)
        if costs is not None:
            found |= cost_metrics(scored, costs, train_target, units, seed)
    importance = compute_importance(model, rows, seed, parts)
    slices = compute_slices(scored, contract, rows, units, spread)
    groups = compute_groups(scored, contract, rows, params.evaluate.groups, units)
    found |= worst_differences(groups)
    correlation = neighbours_correlation(scored, units)
    split = split or Split(method="random", column=None)
    levels, coverage_parts = apply_levels(model, scores, scored), find_parts(scored, split, rows)
    coverage, covered = describe_coverage(levels, coverage_parts, units, seed)
    drawn = plots(scored, importance, covered, costs)
    if params.evaluate.worst_rows:
        names = {feature.name for feature in contract.features}
        features = [name for name in importance["feature"] if name in names]
        drawn["worst"] = find_worst(scored, rows, features, params.evaluate.worst_rows)
    return rounded(found | coverage), Tables(slices, importance, groups, drawn, correlation)


def _outcome(model: Model, y_true: pd.Series, scores: Scores, threshold: float) -> Outcome:
    if model.contract.classes:
        return classified_at(model.contract, y_true, scores, model.places(scores, threshold))
    return Predicted(y_true.to_numpy(np.float64), scores.astype(np.float64))


def _check_finite(scores: Scores) -> None:
    wrong = ~np.isfinite(scores).reshape(len(scores), -1).all(axis=1)
    if wrong.any():
        raise UserError(
            f"{files.ONNX}: test row {int(wrong.argmax())}: the prediction is {scores[wrong][0]}; "
            "the target's values are too large for float32: use a smaller unit, or another model"
        )


def _baseline(of: Outcome, train_target: pd.Series) -> Outcome:
    """Return what scikit-learn's dummies predict: the most frequent class and the classes' shares, or the mean."""
    rows = len(of.y_true)
    if isinstance(of, Predicted):
        return Predicted(of.y_true, np.full(rows, train_target.astype(np.float64).mean()))
    shares = np.array([(train_target == label).mean() for label in of.labels])
    return Classified(of.labels, of.positive, of.y_true, np.tile(shares, (rows, 1)), np.full(rows, shares.argmax()))


def cross_validate(
    train: pd.DataFrame,
    schema: Schema,
    params: Params,
    predicted: OutOfFold,
    calibration: ServedCalibration | None = None,
) -> tuple[dict[str, float], Params]:
    """Return the scores of out-of-fold predictions, and `params` with the threshold chosen if it is auto.

    The predictions are calibrated by `calibration`, so that the threshold fits the served probabilities.

    Raises UserError if `evaluate.costs` doesn't fit the target.
    """
    task = schema.contract.task
    matrix = cost_matrix(params.evaluate.costs, schema.contract) if params.evaluate.costs else None
    automatic = _chooses_threshold(params, schema)
    if not (params.evaluate.folds or automatic):
        return {}, params
    if automatic and not params.evaluate.folds and not params.calibration:  # the train stage made none
        predicted = out_of_fold.predict(train, schema.contract, schema.split, params)
    outcomes = predicted.outcomes(train, schema.contract)
    outcomes = [calibration.apply(each) for each in outcomes] if calibration else outcomes
    scores = folds.summarise(outcomes, task) if params.evaluate.folds else {}
    if not automatic:
        return scores, params
    positive = schema.contract.classes.index(schema.contract.positive)
    chosen = {"threshold": choose(outcomes, None if matrix is None else errors_beyond(matrix, positive))}
    return scores, params.model_copy(update={"evaluate": params.evaluate.model_copy(update=chosen)})


def _read_predicted(params: Params, schema: Schema) -> tuple[OutOfFold, pd.DataFrame]:
    """Return the out-of-fold predictions with their rows; without any, the rows to predict for a threshold."""
    predicted, rows = out_of_fold.read_with_rows(files.OUT_OF_FOLD, StoredTable(files.TRAIN))
    if len(rows) or not _chooses_threshold(params, schema):
        return predicted, rows
    return predicted, read_sample(files.TRAIN, params).rows


def _read_target(path: Path, schema: Schema) -> pd.Series:
    """Return the target of all rows; names of classes as categories, which are small."""
    target = StoredTable(path)[schema.contract.target]
    return target.astype("category") if schema.contract.classes else target


def _chooses_threshold(params: Params, schema: Schema) -> bool:
    return schema.contract.task == "binary" and params.evaluate.threshold == "auto"


def main() -> None:
    """Read the ONNX file and the rows; write metrics, slices, plots and the model card."""
    memory.return_large_blocks()  # of many rows, 10 % less memory; no slower
    params, schema, model = load_params(), read_schema(), load(files.ONNX)
    served = Served(files.ONNX.read_bytes(), model)
    rows, spread = StoredTable(files.TEST), Spread.of_environment()
    units = units_of(schema.split, rows)
    calibration = read_calibration(files.ONNX.read_bytes())
    candidates = read_candidates()
    predicted, train = _read_predicted(params, schema)
    scores, decided = cross_validate(train, schema, apply_choice(params, candidates), predicted, calibration)
    del train
    target = _read_target(files.TRAIN, schema)
    parts = cut(model, files.ONNX.read_bytes()) if schema.contract.derived else None
    with timed(f"scoring {len(rows):,} rows, intervals over {units.count:,} {units.plural}"):
        found, tables = evaluate(served, target, rows, decided, units, parts=parts, split=schema.split, spread=spread)
    found |= rounded(scores)
    if calibration:
        before = calibration.outcome_before(schema.contract, rows)
        found |= rounded(metrics_before(before, units))
        tables.plots["calibration"] = pd.concat([tables.plots["calibration"], uncalibrated_curves(before)])
    contributions = explain_rows(served, rows, found.get("threshold", DEFAULT), spread)
    together = compute_interactions(model, rows, contributions.means()["feature"].tolist())
    tables.plots.update(
        plot_contributions(contributions, together) | plot_candidates(candidates) | plot_rounds(predicted.rounds)
    )
    about = (
        schema,
        params,
        found,
        tables.slices,
        tables.importance,
        target,
        _read_target(files.TEST, schema),
        units,
        tables.groups,
    )
    facts = Facts(
        *about, tables.correlation, contributions.means(), tables.plots["coverage"], candidates, read_sample_use()
    )
    counted = found | {"interval_unit": units.name, "interval_units": units.count}
    _write(counted, tables, card(facts))
    for line in [
        *_describe(counted, schema, params, units, tables),
        *describe_levels(found, model, params, schema.split),
    ]:
        log(line)


def _describe(found: dict[str, Any], schema: Schema, params: Params, units: Units, tables: Tables) -> Iterator[str]:
    name = main_metric(schema.contract.task)
    yield f"{name} {with_interval(found, name)}, baseline {with_interval(found, f'baseline_{name}')}"
    if f"cv_{name}" in found:
        yield f"cv_{name} {found[f'cv_{name}']:.4f}, compare models by this: it uses only training rows"
    elif params.evaluate.folds:
        yield f"no cv_{name}: fewer than two folds of the training rows define it"
    if units.too_few:
        yield f"no intervals: {units.too_few}"
    yield from describe_worst(tables.slices)


def _write(found: dict[str, Any], tables: Tables, text: str) -> None:
    files.write_json(files.METRICS, dict(sorted(found.items())))
    write_csv(files.SLICES, tables.slices)
    write_csv(files.GROUPS, tables.groups)
    for name, table in tables.plots.items():
        write_csv(files.PLOTS / f"{name}.csv", table)
    files.write_text(files.CARD, text)


if __name__ == "__main__":
    run(main)
