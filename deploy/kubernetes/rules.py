"""Write prometheusrule.yaml for the Prometheus operator: ``python deploy/kubernetes/rules.py``.

The rules come from monitoring/prometheus/rules; a test compares the copy with them.
"""

from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "monitoring/prometheus/rules"
TARGET: Final = Path(__file__).parent / "components/monitoring/prometheusrule.yaml"
HEADER: Final = "# Written by deploy/kubernetes/rules.py from monitoring/prometheus/rules; do not edit.\n"


def resource(folder: Path) -> dict[str, Any]:
    """Return one PrometheusRule with the groups of all files in `folder`."""
    yaml = YAML(typ="safe", pure=True)
    files = [yaml.load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yml"))]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "api"},
        "spec": {"groups": [group for file in files for group in file["groups"]]},
    }


def main() -> None:
    """Write the resource."""
    yaml = YAML()
    yaml.width = 4096
    with TARGET.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        yaml.dump(resource(RULES), file)


if __name__ == "__main__":
    main()
