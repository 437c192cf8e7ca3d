"""dvc.lock is read as DVC writes it, and nothing that it may hold harms whoever reads it."""

import io
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from service.scoring import lock
from tests.conftest import ROOT

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def made(content: bytes) -> Any:
    return lock._make(yaml.parse(content, Loader=lock._Loader))


@given(TREES)
def test_what_dvc_writes_is_read_as_it_was(tree: Any) -> None:
    written = io.BytesIO()
    YAML(typ="safe", pure=True).dump({"params": tree}, written)
    assert made(written.getvalue()) == {"params": tree}


def test_the_lock_of_this_repository_is_read_as_dvc_reads_it() -> None:
    content = (ROOT / "dvc.lock").read_bytes()
    assert made(content) == YAML(typ="safe", pure=True).load(content)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-05", 1e-05), ("1.", 1.0), ("+1", 1), ("010", 10), ("0x1f", 31), ("0o17", 15), ("-.INF", -math.inf),
        ("~", None), ("yes", "yes"), ("'1'", "1"), ("12:30:00", "12:30:00"), ("2013-10-01", "2013-10-01"),
        ("2001-99-99", "2001-99-99"), ("0b_", "0b_"), ("[&a {b: 1}, *a]", [{"b": 1}, {"b": 1}]),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    assert made(f"a: {text}".encode()) == {"a": value}


LAUGHS = b"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + b"".join(
    b"%c: &%c [%s]\n" % (each, each, b", ".join([b"*%c" % (each - 1)] * 10)) for each in b"bcdefgh"
)
HOSTILE = {
    "deep lists": (b"x: " + b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "deep mappings": (b"x:" + b" {a:" * 5000, "nested too deeply"),
    "a list in itself": (b"&a [*a]", "an alias"),
    "an alias of nothing": (b"a: *b", "an alias"),
    "a billion laughs": (LAUGHS, "too large"),
    "bytes": (b"a: !!binary gP8=", "a tag"),
    "code": (b"a: !!python/object/apply:os.system [true]", "a tag"),
    "a name twice": (b"a: 1\na: 2", "twice"),
    "a list for a name": (b"? [a]\n: 1", "a name that is a list"),
    "digits": (b"a: " + b"9" * 5000, "digits"),
    "two documents": (b"a: 1\n---\nb: 2", "too many"),
    "a merge": (b"<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n", "no YAML"),
    "no text": (b"\xff\xfe\xfd", "no YAML"),
    "nothing": (b"", "not enough"),
}


@pytest.mark.parametrize(("content", "told"), HOSTILE.values(), ids=list(HOSTILE))
def test_what_dvc_never_writes_is_refused(content: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        lock.read(content)
