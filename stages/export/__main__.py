"""Convert the fitted pipeline to the ONNX file that production runs, and compare both on every test row.

Example: dvc repro export
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd
from sklearn.pipeline import Pipeline

from service.contract import BACKGROUND_KEY, COSTS_KEY, COVERAGE_KEY, METADATA_KEY, SCORE_BINS_KEY, Contract, ScoreBins
from service.model import ArtifactError, Model, from_bytes
from service.shapley import to_text
from stages import files
from stages.bins import find_edges, shares
from stages.entry import log, run, timed
from stages.errors import UserError
from stages.estimators import out_of_fold
from stages.estimators.calibrators import CalibratedClassifier
from stages.export.background import draw_background
from stages.export.coverage import describe_coverage
from stages.export.graph import convert
from stages.params.costs import cost_matrix
from stages.params.loading import load_params
from stages.params.sections import Costs
from stages.schema import read_schema

TOLERANCE = 1e-5
"""Largest relative difference between the file's scores and scikit-learn's."""
_SMALLEST = 1e-6
"""Scores are compared relative to themselves, or to this share of the largest score if they are smaller."""
_RESOLUTION = 2.0**-22
"""Two probabilities of scikit-learn that differ by less are equal: four steps of float32."""
_ROWS_AT_ONCE = 16_384
_TRAINING_ROWS = 50_000
"""At most this many training rows are scored for the score bins."""

Scores = npt.NDArray[np.floating[Any]]


def export(pipeline: Pipeline, contract: Contract, **metadata: str) -> bytes:
    """Return the ONNX file of every step after `encode`, with the contract and `metadata` as its metadata.

    Raises UserError if the model is too large for an ONNX file, ValueError if its classes
    are not the contract's.
    """
    learnt = pipeline.classes_.tolist() if contract.classes else []
    if learnt != list(contract.classes):  # in another order, the probabilities would be mixed up
        raise ValueError(f"the model has the classes {learnt}, the contract {contract.classes}")
    graph = convert(pipeline, contract)
    onnx.helper.set_model_props(graph, {METADATA_KEY: contract.model_dump_json(), **metadata})
    return bytes(graph.SerializeToString(deterministic=True))


def score_bins(contract: Contract, tested: Scores, trained: Scores) -> ScoreBins:
    """Count the scores of test and training rows in the test rows' quantile bins."""
    test, train = _drift_scores(contract, tested), _drift_scores(contract, trained)
    edges = find_edges(test)
    return ScoreBins(
        edges=tuple(float(edge) for edge in edges), shares=shares(edges, test), training_shares=shares(edges, train)
    )


def describe(model: Model, train: pd.DataFrame, tested: Scores) -> dict[str, str]:
    """Return what the service needs beside the contract, as metadata: score bins and background rows."""
    contract = model.contract
    bins = score_bins(contract, tested, score(model, _sample(train)))
    background = draw_background(train, contract, lambda rows: _drift_scores(contract, model.scores(rows)))
    return {SCORE_BINS_KEY: bins.model_dump_json(), BACKGROUND_KEY: to_text(background)}


def decision_costs(costs: Costs | None, contract: Contract) -> dict[str, str]:
    """Return the costs as metadata, by which the service chooses among more than two classes.

    For two classes the threshold does that.
    """
    if costs is None or contract.task == "binary":
        return {}
    return {COSTS_KEY: json.dumps(cost_matrix(costs, contract).tolist())}


def _drift_scores(contract: Contract, scores: Scores) -> Scores:
    """Return each row's score for drift, shape (rows,): of the positive class, the highest, or the value."""
    if contract.task == "binary" and contract.positive is not None:
        return scores[:, contract.classes.index(contract.positive)]
    return scores.max(axis=1) if contract.task == "multiclass" else scores


def score(model: Model, rows: pd.DataFrame) -> Scores:
    """Return the file's scores of `rows`: probabilities (rows, classes) or values (rows,)."""
    return _in_batches(lambda batch: model.scores(model.contract.encode(batch)), rows)


