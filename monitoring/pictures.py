"""``python -m monitoring.pictures``: draw the dashboards' panels from a Prometheus, for the docs.

No Grafana is needed. Colours, units and limits are those of the panels; the look is matplotlib's.
"""

import argparse
import json
import math
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

from monitoring.board import Board
from monitoring.dashboards import BOARDS
from monitoring.generate import HERE
from monitoring.panels import Panel

mpl.use("Agg")
from matplotlib import pyplot as plt  # once the backend is chosen
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

FOLDER: Final = HERE.parent / "docs/dashboards"
_ROWS_OF_A_TABLE: Final = 12
_LEGENDS: Final = 8
_SI: Final = ((1e6, "M"), (1e3, "k"), (1.0, ""))


@dataclass(frozen=True, slots=True)
class Source:
    """A Prometheus, and the time that is drawn."""

    url: str
    start: float
    end: float
    variables: Mapping[str, str]

    def query(self, expr: str, *, now: bool) -> list[dict[str, Any]]:
        """Give series over the time, or at its end."""
        span = max(1.0, self.end - self.start)
        known = {"$__rate_interval": f"{max(4, int(span / 20))}s", "$__range": f"{int(span)}s", **self.variables}
        for name, value in known.items():
            expr = expr.replace(name, value)
        kind, more = ("query", {"time": self.end}) if now else ("query_range", self._range(span))
        address = f"{self.url}/api/v1/{kind}?" + urllib.parse.urlencode({"query": expr, **more})
        with urllib.request.urlopen(address) as answer:  # noqa: S310  # the address that the user gave
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def _range(self, span: float) -> dict[str, float]:
        return {"start": self.start, "end": self.end, "step": max(1.0, span / 240)}


def shown(value: float, unit: str) -> str:
    """Write a value in a panel's unit, short."""
    if math.isnan(value):
        return "–"
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "dateTimeAsIso":
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    if unit == "s":
        return _duration(value)
    factor, suffix = next((each for each in _SI if abs(value) >= each[0]), (1.0, ""))
    return f"{value / factor:.3g}{suffix}" + {"reqps": " req/s", "ops": "/s"}.get(unit, "")


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {name}"
    return "0 s"


def legend(template: str, labels: Mapping[str, str]) -> str:
    """Fill a legend's labels in; a version is shown by its first digits."""
    filled = re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template).strip()
    return re.sub(r"\b([0-9a-f]{7})[0-9a-f]{25}\b", r"\1", filled)


def _lines(axes: Axes, panel: Panel, source: Source) -> None:
    found = [(legend(name, each["metric"]), each["values"]) for name, expr in panel.queries.items()
             for each in source.query(expr, now=False)]  # fmt: skip
    found.sort(key=lambda each: -max(float(value) for _, value in each[1]))
    for number, (name, points) in enumerate(found):
        moments, values = [(moment - source.end) / 60 for moment, _ in points], [float(value) for _, value in points]
        axes.plot(moments, values, linewidth=1.2, label=name if number < _LEGENDS else None)
    for value, colour in ((panel.warn, "tab:orange"), (panel.limit, "tab:red")):
        if value is not None and value < 4 * max(axes.get_ylim()[1], 1e-12):
            axes.axhline(value, color=colour, linewidth=0.9, linestyle="--")
    axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.25)  # room for the legend
    axes.set_xlim((source.start - source.end) / 60, 0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, panel.unit)))
    if found:
        axes.legend(fontsize=6, loc="upper left", ncols=2, framealpha=0.7)


def _stat(axes: Axes, panel: Panel, source: Source) -> None:
    found = [(name, each) for name, expr in panel.queries.items() for each in source.query(expr, now=True)]
    axes.axis("off")
    for place, (name, each) in enumerate(found):
        value = float(each["value"][1])
        height = 1 - (place + 0.5) / len(found)
        size = 20 if len(found) == 1 else 7
        label = legend(name, each["metric"])
        text = shown(value, panel.unit) if len(found) == 1 else f"{label}: {shown(value, panel.unit)}"
        axes.text(0.5, height, text, ha="center", va="center", fontsize=size, color=_colour(panel, value))


def _colour(panel: Panel, value: float) -> str:
    limits = [(panel.limit, "tab:red"), (panel.warn, "tab:orange")]
    known = [(limit, colour) for limit, colour in limits if limit is not None]
    beyond = (colour for limit, colour in known if (value < limit if panel.low_is_bad else value >= limit))
    return next(beyond, "tab:green")


def _ranking(axes: Axes, panel: Panel, source: Source) -> None:
    found = [(name, each) for name, expr in panel.queries.items() for each in source.query(expr, now=True)]
    ranked = sorted(((float(each["value"][1]), legend(name, each["metric"])) for name, each in found))[-25:]
    values = [value for value, _ in ranked]
    axes.barh([label for _, label in ranked], values, color=[_colour(panel, value) for value in values])
    axes.tick_params(axis="y", labelsize=6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, panel.unit)))


