"""Parse the expressions of `features` with Python's grammar, and refuse everything that isn't listed here.

Nothing is evaluated: `stages.features` translates the syntax tree to ONNX, and checks columns and types.
"""

import ast
import difflib
import io
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from stages.errors import UserError

FUNCTIONS: Final = {
    "abs": (1, 1), "ceil": (1, 1), "clip": (3, 3), "column": (1, 1), "cos": (1, 2), "day": (1, 1),
    "dayofyear": (1, 1), "days_between": (2, 2), "exp": (1, 1), "floor": (1, 1), "hour": (1, 1), "log": (1, 1),
    "log1p": (1, 1), "maximum": (2, 20), "minimum": (2, 20), "missing": (1, 1), "month": (1, 1), "round": (1, 2),
    "sin": (1, 2), "sqrt": (1, 1), "weekday": (1, 1), "where": (3, 3),
}  # fmt: skip
"""The functions, with their smallest and largest number of arguments."""
COMPARISONS: Final = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn)
ARITHMETIC: Final = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
_LONGEST: Final = 2_000
_DEEPEST: Final = 100
_SHOWN: Final = 60
_BREAKS: Final = re.compile(r"[\t\n\v\f\r]")
_HINTS: Final[dict[type[ast.AST], str]] = {
    ast.IfExp: "write where(condition, a, b) instead of if and else",
    ast.BitAnd: "write and instead of &",
    ast.BitOr: "write or instead of |",
    ast.Invert: "write not instead of ~",
    ast.Is: "write == or missing(x) instead of is",
    ast.IsNot: "write != or not missing(x) instead of is not",
    ast.Attribute: 'a name has no dot; write column("…") for a column whose name has one',
    ast.List: "a list is allowed only after in",
    ast.Tuple: "a list is allowed only after in",
    ast.Set: "a list is allowed only after in",
}


@dataclass(frozen=True, slots=True)
class Expression:
    """The parsed expression of one feature."""

    name: str
    """Of the feature."""
    text: str
    tree: ast.expr

    def error(self, node: ast.AST, problem: str) -> UserError:
        """Return an error about the part of the expression at `node`."""
        before = self.text.lstrip().encode()[: getattr(node, "col_offset", 0)].decode(errors="ignore")
        return _error(self.name, self.text, len(before) + len(self.text) - len(self.text.lstrip()), problem)


def parse(name: str, text: str) -> Expression:
    """Parse the expression of the feature `name`. Raises UserError with the number of the wrong character."""
    if len(text) > _LONGEST:
        raise UserError(f"features.{name}: the expression has {len(text):,} characters; at most {_LONGEST:,} are read")
    source = _BREAKS.sub(" ", text)
    start = len(source) - len(source.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as an unknown escape in a text
            tree = ast.parse(source.strip(), mode="eval").body
    except SyntaxError as error:
        # Without an offset, the expression ends too early.
        place = min(start + error.offset - 1, len(text)) if error.offset else len(text)
        problem = re.split(r"[.;] ", error.msg)[0]  # without advice about programs
        raise _error(name, text, place, f"{problem}; {_NAMES}") from None
    except (ValueError, MemoryError, RecursionError):
        raise UserError(f"features.{name}: not an expression that can be read: {_clipped(text)}") from None
    expression = Expression(name, text, tree)
    _keep_names(tree, source.strip())
    _check(expression, tree)
    if not any(names(expression)):
        raise expression.error(tree, "names no column, so every row would have the same value")
    if "#" in source and any(each.type == tokenize.COMMENT for each in _tokens(source)):
        raise _error(name, text, source.index("#"), "an expression has no comments")
    return expression


def _keep_names(tree: ast.expr, source: str) -> None:
    """Give names the characters of the text: Python replaces some, such as the micro sign by the Greek letter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = ast.get_source_segment(source, node) or node.id


_NAMES: Final = 'write column("…") for a column whose name has spaces or is a Python word'


def names(expression: Expression) -> Iterator[tuple[str, ast.AST]]:
    """Yield each column or feature that the expression names, and where; some several times."""
    called = {id(node.func) for node in ast.walk(expression.tree) if isinstance(node, ast.Call)}
    for node in ast.walk(expression.tree):
        if isinstance(node, ast.Name) and id(node) not in called:
            yield node.id, node
        elif isinstance(node, ast.Call) and _called(node) == "column":
            yield str(ast.literal_eval(node.args[0])), node


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a question with the most similar name, or an empty text."""
    folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), list(folded), n=1)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def _check(expression: Expression, tree: ast.expr) -> None:
    """Raise UserError for a part that isn't allowed, or for too many levels."""
    level: list[ast.expr] = [tree]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in _children(expression, node)]
        if not level:
            return
    raise expression.error(level[0], f"more than {_DEEPEST} levels of operators; split it into several features")