def compare(pipeline: Pipeline, model: Model, rows: pd.DataFrame, scores: Scores) -> tuple[float, int]:
    """Compare the file's `scores` of `rows` with scikit-learn's.

    Return the largest relative difference, and the number of rows whose two best classes are equally probable,
    so that either label is right.

    Raises UserError with the row and both results if they differ by more than `TOLERANCE`, or in a label.
    """
    predict = pipeline.predict_proba if model.contract.classes else pipeline.predict
    expected = _in_batches(predict, rows)
    # skl2onnx's operators and XGBoost compute in single precision, so that scores differ by a share of the largest, and
    # a steep calibration multiplies their last bit.
    calibrated = isinstance(pipeline.steps[-1][1], CalibratedClassifier)
    smallest = 1.0 if calibrated or "double" in pipeline.named_steps else _SMALLEST
    scale = np.maximum(np.abs(expected), np.abs(expected).max() * smallest)
    difference = np.abs(scores - expected) / np.maximum(scale, np.finfo(np.float32).tiny)
    by_row = difference.reshape(len(rows), -1).max(axis=1)
    worst = int(np.where(np.isnan(by_row), np.inf, by_row).argmax())
    if not by_row[worst] <= TOLERANCE:
        raise _refusal(worst, scores[worst].tolist(), expected[worst].tolist())
    return float(by_row[worst]), _check_labels(model, scores, expected) if model.contract.classes else 0


def _check_labels(model: Model, scores: Scores, expected: Scores) -> int:
    found = np.asarray(model.labels(scores.astype(np.float32), 0.5))
    wanted = np.asarray(model.labels(expected.astype(np.float32), 0.5))
    best = np.sort(expected, axis=1)[:, -2:]
    ties = best[:, 1] - best[:, 0] < _RESOLUTION
    wrong = (found != wanted) & ~ties
    if wrong.any():
        row = int(wrong.argmax())
        raise _refusal(row, found[row].item(), wanted[row].item())
    return int(ties.sum())


def _refusal(row: int, found: object, expected: object) -> UserError:
    return UserError(
        f"{files.TEST}: row {row + 1}: ONNX gives {found}, scikit-learn {expected}; no file is written: "
        "choose another model in params.yaml, and report this with the row"
    )


def _in_batches(predict: Callable[[pd.DataFrame], Scores], rows: pd.DataFrame) -> Scores:
    """Predict batches of rows on all cores, so that memory is needed only for these; keep the rows' order."""

    def batch(start: int) -> Scores:
        # scikit-learn looks for infinities by a sum, which overflows where numbers near the ends of float32 meet.
        with np.errstate(over="ignore", invalid="ignore"):
            return predict(rows.iloc[start : start + _ROWS_AT_ONCE])

    with ThreadPoolExecutor(joblib.cpu_count()) as threads:
        return np.concatenate(list(threads.map(batch, range(0, len(rows), _ROWS_AT_ONCE))))


def _sample(rows: pd.DataFrame) -> pd.DataFrame:
    """Return every n-th row, at most `_TRAINING_ROWS`."""
    return rows.iloc[:: -(-len(rows) // _TRAINING_ROWS)]


def load_exported(content: bytes) -> Model:
    """Load the file as the service does. Raises UserError if it can't be served."""
    try:
        return from_bytes(content, "the converted model", "choose another model in params.yaml")
    except ArtifactError as error:
        raise UserError(str(error)) from error


def has_learnt_nothing(scores: Scores) -> bool:
    """Return whether all rows have the same scores, as from LightGBM with fewer than two times 20 rows."""
    return bool((scores == scores[0]).all())


def main() -> None:
    """Read the pipeline; write the ONNX file if both agree on every test row."""
    params, schema, pipeline = load_params(), read_schema(), joblib.load(files.MODEL)
    contract = schema.contract
    rows, train = pd.read_parquet(files.TEST), pd.read_parquet(files.TRAIN)
    with timed("converting to ONNX"):
        model = load_exported(export(pipeline, contract))
    with timed(f"comparing {len(rows):,} test rows with scikit-learn"):
        scores = score(model, rows)
        worst, ties = compare(pipeline, model, rows, scores)
    with timed("drawing background rows for explanations"):
        about = describe(model, train, scores) | decision_costs(params.evaluate.costs, contract)
    coverage = describe_coverage(out_of_fold.read(files.OUT_OF_FOLD), train, contract, schema.split, params)
    if coverage:
        about[COVERAGE_KEY] = coverage.model_dump_json()
    with files.replacing(files.ONNX) as beside:
        beside.write_bytes(export(pipeline, contract, **about))
    tied = f"; {ties:,} have two equally probable classes" if ties else ""
    log(f"agrees with scikit-learn on {len(rows):,} test rows, largest relative difference {worst:.1e}{tied}")
    if params.model != "dummy" and has_learnt_nothing(scores):
        log("check this: the model gives every test row the same answer; with few rows, lower min_samples_leaf")


if __name__ == "__main__":
    run(main)
