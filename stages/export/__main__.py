"""Convert the fitted pipeline to the ONNX file that production runs, and compare both on every test row.

Example: dvc repro export
"""

import json
from typing import TYPE_CHECKING

import joblib
import onnx

from service.contract import BACKGROUND_KEY, COSTS_KEY, COVERAGE_KEY, METADATA_KEY, SCORE_BINS_KEY, Contract, ScoreBins
from service.model import ArtifactError, Model, from_bytes
from service.shapley import to_text
from stages import files
from stages.bins import find_edges, shares
from stages.entry import log, run
from stages.errors import UserError
from stages.estimators import out_of_fold
from stages.export.background import draw_background
from stages.export.coverage import describe_coverage
from stages.export.graph import convert
from stages.export.parity import compare
from stages.params.costs import cost_matrix
from stages.params.loading import load_params
from stages.params.sections import Costs
from stages.partitions.executors import Spread
from stages.partitions.served import Scores, Served, score
from stages.progress import timed
from stages.schema import read_schema
from stages.stored import StoredTable, Table, every_nth

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_TRAINING_ROWS = 50_000
"""At most this many training rows are scored for the score bins."""


def export(pipeline: "Pipeline", contract: Contract, **metadata: str) -> bytes:
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


def describe(model: Model, train: Table, tested: Scores) -> dict[str, str]:
    """Return what the service needs beside the contract, as metadata: score bins and background rows."""
    contract = model.contract
    bins = score_bins(contract, tested, score(model, every_nth(train, _TRAINING_ROWS)))
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
    rows, train, spread = StoredTable(files.TEST), StoredTable(files.TRAIN), Spread.of_environment(joblib.cpu_count())
    with timed("converting to ONNX"):
        content = export(pipeline, contract)
        model = load_exported(content)
    with timed(f"comparing {len(rows):,} test rows with scikit-learn"):
        served = Served(content, model)
        scores = score(served, rows, spread)
        worst, ties = compare(pipeline, served, rows, scores, spread)
    with timed("drawing background rows for explanations"):
        about = describe(model, train, scores) | decision_costs(params.evaluate.costs, contract)
    coverage = describe_coverage(*out_of_fold.read_with_rows(files.OUT_OF_FOLD, train), contract, schema.split, params)
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