def _children(expression: Expression, node: ast.expr) -> list[ast.expr]:  # noqa: PLR0911  # one for each kind
    """Return the operands of an operator, whose form it checks."""
    match node:
        case ast.BinOp():
            _check_operator(expression, node, node.op, ARITHMETIC)
            return [node.left, node.right]
        case ast.UnaryOp():
            _check_operator(expression, node, node.op, (ast.USub, ast.UAdd, ast.Not))
            return [node.operand]
        case ast.BoolOp():
            return node.values
        case ast.Compare():
            return _compared(expression, node)
        case ast.Call():
            return _arguments(expression, node)
        case ast.Name():
            return []
        case ast.Constant():
            _check_constant(expression, node)
            return []
    raise expression.error(node, _HINTS.get(type(node), f"{_word(node)} is not allowed here"))


def _check_operator(expression: Expression, node: ast.AST, found: ast.AST, allowed: tuple[type, ...]) -> None:
    if not isinstance(found, allowed):
        raise expression.error(node, _HINTS.get(type(found), f"the operator {_word(found)} is not allowed"))


def _compared(expression: Expression, node: ast.Compare) -> list[ast.expr]:
    operands = [node.left]
    for operator, right in zip(node.ops, node.comparators, strict=True):
        _check_operator(expression, node, operator, COMPARISONS)
        if not isinstance(operator, ast.In | ast.NotIn):
            operands.append(right)
        elif not isinstance(right, ast.List | ast.Tuple | ast.Set) or not right.elts:
            raise expression.error(right, "expected a list after in, such as ['a', 'b']")
        elif len(node.ops) > 1:
            raise expression.error(node, "write in and other comparisons separately, joined by and")
        else:
            operands += right.elts
    return operands


def _arguments(expression: Expression, node: ast.Call) -> list[ast.expr]:
    name = _called(node)
    if name not in FUNCTIONS:
        hint = suggest(name, FUNCTIONS) or f"; there are {', '.join(FUNCTIONS)}"
        raise expression.error(node, f"no function {name!r}{hint}")
    low, high = FUNCTIONS[name]
    if node.keywords or any(isinstance(each, ast.Starred) for each in node.args):
        raise expression.error(node, f"{name} takes its arguments in order, without names or stars")
    if not low <= len(node.args) <= high:
        count = "1 argument" if high == 1 else f"{low} arguments" if low == high else f"{low} to {high} arguments"
        raise expression.error(node, f"{name} takes {count}, got {len(node.args)}")
    if name == "column" and not (isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)):
        raise expression.error(node.args[0], 'column takes a name in quotes, such as column("a b")')
    return node.args


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)[:_SHOWN]


def _check_constant(expression: Expression, node: ast.Constant) -> None:
    if isinstance(node.value, int | float):  # True and False are ints
        try:
            is_finite = abs(float(node.value)) != float("inf")
        except OverflowError:
            is_finite = False
        if not is_finite:
            raise expression.error(node, "the number is too large")
    elif not isinstance(node.value, str):
        hint = "write missing(x) to find missing values" if node.value is None else "expected a number or a text"
        raise expression.error(node, hint)


def _tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(io.StringIO(source.strip()).readline)


def _word(node: ast.AST) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).lower()


def _error(name: str, text: str, place: int, problem: str) -> UserError:
    shown = _BREAKS.sub(" ", text)
    pointed = f"{_clipped(shown[:place], from_end=True)}⟨here⟩{_clipped(shown[place:])}"
    return UserError(f"features.{name}: character {place + 1}: {problem}: {pointed}")


def _clipped(text: str, *, from_end: bool = False) -> str:
    if len(text) <= _SHOWN:
        return text
    return f"…{text[-_SHOWN:]}" if from_end else f"{text[:_SHOWN]}…"
