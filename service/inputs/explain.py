"""What is wrong with rows, in the caller's words: which row, which field, what was expected, what came."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from service.cells import Value
from service.contract import CategoryFeature, DateFeature, Feature, NumberFeature
from service.http.problems import SHOWN_ERRORS, FieldError, Problem
from service.inputs.readers import MAX_NUMBER, NotANumber, Reader, Wrong

_SHOWN_CHARACTERS: Final = 80
_BLOCK: Final = 256
_SMALL: Final = 1024 * 1024
"""A body of so many bytes is built as it is: at most 24 MB of objects, in 0.1 s."""
_LONGEST: Final = 512 * 1024
"""Bytes without a comma from which on a larger body is refused."""
_NAMES: Final[dict[type, str]] = {list: "an array", dict: "an object"}
_KINDS: Final = {
    "number": "a finite number",
    "boolean": "true or false",
    "category": "text",
    "date": "a date in ISO 8601",
}


class Findings:
    """Errors as they are found: the first are kept, all are counted."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.kinds: Counter[tuple[str | None, str]] = Counter()
        """How often each kind of error came, by feature; None where no feature is meant."""

    @property
    def count(self) -> int:
        """Errors so far."""
        return self.kinds.total()

    def add(self, error: FieldError, kind: str, feature: str | None = None) -> None:
        """Note one error; `kind` is missing, wrong_type, wrong_value, unknown or outside."""
        self.kinds[feature, kind] += 1
        if len(self.errors) < SHOWN_ERRORS:
            self.errors.append(error)

    def is_enough(self) -> bool:
        """Return whether as many errors are known as an answer names."""
        return len(self.errors) == SHOWN_ERRORS

    def refuse(self) -> None:
        """Raise Invalid if there is any error."""
        if self.kinds:
            raise Invalid(self)


class Invalid(Problem):
    """Rows that the contract does not allow."""

    def __init__(self, findings: Findings) -> None:
        count, shown = findings.count, len(findings.errors)
        many = "1 error was" if count == 1 else f"{count:,} errors were"
        super().__init__(
            422,
            f"{many} found; `errors` names " + (f"the first {shown}" if count > shown else "all"),
            type="/problems/invalid-instances",
            title="The instances do not fit the model's contract",
            errors=findings.errors,
            error_count=count,
        )
        self.kinds = findings.kinds


@dataclass(frozen=True, slots=True)
class Fields:
    """What a row may have."""

    readers: Sequence[Reader]
    known: frozenset[str]
    """Names of the features, and of columns that are ignored."""


def check_extent(body: bytes, objects: int, values: int) -> None:
    """Raise Problem (413) if a body may have many more objects and arrays, or values, or a very long one.

    A body of 30 MB can hold 10 million empty objects, which would take 900 MB. Counting the marks between values takes
    20 ms. Marks inside texts count too, so some times as many as needed are allowed.
    """
    if len(body) <= _SMALL:
        return
    if body.count(b"{") + body.count(b"[") > 4 * objects or body.count(b",") > 2 * values:
        detail = "The body has more objects or values than the rows of one request; send a table as CSV or NDJSON"
        raise Problem(413, detail, title="Too many values")
    if any(body.find(b",", at, at + _LONGEST) < 0 for at in range(0, len(body) - _LONGEST, _LONGEST)):
        raise Problem(413, f"A value in the body has more than {_LONGEST:,} bytes", title="Value too long")


def read_request(body: bytes, limit: int) -> list[Any]:
    """Read a request thoroughly and return its instances as they came.

    Raises Problem: 400 for what is not JSON, 413 for more than `limit` instances, 422 where there are none or where
    something stands beside them.
    """
    document, findings = read_json(body), Findings()
    if not isinstance(document, dict):
        findings.add(FieldError(expected='an object: {"instances": [...]}', got=show(document)), "wrong_type")
        raise Invalid(findings)
    for name in (name for name in document if name != "instances"):
        findings.add(FieldError(field=clip(name), expected="no other member than instances", got=clip(name)), "unknown")
    instances: Any = document.get("instances")
    if not isinstance(instances, list):
        got = show(instances) if "instances" in document else "nothing"
        findings.add(FieldError(field="instances", expected="an array of objects", got=got), "wrong_type")
    findings.refuse()
    check_number(len(instances), limit)
    return list(instances)


