"""What the pipeline wrote of the registry: its versions as Prometheus text (`stages.register`)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

PREFIX: Final = "registered_model_"
_CREATED: Final = f"{PREFIX}created_timestamp_seconds"
_CHAMPION: Final = f"{PREFIX}champion"
_INFO: Final = f"{PREFIX}info"
_MAX_BYTES: Final = 1024 * 1024
_LAST_SECOND: Final = 253_402_300_799
"""Of the year 9999."""


def read(path: Path) -> list[Metric]:
    """Give the registry's metrics; none where the file is missing or no such text."""
    try:
        content = path.read_bytes()[:_MAX_BYTES]
        found = list(text_string_to_metric_families(content.decode()))
    except (OSError, ValueError):
        return []
    # A name of our own in that file would stand twice, and Prometheus would refuse all.
    return [family for family in found if family.name.startswith(PREFIX)]


def entries(families: Iterable[Metric], version: str) -> list[dict[str, Any]]:
    """List the registry's entries of the model of this MD5, the first one first.

    Each has `name`, `number`, `created` (seconds since 1970), `champion`, and `run_id` where the file tells it.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for sample in (sample for family in families for sample in family.samples):
        if sample.labels.get("version") != version or sample.name not in {_CREATED, _CHAMPION, _INFO}:
            continue
        key = sample.labels.get("name", ""), sample.labels.get("number", "")
        entry = found.setdefault(key, {"name": key[0], "number": key[1]})
        if sample.name == _CREATED:
            if 0 <= sample.value <= _LAST_SECOND:
                entry["created"] = sample.value
        elif sample.name == _CHAMPION:
            entry["champion"] = bool(sample.value)
        else:
            entry["run_id"] = sample.labels.get("run_id", "")
    return sorted((entry for entry in found.values() if "created" in entry), key=lambda entry: float(entry["created"]))
