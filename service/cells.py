"""Parse text cells into values, by the rules of the training table.

The pipeline's table reader and the service's CSV and JSON readers call these functions, so a
cell means the same in training and in the service. The contract contains the rules as `Reading`.
"""

import contextlib
import re
from collections.abc import Callable, Container, Sequence
from datetime import MINYEAR, UTC, datetime, timedelta
from functools import lru_cache, partial
from math import nan
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

Value = float | bool | str | datetime | None
Decimal = Literal[".", ","]

EVERY_COLUMN: Final = "*"
LARGEST: Final = 3.4028234663852886e38
"""The largest float32, which is the largest number that a feature can have."""

_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_SPACES: Final = re.compile("[\u00a0\u2007\u2009\u202f]")
"""No-break and thin spaces, which separate groups of digits like a plain space."""

_PLAIN: Final = {mark: re.compile(rf"[0-9{mark} eE+-]*+") for mark in (".", ",")}
_MONTHS: Final = "janfebmaraprmayjunjulaugsepoctnovdec"
_ZONES: Final = (
    "Z:0 UTC:0 UT:0 GMT:0 WET:0 CET:1 WEST:1 CEST:2 EET:2 EEST:3 MSK:3 JST:9 "
    "EST:-5 EDT:-4 CST:-6 CDT:-5 MST:-7 MDT:-6 PST:-8 PDT:-7"
)
_OFFSETS: Final = {name: f"{int(hours):+03}00" for name, hours in (zone.split(":") for zone in _ZONES.split())}
"""UTC offsets of zone names, whatever the season. Names of two zones (IST, BST) are left out."""

_MONTH: Final = (
    r"(?P<b>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_PARTS: Final = {
    "d": r"(?P<d>\d{1,2})(?:st|nd|rd|th)?",
    "m": rf"(?:(?P<m>\d{{1,2}})|{_MONTH}\.?)",
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
}
_BETWEEN: Final = r"(?:\s*[-/.,]\s*|\s+|(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z]))"
_WEEKDAY: Final = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_ZONE: Final = r"(?P<z>[a-z]{1,4}|(?:utc|gmt)?[+-]\d{2}(?::?\d{2})?)"
_TIME: Final = (
    r"(?:(?:t|,?\s+)(?P<H>\d{1,2})(?::?(?P<M>\d{2})(?::?(?P<S>\d{2})(?:[.,](?P<f>\d+))?)?)?"
    rf"(?:\s*(?P<p>[ap])\.?m\.?)?(?:\s*{_ZONE})?)?"
)
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d)?", re.ASCII)
"""The forms that Python parses many times faster than a pattern."""
_LEAP_YEAR: Final = 2000
_PIVOT: Final = 69
"""Two-digit years from 69 on are 19xx, below 20xx, as in POSIX and Python's strptime."""


class Reading(BaseModel):
    """How the cells of the training table were read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: Decimal = "."
    thousands: str = ""
    """The marks between thousands in the table: any of ``,`` ``.`` ``'`` and a space."""
    missing: dict[str, tuple[str, ...]] = {}
    """The texts that mean "no value", by column; ``*`` is for all other columns. An empty cell always does."""
    dates: dict[str, str] = {}
    """The form of the dates by column (see `parse_date`), if it is not ``Ymd``."""
    row_names: bool = False
    """True if the first column has no name and only counts the rows; then a request may have it too."""

    def missing_texts(self, column: str) -> frozenset[str]:
        """Return the texts that mean "no value" in `column`, without spaces around them."""
        texts = self.missing.get(column, self.missing.get(EVERY_COLUMN, ()))
        return frozenset(("", *(text.strip() for text in texts)))


def parser(
    kind: Literal["number", "boolean", "date", "category"], column: str, reading: Reading
) -> Callable[[str], Value]:
    """Return the function that parses a cell of `column`; it returns None for a missing value.

    It raises ValueError, with what it expected, for a cell of another kind.
    """
    missing = reading.missing_texts(column)
    parsers: dict[str, Callable[[str], Value]] = {
        "number": partial(parse_number, decimal=reading.decimal, thousands=reading.thousands),
        "boolean": parse_boolean,
        "date": partial(_parse_date_or_iso, form=reading.dates.get(column, "Ymd")),
        "category": str,
    }
    parse_known = parsers[kind]

    def parse(text: str) -> Value:
        text = text.strip()
        return None if text in missing else parse_known(text)

    return parse


def _parse_date_or_iso(text: str, form: str) -> datetime:
    """Parse a date in the table's form, or in ISO 8601, as programs and the contract's example write it."""
    try:
        return parse_date(text, form)
    except ValueError:
        with contextlib.suppress(ValueError):
            return parse_date(text)
        raise


def parse_number(text: str, decimal: Decimal = ".", thousands: str = "") -> float:
    """Parse a decimal number such as ``-1.5``, ``.5``, ``2e3`` or, with marks, ``1 234,5``.

    Raises ValueError for other text, and for a number beyond float32.
    """
    plain = plain_marks(text.strip())
    if not _number(decimal, thousands).fullmatch(plain):
        raise ValueError("expected a number")
    for mark in thousands:
        plain = plain.replace(mark, "")
    value = float(plain.replace(decimal, "."))
    if abs(value) > LARGEST:
        raise ValueError("expected a number of at most 3.4e38")
    return value


def parse_numbers(texts: Sequence[str], missing: Container[str], decimal: Decimal) -> list[float] | None:
    """Parse many cells like `parse_number`, but many times faster; a missing value becomes NaN.

    Return None if a cell isn't a number, or has more than digits, sign, decimal mark, exponent and
    spaces around them; then call `parse_number` for each.
    """
    if not _PLAIN[decimal].fullmatch("".join(text for text in texts if text not in missing)):
        return None
    if decimal != ".":
        texts = [text.replace(decimal, ".") for text in texts]
    try:
        values = [nan if text in missing else float(text) for text in texts]
    except ValueError:
        return None
    return values if max(map(abs, values), default=0.0) <= LARGEST else None


