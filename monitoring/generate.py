"""Write the rules for Prometheus and the dashboards for Grafana.

The files are committed, so that Prometheus and Grafana need no Python. A test compares them.

Example: python -m monitoring.generate
"""

import argparse
from pathlib import Path
from typing import Any, Final

import yaml

from monitoring import alerts, dashboards, rules
from monitoring.timing import LIMITS, PRODUCTION, Limits, Timing

HERE: Final = Path(__file__).parent
_HEADER: Final = "# Written by `python -m monitoring.generate`; change monitoring/{}.py instead.\n"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML ships no types
    """Indents lists inside mappings."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002  # PyYAML's own signature
        return super().increase_indent(flow, indentless=False)


def as_yaml(document: dict[str, Any], source: str) -> str:
    """Return a document as YAML, with a first line that names its source."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    return _HEADER.format(source) + text


def rule_files(
    timing: Timing = PRODUCTION,
    limits: Limits = LIMITS,
    runbook: str = alerts.RUNBOOK,
    grafana: str = alerts.GRAFANA,
) -> dict[str, str]:
    """Return the text of each rule file by its name."""
    return {
        "recording.yml": as_yaml({"groups": rules.groups(timing, limits)}, "rules"),
        "alerts.yml": as_yaml({"groups": alerts.groups(timing, limits, runbook, grafana)}, "alerts"),
    }


def dashboard_files() -> dict[str, str]:
    """Return the text of each dashboard by its file's name."""
    return {f"{board.uid}.json": board.text() for board in dashboards.BOARDS}


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.generate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runbook", default=alerts.RUNBOOK, help="URL of the runbook, for links in alerts")
    parser.add_argument("--grafana", default=alerts.GRAFANA, help="URL of Grafana, for links in alerts")
    options = parser.parse_args()
    for name, text in rule_files(runbook=options.runbook, grafana=options.grafana).items():
        (HERE / "prometheus/rules" / name).write_text(text, encoding="utf-8")
    for name, text in dashboard_files().items():
        (HERE / "grafana/dashboards" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
