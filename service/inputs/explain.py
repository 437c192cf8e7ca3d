"""Read JSON thoroughly, and describe each error: which row and field, what was expected, what came."""

import json
import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from itertools import islice
from typing import Any, Final

from service.cells import Value
from service.contract import CategoryFeature, DateFeature, Feature, NumberFeature
from service.http.problems import SHOWN_ERRORS, FieldError, Problem
from service.inputs.readers import MAX_NUMBER, InvalidValueError, Reader

_SHOWN_CHARACTERS: Final = 80
_BLOCK: Final = 256
_SMALL: Final = 1024 * 1024
"""Bodies of at most this many bytes aren't checked: parsing one takes at most 24 MB and 0.1 s."""
_LONGEST: Final = 512 * 1024
"""A larger body may have at most this many bytes without a comma."""
COMPUTED: Final = "nothing, because the model computes this feature; leave it out"
"""What is expected of a derived feature."""
_NAMES: Final[dict[type, str]] = {list: "an array", dict: "an object"}
_KINDS: Final = {
    "number": "a finite number",
    "boolean": "true or false",
    "category": "text",
    "date": "a date in ISO 8601",
}


class Findings:
    """Collects errors: it keeps the first ones and counts all."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.kinds: Counter[tuple[str | None, str]] = Counter()
        """Number of errors by feature and kind; the feature is None for an error that isn't about one."""

    @property
    def count(self) -> int:
        """Number of all errors so far."""
        return self.kinds.total()

    def add(self, error: FieldError, kind: str, feature: str | None = None) -> None:
        """Add one error; `kind` is missing, wrong_type, wrong_value, unknown or outside."""
        self.kinds[feature, kind] += 1
        if len(self.errors) < SHOWN_ERRORS:
            self.errors.append(error)

    def is_enough(self) -> bool:
        """Return whether there are as many errors as a response shows."""
        return len(self.errors) == SHOWN_ERRORS

    def refuse(self) -> None:
        """Raise Invalid if there is any error."""
        if self.kinds:
            raise Invalid(self)


class Invalid(Problem):
    """Rows break the contract."""

    def __init__(self, findings: Findings) -> None:
        count, shown = findings.count, len(findings.errors)
        many = "1 error was" if count == 1 else f"{count:,} errors were"
        super().__init__(
            422,
            f"{many} found; `errors` has " + (f"the first {shown}" if count > shown else "all"),
            type="/problems/invalid-instances",
            title="The instances do not fit the model's contract",
            errors=findings.errors,
            error_count=count,
        )
        self.kinds = findings.kinds


def check_extent(body: bytes, objects: int, values: int) -> None:
    """Raise Problem (413) if a body may have far more than `objects` objects and arrays or `values` values.

    A body of 30 MB can have 10 million empty objects, which would take 900 MB of memory. Counting braces, brackets and
    commas takes 20 ms. Those inside text count too, so the limits are several times as high. A value of over 512 KiB
    is also refused.
    """
    if len(body) <= _SMALL:
        return
    if body.count(b"{") + body.count(b"[") > 4 * objects or body.count(b",") > 2 * values:
        detail = "The body has more objects or values than the rows of one request; send a table as CSV or NDJSON"
        raise Problem(413, detail, title="Too many values")
    if any(body.find(b",", at, at + _LONGEST) < 0 for at in range(0, len(body) - _LONGEST, _LONGEST)):
        raise Problem(413, f"A value in the body has more than {_LONGEST:,} bytes", title="Value too long")


