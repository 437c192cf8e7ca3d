"""Compose the page from the results; every sentence is in the templates beside this module."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from stages.report import charts, drawing, profile, svg
from stages.report.drawing import figures
from stages.report.drift import MAJOR, drift
from stages.report.results import Results
from stages.scores.gate import Gate, main_metric
from stages.scores.metrics import is_loss

_MOST_COLUMNS = 150
"""Columns that have a profile; of a wider table the most important ones."""
_MOST_SLICES = 15
_MOST_LINES = 60
_LONGEST = 200
_SMALL = 0.0005


@dataclass(frozen=True, slots=True)
class Scale:
    """A horizontal axis, in percent of its width."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float]) -> Self:
        """Return an axis with all `values` and a margin."""
        low, high = min(values, default=0.0), max(values, default=1.0)
        margin = 0.08 * (high - low)
        return cls(low - margin, high + margin)

    def place(self, value: float) -> float:
        """Return the place of a value, 0 to 100."""
        span = self.high - self.low
        return round(min(max(100 * (value - self.low) / span if span > 0 else 50.0, 0.0), 100.0), 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its interval, beside a reference, drawn on an axis."""

    value: float
    low: float | None
    high: float | None
    reference: float | None
    scale: Scale

    @classmethod
    def alone(cls, value: float, low: float | None, high: float | None, reference: float | None) -> Self:
        """Return an interval on an axis of its own."""
        known = [each for each in (value, low, high, reference) if each is not None]
        return cls(value, low, high, reference, Scale.around(known))

    def verdict(self, *, is_loss: bool) -> str:
        """Return whether the value is certainly better or worse than the reference; "" if neither is certain."""
        if self.reference is None or self.low is None or self.high is None or self.low <= self.reference <= self.high:
            return ""
        return "worse" if (self.low > self.reference) == is_loss else "better"


@dataclass(frozen=True, slots=True)
class Page:
    """A report, ready to be written."""

    content: dict[str, Any]

    @property
    def charts(self) -> Mapping[str, charts.Chart]:
        """The charts by name."""
        found: Mapping[str, charts.Chart] = self.content["charts"]
        return found

    def html(self, run: Mapping[str, Any] | None = None) -> str:
        """Return the page; equal results give equal text.

        `run` is what only the copy in MLflow shows: `revision`, and the `champion`'s metrics.
        """
        return environment().get_template("report.html.j2").render(self.content, run=run or {})


def compose(results: Results, gate: Gate) -> Page:
    """Draw the charts and collect what the page says."""
    contract = results.schema.contract
    indices = drift(contract, results.test)
    with svg.style():
        drawn = charts.draw_charts(results.plots, results.metrics.get("threshold"))
        drifted = charts.draw_drift(indices, MAJOR)
    drawn |= {"drift": drifted} if drifted else {}
    profiles = list(profile.profile_columns(results.train, results.test, _columns(results)))
    major = sorted((name for name in indices if indices[name] > MAJOR), key=lambda name: -indices[name])
    target = profile.profile(contract.target, results.train[contract.target], results.test[contract.target])
    content = {
        "results": results,
        "contract": contract,
        "schema": results.schema,
        "params": results.params,
        "metrics": results.metrics,
        "gate": gate,
        "main": main_metric(contract.task),
        "charts": drawn,
        "target": target,
        "profiles": sorted(profiles, key=lambda each: _place(each.name, major)),
        "indices": indices,
        "major": major,
        "slices": _slices(results.slices, results.metrics),
        "groups": _groups(results.groups),
        "metric_rows": list(_metric_rows(results.metrics)),
        "expectations": _expectations(results.validation),
        "settings": _settings(results),
    }
    return Page(content)


def environment(*folders: Path) -> Environment:
    """Return the templates of this package and of other folders, with the page's filters."""
    pages = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {"figure": figures, "percent": percent, "count": "{:,}".format, "shorten": shorten}
    pages.filters["picture"] = lambda chart: Markup(chart.svg)  # noqa: S704  # matplotlib escapes names
    css = Markup((Path(__file__).parent / "style.css").read_text("utf-8"))  # noqa: S704  # a file of this package
    pages.globals |= {"width": profile.WIDTH, "height": profile.HEIGHT, "style": css}
    return pages


def percent(share: float) -> str:
    """Return a share as a percentage."""
    if 0 < share < _SMALL:
        return "under 0.1\N{NO-BREAK SPACE}%"
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def shorten(name: object, longest: int = _LONGEST) -> str:
    """Cut a long name, and replace characters that can't be printed."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(name))
    return drawing.shorten(text, longest) or "(empty)"


def _place(name: str, major: Sequence[str]) -> int:
    """Return the place of a column: those that drift come first."""
    return major.index(name) if name in major else len(major)


def _columns(results: Results) -> list[str]:
    """Return the features in the contract's order; of a wide table, those that contribute most."""
    names = [feature.name for feature in results.schema.contract.features]
    if len(names) <= _MOST_COLUMNS:
        return names
    first = [name for name in results.plots["contributions"]["feature"] if name in names]
    return list(dict.fromkeys([*first, *names]))[:_MOST_COLUMNS]


def _metric_rows(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a line for each metric that has a baseline, each with an axis of its own."""
    for name in metrics:
        if f"baseline_{name}" in metrics:
            bounds = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
            shape = Interval.alone(metrics[name], *bounds, metrics[f"baseline_{name}"])
            yield {
                "name": name,
                "is_loss": is_loss(name),
                "shape": shape,
                "verdict": shape.verdict(is_loss=is_loss(name)),
            }


def _slices(table: pd.DataFrame, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the slices that are significantly worse, the worst first, with one axis for all."""
    metric = str(table.columns[3])
    found = table[table["worse"].astype(bool)].sort_values(
        metric, ascending=not metric.endswith("error"), kind="stable"
    )
    shown = found.head(_MOST_SLICES)
    shapes = shapes_on_one_axis(shown, metric, metrics.get(metric))
    lines = [row | {"shape": shape} for row, shape in zip(shown.to_dict("records"), shapes, strict=True)]
    return {"metric": metric, "lines": lines, "count": len(table), "worse": len(found)}


def shapes_on_one_axis(table: pd.DataFrame, metric: str, reference: float | None) -> list[Interval]:
    """Return the intervals of a table's rows beside the value of all rows."""
    columns = [metric, f"{metric}_low", f"{metric}_high"] if f"{metric}_low" in table else [metric, "low", "high"]
    rows = [[None if pd.isna(each) else float(each) for each in row] for row in table[columns].to_numpy()]
    known = [each for row in [*rows, [reference]] for each in row if each is not None]
    scale = Scale.around(known)
    return [Interval(row[0] or 0.0, row[1], row[2], reference, scale) for row in rows]


def _groups(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the figures of each column of groups by metric, each with an axis of its own."""
    found = []
    for (column, label, metric), part in table.dropna(subset=["value"]).groupby(
        ["column", "class", "metric"], sort=False
    ):
        shapes = shapes_on_one_axis(part, "value", None)
        lines = [row | {"shape": shape} for row, shape in zip(part.to_dict("records"), shapes, strict=True)]
        found.append({"column": column, "class": label, "metric": metric, "lines": lines[:_MOST_SLICES]})
    return found[:_MOST_LINES]


def _expectations(validation: Mapping[str, Any]) -> dict[str, Any]:
    found: Sequence[Mapping[str, Any]] = validation["results"]
    lines = [(each["success"], each["expectation_config"]["description"]) for each in found]
    return {"all": lines[:_MOST_LINES], "count": len(lines), "passed": sum(passed for passed, _ in lines)}


def _settings(results: Results) -> list[tuple[str, str]]:
    """Return all parameters with dotted names, values as in YAML's flow style."""
    return [(name, json.dumps(each, ensure_ascii=False)) for name, each in results.params.flat("json").items()]