def _bars(axes: Axes, panel: Panel, source: Source) -> None:
    columns: dict[str, dict[str, float]] = {}
    for name, expr in panel.queries.items():
        for each in source.query(expr, now=True):
            columns.setdefault(name, {})[each["metric"].get("bin", "")] = float(each["value"][1])
    bins = sorted({each for column in columns.values() for each in column}, key=_by_edge)
    width = 0.8 / max(1, len(columns))
    for number, (name, column) in enumerate(columns.items()):
        places = [place + number * width for place in range(len(bins))]
        axes.bar(places, [column.get(each, 0.0) for each in bins], width, label=name, align="edge")
    axes.set_xticks([place + 0.4 for place in range(len(bins))], bins, fontsize=6, rotation=30)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, panel.unit)))
    if columns:
        axes.legend(fontsize=7)


def _by_edge(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return math.inf, name


def _table(axes: Axes, panel: Panel, source: Source) -> None:
    axes.axis("off")
    found = [each for expr in panel.queries.values() for each in source.query(expr, now=True)]
    names = sorted({name for each in found for name in each["metric"]} - {"job", "__name__"})
    cells = [
        [legend("{{x}}", {"x": each["metric"].get(name, "")}) for name in names]
        + [shown(float(each["value"][1]), panel.unit)]
        for each in found[:_ROWS_OF_A_TABLE]
    ]
    if cells:
        drawn = axes.table(cells, colLabels=[*names, next(iter(panel.queries))], loc="upper center", cellLoc="left")
        drawn.auto_set_font_size(False)  # noqa: FBT003  # matplotlib's own signature
        drawn.set_fontsize(6)


def _heatmap(axes: Axes, panel: Panel, source: Source) -> None:
    (expr,) = panel.queries.values()
    found = sorted(source.query(expr, now=False), key=lambda each: float(each["metric"]["le"]))
    rows = [[float(value) for _, value in each["values"]] for each in found]
    length = min(map(len, rows), default=0)
    counts = [
        [upper - lower for upper, lower in zip(row[-length:], below[-length:], strict=True)]
        for row, below in zip(rows, [[0.0] * length, *rows], strict=False)
    ]
    if counts:
        span = (source.start - source.end) / 60
        axes.imshow(counts, aspect="auto", origin="lower", cmap="Oranges", extent=(span, 0, 0, len(counts)))
    axes.set_yticks(range(1, len(found) + 1), [each["metric"]["le"] for each in found], fontsize=5)
    axes.set_ylabel("s", fontsize=7)


_DRAWN: Final = {
    "lines": _lines, "stat": _stat, "ranking": _ranking, "bars": _bars, "table": _table, "heatmap": _heatmap,
}  # fmt: skip


def draw(board: Board, source: Source, path: Path) -> None:
    """Draw all panels of a dashboard into one PNG, laid out as in Grafana."""
    places = [panel["gridPos"] for panel in json.loads(board.text())["panels"]]
    height = max(place["y"] + place["h"] for place in places)
    figure = plt.figure(figsize=(13, height * 0.34 + 0.6), dpi=80)
    top = 1 - 0.6 / figure.get_figheight()
    for panel, place in zip(board.panels, places, strict=True):
        # In units of the whole picture, with room for titles above, and numbers at the left and below.
        low, high = (top * (1 - (place["y"] + edge) / height) for edge in (place["h"] - 1.3, 1.2))
        left, right = ((place["x"] + edge) / 24 for edge in (1.5, place["w"] - 0.4))
        axes = figure.add_axes((left, low, right - left, high - low))
        axes.set_title(panel.title, fontsize=9, loc="left", weight="bold")
        axes.tick_params(labelsize=7)
        _DRAWN[panel.kind](axes, panel, source)
    figure.suptitle(f"{board.title} (time in minutes)", fontsize=12, weight="bold")
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Draw every dashboard."""
    parser = argparse.ArgumentParser(prog="python -m monitoring.pictures", description=__doc__)
    parser.add_argument("--prometheus", default="http://localhost:9090", help="URL of Prometheus")
    parser.add_argument("--minutes", type=float, default=180, help="how much is drawn")
    parser.add_argument("--end", type=float, help="the last moment drawn, seconds since 1970; now by default")
    parser.add_argument("--feature", default=".*", help="the feature that is chosen")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    end = options.end or time.time()
    variables = {"$instance": ".*", "$version": ".*"}
    for board in BOARDS:
        chosen = variables | {"$feature": ".*"}
        source = Source(options.prometheus, end - 60 * options.minutes, end, chosen)
        draw(_choose(board, options.feature), source, options.folder / f"{board.uid}.png")


def _choose(board: Board, feature: str) -> Board:
    """Choose the feature in the one panel that shows a single one."""
    panels = tuple(
        Panel(**{name: getattr(panel, name) for name in panel.__dataclass_fields__} | {"queries": chosen})
        if panel.kind == "bars"
        else panel
        for panel in board.panels
        for chosen in [{name: expr.replace("$feature", feature) for name, expr in panel.queries.items()}]
    )
    return Board(board.uid, board.title, board.description, board.variables, panels)


if __name__ == "__main__":
    main()
