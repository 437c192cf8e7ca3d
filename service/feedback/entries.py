"""Parse the body of POST /feedback: one entry or many."""

import re
from io import BytesIO
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from service.http.problems import FieldError, Problem

BYTES_AN_ENTRY: Final = 1024
"""Bytes that an entry of a batch may have on average; an id has about 150."""
_PLACE: Final = re.compile(
    r"(?:(?:missing required|unknown) field `(?P<named>[^`]*)`)?"
    r"(?: - at `\$(?:\.feedback)?(?:\[(?P<entry>\d+)\])?(?:\.(?P<field>\w+))?`)?$"
)


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """The actual outcome of one prediction."""

    prediction_id: Annotated[str, Meta(description="From POST /predict?ids=true")]
    actual: Annotated[bool | int | float | str, Meta(description="The actual class or number")]


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """The actual outcomes of many predictions."""

    feedback: Annotated[list[Entry], Meta(extra_json_schema={"minItems": 1})]


_LINE: Final = msgspec.json.Decoder(Entry)


def read_json(body: bytes, limit: int) -> Entry | list[Entry]:
    """Parse ``{"prediction_id": …, "actual": …}`` or ``{"feedback": [{…}, …]}`` with at most `limit` entries.

    Raises Problem: 400 if it isn't JSON, 422 for the first entry with a wrong form, 413 for too many entries.
    """
    try:
        if "feedback" not in msgspec.json.decode(body, type=dict[str, msgspec.Raw]):
            return msgspec.json.decode(body, type=Entry)
        return _check_length(msgspec.json.decode(body, type=Batch).feedback, limit)
    except msgspec.ValidationError as error:
        raise _wrong_form(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}", title="Not JSON") from None


def read_lines(body: bytes, limit: int) -> list[Entry]:
    """Parse one entry per line (NDJSON) with at most `limit` entries. Raises Problem like `read_json`."""
    entries: list[Entry] = []
    for number, line in enumerate(BytesIO(body), start=1):
        try:
            if line.strip():
                entries.append(_LINE.decode(line))
        except msgspec.ValidationError as error:
            raise _wrong_form(error, len(entries)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, f"Line {number} is not NDJSON: {error}", title="Not NDJSON") from None
    return _check_length(entries, limit)


def _check_length(entries: list[Entry], limit: int) -> list[Entry]:
    if len(entries) > limit:
        detail = f"The request has {len(entries):,} entries, at most {limit:,} are allowed; send several requests"
        raise Problem(413, detail, title="Too many entries")
    if not entries:
        error = FieldError(field="feedback", expected="at least 1 entry", got="none")
        raise Problem(422, "The list of entries is empty", title="No entries", errors=[error])
    return entries


def _wrong_form(error: msgspec.ValidationError, number: int | None = None) -> Problem:
    """Return the problem with the entry and the field; the decoder's message has types, but no values."""
    text = str(error)
    place = _PLACE.search(text)
    entry, field = (place["entry"], place["named"] or place["field"]) if place else (None, None)
    found = FieldError(
        expected="an entry with prediction_id (text) and actual (text, number or boolean), and nothing else",
        got=text.partition(" - at `")[0],
        instance=int(entry) if entry else number,
        field=field,
    )
    return Problem(422, text, errors=[found])
