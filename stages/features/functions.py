"""The functions of expressions, by name; `stages.params.expressions` has their numbers of arguments."""

import ast
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from stages.features.translate import Function, Translator
from stages.features.values import Value, apply

if TYPE_CHECKING:
    from service.encoding import DatePart

_TINY = 1e-8
"""Below this, log1p(x) is x: their relative difference is x / 2, and 1 + x would round x away."""
_MOST_DIGITS = 15


def _elementwise(operator: str, to: Translator, call: ast.Call) -> Value:
    return apply(operator, *map(to.number, call.args))


def _part(part: "DatePart", to: Translator, call: ast.Call) -> Value:
    return to.part(call.args[0], part)


def _cyclic(operator: str, to: Translator, call: ast.Call) -> Value:
    """Return the sine or cosine of radians, or of a cycle's position if its length is the second argument."""
    angle, *period = map(to.number, call.args)
    if period and isinstance(length := period[0].constant, float) and length:
        angle = apply("Mul", angle, Value("number", constant=2 * np.pi / length))
    elif period:
        angle = apply("Mul", angle, apply("Div", Value("number", constant=2 * np.pi), period[0]))
    wave = apply(operator, angle)
    # At zeros other than 0, a single row and many differ by 1e-16, which float32 would keep: round to 2e-13.
    large = Value("number", constant=1024.0)
    rounded = apply("Sub", apply("Add", wave, large), large)
    is_near_0 = to.add("Less", to.double(apply("Abs", angle)), to.constant(1.0))
    return apply("Where", wave, rounded, condition=is_near_0)


def _clip(to: Translator, call: ast.Call) -> Value:
    value, low, high = map(to.number, call.args)
    return apply("Min", apply("Max", value, low), high)


def _column(to: Translator, call: ast.Call) -> Value:
    return to.name(call, str(ast.literal_eval(call.args[0])))


def _days_between(to: Translator, call: ast.Call) -> Value:
    earlier, later = call.args
    return Value("number", tensor=to.difference(later, earlier))


def _log1p(to: Translator, call: ast.Call) -> Value:
    x = to.number(call.args[0])
    log = apply("Log", apply("Add", x, Value("number", constant=1.0)))
    is_tiny = to.add("Less", to.double(apply("Abs", x)), to.constant(_TINY))
    return apply("Where", x, log, condition=is_tiny)


def _missing(to: Translator, call: ast.Call) -> Value:
    return to.missing(call.args[0])


def _round(to: Translator, call: ast.Call) -> Value:
    """Round half to even, as NumPy does: multiplied, rounded, divided."""
    value = to.number(call.args[0])
    digits = to.value(call.args[1]).constant if call.args[1:] else 0.0
    if not isinstance(digits, float) or digits % 1 or abs(digits) > _MOST_DIGITS:
        raise to.error(call.args[1], f"round takes a whole number of digits from -{_MOST_DIGITS} to {_MOST_DIGITS}")
    if not digits:
        return apply("Round", value)
    before, after = ("Mul", "Div") if digits > 0 else ("Div", "Mul")
    power = Value("number", constant=10.0 ** abs(digits))
    return apply(after, apply("Round", apply(before, value, power)), power)


def _where(to: Translator, call: ast.Call) -> Value:
    condition = to.condition(call.args[0])
    values = [to.number(each) for each in call.args[1:]]
    if all(value.kind == "boolean" for value in values):
        return Value("boolean", tensor=to.add("Where", condition, *map(to.single, values)), is_nullable=True)
    return apply("Where", *values, condition=condition)


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