def read_json(text: bytes) -> Any:
    """Parse JSON strictly: UTF-8, no name twice, no NaN. Raises Problem (400, or 422 for a name that comes twice)."""
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_object, parse_constant=NotANumber)
    except UnicodeDecodeError as error:
        raise Problem(400, f"The body is not UTF-8: byte {error.start} cannot be read", title="Not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Problem(400, f"The body is not JSON: {error}", title="Not JSON") from None
    except RecursionError:
        raise Problem(400, "The body is nested too deeply", title="Not JSON") from None
    except ValueError:
        raise Problem(422, "A number in the body has too many digits", title="Number too long") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        error = FieldError(field=clip(twice), expected="each name once", got="a name that comes twice")
        raise Problem(422, "A name comes twice in an object", title="Name comes twice", errors=[error])
    return found


def check_number(instances: int, limit: int) -> None:
    """Raise Problem unless there are 1 to `limit` instances."""
    if instances > limit:
        detail = f"{instances:,} instances came, a request may have {limit:,}; send a table as CSV or NDJSON instead"
        raise Problem(413, detail, title="Too many instances")
    if not instances:
        error = FieldError(field="instances", expected="at least 1 instance", got="none")
        raise Problem(422, "There is nothing to predict", title="No instances", errors=[error])


def check_all(fields: Fields, instances: Iterable[Any], findings: Findings, first: int = 0) -> list[list[Value]]:
    """Compare instances with the contract, `first` being the number of the first, and return their values.

    Ends after a block of them once as many errors are known as an answer names.
    """
    rows: list[list[Value]] = []
    for number, instance in enumerate(instances, first):
        rows.append(_check(fields, number, instance, findings))
        if len(rows) % _BLOCK == 0 and findings.is_enough():
            break
    return rows


def _check(fields: Fields, number: int, instance: Any, findings: Findings) -> list[Value]:
    """Compare one instance with the contract, and return the values of the features."""
    if not isinstance(instance, dict):
        findings.add(FieldError(instance=number, expected="an object", got=show(instance)), "wrong_type")
        return []
    unknown = instance.keys() - fields.known
    if len(unknown) > SHOWN_ERRORS:
        findings.kinds[None, "unknown"] += len(unknown) - SHOWN_ERRORS
    for name in islice((name for name in instance if name in unknown), SHOWN_ERRORS):
        error = FieldError(instance=number, field=clip(name), expected="a feature of the model", got=clip(name))
        findings.add(error, "unknown")
    values = []
    for reader in fields.readers:
        name = reader.feature.name
        raw = instance.get(name)
        try:
            values.append(reader.value(raw))
        except Wrong as wrong:
            got = show(raw) if name in instance else "nothing"
            error = FieldError(instance=number, field=name, expected=expected(reader.feature), got=got)
            findings.add(error, wrong.kind, name)
    return values


def expected(feature: Feature, form: str = "") -> str:
    """Return what a feature takes, and in which form a CSV has it."""
    return _KINDS[feature.type] + form + (" or null" if feature.nullable else "")


def expected_strictly(feature: Feature) -> str:
    """Return what a strict feature takes."""
    if isinstance(feature, CategoryFeature):
        names = ", ".join(feature.categories[:SHOWN_ERRORS])
        return f"one of {names}" + (", ..." if len(feature.categories) > SHOWN_ERRORS else "")
    if isinstance(feature, NumberFeature | DateFeature):
        return f"{expected(feature)} from {feature.minimum} to {feature.maximum}"
    return expected(feature)


def show(value: Any) -> str:
    """Return a value as the caller wrote it, cut short."""
    if isinstance(value, NotANumber):
        return value.text
    if isinstance(value, list | dict):
        return f"{_NAMES[type(value)]} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_NUMBER:
        return "a number with too many digits"
    if isinstance(value, str):
        value = value[: _SHOWN_CHARACTERS + 1]
    return clip(json.dumps(value, ensure_ascii=False))


def clip(text: str) -> str:
    """Cut text short and leave out what a terminal or UTF-8 could not show."""
    plain = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "�", text[: _SHOWN_CHARACTERS + 1])
    return plain if len(text) <= _SHOWN_CHARACTERS else plain[:_SHOWN_CHARACTERS] + "..."
