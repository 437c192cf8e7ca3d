"""Compose the page of a comparison, with the report's charts and style."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from stages.compare.comparison import NAMES, Compared, Difference
from stages.releases.candidates import Candidate
from stages.report import charts, svg
from stages.report.drawing import MOST_BARS, shorten
from stages.report.page import Interval, environment
from stages.report.svg import SERIES, draw


def html(first: Candidate, second: Candidate, compared: Compared) -> str:
    """Return the page."""
    with svg.style():
        drawn = charts.draw_charts(compared.tables)
        if len(compared.contributions):
            drawn["contributions"] = _contributions(compared.contributions.head(MOST_BARS))
    pages = environment(Path(__file__).parent)
    return pages.get_template("compare.html.j2").render(
        sides=list(zip(NAMES, (first, second), strict=True)),
        compared=compared,
        contract=second.model.contract,
        charts=drawn,
        shapes={each.name: _shape(each) for each in compared.metrics},
        slices=compared.slices.to_dict("records"),
    )


def _contributions(table: pd.DataFrame) -> charts.Chart:
    title = "Contributions"
    caption = "How far a column moves the prediction of a row, on average (mean absolute SHAP value)."
    picture = draw(title, lambda axes: _pairs(axes, table), 4.6, 0.7 + 0.27 * len(table))
    return charts.Chart("contributions", title, caption, picture)


def _pairs(axes: Axes, table: pd.DataFrame) -> None:
    shown = table[::-1]
    for number, name in enumerate(NAMES):
        places = [place + 0.2 - 0.4 * number for place in range(len(shown))]
        axes.barh(places, shown[name], height=0.38, color=SERIES[number], label=name)
    axes.set_yticks(range(len(shown)), [shorten(name) for name in shown["feature"]])
    axes.set(xlabel="mean contribution")
    axes.grid(axis="y", visible=False)
    axes.legend(fontsize=8)


def _shape(each: Difference) -> Interval:
    return Interval.alone(each.value, each.low, each.high, 0.0)
