"""Read any CSV or Parquet table into typed columns, or say in one line why not."""

import csv
import gzip
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from charset_normalizer import from_bytes

from stages._entry import log
from stages._errors import UserError
from stages._params import DataParams

_SAMPLE = 65_536
_LARGEST_EXACT = 2**53
_STRAY_SHARE = 0.9
"""A text column with this share of numbers is a number column with stray text."""
_DATE = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?$"


def read(data: DataParams) -> pd.DataFrame:
    """Read `data.path` without the ignored columns.

    Returns float64/int64 numbers, booleans, datetime64[us] (naive, UTC) and text; what is
    missing is NaN, NaT or NA. Raises UserError for what is no such table.
    """
    path = Path(data.path)
    table = _read_parquet(path) if _head(path)[:4] == b"PAR1" else _read_csv(path, data.missing)
    _check_names(table.column_names, data)
    if table.num_rows == 0:
        raise UserError(f"{path}: has a header and no rows")
    table = table.select([name for name in table.column_names if name not in data.ignore])
    frame = pd.DataFrame({name: _typed(path, name, table[name], data) for name in table.column_names})
    log(f"{len(frame):,} rows and {len(frame.columns):,} columns read from {path}")
    return frame


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise UserError(f"{path}: is a folder; params.yaml: data.path must name a CSV or Parquet file")
    if not path.exists():
        raise UserError(f"{path}: not found; params.yaml: data.path must name a CSV or Parquet file")
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
    if not head.strip():
        raise UserError(f"{path}: is empty")
    if path.suffix == ".parquet" and head[:4] != b"PAR1":
        raise UserError(f"{path}: is named .parquet but is no Parquet file; write it anew or rename it")
    return head


def _read_parquet(path: Path) -> pa.Table:
    try:
        return pyarrow.parquet.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: is a damaged Parquet file ({error}); write it anew") from None


def _read_csv(path: Path, missing: list[str]) -> pa.Table:
    content = _decompressed(path)
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{path}: is UTF-16; convert it with: iconv -f UTF-16 -t UTF-8")
    if b"\0" in content:
        raise UserError(f"{path}: holds NUL bytes; it is no CSV file or is damaged")
    encoding = _encoding(path, content)
    sample = content[:_SAMPLE].decode(encoding, errors="replace").removeprefix("\ufeff")
    delimiter = _delimiter(sample)
    names = [name.strip() for name in next(csv.reader(sample.splitlines(), delimiter=delimiter))]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UserError(f"{path}: line 1: the column name {repeated[0]!r} stands twice; rename one")
    try:
        return pyarrow.csv.read_csv(
            pa.BufferReader(content),
            read_options=pyarrow.csv.ReadOptions(encoding=encoding, column_names=names, skip_rows=1, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=missing, strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            raise UserError(f"{path}: has a header and no rows") from None
        raise UserError(f"{path}: {error}; the header names {len(names)} columns") from None


def _decompressed(path: Path) -> bytes:
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: is a damaged gzip file ({error}); copy it anew") from None


def _encoding(path: Path, content: bytes) -> str:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        best = from_bytes(content[: _SAMPLE * 4]).best()
        if best is None:
            raise UserError(f"{path}: is no text; data.path must name a CSV or Parquet file") from None
        log(f"{path} is read as {best.encoding}")
        return best.encoding
    return "utf-8"


def _delimiter(sample: str) -> str:
    header = sample.splitlines()[0]
    counts = {delimiter: header.count(delimiter) for delimiter in ",;\t|"}
    best = max(counts, key=lambda delimiter: counts[delimiter])
    return best if counts[best] else ","


def _check_names(names: list[str], data: DataParams) -> None:
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise UserError(f"{data.path}: column {position} has no name; give it one")
        if any(ord(letter) < ord(" ") for letter in name):
            raise UserError(
                f"{data.path}: the name of column {position} holds a control character: {name!r}; rename it"
            )
    if len(set(names)) < len(names):
        raise UserError(f"{data.path}: a column name stands twice: {Counter(names).most_common(1)[0][0]!r}; rename one")
    for key, wanted in (("target", [data.target]), ("ignore", data.ignore), ("categorical", data.categorical)):
        for name in wanted:
            if name not in names:
                raise UserError(
                    f"params.yaml: data.{key}: no column {name!r} in {data.path}; it has {', '.join(names[:20])}"
                )


def _typed(path: Path, name: str, column: Any, data: DataParams) -> Any:
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        raise UserError(f"{path}: column {name!r} holds {column.type}; add it to data.ignore or flatten it")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if name in data.categorical:
        return column.cast(pa.string()).to_pandas().astype("str").rename(name)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _from_text(path, column.to_pandas().astype("str").rename(name), data)
    return _checked(path, _from_native(column).rename(name))


def _from_native(column: Any) -> Any:
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return column.cast(pa.timestamp("us"), safe=False).to_pandas().astype("datetime64[us]")
    if pa.types.is_boolean(column.type):
        return column.to_pandas() if column.null_count == 0 else column.to_pandas().astype("boolean")
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return column.to_pandas()


def _from_text(path: Path, text: pd.Series, data: DataParams) -> pd.Series:
    text = text.str.strip()
    known = text.dropna()
    numbers = pd.to_numeric(known, errors="coerce")
    share = numbers.notna().mean() if len(known) else 0.0
    if share == 1:
        return _checked(path, numbers.reindex(text.index))
    if share >= _STRAY_SHARE and text.name != data.target:
        _refuse_stray(path, text, numbers.index[numbers.isna()][0], "a number", data)
    if len(known) and known.str.lower().isin(["true", "false"]).all():
        flags = text.str.lower().map({"true": True, "false": False})
        return flags.astype("boolean" if flags.isna().any() else "bool")
    dated = known.str.match(_DATE)
    if len(known) and dated.mean() >= _STRAY_SHARE:
        moments = pd.to_datetime(known, errors="coerce", format="ISO8601", utc=True)
        if moments.isna().any():
            _refuse_stray(path, text, moments.index[moments.isna()][0], "a date", data)
        return moments.dt.tz_localize(None).astype("datetime64[us]").reindex(text.index)
    return text


def _refuse_stray(path: Path, text: pd.Series, row: int, expected: str, data: DataParams) -> None:
    raise UserError(
        f"{path}: row {row + 2}, column {text.name!r}: expected {expected}, got {text[row]!r}; correct it, "
        f"or add it to data.missing if it means that there is no value (now {data.missing}), "
        "or list the column under data.categorical"
    )


def _checked(path: Path, values: pd.Series) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
        return values
    plain = values.to_numpy(np.float64, na_value=np.nan)
    for bad, what in (
        (np.isinf(plain), "an infinite or too large number"),
        (np.abs(plain) > np.finfo(np.float32).max, "a number beyond 3.4e38"),
        ((np.abs(plain) > _LARGEST_EXACT) & pd.api.types.is_integer_dtype(values.dtype), "a whole number beyond 2^53"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise UserError(
                f"{path}: row {row + 2}, column {values.name!r}: {what}; correct it, "
                "list the column under data.categorical, or ignore it"
            )
    return values