def parse_boolean(text: str) -> bool:
    """Parse ``true`` or ``false`` in any case, ``1`` or ``0``, or ``1.0`` or ``0.0``.

    Raises ValueError for other text.
    """
    value = _BOOLEANS.get(text.strip().lower())
    if value is None:
        raise ValueError("expected true or false")
    return value


def parse_date(text: str, form: str = "Ymd") -> datetime:
    """Parse a date into a datetime without a zone, converted to UTC if the text has a zone.

    `form` is the order of the parts: ``d`` day, ``m`` month (number or English name), ``Y``
    four-digit year, ``y`` two-digit year, as in ``Ymd`` (which includes ISO 8601), ``dmY`` or
    ``mdy``. Any of ``-/.,`` or spaces separate them, and a time with a zone may follow. Or `form`
    is a format of `strptime`, such as ``%d/%m/%y %H:%M``. A missing day means the first, a missing
    year 2000. Digits beyond the microsecond are dropped. 24:00 means the next midnight.
    Raises ValueError for text of another form, and for dates that don't exist.
    """
    return parse_moment(text, form)[0]


def parse_moment(text: str, form: str) -> tuple[datetime, bool]:
    """Return the datetime like `parse_date`, and whether the text has a time zone."""
    if form == "Ymd" and _ISO.fullmatch(text):
        with contextlib.suppress(ValueError):  # 24:00:00 is parsed below
            return datetime.fromisoformat(text), False
    try:
        return _parse_format(text.strip(), form) if "%" in form else _parse_order(text.strip(), form)
    except OverflowError:
        raise ValueError(f"expected a date in the years {MINYEAR} to 9999") from None


def plain_marks(text: str) -> str:
    """Return the text with plain spaces for thin and no-break ones, and ``'`` for ``’``."""
    return text if text.isascii() else _SPACES.sub(" ", text).replace("’", "'")


@lru_cache(64)
def _number(decimal: Decimal, thousands: str) -> re.Pattern[str]:
    groups = "".join(f"|[1-9][0-9]{{0,2}}(?:[{mark}][0-9]{{3}})+" for mark in thousands if mark != decimal)
    return re.compile(f"[+-]?(?:(?:[0-9]+{groups})(?:[{decimal}][0-9]*)?|[{decimal}][0-9]+)(?:[eE][+-]?[0-9]+)?")


@lru_cache(64)
def _date_patterns(form: str) -> tuple[re.Pattern[str], ...]:
    patterns = [_WEEKDAY + _BETWEEN.join(_PARTS[letter] for letter in form) + _TIME]
    if form == "Ymd":
        patterns += [r"(?P<Y>\d{4})(?P<m>\d{2})(?P<d>\d{2})" + _TIME, r"(?P<Y>\d{4})-(?P<m>\d{2})"]
    return tuple(re.compile(pattern, re.ASCII | re.IGNORECASE) for pattern in patterns)


def _parse_format(text: str, form: str) -> tuple[datetime, bool]:
    if "%Z" in form:  # strptime knows only the zone name UTC
        form = form.replace("%Z", "%z")
        text = re.sub("[A-Z]+", lambda name: _OFFSETS.get(name[0], name[0]), text)
    if "%Y" not in form and "%y" not in form:
        text, form = f"{text} {_LEAP_YEAR}", f"{form} %Y"
    moment = datetime.strptime(text, form)  # noqa: DTZ007  # a format can be without a zone
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment, bool(moment.tzinfo)


def _parse_order(text: str, form: str) -> tuple[datetime, bool]:
    found = next(filter(None, (pattern.fullmatch(text) for pattern in _date_patterns(form))), None)
    if not found:
        raise ValueError(f"expected a date in the form {form}")
    parts = found.groupdict()
    name, year = parts.get("b"), int(parts.get("Y") or parts.get("y") or _LEAP_YEAR)
    if parts.get("y"):
        year += 1900 if year >= _PIVOT else 2000
    month = _MONTHS.index(name[:3].lower()) // 3 + 1 if name else int(parts.get("m") or 1)
    date = datetime(year, month, int(parts.get("d") or 1))  # noqa: DTZ001
    return (date + _time(parts), bool(parts["z"])) if parts.get("H") else (date, False)


def _time(parts: dict[str, str | None]) -> timedelta:
    """Return the time since midnight, converted to UTC if there is a zone."""
    hour, minute, second = (int(parts[part] or 0) for part in "HMS")
    if parts["p"]:
        if not 1 <= hour <= 12:  # noqa: PLR2004  # of a 12-hour clock
            raise ValueError("expected an hour from 1 to 12 before AM or PM")
        hour = hour % 12 + 12 * (parts["p"] in "pP")
    if (hour, minute, second) > (24, 0, 0) or minute > 59 or second > 59:  # noqa: PLR2004
        raise ValueError("expected a time from 0:00 to 24:00")
    microseconds = int((parts["f"] or "0")[:6].ljust(6, "0"))
    time = timedelta(0, second, microseconds, 0, minute, hour)
    return time - _offset(parts["z"]) if parts["z"] else time


def _offset(zone: str) -> timedelta:
    digits = re.sub("[^0-9+-]", "", _OFFSETS.get(zone.upper(), zone))
    ahead = timedelta(hours=int(digits[1:3] or 24), minutes=int(digits[3:] or 0))
    if ahead >= timedelta(days=1):
        raise ValueError(f"expected a time zone such as Z, CET or +01:00, got {zone}")
    return -ahead if digits[0] == "-" else ahead
