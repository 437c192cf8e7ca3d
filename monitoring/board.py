"""A dashboard with its variables and panels, and the selectors that panels share."""

from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as parts

from monitoring.panels import Panel, reference
from monitoring.rules import JOB
from monitoring.timing import LIMITS

API: Final = f'job="{JOB}",instance=~"$instance"'
VERSION: Final = f'job="{JOB}",version=~"$version"'
FEATURE: Final = f'{VERSION},feature=~"$feature"'
RATE: Final = "[$__rate_interval]"
BUDGET: Final = round(1 - LIMITS.slo, 6)


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    description: str
    variables: tuple[str, ...]
    panels: tuple[Panel, ...]

    def text(self) -> str:
        """Return the JSON that Grafana loads."""
        board = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags(["ml"])
            .refresh("30s")
            .time("now-3h", "now")
            .timezone("browser")
            .readonly()
            .link(dashboard.DashboardLink("All dashboards").type(parts.DashboardLinkType.DASHBOARDS).tags(["ml"]))
        )
        for name in self.variables:
            board.with_variable(_variable(name))
        for panel in self.panels:
            board.with_panel(panel.build())
        return str(JSONEncoder(sort_keys=True, indent=2).encode(board.build())) + "\n"


_SOURCES: Final = {
    "instance": ("Instance", f'label_values(up{{job="{JOB}"}}, instance)'),
    "version": ("Model version", f'label_values(model_info{{job="{JOB}"}}, version)'),
    "feature": ("Feature", f'label_values(feature_reference_share{{job="{JOB}"}}, feature)'),
}


def _variable(name: str) -> Any:
    label, query = _SOURCES[name]
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(reference())
        .query({"query": query, "refId": "A"})
        .refresh(parts.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(parts.VariableSort.ALPHABETICAL_ASC)
        .multi(True)  # noqa: FBT003  # the builder's own signature
        .include_all(True)  # noqa: FBT003
        .all_value(".*")
        .current(parts.VariableOption(text="All", value="$__all"))
    )
