"""Translate comparisons, of numbers, texts and dates.

Numbers are compared as float32, the precision of the columns, so that a column equals the constant
0.1 where the table has 0.1. Texts are compared by the codes of their categories.
"""

import ast
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from service.contract import CategoryFeature
from stages.features.values import Value
from stages.params.expressions import suggest

if TYPE_CHECKING:
    from stages.features.translate import Translator

_ORDER: dict[type[ast.cmpop], str] = {
    ast.Lt: "Less",
    ast.LtE: "LessOrEqual",
    ast.Gt: "Greater",
    ast.GtE: "GreaterOrEqual",
}
_SHOWN_CATEGORIES = 5


def translate(to: "Translator", node: ast.Compare) -> Value:
    """Return the value of a comparison, of a chain of them, or of `in`."""
    if isinstance(node.ops[0], ast.In | ast.NotIn):
        items = node.comparators[0]
        found = Value("boolean", tensor=_membership(to, node.left, getattr(items, "elts", [])))
        return to.negated(found) if isinstance(node.ops[0], ast.NotIn) else found
    sides = [node.left, *node.comparators]
    pairs = [_compare(to, op, *pair) for op, pair in zip(node.ops, pairwise(sides), strict=True)]
    return to.joined(pairs, is_and=True)


def _compare(to: "Translator", op: ast.cmpop, left: ast.expr, right: ast.expr) -> Value:
    values = to.value(left), to.value(right)
    kinds = {value.kind for value in values}
    pair: tuple[str, str]
    if "date" in kinds:
        pair = to.difference(left, right), to.constant(0.0)
    elif "text" in kinds:
        if not isinstance(op, ast.Eq | ast.NotEq):
            raise to.error(left, "texts have no order; compare them by == or !=")
        pair = _codes(to, left, right, *values)
    else:
        pair = to.single(to.number(left)), to.single(to.number(right))
    if type(op) in _ORDER:
        return Value("boolean", tensor=to.add(_ORDER[type(op)], *pair))
    equal = Value("boolean", tensor=to.add("Equal", *pair))
    return to.negated(equal) if isinstance(op, ast.NotEq) else equal


def _codes(to: "Translator", left: ast.expr, right: ast.expr, first: Value, second: Value) -> tuple[str, str]:
    """Return the codes of two texts, which are equal where the texts are."""
    if not first.column:
        left, right, first, second = right, left, second, first
    if not isinstance(first.feature, CategoryFeature) or second.kind != "text":
        numbers = first if first.kind != "text" else second
        raise to.error(left, f"compares a text with {numbers}; put a text in quotes on one side")
    ours = to.inputs.column(first.column)
    if isinstance(second.feature, CategoryFeature):
        return ours, _recoded(to, second.feature, first.feature)
    return ours, to.constant(_code(to, first.feature, second, right), np.float32)


def _code(to: "Translator", feature: CategoryFeature, value: Value, node: ast.AST) -> float:
    """Return the code of a constant; NaN, which equals nothing, if no training row has the text."""
    if not isinstance(value.constant, str):
        raise to.error(node, f"expected a text in quotes, got {value}")
    code = feature.codes.get(value.constant)
    if code is None:
        known = ", ".join(map(repr, feature.categories[:_SHOWN_CATEGORIES]))
        hint = suggest(value.constant, feature.categories) or f"; it has {known}, …"
        to.notes.append(
            f"features.{to.expression.name}: no training row has {value.constant!r} in {feature.name!r}, so "
            f"nothing equals it{hint}"
        )
        return float("nan")
    return float(code)


def _recoded(to: "Translator", feature: CategoryFeature, other: CategoryFeature) -> str:
    """Return the codes of `feature` as codes of the same texts in `other`; NaN for others and for missing values."""
    codes = [other.codes.get(name, np.nan) for name in feature.categories]
    return _look_up(to, feature, np.array([*codes, np.nan, np.nan], dtype=np.float32))


def _look_up(to: "Translator", feature: CategoryFeature, table: npt.NDArray[Any]) -> str:
    """Return each row's value in `table`, whose last two are for unseen and missing categories, with codes -2, -1."""
    places = to.add("Cast", to.inputs.column(feature.name), to=TensorProto.INT64)
    return to.add("Gather", to.graph.constant(table), places, axis=0)


def _membership(to: "Translator", left: ast.expr, items: list[ast.expr]) -> str:
    value = to.value(left)
    if value.kind == "date":
        raise to.error(left, "dates have no lists; compare them by ==, < or >")
    constants = [to.value(each) for each in items]
    if isinstance(value.feature, CategoryFeature):
        codes = [_code(to, value.feature, each, node) for each, node in zip(constants, items, strict=True)]
        return _look_up(to, value.feature, np.isin(np.arange(len(value.feature.categories) + 2), codes))
    wanted = []
    for each, node in zip(constants, items, strict=True):
        if not isinstance(each.constant, float):
            raise to.error(node, f"expected a number, got {each}")
        wanted.append(each.constant)
    equal = to.add("Equal", to.single(to.number(left)), to.constant(wanted, np.float32))
    return equal if len(wanted) == 1 else to.add("ReduceMax", equal, to.axis(), keepdims=1)
