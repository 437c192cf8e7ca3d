"""A wrong expression is one line with the feature, the character and what to do, before anything is written."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stages.errors import UserError
from stages.params.expressions import FUNCTIONS, names, parse
from stages.params.loading import load_params
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from tests.stages.features.conftest import Fitted

# Wrong by itself: the expression, the character, a part of the message.
SYNTAX = [
    ("", 1, "invalid syntax"),
    ("u +", 4, "invalid syntax"),
    ("class + 1", 1, 'write column("…") for a column whose name has spaces or is a Python word'),
    ("u v", 3, "invalid syntax"),
    ("(u", 1, "'(' was never closed"),
    ("u\n+\nv)", 6, "unmatched ')'"),
    ("  'é' == ü.x", 10, "a name has no dot"),
    ("u & v", 1, "write and instead of &"),
    ("u if v else 0", 1, "write where(condition, a, b)"),
    ("v == None", 6, "write missing(x)"),
    ("v is 3", 1, "write == or missing(x) instead of is"),
    ("[u]", 1, "a list is allowed only after in"),
    ("u in v", 6, "expected a list after in"),
    ("u in []", 6, "expected a list after in"),
    ("1 + cliip(u, 0, 1)", 5, "no function 'cliip'; did you mean 'clip'?"),
    ("__import__('os')", 1, "no function '__import__'"),
    ("u.real(1)", 1, "no function 'u.real'"),
    ("(lambda: u)()", 1, "no function"),
    ("log1p(u, v)", 1, "log1p takes 1 argument, got 2"),
    ("abs(x=u)", 1, "takes its arguments in order"),
    ("column(u)", 8, "column takes a name in quotes"),
    ("u[0]", 1, "subscript is not allowed"),
    ("u + 1j", 5, "expected a number or a text"),
    ("u * 1e999", 5, "the number is too large"),
    ("u # v", 3, "an expression has no comments"),
    ("1 + 2", 1, "names no column"),
    ("-" * 150 + "u", 101, "more than 100 levels"),
]
# Wrong for the table of `columns`.
TYPES = [
    ("1 + speeed", 5, "no column 'speeed'; there are u, v, tiny"),
    ("1 + othr", 5, "no column 'othr'; did you mean 'other'?"),
    ("y == 'да'", 1, "'y' is the target, which is unknown when the model predicts"),
    ("u + x", 5, "the feature 'x' is defined here or later"),
    ("u + other", 5, "expected a number, got text (other)"),
    ("other", 1, "gives a text"),
    ("when", 1, "gives a date"),
    ("u + when", 5, "expected a number, got a date (when)"),
    ("u and v > 1", 1, "expected true or false, got a number; compare it"),
    ("not other", 5, "expected true or false, got text (other)"),
    ("where(u, 1, 2)", 7, "expected true or false, got a number"),
    ("where(sure, 'a', 'b')", 13, "expected a number, got 'a'"),
    ("other < 'é'", 1, "texts have no order"),
    ("other == 5", 1, "compares a text with 5.0"),
    ("'a' == 'b' or sure", 8, "compares a text with 'a'"),
    ("other in ['é', 5]", 16, "expected a text in quotes, got 5.0"),
    ("u in ['é']", 7, "expected a number, got 'é'"),
    ("hour(u)", 6, "expected a column of dates, got a number"),
    ("days_between(u, when)", 14, "expected a date, got a number"),
    ("days_between('soon', when)", 14, "expected a date such as '2024-12-31', got 'soon'"),
    ("round(u, v)", 10, "round takes a whole number of digits"),
    ("row_id + 1", 1, "'row_id' identifies the row (split.key)"),
    ("kg + 1", 1, "'kg' is the weight of each row (data.weight)"),
]


@pytest.mark.parametrize(("text", "character", "message"), SYNTAX)
def test_params_are_refused_at_the_character(text: str, character: int, message: str) -> None:
    with pytest.raises(UserError) as raised:
        parse("speed", text)

    assert str(raised.value).startswith(f"features.speed: character {character}: ")
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(("text", "character", "message"), TYPES)
def test_prepare_refuses_at_the_character(
    columns: pd.DataFrame, params: Callable[..., Params], text: str, character: int, message: str
) -> None:
    table = columns.assign(row_id=[f"r{row}" for row in range(len(columns))], kg=1.5)
    split = {"method": "random", "test_size": 0.3, "key": "row_id"}

    with pytest.raises(UserError) as raised:
        prepare.prepare(table, params(data={"weight": "kg"}, features={"x": text}, split=split))

    assert str(raised.value).startswith(f"params.yaml: features.x: character {character}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"u": "v + 1"}, "features.u: the table has a column of this name; choose another"),
        ({"y": "v + 1"}, "features.y: the table has a column of this name"),
        ({"x": "sqrt(-1 - abs(u))"}, "features.x: no training row has a value"),
        ({"x": "missing(empty)"}, "features.x: all values of 'empty' are missing in the training rows"),
    ],
)
def test_prepare_refuses_a_feature_that_teaches_nothing(
    columns: pd.DataFrame, params: Callable[..., Params], features: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=r"params\.yaml: ") as raised:
        prepare.prepare(columns.assign(empty=float("nan")), params(features=features))

    assert message in str(raised.value)


def test_the_file_is_refused_with_all_wrong_expressions(root: Path, tmp_path: Path) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    wrong = tmp_path / "params.yaml"
    features = "features: {a: 'x +', 'b c': 'log2(x)'}\n"
    wrong.write_text(re.sub(r"(?m)^features:.*\n(  .*\n)*", features, text), encoding="utf-8")

    with pytest.raises(UserError) as raised:
        load_params(wrong)

    assert f"{wrong}: features.a: character 4: invalid syntax" in str(raised.value)
    assert "features.b c: character 1: no function 'log2'; did you mean 'log'?" in str(raised.value)


def test_what_a_person_should_check_is_a_finding(fit: Callable[..., Fitted]) -> None:
    findings = " ".join(fit({"a": "other == 'zzz'", "b": "u + 0"}).schema.findings)

    assert "features.a: no training row has 'zzz' in 'other', so nothing equals it; did you mean 'zz'?" in findings
    assert "features.a: it is 0 in every training row" in findings


def test_a_feature_that_gives_the_target_away_is_a_finding(fit: Callable[..., Fitted], columns: pd.DataFrame) -> None:
    noise = np.random.default_rng(1).permutation(len(columns))
    table = columns.assign(p=noise + columns["y"].eq("да"), q=noise)

    findings = fit({"leak": "p - q"}, table).schema.findings

    assert [text[:6] for text in findings if "predicts the target almost perfectly" in text] == ["'leak'"]
    assert findings[-1].endswith("take it out of features")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@example("\x00")
@example("(" * 1000 + "u")
@example("1" * 1999 + "u")
@example("u" + "**9" * 600)
@example("'\\N{nothing}' == u")
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(UserError):
        assert list(names(parse("x", text)))


_LEAVES = st.sampled_from(["u", "v", "sure", "other", "when", "1", "0.5", "'é'", "-2", "True", 'column("class")'])


def _operators(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(parts, st.sampled_from(["+", "/", "**", "//", "%", "<", "==", "and", "or", "!="]), parts)
    call = st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.lists(parts, min_size=1, max_size=3))
    return st.one_of(
        pair.map(lambda each: f"({' '.join(each)})"),
        call.map(lambda each: f"{each[0]}({', '.join(each[1])})"),
        parts.map(lambda part: f"(not {part})"),
        st.tuples(parts, st.lists(_LEAVES, min_size=1, max_size=3)).map(lambda x: f"({x[0]} in [{', '.join(x[1])}])"),
    )


@given(data=st.data())
def test_any_expression_is_translated_or_refused(checked: Callable[[str], None], data: st.DataObject) -> None:
    checked(data.draw(st.recursive(_LEAVES, _operators, max_leaves=8)))
