"""Score the exported file through the code that the service runs."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import metrics

import service.model
from service.contract import Contract
from stages import _files, _metrics, _params
from stages._entry import log, run, timed
from stages._params import Params

_CURVE_POINTS = 200


def evaluate(
    model: service.model.Model, train_target: pd.Series, rows: pd.DataFrame, params: Params
) -> tuple[dict[str, float], dict[str, pd.DataFrame]]:
    """Give metrics.json's flat object and the tables behind the plots."""
    contract = model.contract
    y_true = rows[contract.target].to_numpy()
    scores = model.scores(contract.encode(rows))
    labels = model.labels(scores, params.evaluate.threshold) if contract.classes else []
    found = _metrics.score(contract, y_true, scores, labels)
    found |= _interval(contract, y_true, scores, params)
    found |= {f"baseline_{name}": value for name, value in _baseline(model, train_target, y_true).items()}
    if contract.task == "binary":
        found["threshold"] = params.evaluate.threshold
    return _metrics.rounded(found), _plots(contract, y_true, scores, np.asarray(labels))


def _interval(
    contract: Contract, y_true: npt.NDArray[Any], scores: _metrics.Scores, params: Params
) -> dict[str, float]:
    def statistic(index: npt.NDArray[np.intp]) -> float | None:
        if contract.classes:
            return _metrics.roc_auc(list(contract.classes), y_true[index], scores[index])
        return float(metrics.r2_score(y_true[index], scores[index]))

    bounds = _metrics.bootstrap(statistic, len(y_true), params.evaluate.bootstrap, params.random_state)
    name = _metrics.main_metric(contract.task)
    return {f"{name}_low": bounds[0], f"{name}_high": bounds[1]} if bounds else {}


def _baseline(model: service.model.Model, train_target: pd.Series, y_true: npt.NDArray[Any]) -> dict[str, float]:
    contract = model.contract
    if not contract.classes:
        return _metrics.score(contract, y_true, np.full(len(y_true), train_target.mean()), [])
    prior = np.array([(train_target == label).mean() for label in contract.classes])
    scores = np.tile(prior, (len(y_true), 1))
    majority = contract.classes[int(prior.argmax())]
    return _metrics.score(contract, y_true, scores, [majority] * len(y_true))


def _plots(
    contract: Contract, y_true: npt.NDArray[Any], scores: _metrics.Scores, labels: npt.NDArray[Any]
) -> dict[str, pd.DataFrame]:
    if not contract.classes:
        order = np.linspace(0, len(y_true) - 1, min(len(y_true), 1000)).astype(int)
        return {"residuals": pd.DataFrame({"predicted": scores[order], "residual": (y_true - scores)[order]})}
    plots = {"confusion": pd.DataFrame({"actual": y_true.astype(str), "predicted": labels.astype(str)})}
    positive = y_true == contract.classes[1]
    if contract.task == "binary" and positive.any() and not positive.all():
        fpr, tpr, _ = metrics.roc_curve(positive, scores[:, 1])
        precision, recall, _ = metrics.precision_recall_curve(positive, scores[:, 1])
        plots["roc"] = _thin(pd.DataFrame({"fpr": fpr, "tpr": tpr}))
        plots["precision_recall"] = _thin(pd.DataFrame({"recall": recall, "precision": precision}))
    return plots


def _thin(curve: pd.DataFrame) -> pd.DataFrame:
    points = np.unique(np.linspace(0, len(curve) - 1, _CURVE_POINTS).astype(int))
    return curve.iloc[points].round(_metrics.DIGITS)


def main() -> None:
    """Read the artifact and the test rows, write metrics and plots."""
    params = _params.load(_files.PARAMS)
    model = service.model.load(_files.ONNX)
    target = pd.read_parquet(_files.TRAIN, columns=[model.contract.target])[model.contract.target]
    rows = pd.read_parquet(_files.TEST)
    with timed(f"scoring {len(rows):,} rows, {params.evaluate.bootstrap} resamples"):
        found, plots = evaluate(model, target, rows, params)
    _files.write_json(_files.METRICS, found)
    _files.PLOTS.mkdir(parents=True, exist_ok=True)
    for name, table in plots.items():
        _files.write_text(_files.PLOTS / f"{name}.csv", table.to_csv(index=False))
    name = _metrics.main_metric(model.contract.task)
    log(f"{name} {found.get(name)}, baseline {found.get(f'baseline_{name}')}")


if __name__ == "__main__":
    run(main)
