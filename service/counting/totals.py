"""What all workers counted, added up."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.counting.counters import files, is_owned, numbers
from service.counting.families import Family
from service.counting.version_list import VersionList


@dataclass(slots=True)
class Total:
    """A family added up over all workers."""

    family: Family
    values: dict[tuple[str, ...], npt.NDArray[np.float64]]
    """For each series its numbers: shape (family.width,)."""


def totals(directory: Path) -> list[Total]:
    """Add up all files, those of dead workers too; gauges count while their worker lives and uses them."""
    while True:
        try:
            return _add_up(directory)
        except FileNotFoundError:  # a version left just now: better to begin again than to show a part of its sum
            continue


def _add_up(directory: Path) -> list[Total]:
    found: dict[str, Total] = {}
    last = VersionList(directory).last()
    for first, of_versions in files(directory).items():
        alive = is_owned(first)
        for path in [first, *(path for version, path in of_versions.items() if version in last)]:
            for family, labels, values, in_use in numbers(path):
                if family.kind != "gauge" or (alive and in_use):
                    _add(found, family, labels, values)
    return list(found.values())


def _add(found: dict[str, Total], family: Family, labels: tuple[str, ...], values: npt.NDArray[np.float64]) -> None:
    total = found.setdefault(family.name, Total(family, {}))
    if (family.kind, family.labels, family.bounds) != (total.family.kind, total.family.labels, total.family.bounds):
        return  # left by another release of the service in a directory that outlived it
    known = total.values.get(labels)
    if known is None:
        total.values[labels] = values.copy()
    elif family.kind == "gauge" and family.merge == "max":
        np.maximum(known, values, out=known)
    else:
        known += values
