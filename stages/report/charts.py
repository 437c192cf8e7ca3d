"""The charts of metrics/plots: what each shows, and how it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from stages.report.svg import INK, MUTED, SERIES, draw

_MOST_BARS = 20
_LONGEST = 28
_GROUPED, _EXPONENT = 1e3, 1e15
_MOST_CELLS = 12
"""Classes up to which each cell of the confusion matrix has its number."""

_UPRIGHT = 3
"""Classes up to which their names stand side by side."""

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of the page."""

    name: str
    """Of the table in metrics/plots."""
    title: str
    caption: str
    svg: str


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    caption: str
    draw: Callable[[Axes, pd.DataFrame], None]
    size: Callable[[pd.DataFrame], tuple[float, float]] = lambda _: (4.2, 3.1)


def draw_charts(tables: Tables) -> dict[str, Chart]:
    """Return the charts whose tables have rows, by the table's name; call it in `svg.style`."""
    return {
        name: Chart(name, kind.title, kind.caption, _draw(kind, tables[name]))
        for name, kind in _KINDS.items()
        if name in tables and not tables[name].empty
    }


def _draw(kind: _Kind, table: pd.DataFrame) -> str:
    return draw(kind.title, lambda axes: kind.draw(axes, table), *kind.size(table))


def shorten(name: object, longest: int = _LONGEST) -> str:
    """Cut a long name for a label of an axis."""
    text = str(name)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def figures(value: float) -> str:
    """Return a number with four significant digits and separators of thousands."""
    if not np.isfinite(value):
        return ""
    if abs(value) >= _GROUPED:
        return f"{value:,.0f}" if abs(value) < _EXPONENT else f"{value:.3e}"
    return f"{value:.4g}"


def _curves(x: str, y: str, labels: tuple[str, str], *, diagonal: bool = False) -> Callable[[Axes, pd.DataFrame], None]:
    def lines(axes: Axes, table: pd.DataFrame) -> None:
        if diagonal:
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        for name, curve in table.groupby("class", sort=False):
            axes.plot(curve[x], curve[y], label=shorten(name))
        axes.set(xlabel=labels[0], ylabel=labels[1])
        _legend(axes)

    return lines


def _legend(axes: Axes) -> None:
    lines, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        axes.legend(lines, names, fontsize=8)


def _calibration(axes: Axes, table: pd.DataFrame) -> None:
    ends = [float(table[["predicted", "actual"]].min().min()), float(table[["predicted", "actual"]].max().max())]
    axes.plot(ends, ends, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    for name, curve in table.groupby("class", sort=False):
        axes.plot(curve["predicted"], curve["actual"], marker="o", markersize=3.5, label=shorten(name))
    axes.set(xlabel="mean prediction", ylabel="what happened, on average")
    _legend(axes)


def _histogram(axes: Axes, table: pd.DataFrame) -> None:
    for number, (name, part) in enumerate(table.groupby("class", sort=False)):
        shares = part["rows"] / max(part["rows"].sum(), 1)
        axes.fill_between(part["score"], shares, step="mid", alpha=0.25, color=SERIES[number], linewidth=0)
        axes.step(part["score"], shares, where="mid", label=shorten(name), color=SERIES[number], linewidth=1.2)
    axes.set(xlabel="prediction", ylabel="share of the rows")
    axes.set_ylim(bottom=0)
    _legend(axes)


def _points(x: str, y: str, labels: tuple[str, str], *, diagonal: bool) -> Callable[[Axes, pd.DataFrame], None]:
    def scatter(axes: Axes, table: pd.DataFrame) -> None:
        axes.plot(table[x], table[y], linestyle="", marker=".", markersize=2.5, alpha=0.5)
        ends = [float(table[x].min()), float(table[x].max())]
        axes.plot(ends, ends if diagonal else [0, 0], color=INK, linewidth=0.8)
        axes.set(xlabel=labels[0], ylabel=labels[1])

    return scatter


def _bars(x: str, y: str, label: str) -> Callable[[Axes, pd.DataFrame], None]:
    def bars(axes: Axes, table: pd.DataFrame) -> None:
        shown = table.head(_MOST_BARS)[::-1]
        places = np.arange(len(shown))
        axes.barh(places, shown[x], height=0.7)
        axes.set_yticks(places, [shorten(name) for name in shown[y]])
        axes.set(xlabel=label)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(5))

    return bars


def _as_tall_as_bars(table: pd.DataFrame) -> tuple[float, float]:
    return 4.6, 0.6 + 0.2 * min(len(table), _MOST_BARS)


def _confusion(axes: Axes, table: pd.DataFrame) -> None:
    square = table.pivot_table(index="actual", columns="predicted", values="rows", sort=False)
    shares = square.div(square.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    names = [shorten(name, 16) for name in square.columns]
    for (row, column), share in np.ndenumerate(shares):
        axes.axhspan(row - 0.5, row + 0.5, *_span(column, len(names)), color=SERIES[0], alpha=float(share), linewidth=0)
        if len(names) <= _MOST_CELLS:
            count = f"{square.to_numpy()[row, column]:,.0f}\n{100 * share:.0f} %"
            axes.text(column, row, count, ha="center", va="center", fontsize=max(5, 9 - len(names) // 3))
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90 if len(names) > _UPRIGHT else 0)
    axes.set_yticks(places, [shorten(name, 16) for name in square.index])
    axes.set(xlabel="predicted", ylabel="actual", xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
    axes.grid(visible=False)


def _span(column: int, columns: int) -> tuple[float, float]:
    return column / columns, (column + 1) / columns


def _square(table: pd.DataFrame) -> tuple[float, float]:
    side = min(3.4 + 0.12 * table["actual"].nunique(), 6.5)
    return side + 0.6, side


_KINDS = {
    "roc": _Kind(
        "ROC curve",
        "Share of positive rows found against the share of other rows that are called positive too, for every "
        "threshold. The dashed line is chance.",
        _curves("fpr", "tpr", ("false positive rate", "true positive rate"), diagonal=True),
    ),
    "precision_recall": _Kind(
        "Precision and recall",
        "How many of the rows that are called positive are right, against how many of the positive rows are found.",
        _curves("recall", "precision", ("recall", "precision")),
    ),
    "calibration": _Kind(
        "Calibration",
        "What happened, against what was predicted, in ten groups of about equal size. On the dashed line, both agree.",
        _calibration,
    ),
    "scores": _Kind("Predictions", "How the predictions of the test rows are distributed.", _histogram),
    "predicted_actual": _Kind(
        "Predicted and actual values",
        "Up to 1,000 test rows. On the line, the prediction is right.",
        _points("predicted", "actual", ("predicted", "actual"), diagonal=True),
    ),
    "residuals": _Kind(
        "Residuals",
        "Actual minus predicted value of up to 1,000 test rows.",
        _points("predicted", "residual", ("predicted", "residual"), diagonal=False),
    ),
    "confusion": _Kind(
        "Confusion matrix",
        "Test rows by actual and predicted class, with the share of the actual class.",
        _confusion,
        _square,
    ),
    "importance": _Kind(
        "Permutation importance",
        "How much worse the predictions get when the column is shuffled.",
        _bars("importance", "feature", "rise of the loss"),
        _as_tall_as_bars,
    ),
    "contributions": _Kind(
        "Contributions",
        "How far a column moves the prediction of a row, up or down, on average (mean absolute SHAP value).",
        _bars("contribution", "feature", "mean contribution"),
        _as_tall_as_bars,
    ),
}
