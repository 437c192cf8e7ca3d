"""The functions of expressions, by name; `stages.params.expressions` has their numbers of arguments."""

import ast
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from stages.features.translate import Function, Translator
from stages.features.values import Value

if TYPE_CHECKING:
    from service.encoding import DatePart

_TINY = 1e-8
"""Below this, log1p(x) is x: their relative difference is x / 2, and 1 + x would round x away."""
_MOST_DIGITS = 15


def _elementwise(kind: str, to: Translator, call: ast.Call) -> Value:
    return Value("number", to.add(kind, *_numbers(to, call)))


def _numbers(to: Translator, call: ast.Call) -> list[str]:
    return [to.number(to.value(each), each) for each in call.args]


def _part(part: "DatePart", to: Translator, call: ast.Call) -> Value:
    return to.part(call.args[0], part)


def _cyclic(kind: str, to: Translator, call: ast.Call) -> Value:
    """Return the sine or cosine of radians, or of a cycle's position if its length is the second argument."""
    angle, *period = _numbers(to, call)
    if period:
        angle = to.add("Mul", angle, to.add("Div", to.constant(2 * np.pi), period[0]))
    return Value("number", to.add(kind, angle))


def _clip(to: Translator, call: ast.Call) -> Value:
    value, low, high = _numbers(to, call)
    return Value("number", to.add("Min", to.add("Max", value, low), high))


def _column(to: Translator, call: ast.Call) -> Value:
    return to.name(call, str(ast.literal_eval(call.args[0])))


def _days_between(to: Translator, call: ast.Call) -> Value:
    earlier, later = call.args
    return Value("number", to.difference(later, earlier))


def _log1p(to: Translator, call: ast.Call) -> Value:
    (x,) = _numbers(to, call)
    log = to.add("Log", to.add("Add", x, to.constant(1.0)))
    return Value("number", to.add("Where", to.add("Less", to.add("Abs", x), to.constant(_TINY)), x, log))


def _missing(to: Translator, call: ast.Call) -> Value:
    return to.missing(call.args[0])


def _round(to: Translator, call: ast.Call) -> Value:
    """Round half to even, as NumPy does: multiplied, rounded, divided."""
    value = to.number(to.value(call.args[0]), call.args[0])
    digits = to.value(call.args[1]).constant if call.args[1:] else 0.0
    if not isinstance(digits, float) or digits % 1 or abs(digits) > _MOST_DIGITS:
        raise to.error(call.args[1], f"round takes a whole number of digits from -{_MOST_DIGITS} to {_MOST_DIGITS}")
    if not digits:
        return Value("number", to.add("Round", value))
    before, after = ("Mul", "Div") if digits > 0 else ("Div", "Mul")
    power = to.constant(10.0 ** abs(digits))
    return Value("number", to.add(after, to.add("Round", to.add(before, value, power)), power))


def _where(to: Translator, call: ast.Call) -> Value:
    condition = to.condition(call.args[0])
    values = [to.value(each) for each in call.args[1:]]
    is_boolean = all(value.kind == "boolean" for value in values)
    tensors = [to.number(value, node) for value, node in zip(values, call.args[1:], strict=True)]
    return Value("boolean" if is_boolean else "number", to.add("Where", condition, *tensors), is_nullable=is_boolean)


FUNCTIONS: Mapping[str, Function] = {
    "abs": partial(_elementwise, "Abs"),
    "ceil": partial(_elementwise, "Ceil"),
    "clip": _clip,
    "column": _column,
    "cos": partial(_cyclic, "Cos"),
    "day": partial(_part, "day"),
    "dayofyear": partial(_part, "dayofyear"),
    "days_between": _days_between,
    "exp": partial(_elementwise, "Exp"),
    "floor": partial(_elementwise, "Floor"),
    "hour": partial(_part, "hour"),
    "log": partial(_elementwise, "Log"),
    "log1p": _log1p,
    "maximum": partial(_elementwise, "Max"),
    "minimum": partial(_elementwise, "Min"),
    "missing": _missing,
    "month": partial(_part, "month"),
    "round": _round,
    "sin": partial(_cyclic, "Sin"),
    "sqrt": partial(_elementwise, "Sqrt"),
    "weekday": partial(_part, "weekday"),
    "where": _where,
}
