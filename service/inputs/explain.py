"""What is wrong with rows, in the caller's words: which row, which field, what was expected, what came."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from service.cells import Value
from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, Feature, NumberFeature
from service.http.problems import SHOWN_ERRORS, FieldError, Problem
from service.inputs import extent
from service.inputs.readers import MAX_NUMBER, NotANumber, Reader, Wrong, read_cell, read_value

_SHOWN_CHARACTERS: Final = 80
_BLOCK: Final = 256
_NAMES: Final[dict[type, str]] = {bool: "a boolean", str: "text", list: "an array", dict: "an object"}


class Findings:
    """Errors as they are found: the first are kept, all are counted, by field and kind too."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.count = 0
        self.kinds: dict[tuple[str | None, str], int] = {}
        """How often each kind of error came, by feature; None where no feature is meant."""

    def add(self, error: FieldError, kind: str, feature: str | None = None) -> None:
        """Note one error; `kind` is missing, wrong_type, wrong_value, unknown or outside."""
        self.count += 1
        self.kinds[feature, kind] = self.kinds.get((feature, kind), 0) + 1
        if len(self.errors) < SHOWN_ERRORS:
            self.errors.append(error)

    def skip(self, count: int, kind: str) -> None:
        """Count errors of no feature that no answer would name."""
        self.count += count
        self.kinds[None, kind] = self.kinds.get((None, kind), 0) + count

    def problem(self) -> "Invalid":
        """Give the answer that names them."""
        return Invalid(self)

    def is_enough(self) -> bool:
        """Tell whether as many errors are known as an answer names."""
        return self.count >= SHOWN_ERRORS


class Invalid(Problem):
    """Rows that the contract does not allow."""

    def __init__(self, findings: Findings) -> None:
        many = "1 error was" if findings.count == 1 else f"{findings.count:,} errors were"
        shown = len(findings.errors)
        super().__init__(
            422,
            f"{many} found; `errors` names " + (f"the first {shown}" if findings.count > shown else "all"),
            type="/problems/invalid-instances",
            title="The instances do not fit the model's contract",
            errors=findings.errors,
            error_count=findings.count,
        )
        self.kinds = findings.kinds


@dataclass(frozen=True, slots=True)
class Fields:
    """What a row may have."""

    readers: Sequence[Reader]
    known: frozenset[str]
    """Names of the features, and of columns that are passed over."""


Read = Callable[[Reader, Any], Value]


def make_fields(contract: Contract, readers: Sequence[Reader]) -> Fields:
    """Return the fields that the contract names."""
    return Fields(readers, frozenset((*(reader.feature.name for reader in readers), *contract.left_out)))


def read_request(body: bytes, fields: Fields, limit: int) -> tuple[list[dict[str, Any]], list[list[Value]]]:
    """Read a request closely and return its instances, as they came and as values.

    Raises Problem: 400 for what is not JSON, 413 for more than `limit` instances, 422 with the
    errors for what does not fit.
    """
    extent.check(body, objects=limit + 2, values=2 * (limit + 1) * (len(fields.known) + 1))
    document = read_json(body)
    findings = Findings()
    if not isinstance(document, dict):
        findings.add(FieldError(expected='an object: {"instances": [...]}', got=shown(document)), "wrong_type")
        raise findings.problem()
    for name in (name for name in document if name != "instances"):
        findings.add(FieldError(field=clip(name), expected="no other member than instances", got=clip(name)), "unknown")
    instances: Any = document.get("instances")
    rows: list[list[Value]] = []
    if isinstance(instances, list):
        check_number(len(instances), limit)
        rows = check_all(fields, instances, findings)
    else:
        got = shown(instances) if "instances" in document else "nothing"
        findings.add(FieldError(field="instances", expected="an array of objects", got=got), "wrong_type")
    if findings.count:
        raise findings.problem()
    return instances, rows


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


def check_all(
    fields: Fields, instances: Iterable[Any], findings: Findings, first: int = 0, read: Read = read_value
) -> list[list[Value]]:
    """Compare instances with the contract, `first` being the number of the first, and return their values.

    Ends after a block of them once as many errors are known as an answer names.
    """
    rows: list[list[Value]] = []
    for number, instance in enumerate(instances, first):
        rows.append(check(fields, number, instance, findings, read))
        if len(rows) % _BLOCK == 0 and findings.is_enough():
            break
    return rows


def check(
    fields: Fields, number: int | None, instance: Any, findings: Findings, read: Read = read_value
) -> list[Value]:
    """Compare one instance with the contract, and return the values of the features."""
    if not isinstance(instance, dict):
        findings.add(FieldError(instance=number, expected="an object", got=shown(instance)), "wrong_type")
        return []
    unknown = instance.keys() - fields.known
    if len(unknown) > SHOWN_ERRORS:
        findings.skip(len(unknown) - SHOWN_ERRORS, "unknown")
    for name in islice((name for name in instance if name in unknown), SHOWN_ERRORS):
        error = FieldError(instance=number, field=clip(name), expected="a feature of the model", got=clip(name))
        findings.add(error, "unknown")
    values = []
    for reader in fields.readers:
        name = reader.feature.name
        raw = instance.get(name)
        try:
            values.append(read(reader, raw))
        except Wrong as wrong:
            got = shown(raw) if name in instance else "nothing"
            kind = expected(reader.feature, reader.cell_form if read is read_cell else "")
            error = FieldError(instance=number, field=name, expected=kind, got=got)
            findings.add(error, wrong.kind, name)
    return values


def expected(feature: Feature, form: str = "") -> str:
    """Say what a feature takes, and in which form a CSV has it."""
    match feature:
        case NumberFeature():
            kind = "a finite number"
        case BooleanFeature():
            kind = "true or false"
        case CategoryFeature():
            kind = "text"
        case DateFeature():
            kind = "a date in ISO 8601"
    return f"{kind}{form} or null" if feature.nullable else kind + form


def expected_strictly(feature: Feature) -> str:
    """Say what a strict feature takes."""
    if isinstance(feature, CategoryFeature):
        names = ", ".join(feature.categories[:SHOWN_ERRORS])
        return f"one of {names}" + (", ..." if len(feature.categories) > SHOWN_ERRORS else "")
    if isinstance(feature, NumberFeature | DateFeature):
        return f"{expected(feature)} from {feature.minimum} to {feature.maximum}"
    return expected(feature)


def shown(value: Any) -> str:
    """Give a value as the caller wrote it, cut short."""
    if isinstance(value, NotANumber):
        return value.text
    if value is None:
        return "null"
    if isinstance(value, list | dict):
        return f"{_NAMES[type(value)]} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_NUMBER:
        return "a number with too many digits"
    if isinstance(value, str):
        value = value[: _SHOWN_CHARACTERS + 1]
    return clip(json.dumps(value, ensure_ascii=False, allow_nan=True))


def clip(text: str) -> str:
    """Cut text short and leave out what a terminal or UTF-8 could not show."""
    plain = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "�", text[: _SHOWN_CHARACTERS + 1])
    return plain if len(text) <= _SHOWN_CHARACTERS else plain[:_SHOWN_CHARACTERS] + "..."
