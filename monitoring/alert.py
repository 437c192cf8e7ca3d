"""One alert, and what a person who is woken by it reads."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert and what a person who is woken by it reads."""

    name: str
    expr: str
    pending: str
    """How long `expr` must hold."""
    severity: Literal["critical", "warning"]
    """critical wakes somebody; warning waits for the morning."""
    summary: str
    """One line."""
    description: str
    """What it means, with the value, and the first thing to do."""
    dashboard: Literal["service", "model", "data"]

    def rule(self, runbook: str, grafana: str) -> dict[str, Any]:
        """Give the rule as Prometheus reads it."""
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
