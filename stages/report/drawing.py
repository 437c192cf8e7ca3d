"""How each chart is drawn: its lines, bars and labels."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from stages.report.svg import INK, MUTED, SERIES

MOST_BARS = 20
BETWEEN = " × "
"""Between the names of a pair of features."""
_LONGEST = 28
_GROUPED, _EXPONENT = 1e4, 1e15
_MOST_CELLS = 12
"""Classes up to which each cell of the confusion matrix has its number."""
_MOST_TICKS = 8
_UPRIGHT = 3
"""Classes up to which their names stand side by side."""

Draw = Callable[[Axes, pd.DataFrame], None]


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


def curves(x: str, y: str, labels: tuple[str, str], *, diagonal: bool = False) -> Draw:
    """Return a function that draws a line for each class."""

    def lines(axes: Axes, table: pd.DataFrame) -> None:
        if diagonal:
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        for name, curve in table.groupby("class", sort=False):
            axes.plot(curve[x], curve[y], label=shorten(name))
        axes.set(xlabel=labels[0], ylabel=labels[1])
        _legend(axes)

    return lines


def lift(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the lift beside that of chance."""
    axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    for name, curve in table.groupby("class", sort=False):
        axes.plot(curve["share"], curve["lift"], label=shorten(name))
    axes.set(xlabel="share of the rows, highest predictions first", ylabel="lift")
    axes.set_ylim(bottom=0)
    _legend(axes)


def _legend(axes: Axes) -> None:
    lines, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        axes.legend(lines, names, fontsize=8)


def calibration(axes: Axes, table: pd.DataFrame) -> None:
    """Draw predicted against actual means beside the diagonal."""
    ends = [float(table[["predicted", "actual"]].min().min()), float(table[["predicted", "actual"]].max().max())]
    axes.plot(ends, ends, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    for name, curve in table.groupby("class", sort=False):
        axes.plot(curve["predicted"], curve["actual"], marker="o", markersize=3.5, label=shorten(name))
    axes.set(xlabel="mean prediction", ylabel="what happened, on average")
    _legend(axes)


def histogram(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the shares of each class as steps."""
    for number, (name, part) in enumerate(table.groupby("class", sort=False)):
        shares = part["rows"] / max(part["rows"].sum(), 1)
        axes.fill_between(part["score"], shares, step="mid", alpha=0.25, color=SERIES[number], linewidth=0)
        axes.step(part["score"], shares, where="mid", label=shorten(name), color=SERIES[number], linewidth=1.2)
    axes.set(xlabel="prediction", ylabel="share of the rows")
    axes.set_ylim(bottom=0)
    _legend(axes)


def points(x: str, y: str, labels: tuple[str, str], *, diagonal: bool) -> Draw:
    """Return a function that draws points beside the diagonal, or beside 0."""

    def scatter(axes: Axes, table: pd.DataFrame) -> None:
        axes.plot(table[x], table[y], linestyle="", marker=".", markersize=2.5, alpha=0.5)
        ends = [float(table[x].min()), float(table[x].max())]
        axes.plot(ends, ends if diagonal else [0, 0], color=INK, linewidth=0.8)
        axes.set(xlabel=labels[0], ylabel=labels[1])

    return scatter


def bars(x: str, y: str, label: str) -> Draw:
    """Return a function that draws horizontal bars, the first row on top."""

    def bars(axes: Axes, table: pd.DataFrame) -> None:
        shown = table.head(MOST_BARS)[::-1]
        places = np.arange(len(shown))
        axes.barh(places, shown[x], height=0.7)
        axes.set_yticks(places, [_pair(name) for name in shown[y]])
        axes.set(xlabel=label)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(5))

    return bars


def _pair(name: object) -> str:
    """Shorten a name, or both names of a pair."""
    names = str(name).split(BETWEEN)
    return shorten(name) if len(names) == 1 else BETWEEN.join(shorten(each, _LONGEST // 2) for each in names)


def dependence(axes: Axes, curve: pd.DataFrame) -> None:
    """Draw what the values of one feature contribute."""
    numbers = pd.to_numeric(curve["value"], errors="coerce")
    values = numbers if numbers.notna().all() else pd.to_datetime(curve["value"], format="ISO8601")
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.plot(values.to_numpy(), curve["contribution"], marker="o", markersize=3.5)
    axes.set(xlabel=shorten(curve["class"].iloc[0]), ylabel="contribution")
    axes.xaxis.set_major_locator(axes.xaxis.get_major_locator())
    if not numbers.notna().all():
        axes.tick_params(axis="x", labelrotation=30)


def coverage(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the coverage of all rows and of parts, beside the wanted levels."""
    for number, (level, part) in enumerate(table.groupby("level")):
        places, colour = np.arange(len(part)), SERIES[number % len(SERIES)]
        errors = [part["coverage"] - part["coverage_low"], part["coverage_high"] - part["coverage"]]
        axes.axvline(float(str(level)), color=colour, linewidth=0.8, linestyle=(0, (4, 3)))
        xerr = np.clip(np.nan_to_num(errors), 0, None)
        axes.errorbar(part["coverage"], places, xerr=xerr, fmt="o", markersize=4.5, color=colour)
    names = table["part"].drop_duplicates()
    axes.set_yticks(np.arange(len(names)), [shorten(name) for name in names])
    axes.set(xlabel="share of the rows inside", ylim=(len(names) - 0.5, -0.5))


def coverage_over_time(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the coverage of each period with its interval, beside the wanted levels."""
    certain = table.dropna(subset=["coverage_low"])
    table = certain if len(certain) else table
    for number, (level, part) in enumerate(table.groupby("level")):
        places, colour = np.arange(len(part)), SERIES[number % len(SERIES)]
        axes.fill_between(places, part["coverage_low"], part["coverage_high"], alpha=0.2, color=colour, linewidth=0)
        axes.plot(places, part["coverage"], marker="o", markersize=3.5, color=colour)
        axes.axhline(float(str(level)), color=colour, linewidth=0.8, linestyle=(0, (4, 3)))
    names = table["part"].drop_duplicates()
    step = -(-len(names) // _MOST_TICKS)
    axes.set_xticks(np.arange(len(names))[::step], [shorten(name, 16) for name in names[::step]], rotation=30)
    axes.set(ylabel="share of the rows inside")


def residual_histogram(axes: Axes, table: pd.DataFrame) -> None:
    """Draw how the residuals are distributed."""
    axes.hist(table["residual"], bins=40, color=SERIES[0], alpha=0.8)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set(xlabel="residual", ylabel="rows")


def as_tall_as_bars(table: pd.DataFrame) -> tuple[float, float]:
    """Return the width and height of a chart of bars, in inches."""
    return 4.6, 0.6 + 0.2 * min(len(table), MOST_BARS)


def confusion(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the confusion matrix, shaded by the share of the actual class."""
    square = table.pivot_table(index="actual", columns="predicted", values="rows", sort=False)
    shares = square.div(square.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    names = [shorten(name, 16) for name in square.columns]
    for (row, column), share in np.ndenumerate(shares):
        axes.axhspan(
            row - 0.5, row + 0.5, *_span(column, len(names)), color=SERIES[0], alpha=0.65 * float(share), linewidth=0
        )
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


def square(table: pd.DataFrame) -> tuple[float, float]:
    """Return the width and height of a confusion matrix, in inches."""
    side = min(3.4 + 0.12 * table["actual"].nunique(), 6.5)
    return side + 0.6, side
