"""Find what the expressions of `features` need, and what they give on the rows."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from service.contract import Contract, DateFeature, Feature, NumberFeature
from service.encoding import DatePart
from service.model import open_session
from stages import files
from stages.errors import UserError
from stages.features import graph
from stages.features.inputs import MATRIX
from stages.params.expressions import Expression, names, parse
from stages.params.params import Params
from stages.prepare.columns import describe_input
from stages.stored import Table

_PARTS: tuple[DatePart, ...] = ("hour", "weekday", "month", "day", "dayofyear", "date", "second", "microsecond")
"""The parts of dates that expressions can use."""


def check_names(params: Params, columns: Iterable[str]) -> None:
    """Raise UserError for a derived feature with the name of a column."""
    taken = {*columns, *params.data.ignore, params.data.target}
    for name in params.features:
        if name in taken:
            raise UserError(f"{files.PARAMS}: features.{name}: the table has a column of this name; choose another")


def add_inputs(
    features: Sequence[Feature], train: Table, excluded: Mapping[str, str], params: Params
) -> tuple[list[Feature], tuple[str, ...]]:
    """Add what the expressions use: columns that are no features, and parts of dates.

    Return the features in the order of the table, and the columns of the matrix that only the
    expressions use. `excluded` maps columns that they must not use to the reason.

    Raises UserError for an expression with an unknown column or a wrong type.
    """
    own = {feature.name: feature for feature in features}
    wanted = dict(own)
    for expression in (parse(name, text) for name, text in params.features.items()):
        for name, node in names(expression):
            if name in train and name not in wanted and name != params.data.target:
                if name in excluded:
                    raise UserError(f"{files.PARAMS}: {expression.error(node, f'{name!r} {excluded[name]}')}")
                wanted[name] = _input(train[name], expression)
    ordered = [wanted[name] for name in train.columns if name in wanted]
    used = _used(ordered, params)
    narrow = [_with_parts(feature, used) if isinstance(feature, DateFeature) else feature for feature in ordered]
    estimated = {column for feature in features for column in feature.columns}
    return narrow, tuple(column for feature in narrow for column in feature.columns if column not in estimated)


def _input(column: pd.Series, expression: Expression) -> Feature:
    feature = describe_input(column)
    if feature is None:
        problem = f"all values of {column.name!r} are missing in the training rows"
        raise UserError(f"{files.PARAMS}: features.{expression.name}: {problem}; leave it out")
    return feature


def _used(features: Sequence[Feature], params: Params) -> set[str]:
    """Return the columns of the matrix that the expressions use, if dates have all parts."""
    if not params.features:
        return set()
    wide = tuple(
        feature.model_copy(update={"parts": tuple(dict.fromkeys((*feature.parts, *_PARTS)))})
        if isinstance(feature, DateFeature)
        else feature
        for feature in features
    )
    # Its classes don't matter here.
    contract = Contract(
        task="regression", target=params.data.target, classes=(), features=wide, derived=params.features
    )
    return set(_build(contract).used)


def _with_parts(feature: DateFeature, used: set[str]) -> DateFeature:
    """Return the date with its own parts and those that the expressions use."""
    more = (part for part in _PARTS if f"{feature.name}.{part}" in used)
    return feature.model_copy(update={"parts": tuple(dict.fromkeys((*feature.parts, *more)))})


def _build(contract: Contract) -> graph.Derived:
    try:
        return graph.build(contract)
    except UserError as error:
        raise UserError(f"{files.PARAMS}: {error}") from None


class Derivation:
    """Computes the derived features of prepared rows batch by batch, and their ranges in the training rows."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._names = list(contract.derived)
        built = _build(contract) if contract.derived else None
        self._session = open_session(graph.to_bytes(built.model)) if built else None
        self._notes = dict.fromkeys(built.notes) if built else {}
        self._ranges = pd.DataFrame({"min": np.inf, "max": -np.inf, "missing": 0}, index=self._names)

    def add_to(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return prepared rows with the derived features as columns."""
        if self._session is None or rows.empty:
            return rows
        matrix = self._session.run(None, {MATRIX: self._contract.encode(rows)})[0][:, -len(self._names) :]
        return pd.concat([rows, pd.DataFrame(matrix, columns=self._names, index=rows.index)], axis=1)

    def learn(self, train: pd.DataFrame) -> None:
        """Widen the ranges to those of these training rows, which have the derived features."""
        derived, known = train[self._names], self._ranges
        least, greatest = np.fmin(known["min"], derived.min()), np.fmax(known["max"], derived.max())
        self._ranges = pd.DataFrame({"min": least, "max": greatest, "missing": known["missing"] + derived.isna().sum()})

    def features(self) -> tuple[NumberFeature, ...]:
        """Return the derived features without bins. Raises UserError if one has no value in any training row."""
        for name, (least, greatest, _) in self._ranges.T.items():
            if least > greatest:
                raise UserError(f"{files.PARAMS}: features.{name}: no training row has a value; correct the expression")
        return tuple(
            NumberFeature(
                name=str(name), nullable=missing > 0, minimum=least, maximum=greatest, bin_edges=(), bin_shares=()
            )
            for name, (least, greatest, missing) in self._ranges.T.items()
        )

    def notes(self) -> list[str]:
        """Return what a person should check, one sentence each."""
        constant = (
            f"features.{each.name}: it is {each.minimum:g} in every training row, so the model learns nothing from it"
            for each in self.features()
            if each.minimum == each.maximum and not each.nullable
        )
        return [*self._notes, *constant]
