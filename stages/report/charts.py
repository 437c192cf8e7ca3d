"""The charts of metrics/plots: which there are, and what each shows."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from stages.report import drawing
from stages.report.svg import COLOURS, INK, draw

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of the page."""

    name: str
    title: str
    caption: str
    svg: str

    def standalone(self) -> str:
        """Return the picture as a file of its own, in the light colours."""
        return self.svg.replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" style="{COLOURS}" ', 1) + "\n"


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    caption: str
    draw: Callable[[Axes, pd.DataFrame], None]
    size: Callable[[pd.DataFrame], tuple[float, float]] = lambda _: (4.2, 3.1)
    table: str = ""
    """Of metrics/plots, if it isn't the chart's name."""


def draw_charts(tables: Tables, threshold: float | None = None) -> dict[str, Chart]:
    """Return the charts whose tables have rows, by name; call it in `svg.style`.

    `threshold` is the one of the decisions, which is marked.
    """
    found = {}
    for name, kind in _KINDS.items():
        table = tables.get(kind.table or name, pd.DataFrame())
        if kind.table == "coverage" and len(table):
            table = table[(table["by"] == "time") == (name == "coverage_over_time")]
            table = table.groupby("level").head(drawing.MOST_BARS + 4)
        if len(table):
            mark = threshold if name in ("thresholds", "costs") else None
            found[name] = Chart(name, kind.title, kind.caption, _draw(kind, table, mark))
    dependence = tables.get("dependence", pd.DataFrame(columns=["class"]))
    for number, (feature, curve) in enumerate(dependence.groupby("class", sort=False), 1):
        title = f"Dependence on {drawing.shorten(feature)}"
        picture = draw(title, lambda axes, curve=curve: drawing.dependence(axes, curve), 4.2, 2.6)  # type: ignore[misc]
        found[f"dependence_{number}"] = Chart(f"dependence_{number}", title, "", picture)
    return found


def draw_drift(indices: dict[str, float], limit: float) -> Chart | None:
    """Draw the population stability index of the features that drift most; None if there is no feature."""
    most = sorted(indices.items(), key=lambda each: -each[1])[: drawing.MOST_BARS]
    if not most:
        return None
    table = pd.DataFrame(most, columns=["feature", "index"])
    bars = drawing.bars("index", "feature", "population stability index")

    def axes_of(axes: Axes) -> None:
        bars(axes, table)
        axes.axvline(limit, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))

    title = "Drift from training to test rows"
    caption = f"Right of the dashed line, at {limit:g}, the service would raise an alert."
    return Chart("drift", title, caption, draw(title, axes_of, *drawing.as_tall_as_bars(table)))


def _draw(kind: _Kind, table: pd.DataFrame, mark: float | None) -> str:
    def axes_of(axes: Axes) -> None:
        if mark is not None:
            axes.axvline(
                mark, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label=f"threshold {drawing.figures(mark)}"
            )
        kind.draw(axes, table)

    return draw(kind.title, axes_of, *kind.size(table))


_KINDS = {
    "roc": _Kind(
        "ROC curve",
        "Share of positive rows found against the share of other rows that are called positive too, for every "
        "threshold. The dashed line is chance.",
        drawing.curves("fpr", "tpr", ("false positive rate", "true positive rate"), diagonal=True),
    ),
    "precision_recall": _Kind(
        "Precision and recall",
        "How many of the rows that are called positive are right, against how many of the positive rows are found.",
        drawing.curves("recall", "precision", ("recall", "precision")),
    ),
    "calibration": _Kind(
        "Calibration",
        "What happened, against what was predicted, in ten groups of about equal size. On the dashed line, both agree.",
        drawing.calibration,
    ),
    "scores": _Kind("Predictions", "How the predictions of the test rows are distributed.", drawing.histogram),
    "predicted_actual": _Kind(
        "Predicted and actual values",
        "Up to 1,000 test rows. On the line, the prediction is right.",
        drawing.points("predicted", "actual", ("predicted", "actual"), diagonal=True),
    ),
    "residuals": _Kind(
        "Residuals",
        "Actual minus predicted value of up to 1,000 test rows.",
        drawing.points("predicted", "residual", ("predicted", "residual"), diagonal=False),
    ),
    "residual_histogram": _Kind(
        "Distribution of the residuals", "Of the same rows.", drawing.residual_histogram, table="residuals"
    ),
    "confusion": _Kind(
        "Confusion matrix",
        "Test rows by actual and predicted class, with the share of the actual class.",
        drawing.confusion,
        drawing.square,
    ),
    "thresholds": _Kind(
        "Thresholds",
        "What other thresholds would give: how many of the positive rows are found, how many of those called positive "
        "are right, and how many are called positive.",
        drawing.curves("threshold", "share", ("threshold", "share")),
    ),
    "costs": _Kind(
        "Cost by threshold",
        "What 1,000 test rows would cost with other thresholds.",
        drawing.curves("threshold", "cost", ("threshold", "cost of 1,000 rows")),
    ),
    "lift": _Kind(
        "Lift",
        "How many times more positive rows there are among the rows with the highest predictions than among all.",
        drawing.lift,
    ),
    "candidates": _Kind(
        "Candidates of model: auto",
        "The score of each on folds of the training rows.",
        drawing.bars("score", "candidate", "cross-validated score"),
        drawing.as_tall_as_bars,
    ),
    "rounds": _Kind(
        "Learning curve",
        "The loss after each round (log loss, or the root of the mean squared error), of models that are fitted on "
        "folds of the training rows. Where that of held-out rows rises, fewer rounds or smaller trees do better; where "
        "it still falls, more rounds do.",
        drawing.curves("round", "loss", ("rounds", "loss")),
    ),
    "importance": _Kind(
        "Permutation importance",
        "How much worse the predictions get when the column is shuffled.",
        drawing.bars("importance", "feature", "rise of the loss"),
        drawing.as_tall_as_bars,
    ),
    "contributions": _Kind(
        "Contributions",
        "How far a column moves the prediction of a row, up or down, on average (mean absolute SHAP value).",
        drawing.bars("contribution", "feature", "mean contribution"),
        drawing.as_tall_as_bars,
    ),
    "interactions": _Kind(
        "Interactions",
        "What two columns do together beyond the sum of their single effects, in the unit of the prediction "
        "(Friedman and Popescu's H statistic before it is divided).",
        drawing.bars("interaction", "pair", "effect on the prediction"),
        drawing.as_tall_as_bars,
    ),
    "coverage": _Kind(
        "Coverage",
        "How many of the test rows have their truth inside the service's interval or set, with 95 % intervals; "
        "the dashed line is what was wanted.",
        drawing.coverage,
        lambda table: (4.6, 0.9 + 0.25 * table["part"].nunique()),
        table="coverage",
    ),
    "coverage_over_time": _Kind(
        "Coverage over time",
        "The dashed lines are what was wanted. Coverage that falls says that the rows change.",
        drawing.coverage_over_time,
        table="coverage",
    ),
}
