"""The body of POST /feedback: one entry, or many."""

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from service.http.problems import FieldError, Problem

BYTES_AN_ENTRY: Final = 1024
"""Room for each entry of a batch, on average; an id has some 150 bytes."""
_PLACE: Final = re.compile(r" - at `\$(?:\.feedback)?(?:\[(?P<entry>\d+)\])?(?:\.(?P<field>\w+))?`$")
_NAMED: Final = re.compile(r"(?:missing required|unknown) field `(?P<field>[^`]*)`")
_BYTE: Final = re.compile(r" \(byte (\d+)\)$")
_FILLED_LINE: Final = re.compile(rb"\S[^\n]*")


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """What turned out to be true of one prediction."""

    prediction_id: Annotated[str, Meta(description="From POST /predict?ids=true")]
    actual: Annotated[bool | int | float | str, Meta(description="The true class, or the true number")]


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """What turned out to be true of many predictions."""

    feedback: Annotated[list[Entry], Meta(extra_json_schema={"minItems": 1})]


_LINES: Final = msgspec.json.Decoder(Entry)


def read_json(body: bytes, limit: int) -> Entry | list[Entry]:
    """Parse ``{"prediction_id": …, "actual": …}`` or ``{"feedback": [{…}, …]}`` with at most `limit` entries.

    Raises Problem: 400 for no JSON, 422 for the first entry of another form, 413 for too many entries.
    """
    try:
        if "feedback" not in msgspec.json.decode(body, type=dict[str, msgspec.Raw]):
            return msgspec.json.decode(body, type=Entry)
        return _checked(msgspec.json.decode(body, type=Batch).feedback, limit)
    except msgspec.ValidationError as error:
        raise _wrong_form(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}", title="Not JSON") from None


def read_lines(body: bytes, limit: int) -> list[Entry]:
    """Parse an entry in each line (NDJSON); raises Problem as `read_json`, and 400 for two entries in one line."""
    try:
        entries = _LINES.decode_lines(body)
    except msgspec.ValidationError as error:
        raise _wrong_form(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_lines(body, str(error)) from None
    if len(entries) != sum(1 for _ in _FILLED_LINE.finditer(body)):
        raise _not_lines(body, "each entry needs a line of its own")
    return _checked(entries, limit)


def _not_lines(body: bytes, reason: str) -> Problem:
    """Name the line, if the decoder names the byte or the last line is cut off."""
    found = _BYTE.search(reason)
    place = int(found[1]) if found else len(body.rstrip())
    line = body.count(b"\n", 0, place) + 1
    where = f"Line {line}" if found or "truncated" in reason else "The body"
    return Problem(400, f"{where} is not NDJSON: {_BYTE.sub('', reason)}", title="Not NDJSON")


def _checked(entries: list[Entry], limit: int) -> list[Entry]:
    if len(entries) > limit:
        detail = f"{len(entries):,} entries came, a request may have {limit:,}; send several requests"
        raise Problem(413, detail, title="Too many entries")
    if not entries:
        error = FieldError(field="feedback", expected="at least 1 entry", got="none")
        raise Problem(422, "The list of entries is empty", title="No entries", errors=[error])
    return entries


def _wrong_form(error: msgspec.ValidationError) -> Problem:
    """Name the entry and the field; the decoder's words give types, never a value."""
    text = str(error)
    place, named = _PLACE.search(text), _NAMED.search(text)
    found = FieldError(
        expected="an entry with prediction_id (text) and actual (text, number or boolean), and nothing else",
        got=_PLACE.sub("", text),
        instance=int(place["entry"]) if place and place["entry"] else None,
        field=named["field"] if named else place["field"] if place else None,
    )
    return Problem(422, text, errors=[found])
