"""Refuse, drop or join rare classes, as `data.rare_classes` says."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.errors import UserError
from stages.params.sections import DataParams
from stages.schema import RareClasses

FEWEST_ROWS = 3
"""A class with fewer rows is rare, and so is one without a training row."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The target after rare classes are dropped or joined."""

    target: pd.Series
    kept: Mask
    """Rows that stay, of shape (rows,)."""
    about: RareClasses | None
    """What was done; None if no class is rare."""


def resolve(target: pd.Series, test: Mask, data: DataParams) -> Resolved:
    """Drop or join the rare classes of `target`, so that every remaining class has a training row.

    Raises UserError if there are rare classes and `data.rare_classes` is ``error``.
    """
    counts = target.value_counts().sort_index()
    trained = target[~test].value_counts().reindex(counts.index, fill_value=0)
    rare = counts[(counts < FEWEST_ROWS) | (trained == 0)]
    everything = np.ones(len(target), dtype=bool)
    if rare.empty:
        return Resolved(target, everything, None)
    about = RareClasses(setting=data.rare_classes, classes={str(label): int(rows) for label, rows in rare.items()})
    if data.rare_classes == "error":
        raise UserError(_explain(about, rare, target, data))
    is_rare = target.isin(rare.index).to_numpy()
    if data.rare_classes == "join" and (is_rare & ~test).any():
        taken = set(map(str, target.unique()))
        name = next(name for name in chain(["other"], (f"other_{n}" for n in count(2))) if name not in taken)
        joined = target.astype("str").mask(is_rare, name)
        return Resolved(joined, everything, about.model_copy(update={"joined": int(is_rare.sum()), "into": name}))
    return Resolved(target, ~is_rare, about.model_copy(update={"left_out": int(is_rare.sum())}))


def group_spellings(labels: Iterable[Any]) -> list[list[Any]]:
    """Return groups of two or more labels that differ only by case or blanks."""
    groups: dict[str, list[Any]] = {}
    for label in labels:
        groups.setdefault(" ".join(str(label).split()).casefold(), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def _explain(about: RareClasses, rare: pd.Series, target: pd.Series, data: DataParams) -> str:
    several = "classes" if len(rare) > 1 else "class"
    spelt = [group for group in group_spellings(target.unique()) if set(group) & set(rare.index)]
    hint = f"{' and '.join(map(repr, spelt[0]))} differ only by case or blanks: use one spelling, or " if spelt else ""
    return (
        f"{data.path}: the target {target.name!r} has {len(rare):,} {several} with fewer than {FEWEST_ROWS} rows or "
        f"without a training row: {about.names()}; {hint}set data.rare_classes in params.yaml to drop (their rows are "
        "left out) or join (they become one class), or add rows"
    )
