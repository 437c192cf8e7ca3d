"""Panels of the dashboards: queries, kind, unit, and the limits for orange and red."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as parts
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE: Final = "prometheus"
"""The fixed uid of the data source: provisioning loses a name or a variable."""

Kind = Literal["lines", "stat", "table", "bars", "ranking", "heatmap"]
_BUILDERS: Final[dict[Kind, Any]] = {
    "lines": timeseries.Panel,
    "stat": stat.Panel,
    "table": table.Panel,
    "bars": barchart.Panel,
    "ranking": bargauge.Panel,
    "heatmap": heatmap.Panel,
}
_NOW: Final = {"stat", "table", "bars", "ranking"}
"""Kinds that show one moment."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel."""

    title: str
    description: str
    """What it shows and how to read it."""
    queries: dict[str, str]
    """PromQL by legend; a legend may contain labels such as {{feature}}."""
    kind: Kind = "lines"
    unit: str = "short"
    """Grafana's id of the unit."""
    warn: float | None = None
    """Orange from this value on."""
    limit: float | None = None
    """Red from this value on."""
    low_is_bad: bool = False
    """If true, values below `warn` are orange and values below `limit` are red."""
    width: int = 12
    """Width in columns; the dashboard has 24."""
    height: int = 8
    no_value: str = "no data yet"
    options: dict[str, Any] = field(default_factory=dict)
    """More methods of the builder, with their arguments."""

    def build(self) -> Any:
        """Return Grafana's builder for this panel."""
        panel = (
            _BUILDERS[self.kind]()
            .title(self.title)
            .description(self.description)
            .datasource(reference())
            .unit(self.unit)
            .no_value(self.no_value)
            .span(self.width)
            .height(self.height)
            .thresholds(self._thresholds())
        )
        for name, value in self.options.items():
            getattr(panel, name)(value)
        self._dress(panel)
        for number, (legend, expr) in enumerate(self.queries.items()):
            panel.with_target(self._target(chr(ord("A") + number), legend, expr))
        return panel

    def _target(self, name: str, legend: str, expr: str) -> Any:
        target = prometheus.Dataquery().ref_id(name).expr(expr).legend_format(legend).datasource(reference())
        if self.kind == "heatmap":
            return target.range().format(PromQueryFormat.HEATMAP)
        if self.kind in {"table", "bars"}:
            return target.instant().format(PromQueryFormat.TABLE)
        return target.instant() if self.kind in _NOW else target.range()

    def _thresholds(self) -> Any:
        # Where low is bad, `limit` is the lower of the two: red ends there, and orange at `warn`.
        colours = ("red", "orange", "green") if self.low_is_bad else ("green", "orange", "red")
        values = (None, self.limit, self.warn) if self.low_is_bad else (None, self.warn, self.limit)
        known = [
            parts.Threshold(value=value, color=colour)
            for number, (value, colour) in enumerate(zip(values, colours, strict=True))
            if value is not None or number == 0
        ]
        return dashboard.ThresholdsConfig().mode(parts.ThresholdsMode.ABSOLUTE).steps(known)

    def _dress(self, panel: Any) -> None:
        match self.kind:
            case "lines":
                panel.legend(
                    common.VizLegendOptions()
                    .show_legend(True)  # noqa: FBT003  # the builder's own signature
                    .display_mode(shapes.LegendDisplayMode.LIST)
                    .placement(shapes.LegendPlacement.BOTTOM)
                ).min(0)
                if self.limit is not None:
                    line = common.GraphThresholdsStyleConfig().mode(shapes.GraphTresholdsStyleMode.DASHED)
                    panel.thresholds_style(line)
            case "bars" | "table":
                _join(panel, self.queries)
            case "ranking":
                panel.orientation(shapes.VizOrientation.HORIZONTAL)
            case "heatmap":
                panel.color(common_heat())
            case _:
                pass


def common_heat() -> Any:
    """Return the colours of a heatmap."""
    return heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64).exponent(0.5)


def _join(panel: Any, queries: dict[str, str]) -> None:
    """Join several queries: one row for each bin or version, one column for each query."""
    names = {f"Value #{chr(ord('A') + number)}": legend for number, legend in enumerate(queries)}
    if len(queries) == 1:
        names = {"Value": next(iter(queries))}
    hidden = {"Time": True, "__name__": True, "job": True}
    panel.with_transformation(parts.DataTransformerConfig(id_val="merge", options={}))
    options = {"excludeByName": hidden, "renameByName": names}
    panel.with_transformation(parts.DataTransformerConfig(id_val="organize", options=options))


def reference() -> Any:
    """Return the reference to the data source."""
    return parts.DataSourceRef(type_val="prometheus", uid=DATASOURCE)