def read_request(body: bytes, limit: int) -> list[Any]:
    """Parse the body of a request and return its instances without checking them.

    Raises Problem: 400 if it isn't JSON, 413 for more than `limit` instances, 422 if there are none or if the object
    has other members.
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
    check_count(len(instances), limit)
    return list(instances)


def read_json(text: bytes) -> Any:
    """Parse JSON in UTF-8; NaN and infinities become floats, which `Reader.value` refuses.

    Raises Problem: 400 if it isn't JSON, 422 for a name that is twice in an object or a number with too many digits.
    """
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_object)
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
        error = FieldError(field=clip(twice), expected="each name once", got="the same name twice")
        raise Problem(422, "A name is twice in an object", title="Repeated name", errors=[error])
    return found


def check_count(instances: int, limit: int) -> None:
    """Raise Problem unless there are 1 to `limit` instances."""
    if instances > limit:
        detail = f"The request has {instances:,} instances, at most {limit:,} are allowed; send CSV or NDJSON instead"
        raise Problem(413, detail, title="Too many instances")
    if not instances:
        error = FieldError(field="instances", expected="at least 1 instance", got="none")
        raise Problem(422, "There is nothing to predict", title="No instances", errors=[error])


class Checker:
    """Compares rows with the contract, value by value.

    Parameters
    ----------
    known
        Names of the features and of ignored columns.
    derived
        Names of the features that the model computes.
    are_cells
        Whether the values are cells of CSV; else they are from JSON.
    """

    def __init__(
        self, readers: Sequence[Reader], known: set[str], derived: Container[str] = (), *, are_cells: bool = False
    ) -> None:
        self._readers = readers
        self._known = known
        self._derived = derived
        self._are_cells = are_cells

    def check(self, instances: Iterable[Any], findings: Findings, first: int = 0) -> list[list[Value]]:
        """Return the values of each instance; `first` is the number of the first one.

        Add errors to `findings`; stop at the end of a block if there are as many as a response shows.
        """
        rows: list[list[Value]] = []
        for number, instance in enumerate(instances, first):
            rows.append(self._check(number, instance, findings))
            if len(rows) % _BLOCK == 0 and findings.is_enough():
                break
        return rows

    def _check(self, number: int, instance: Any, findings: Findings) -> list[Value]:
        if not isinstance(instance, dict):
            findings.add(FieldError(instance=number, expected="an object", got=show(instance)), "wrong_type")
            return []
        unknown = instance.keys() - self._known
        if len(unknown) > SHOWN_ERRORS:
            findings.kinds[None, "unknown"] += len(unknown) - SHOWN_ERRORS
        for name in islice((name for name in instance if name in unknown), SHOWN_ERRORS):
            findings.add(unknown_field(name, self._derived, number), "unknown")
        values = []
        for reader in self._readers:
            name = reader.feature.name
            raw = instance.get(name)
            try:
                values.append(reader.cell(raw or "") if self._are_cells else reader.value(raw))
            except InvalidValueError as wrong:
                form = expected(reader.feature, reader.cell_form if self._are_cells else "")
                got = show(raw) if name in instance else "nothing"
                findings.add(FieldError(instance=number, field=name, expected=form, got=got), wrong.kind, name)
        return values


def unknown_field(name: str, derived: Container[str], instance: int | None = None) -> FieldError:
    """Return the error about a name that isn't an input of the model; `derived` are those that it computes."""
    wanted = COMPUTED if name in derived else "a feature of the model"
    return FieldError(instance=instance, field=clip(name), expected=wanted, got=clip(name))


def expected(feature: Feature, form: str = "") -> str:
    """Return what values a feature accepts, for messages; `form` describes cells of CSV."""
    return _KINDS[feature.type] + form + (" or null" if feature.nullable else "")


def expected_strictly(feature: Feature) -> str:
    """Return what values a strict feature accepts, for messages."""
    if isinstance(feature, CategoryFeature):
        names = ", ".join(feature.categories[:SHOWN_ERRORS])
        return f"one of {names}" + (", ..." if len(feature.categories) > SHOWN_ERRORS else "")
    if isinstance(feature, NumberFeature | DateFeature):
        return f"{expected(feature)} from {feature.minimum} to {feature.maximum}"
    return expected(feature)


def show(value: Any) -> str:
    """Return a value in JSON, shortened for messages; of an array or object only its size."""
    if isinstance(value, list | dict):
        return f"{_NAMES[type(value)]} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_NUMBER:
        return "a number with too many digits"
    if isinstance(value, str):
        value = value[: _SHOWN_CHARACTERS + 1]
    return clip(json.dumps(value, ensure_ascii=False))


def clip(text: str) -> str:
    """Shorten text to 80 characters, and replace those that a terminal or UTF-8 can't show."""
    plain = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "�", text[: _SHOWN_CHARACTERS + 1])
    return plain if len(text) <= _SHOWN_CHARACTERS else plain[:_SHOWN_CHARACTERS] + "..."
