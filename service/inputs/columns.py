"""Rows of CSV, which are text, checked against the contract and encoded column by column."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import nan
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.contract import MISSING, BooleanFeature, CategoryFeature, Contract, DateFeature, Feature, NumberFeature
from service.http.problems import FieldError, Problem
from service.inputs import moments
from service.inputs.explain import Findings, clip, expected
from service.inputs.layout import Layout
from service.inputs.rows import Encoded, Unclear, codes

Texts = Sequence[str]
Encode = Callable[[Texts], Any]

_BOOLEANS: Final = {"true": True, "false": False, "True": True, "False": False, "TRUE": True, "FALSE": False}
_FLAGS: Final = {**_BOOLEANS, "1": True, "0": False}


class CsvReader:
    """Reads the rows below a line of names; an empty cell is a missing value.

    Raises Problem if the names are not those of the contract.
    """

    def __init__(self, contract: Contract, layout: Layout, names: Sequence[str]) -> None:
        _check_separator(contract, names)
        check_names(contract, names)
        self._names = names
        self._features = {feature.name: feature for feature in contract.features}
        self._layout = layout
        self._plan: list[tuple[int | None, list[int], Encode]] = []
        self._numeric: list[int] = []
        """Columns of numbers, in which only empty cells may become NaN."""
        for feature, columns in zip(contract.features, layout.columns, strict=True):
            place = names.index(feature.name) if feature.name in names else None
            self._plan.append((place, columns, _encoder(feature)))
            if isinstance(feature, NumberFeature):
                self._numeric.extend(columns)

    def encode(self, rows: Sequence[Sequence[str]], *, plain: bool = False) -> Encoded:
        """Encode rows of as many cells as there are names; `plain` if all is ASCII without an underscore.

        Raises Unclear if a cell is wrong, or a number is spelt as Python allows and JSON does not.
        """
        numbers = self._layout.empty(len(rows))
        columns = list(zip(*rows, strict=True))
        nothing = ("",) * len(rows)
        missing = 0
        try:
            with np.errstate(over="ignore"):  # too large a number becomes infinite, and is found below
                for place, (first, *more), encode in self._plan:
                    texts = nothing if place is None else columns[place]
                    if more:
                        numbers[:, [first, *more]] = encode(texts)
                        continue
                    numbers[:, first] = encode(texts)
                    if first in self._numeric:
                        missing += texts.count("")
                        if not (plain or _is_plain("".join(texts))):
                            raise Unclear
        except (ValueError, KeyError) as error:
            raise Unclear from error
        outside = self._layout.outside(numbers)
        if np.count_nonzero(np.isnan(numbers[:, self._numeric])) != missing or (outside and np.isinf(numbers).any()):
            raise Unclear
        return Encoded(numbers, outside)

    def instances(self, rows: Iterable[Sequence[str]]) -> Iterator[dict[str, Any]]:
        """Give rows as JSON would have them; what does not fit stays text, so that it is found wrong."""
        for row in rows:
            yield {name: _value(self._features[name], text) for name, text in zip(self._names, row, strict=True)}


def _check_separator(contract: Contract, names: Sequence[str]) -> None:
    """Raise Problem for a line of names in one cell, as other separators make it."""
    if len(names) == 1 and names[0] not in {feature.name for feature in contract.features}:
        for separator in ";\t|":
            if separator in names[0]:
                detail = f"Cells are separated by commas here, and the line of names by {separator!r}"
                raise Problem(422, detail, title="Not separated by commas")


def check_names(contract: Contract, names: Sequence[str]) -> None:
    """Raise Problem unless a table's names are those of the contract; columns that may be missing may be left out."""
    findings = Findings()
    known = {feature.name: feature for feature in contract.features}
    seen: set[str] = set()
    for name in names:
        if name not in known:
            findings.add(FieldError("a feature of the model", clip(name), field=clip(name)), "unknown")
        elif name in seen:
            findings.add(FieldError("each column once", "a second one", field=name), "unknown")
        seen.add(name)
    for name, feature in known.items():
        if name not in names and not feature.nullable:
            findings.add(FieldError(f"a column of {expected(feature)}", "none", field=name), "missing", name)
    if findings.count:
        raise findings.problem()


def _encoder(feature: Feature) -> Encode:
    match feature:
        case CategoryFeature():
            known = codes(feature)
            if "" not in feature.categories:
                known[""] = MISSING
            return lambda texts: _codes(known, texts, nullable=feature.nullable)
        case DateFeature():
            read = moments.reader(feature)
            return lambda texts: _dates(read, texts, nullable=feature.nullable)
        case BooleanFeature():
            flags: dict[str, float] = {**_FLAGS, **({"": nan} if feature.nullable else {})}
            return lambda texts: [flags[text] for text in texts]
        case _:
            return lambda texts: _numbers(texts, nullable=feature.nullable)


def _codes(known: dict[Any, float], texts: Texts, *, nullable: bool) -> list[float]:
    if not nullable and known[""] == MISSING and "" in texts:
        raise Unclear
    return [known[text] for text in texts]


def _dates(read: Callable[[Any], moments.Numbers], texts: Texts, *, nullable: bool) -> npt.NDArray[np.float64]:
    """Give the parts of dates and, last, their days; each text is read once, for rows share theirs."""
    places: dict[str, int] = {}
    rows = [places.setdefault(text, len(places)) for text in texts]
    if not nullable and "" in places:
        raise Unclear
    return np.array([read(text or None) for text in places])[rows]


def _numbers(texts: Texts, *, nullable: bool) -> list[float]:
    """Read numbers; where rows share theirs, each text once, which takes half the time."""
    different = set(texts)
    if "" in different and not nullable:
        raise Unclear
    if 2 * len(different) > len(texts):
        return [float(text) if text else nan for text in texts]
    known = {text: float(text) if text else nan for text in different}
    return [known[text] for text in texts]


def _is_plain(text: str) -> bool:
    """Tell whether no number in `text` is one to Python alone, which takes 1_000 and the digits of all scripts."""
    return "_" not in text and text.isascii()


def _value(feature: Feature, text: str) -> Any:
    if text == "" and not (isinstance(feature, CategoryFeature) and "" in feature.categories):
        return None
    if isinstance(feature, BooleanFeature):
        return _FLAGS.get(text, text)
    if feature.type == "number" and _is_plain(text):
        try:
            return float(text)
        except ValueError:
            return text
    return text
