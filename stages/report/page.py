"""Compose the page from the results; every sentence is in the templates beside this module."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from stages.report import charts, profile, svg
from stages.report.charts import figures
from stages.report.results import Results
from stages.scores.gate import Gate, main_metric

_MOST_COLUMNS = 150
"""Columns that have a profile; of a wider table the most important ones."""
_MOST_SLICES = 15
_MOST_LINES = 60
_LONGEST = 200
_SMALL = 0.0005


@dataclass(frozen=True, slots=True)
class Scale:
    """A horizontal axis for intervals, in percent of its width."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return the place of a value, 0 to 100."""
        span = self.high - self.low
        return round(min(max(100 * (value - self.low) / span if span > 0 else 50.0, 0.0), 100.0), 2)


@dataclass(frozen=True, slots=True)
class Page:
    """A report, ready to be written."""

    content: dict[str, Any]

    def html(self, run: Mapping[str, Any] | None = None) -> str:
        """Return the page; equal results give equal text.

        `run` is what only the copy in MLflow shows: `revision`, and the `champion`'s metrics.
        """
        return _environment().get_template("report.html.j2").render(self.content, run=run or {})


def compose(results: Results, gate: Gate) -> Page:
    """Draw the charts and collect what the page says."""
    contract = results.schema.contract
    with svg.style():
        drawn = charts.draw_charts(results.plots)
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
        "profiles": list(profile.profile_columns(results.train, results.test, _columns(results))),
        "slices": _slices(results.slices),
        "metric_rows": _metric_rows(results.metrics),
        "expectations": _expectations(results.validation),
        "settings": _settings(results),
        "style": Markup((Path(__file__).parent / "style.css").read_text("utf-8")),  # noqa: S704  # a file of this package
    }
    return Page(content)


def _environment() -> Environment:
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {"figure": figures, "percent": percent, "count": "{:,}".format, "shorten": shorten}
    pages.filters["picture"] = lambda chart: Markup(chart.svg)  # noqa: S704  # matplotlib escapes names
    pages.globals |= {"width": profile.WIDTH, "height": profile.HEIGHT}
    return pages


def percent(share: float) -> str:
    """Return a share as a percentage."""
    if 0 < share < _SMALL:
        return "under 0.1 %"
    return f"{100 * share:.1f} %"


def shorten(name: object, longest: int = _LONGEST) -> str:
    """Cut a long name, and replace characters that can't be printed."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(name))
    return charts.shorten(text, longest) or "(empty)"


def _columns(results: Results) -> list[str]:
    """Return the features in the contract's order; of a wide table, those that contribute most."""
    names = [feature.name for feature in results.schema.contract.features]
    if len(names) <= _MOST_COLUMNS:
        return names
    first = [name for name in results.plots["contributions"]["feature"] if name in names]
    return list(dict.fromkeys([*first, *names]))[:_MOST_COLUMNS]


def _metric_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a line for each metric that has a baseline: its values, and places on an axis of its own."""
    lines = []
    for name in metrics:
        if f"baseline_{name}" not in metrics:
            continue
        value, baseline = metrics[name], metrics[f"baseline_{name}"]
        low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
        known = [each for each in (value, baseline, low, high) if each is not None]
        margin = 0.08 * (max(known) - min(known))
        scale = Scale(min(known) - margin, max(known) + margin)
        lines.append({"name": name, "value": value, "baseline": baseline, "low": low, "high": high, "scale": scale})
    return lines


def _slices(table: pd.DataFrame) -> dict[str, Any]:
    """Return the worst slices, significantly worse ones first, with an axis for their intervals."""
    metric = str(table.columns[3])
    falling = metric.endswith("error")
    worst = table.dropna(subset=[metric]).sort_values(["worse", metric], ascending=[False, not falling], kind="stable")
    shown = worst[worst["worse"].astype(bool)].head(_MOST_SLICES)
    bounds = shown[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy(float)
    return {
        "metric": metric,
        "rows": [
            row | {"metric": row[metric], "low": row[f"{metric}_low"], "high": row[f"{metric}_high"]}
            for row in shown.to_dict("records")
        ],
        "count": len(table),
        "worse": int(table["worse"].sum()),
        "bounds": bounds,
    }


def _expectations(validation: Mapping[str, Any]) -> dict[str, Any]:
    found: Sequence[Mapping[str, Any]] = validation["results"]
    lines = [(each["success"], each["expectation_config"]["description"]) for each in found]
    return {"all": lines[:_MOST_LINES], "count": len(lines), "passed": sum(passed for passed, _ in lines)}


def _settings(results: Results) -> list[tuple[str, str]]:
    """Return all parameters with dotted names, values as in YAML's flow style."""
    flat: list[tuple[str, str]] = []
    for key, value in results.params.model_dump(mode="json", by_alias=True).items():
        inner = {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
        flat += [(name, json.dumps(each, ensure_ascii=False)) for name, each in inner.items()]
    return flat
