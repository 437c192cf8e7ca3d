"""Score the exported file through the code that the service runs."""

from dataclasses import dataclass

import joblib
import numpy as np
import pandas as pd

import service.model
from stages import _bootstrap, _card, _files, _importance, _metrics, _params, _plots, _slices, _threshold
from stages._entry import log, run, timed
from stages._errors import UserError
from stages._metrics import Classified, Predicted
from stages._params import Params
from stages._schema import Schema


@dataclass(frozen=True, slots=True)
class Tables:
    """What stands behind the metrics."""

    slices: pd.DataFrame
    importance: pd.DataFrame
    plots: dict[str, pd.DataFrame]
    """By the name of the file in metrics/plots."""


def evaluate(
    model: service.model.Model,
    train_target: pd.Series,
    rows: pd.DataFrame,
    params: Params,
    threshold: float | None = None,
) -> tuple[dict[str, float], Tables]:
    """Give metrics.json's flat object and the tables behind it.

    `rows` are the test rows. `threshold` is that of a binary model; None stands for
    `evaluate.threshold`, or for 0.5 if that is `auto`.

    Raises UserError if the model's predictions are not finite.
    """
    contract = model.contract
    if threshold is None:
        threshold = _threshold.DEFAULT if params.evaluate.threshold == "auto" else params.evaluate.threshold
    matrix = contract.encode(rows)
    outcome = _outcome(model, rows, model.scores(matrix), threshold)
    found = _metrics.score(outcome)
    found |= _bootstrap.intervals(outcome, params.evaluate.bootstrap, params.random_state)
    found |= {f"baseline_{name}": value for name, value in _metrics.score(_baseline(outcome, train_target)).items()}
    if contract.task == "binary":
        found["threshold"] = threshold
    importance = _importance.importance(model, matrix, rows[contract.target].to_numpy(), params.random_state)
    tables = Tables(_slices.slices(outcome, contract, rows), importance, _plots.plots(outcome, importance))
    return _metrics.rounded(found), tables


def _outcome(
    model: service.model.Model, rows: pd.DataFrame, scores: _metrics.Scores, threshold: float
) -> Classified | Predicted:
    y_true = rows[model.contract.target].to_numpy()
    wrong = ~np.isfinite(scores).reshape(len(scores), -1).all(axis=1)
    if wrong.any():
        raise UserError(
            f"{_files.ONNX}: test row {int(wrong.argmax())}: the prediction is {scores[wrong][0]}; "
            "the target's values are too large for float32: use a smaller unit, or another model"
        )
    if not model.contract.classes:
        return Predicted(y_true.astype(np.float64), scores.astype(np.float64))
    return _metrics.classified(model.contract, y_true, scores, model.labels(scores, threshold))


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


def _decide(params: Params, schema: Schema) -> float | None:
    """Give the threshold, chosen on the training rows if that is wished."""
    contract = schema.contract
    if contract.task != "binary" or params.evaluate.threshold != "auto":
        return None
    train = pd.read_parquet(_files.TRAIN)
    with timed(f"choosing the threshold on {min(len(train), _threshold.MOST_ROWS):,} training rows"):
        return _threshold.choose(joblib.load(_files.MODEL), train, contract, schema.split, params.random_state)


def main() -> None:
    """Read the artifact and the rows, write metrics, slices, plots and the model card."""
    params = _params.load(_files.PARAMS)
    schema = Schema.model_validate_json(_files.SCHEMA.read_text(encoding="utf-8"))
    model = service.model.load(_files.ONNX)
    target = pd.read_parquet(_files.TRAIN, columns=[model.contract.target])[model.contract.target]
    rows = pd.read_parquet(_files.TEST)
    threshold = _decide(params, schema)
    with timed(f"scoring {len(rows):,} rows, {params.evaluate.bootstrap} resamples"):
        found, tables = evaluate(model, target, rows, params, threshold)
    _write(found, tables, _card.Facts(schema, params, found, tables.slices, tables.importance, target, rows))
    name = _metrics.main_metric(model.contract.task)
    log(f"{name} {found.get(name)}, baseline {found.get(f'baseline_{name}')}")
    for line in _slices.told(tables.slices):
        log(line)


def _write(found: dict[str, float], tables: Tables, facts: _card.Facts) -> None:
    _files.write_json(_files.METRICS, found)
    _files.write_text(_files.SLICES, tables.slices.to_csv(index=False, lineterminator="\n"))
    for name, table in tables.plots.items():
        _files.write_text(_files.PLOTS / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    _files.write_text(_files.CARD, _card.card(facts))


if __name__ == "__main__":
    run(main)
