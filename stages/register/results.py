"""Log an evaluation to MLflow: test plots, metrics, the rows behind them, and the model card as a description."""

import json
import warnings
from pathlib import Path

import matplotlib as mpl
import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_RUN_NOTE

from stages import files
from stages.params.params import Params

FOLDER = "test"
"""Folder of a run's artifacts for the plots and tables of test rows."""
_CURVES = {
    "roc": ("fpr", "tpr"),
    "precision_recall": ("recall", "precision"),
    "calibration": ("predicted", "actual"),
    "scores": ("score", "rows"),
    "dependence": ("share", "contribution"),
}
_POINTS = {"residuals": ("predicted", "residual"), "predicted_actual": ("predicted", "actual")}
_BARS = {"importance": ("importance", "feature"), "contributions": ("contribution", "feature")}
_AXES = _CURVES | _POINTS | _BARS
_LONGEST_TAG = 8_000
"""Characters that MLflow allows."""


def log_results(run_id: str, params: Params, rows: dict[str, int]) -> None:
    """Log what the evaluation wrote under metrics/; the model card is the run's description.

    `rows` are the numbers of ``training`` and ``test`` rows.
    """
    for path in (files.CARD, files.METRICS):
        mlflow.log_artifact(str(path))
    mlflow.log_artifacts(str(files.PLOTS), f"{FOLDER}/tables")
    for path in sorted(files.PLOTS.glob("*.csv")):
        figure = draw(path.stem, pd.read_csv(path, keep_default_na=False))
        if figure:
            log_figure(figure, f"{FOLDER}/{path.stem}.svg")
    table, paths = Path(params.data.path).name, {"training": files.TRAIN, "test": files.TEST}
    datasets = [_dataset(table, context, paths[context], number) for context, number in rows.items()]
    MlflowClient().log_inputs(run_id, datasets)
    mlflow.set_tag(MLFLOW_RUN_NOTE, files.CARD.read_text(encoding="utf-8")[:_LONGEST_TAG])


def log_figure(figure: Figure, path: str) -> None:
    """Log the figure as SVG with text, because the browser has fonts for signs that matplotlib's lacks."""
    with mpl.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        mlflow.log_figure(figure, path)


def draw(name: str, table: pd.DataFrame) -> Figure | None:
    """Draw a table of metrics/plots; return None if it has no rows or no chart is defined for it."""
    if table.empty or name not in _AXES:
        return None
    x, y = _AXES[name]
    figure = Figure(figsize=(5, 4), layout="constrained" if name in _BARS else None)  # makes room for long names
    axes = figure.subplots()
    if name in _CURVES:
        for label, curve in table.groupby("class", sort=False):
            axes.plot(curve[x], curve[y], label=_literal(label))
        axes.legend()
    elif name in _BARS:
        axes.barh([_literal(text) for text in table[y]][::-1], table[x][::-1])
    else:
        axes.scatter(table[x], table[y], s=4)
    axes.set(xlabel=x, ylabel=y, title=f"{name} of the test rows")
    return figure


def _literal(text: object) -> str:
    """Escape dollar signs, between which matplotlib would parse a formula."""
    return str(text).replace("$", r"\$")


def _dataset(name: str, context: str, path: Path, rows: int) -> DatasetInput:
    dataset = Dataset(
        name=name,
        digest=files.md5(path),
        source_type="local",
        source=json.dumps({"uri": str(path)}),
        profile=json.dumps({"num_rows": rows}),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)])
