"""Translate expressions to ONNX nodes, with types: number, boolean, text and date.

Arithmetic is in double precision, and a feature is rounded to float32 once: sums lose no digits that
float32 has, and a row gives the same digits alone and among others, for which ONNX Runtime may compute
sines and logarithms by other instructions. A single operation on columns gives the same in float32, so
it is done there.
"""

import ast
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from service.cells import parse_date
from service.contract import CategoryFeature, Contract, DateFeature
from service.encoding import MISSING, DatePart, date_numbers
from stages.features import comparisons
from stages.features.inputs import PIECES, Inputs
from stages.features.values import Value, apply
from stages.nodes import Graph
from stages.params.expressions import Expression, suggest

_SHOWN = 20
_DAY = 86_400e6
"""In microseconds."""
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "Add",
    ast.Sub: "Sub",
    ast.Mult: "Mul",
    ast.Div: "Div",
    ast.Pow: "Pow",
}


Function = Callable[["Translator", ast.Call], Value]
"""Translates the call of one function."""


class Translator:
    """Translates the expressions of one contract into one graph."""

    def __init__(self, contract: Contract, functions: Mapping[str, Function]) -> None:
        self.graph = Graph()
        self._functions = functions
        self.inputs = Inputs(contract)
        self.notes: list[str] = []
        """What a person should check, one sentence each."""
        self.derived: dict[str, Value] = {}
        """The features translated so far."""
        self._later = set(contract.derived)
        self._target = contract.target
        self._known: dict[tuple[Any, ...], str] = {}
        # A feature may use another one several times, and so on: the graph has each value once.
        self._doubles: dict[Value, str] = {}
        self._singles: dict[Value, str] = {}
        self.expression: Expression
        """The one that is being translated."""

    def translate(self, expression: Expression) -> str:
        """Add a feature's nodes; return its tensor, float32 of shape (rows, 1). Raises UserError for a wrong type."""
        self.expression = expression
        value = self.value(expression.tree)
        if value.kind in ("text", "date"):
            hint = "compare it with a text" if value.kind == "text" else "take a part of it, such as month"
            problem = f"gives a {value.kind}, and a feature is a number or true or false; {hint}"
            raise expression.error(expression.tree, problem)
        self.derived[expression.name] = value
        return self.single(value)

    # --- building blocks, also for `stages.features.functions`

    def error(self, node: ast.AST, problem: str) -> Exception:
        """Return an error about the part of the current expression at `node`."""
        return self.expression.error(node, problem)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, or return the output of an equal one."""
        key = (kind, inputs, *attributes.items())
        if key not in self._known:
            self._known[key] = self.graph.add(kind, *inputs, **attributes)
        return self._known[key]

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float64) -> str:
        """Return a constant of shape (1, values)."""
        with np.errstate(over="ignore"):
            array = np.atleast_2d(np.asarray(value, dtype=np.float64).astype(dtype))
        key = ("constant", array.tobytes(), array.shape, str(array.dtype))
        if key not in self._known:
            self._known[key] = self.graph.constant(array)
        return self._known[key]

    def number(self, node: ast.expr) -> Value:
        """Return the value of a numeric part; a boolean counts as 1 and 0."""
        value = self.value(node)
        if value.kind not in ("number", "boolean"):
            raise self.error(node, f"expected a number, got {value}")
        return value

    def double(self, value: Value) -> str:
        """Return the tensor of a number or boolean in double precision."""
        if value not in self._doubles:
            self._doubles[value] = self._double(value)
        return self._doubles[value]

    def _double(self, value: Value) -> str:
        if isinstance(value.constant, float):
            return self.constant(value.constant)
        if value.operator and not value.is_exact:
            return self._operator(value, self.double)
        if value.kind == "number" and value.tensor and not value.operator:
            return value.tensor
        return self.add("Cast", self.single(value), to=TensorProto.DOUBLE)

    def single(self, value: Value) -> str:
        """Return the tensor of a number or boolean as float32, rounded once."""
        if value not in self._singles:
            self._singles[value] = self._single(value)
        return self._singles[value]

    def _single(self, value: Value) -> str:
        if isinstance(value.constant, float):
            return self.constant(value.constant, np.float32)
        if value.column:
            return self.inputs.column(value.column)
        if value.is_nullable:
            return value.tensor
        if value.is_rounded_alike:
            return self._operator(value, self.single)
        tensor = value.tensor if value.kind == "boolean" else self.double(value)
        return self.add("Cast", tensor, to=TensorProto.FLOAT)

    def _operator(self, value: Value, operand: Callable[[Value], str]) -> str:
        condition = [value.tensor] if value.tensor else []
        return self.add(value.operator, *condition, *map(operand, value.operands))

    def condition(self, node: ast.expr) -> str:
        """Return the tensor of a boolean, bool; a missing one counts as false."""
        value = self.boolean(node)
        return self.add("Equal", value.tensor, self.constant(1.0, np.float32)) if value.is_nullable else value.tensor

    def boolean(self, node: ast.expr) -> Value:
        """Return the value of a boolean part."""
        value = self.value(node)
        if value.kind != "boolean":
            raise self.error(node, f"expected true or false, got {value}; compare it with a value")
        return value

    def difference(self, later: ast.expr, earlier: ast.expr) -> str:
        """Return the days from `earlier` to `later`, double; pieces are subtracted exactly before they are joined."""
        pieces = self.add("Sub", self._pieces(later), self._pieces(earlier))
        weights = self.constant([[_DAY], [1e6], [1.0]])
        microseconds = self.add("MatMul", self.add("Cast", pieces, to=TensorProto.DOUBLE), weights)
        return self.add("Div", microseconds, self.constant(_DAY))

    def _pieces(self, node: ast.expr) -> str:
        value = self.value(node)
        if isinstance(value.feature, DateFeature):
            return self.inputs.pieces(value.feature)
        if not isinstance(value.constant, str):
            raise self.error(node, f"expected a date, got {value}")
        try:
            moment = parse_date(value.constant)
        except ValueError:
            raise self.error(node, f"expected a date such as '2024-12-31', got {value.constant!r}") from None
        return self.constant(date_numbers(moment, PIECES), np.float32)

    def part(self, node: ast.expr, part: DatePart) -> Value:
        """Return a part of a date column."""
        value = self.value(node)
        if not isinstance(value.feature, DateFeature):
            raise self.error(node, f"expected a column of dates, got {value}")
        return Value("number", column=f"{value.feature.name}.{part}")

    # --- the syntax tree

    def value(self, node: ast.expr) -> Value:  # noqa: PLR0911  # one for each kind of node
        """Translate a part of the current expression."""
        match node:
            case ast.Constant(value=str(text)):
                return Value("text", constant=text)
            case ast.Constant(value=bool(truth)):
                return Value("boolean", tensor=self.constant(truth, np.bool_))
            case ast.Constant(value=int() | float() as number):
                return Value("number", constant=float(number))
            case ast.Name():
                return self.name(node, node.id)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.BoolOp():
                return self.joined([self.boolean(each) for each in node.values], is_and=isinstance(node.op, ast.And))
            case ast.Compare():
                return comparisons.translate(self, node)
            case ast.Call(func=ast.Name(id=name)):
                return self._functions[name](self, node)
        raise TypeError(type(node))  # `parse` has refused it

    def name(self, node: ast.AST, name: str) -> Value:
        """Return the column or the derived feature that is called `name`."""
        if name in self.derived:
            return self.derived[name]
        feature = self.inputs.features.get(name)
        match feature:
            case None:
                raise self.error(node, self._unknown(name))
            case CategoryFeature():
                return Value("text", column=name, feature=feature)
            case DateFeature():
                return Value("date", feature=feature)
        if feature.type == "number":
            return Value("number", column=name)
        if feature.nullable:
            return Value("boolean", tensor=self.inputs.column(name), is_nullable=True)
        return Value("boolean", tensor=self.add("Cast", self.inputs.column(name), to=TensorProto.BOOL))

    def _unknown(self, name: str) -> str:
        if name == self._target:
            return f"{name!r} is the target, which is unknown when the model predicts"
        if name == self.expression.name or name in self._later - set(self.derived):
            return f"the feature {name!r} is defined here or later; move it above this one"
        known = [*self.inputs.features, *self.derived]
        hint = suggest(name, known) or f"; there are {', '.join(known[:_SHOWN])}"
        return f"no column {name!r}{hint}"

    def _unary(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            return self.negated(self.boolean(node.operand))
        value = self.number(node.operand)
        if isinstance(value.constant, float):
            return Value("number", constant=-value.constant if isinstance(node.op, ast.USub) else value.constant)
        return apply("Neg", value) if isinstance(node.op, ast.USub) else value

    def negated(self, value: Value) -> Value:
        """Return the opposite of a boolean."""
        if value.is_nullable:
            tensor = self.add("Sub", self.constant(1.0, np.float32), value.tensor)
            return Value("boolean", tensor=tensor, is_nullable=True)
        return Value("boolean", tensor=self.add("Not", value.tensor))

    def joined(self, values: list[Value], *, is_and: bool) -> Value:
        """Join booleans; if one may be missing, as pandas' "boolean" type does (Kleene's logic)."""
        if not any(value.is_nullable for value in values):
            tensor = values[0].tensor
            for value in values[1:]:
                tensor = self.add("And" if is_and else "Or", tensor, value.tensor)
            return Value("boolean", tensor=tensor)
        decisive = self.constant(0.0 if is_and else 1.0, np.float32)
        tensors = [self.single(value) for value in values]
        tensor = tensors[0]
        for other in tensors[1:]:
            decided = self.add("Or", self.add("Equal", tensor, decisive), self.add("Equal", other, decisive))
            # Both keep NaN where one side is NaN.
            tensor = self.add("Where", decided, decisive, self.add("Min" if is_and else "Max", tensor, other))
        return Value("boolean", tensor=tensor, is_nullable=True)

    def _arithmetic(self, node: ast.BinOp) -> Value:
        sides = [self.number(side) for side in (node.left, node.right)]
        if type(node.op) in _ARITHMETIC:
            return apply(_ARITHMETIC[type(node.op)], *sides)
        left, right = map(self.double, sides)
        return Value("number", tensor=self._division(left, right, is_floor=isinstance(node.op, ast.FloorDiv)))

    def _division(self, left: str, right: str, *, is_floor: bool) -> str:
        """Return the remainder with the sign of the divisor, or the quotient rounded down, as NumPy does."""
        rest, zero = self.add("Mod", left, right, fmod=1), self.constant(0.0)
        signs = [self.add("Less", each, zero) for each in (rest, right)]
        wrong = self.add("And", self.add("Not", self.add("Equal", rest, zero)), self.add("Xor", *signs))
        rest = self.add("Where", wrong, self.add("Add", rest, right), rest)
        if not is_floor:
            return rest
        whole = self.add("Round", self.add("Div", self.add("Sub", left, rest), right))
        return self.add("Where", self.add("Equal", right, zero), self.add("Div", left, right), whole)

    def axis(self) -> str:
        """Return the constant [1], the axis of columns."""
        key = ("axis",)
        if key not in self._known:
            self._known[key] = self.graph.constant(np.array([1], dtype=np.int64))
        return self._known[key]

    def missing(self, node: ast.expr) -> Value:
        """Return whether a value of any type is missing."""
        value = self.value(node)
        if isinstance(value.feature, CategoryFeature):
            code = self.constant(MISSING, np.float32)
            return Value("boolean", tensor=self.add("Equal", self.inputs.column(value.column), code))
        if isinstance(value.feature, DateFeature):
            tensor = self.inputs.column(f"{value.feature.name}.{PIECES[0]}")
        else:
            number = self.number(node)
            tensor = self.single(number) if number.is_exact else self.double(number)
        return Value("boolean", tensor=self.add("IsNaN", tensor))
