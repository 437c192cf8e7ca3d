"""One alert, with the texts that people get."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert and its texts."""

    name: str
    expr: str
    pending: str
    """How long `expr` must be true before the alert fires."""
    severity: Literal["critical", "warning"]
    """critical: act at once, also at night; warning: act on the next working day."""
    summary: str
    """One line."""
    description: str
    """What it means, with the value, and the first step."""
    dashboard: Literal["service", "model", "data"]

    def rule(self, runbook: str, grafana: str) -> dict[str, Any]:
        """Return the rule in the format of Prometheus' rule files."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.pending,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbook}#{self.name.lower()}",
                "dashboard_url": f"{grafana}/d/{self.dashboard}",
            },
        }
