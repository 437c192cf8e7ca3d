"""The cells of one column as they stand in the file: what is missing, what is stray, where each one stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stages._errors import UserError

CORRECT = (
    "correct it, or add it to data.missing if it stands for no value, or list the column under data.categorical or "
    "data.ignore"
)
"""What to do about a cell that is unlike the others of its column."""

FIRST_ROW = 2
"""The number of a table's first row: the header is row 1, as a person counts who sees the table in an editor."""

_SHOWN = 40
_MOST = 0.9
_MANY = 0.5
_SOME = 0.1
_ALMOST = 0.8
_FEW = 0.01
_FEW_STRAYS = 2
_SMALL_CATEGORY = 20
_HEAD = 1000
_TRIED = 32

_STAND_IN = (
    r"(?i)^([^\pL\pN]*|#?n\.?[/\\]?[ad]\.?|<na>|nan|nil|nul|null|none|miss|missing|unk|unknown"
    r"|undefined|undef|unspecified|tbd|tba|not available|not applicable|no data|no value|blank|empty"
    r"|#(value|ref|div/0|name|num|null)[!?]|[+-]?inf(inity)?)$"
)
"""What people write when there is no value: no letter and no digit, or one of these words."""
_DECORATED = r"(?i)^[^\pL\pN]*\d[\d.,\s'’_]*([eE][+-]?\d+)?\s*[^\pL\pN]?\s*(eur|euro|usd|gbp|chf|kr|zł|円|元)?$"
"""A number with a separator, a sign or a unit that a plain number does not have."""
_OPEN_ENDED = r"^([<>≤≥]=?\s*\d[\d.]*|\d[\d.]*\s*\+)$"
"""A class of numbers such as ``3+`` or ``>50``."""


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of a file."""

    path: str
    name: str
    column: pa.ChunkedArray
    """Text without blanks around it, null where the value is missing; or a Parquet column as it is."""
    where: Callable[[int], str]
    """Tells where row i (from 0) stands, such as ``line 17``."""

    def error(self, row: int, problem: str, remedy: str = CORRECT) -> UserError:
        """Say what is wrong in `row` (from 0) and what to do."""
        return UserError(f"{self.path}: {self.where(row)}, column {self.name!r}: {problem}; {remedy}")

    def show(self, row: int) -> str:
        """Give the cell in quotes, shortened."""
        text = str(self.column[row].cast(pa.string()).as_py())
        return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")

    def first(self) -> str:
        """Give the first value in quotes, shortened."""
        return self.show(int(pc.index(self.column.is_valid(), value=True).as_py()))

    @property
    def known(self) -> int:
        """How many cells hold a value."""
        return len(self.column) - int(self.column.null_count)

    def match(self, pattern: str) -> pa.ChunkedArray:
        """Give a boolean for each cell, null where it is missing; `pattern` is in RE2's syntax."""
        return pc.match_substring_regex(self.column, pattern)


def find_missing(values: pa.ChunkedArray, missing: Sequence[str]) -> pa.ChunkedArray:
    """Take the blanks around each text away, then the texts that stand for no value."""
    stripped = pc.utf8_trim_whitespace(values)
    tokens = pa.array(sorted({token.strip() for token in missing}), type=stripped.type)
    return pc.if_else(pc.is_in(stripped, value_set=tokens), pa.scalar(None, stripped.type), stripped)


def read_text(cells: Cells) -> pd.Series:
    """Leave the text as it is."""
    series: pd.Series[Any] = cells.column.cast(pa.large_string()).to_pandas().astype("str").rename(cells.name)
    return series


def read_booleans(cells: Cells) -> pd.Series | None:
    """Read a column of true and false in any case; None for another.

    Yes and no, t and f, 0 and 1 stay the text and the numbers that they are: a model's
    user asks for the same answers that stand in the table.
    """
    fits = cells.match("(?i)^(true|false)$")
    if count(fits) < cells.known:
        refuse_strays(cells, fits, "is neither true nor false, as the other values are", only_stand_ins=True)
        return None
    return booleans(pc.match_substring_regex(cells.column, "(?i)^true$")).rename(cells.name)


def booleans(values: pa.ChunkedArray) -> pd.Series:
    """Give bool, or nullable boolean where values are missing."""
    series: pd.Series[Any] = values.to_pandas()
    return series.astype("boolean") if values.null_count else series.astype("bool")


def count(mask: pa.ChunkedArray) -> int:
    """Count what is true."""
    return int(pc.sum(mask).as_py() or 0)


def refuse_strays(cells: Cells, fits: pa.ChunkedArray, problem: str, *, only_stand_ins: bool = False) -> None:
    """Raise UserError at the first cell that does not fit, if the column is plainly meant to be of what fits.

    It is where one value in ten fits and the others are all stand-ins (``?``, ``N/A``); where
    half of them fit and the others are stand-ins or numbers in disguise (``12,5``, ``$3``);
    and where most fit and the others are very few, or one or two texts that return. Codes
    among few and frequent ones (``0 1 2 3+``) are categories, and so are numbers among many
    different codes (``250.8 V57 E909``).
    """
    fitting = count(fits)
    share = fitting / max(cells.known, 1)
    if share < _SOME or fitting == cells.known:
        return
    strays = cells.column.filter(pc.invert(fits))
    odd = strays.filter(pc.invert(pc.match_substring_regex(strays, _STAND_IN)))
    if len(odd) == 0 or (not only_stand_ins and _is_stray(cells, odd, share)):
        row = pc.index(fits, value=False).as_py()
        raise cells.error(row, f"{cells.show(row)} {problem}")


def _is_stray(cells: Cells, odd: pa.ChunkedArray, share: float) -> bool:
    """Tell whether `odd` texts do not belong to a column in which the `share` is of one kind."""
    if _is_category(cells, odd):
        return False
    if share >= _MANY and count(pc.match_substring_regex(odd, _DECORATED)) == len(odd):
        return True
    few = len(odd) <= max(_FEW_STRAYS, _FEW * cells.known) or pc.count_distinct(odd).as_py() <= _FEW_STRAYS
    return share >= _ALMOST and few


def _is_category(cells: Cells, odd: pa.ChunkedArray) -> bool:
    open_ended = count(pc.match_substring_regex(odd, _OPEN_ENDED)) == len(odd)
    if not open_ended and count(pc.match_substring_regex(odd, _DECORATED)):
        return False
    frequent = pc.min(pc.value_counts(odd).field("counts")).as_py() >= _FEW_STRAYS
    few = pc.count_distinct(cells.column).as_py() <= min(_SMALL_CATEGORY, max(cells.known // 5, _FEW_STRAYS))
    return bool(few and (open_ended or frequent))


def looks_decorated(cells: Cells) -> bool:
    """Tell from its first values whether a column holds numbers with separators, currencies or per cent signs."""
    head = first_known(cells)
    return count(pc.match_substring_regex(head, _DECORATED)) >= _MOST * len(head)


def first_known(cells: Cells) -> pa.ChunkedArray:
    """Give the first thousand values that are not missing."""
    head = cells.column.slice(0, _HEAD).drop_null()
    return head if len(head) else cells.column.drop_null().slice(0, _HEAD)


def cast(cells: Cells, kind: pa.DataType) -> pa.ChunkedArray | None:
    """Parse text as `kind`; None if a cell is no such text.

    The first values are tried before all: Arrow parses on after a failure, and a failure costs
    it a hundred times what a number does.
    """
    try:
        pc.cast(cells.column.slice(0, _TRIED), kind)
        return pc.cast(cells.column, kind)
    except pa.ArrowInvalid:
        return None
