"""Stable 64-bit hashes of rows and keys, which depend only on values.

Numbers of any type are hashed as float32, missing cells are ignored, and text that reads as a number
is hashed as that number. So the hashes of earlier rows stay the same when a growing table changes the
type of a column.
"""

import hashlib
import re

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from stages.schema import Kind

Hashes = npt.NDArray[np.uint64]

_NUMBER = re.compile(r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBERS = {"true": 1.0, "false": 0.0}
_STARTS = frozenset("+-.0123456789tTfF")
"""How a text that reads as a number starts."""
_LARGEST_INTEGER = 2.0**63


def kind(column: pd.Series) -> Kind:
    """Return whether the column's values are hashed as numbers, text or dates."""
    if types.is_datetime64_any_dtype(column.dtype):
        return "date"
    return "number" if types.is_bool_dtype(column.dtype) or types.is_numeric_dtype(column.dtype) else "text"


def rows(table: pd.DataFrame) -> Hashes:
    """Return the sum of `cells` over the columns, modulo 2^64; uint64 of shape (rows,)."""
    total: Hashes = np.zeros(len(table), dtype=np.uint64)
    for name in table.columns:
        total += cells(table[name])
    return total


def cells(column: pd.Series) -> Hashes:
    """Hash the column's name and each of its values; 0 where the value is missing."""
    name = np.uint64(int.from_bytes(_hash_text(str(column.name)), "little"))
    hashes = _mix(_bits(column) ^ name)
    hashes[column.isna().to_numpy()] = 0
    return hashes


def keys(column: pd.Series) -> Hashes:
    """Hash the values of a key or group column, without its name; whole numbers are hashed exactly, not as float32."""
    if kind(column) != "number":
        return _mix(_bits(column, exact=True))
    values = column.to_numpy(np.float64, na_value=np.nan)
    if types.is_integer_dtype(column.dtype) and not column.isna().any():
        return _mix(column.to_numpy().astype(np.uint64))
    whole = (values % 1 == 0) & (np.abs(values) < _LARGEST_INTEGER)
    integers = np.where(whole, values, 0).astype(np.int64).view(np.uint64)
    return _mix(np.where(whole, integers, values.view(np.uint64)))


def below(hashes: Hashes, share: float) -> npt.NDArray[np.bool_]:
    """Mark the hashes whose place, from 0 to 1, is below `share`."""
    marked: npt.NDArray[np.bool_] = places(hashes) < share
    return marked


def places(hashes: Hashes) -> npt.NDArray[np.float64]:
    """Map each hash to a number from 0 to 1."""
    return _mix(hashes).astype(np.float64) / 2.0**64


def seeded(hashes: Hashes, seed: int | Hashes) -> Hashes:
    """Return other hashes for each seed, or for each hash's own seed."""
    return _mix(hashes ^ _mix(np.atleast_1d(np.asarray(seed, np.uint64))))


def count_different(ordered: Hashes) -> int:
    """Return the number of different hashes, which are sorted; a hash table would take much more memory."""
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + bool(len(ordered))


def _bits(column: pd.Series, *, exact: bool = False) -> Hashes:
    match kind(column):
        case "date":
            return column.to_numpy("datetime64[us]").astype(np.int64).view(np.uint64)
        case "number":
            return _bits_of_numbers(column.to_numpy(np.float64, na_value=np.nan))
    codes, texts = column.factorize()
    bits = np.append(_bits_of_texts([str(text) for text in texts], exact=exact), np.uint64(0))
    return np.asarray(bits[codes], dtype=np.uint64)


def _bits_of_numbers(values: npt.NDArray[np.float64]) -> Hashes:
    with np.errstate(over="ignore"):
        return (values.astype(np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)  # -0.0 + 0 is 0.0


def _bits_of_texts(texts: list[str], *, exact: bool) -> Hashes:
    bits = np.frombuffer(b"".join(map(_hash_text, texts)), dtype="<u8").astype(np.uint64)
    likely = [place for place, text in enumerate(texts) if text[:1] in _STARTS]
    if exact:
        for place in likely:
            if _INTEGER.fullmatch(texts[place]):
                bits[place] = int(texts[place]) % 2**64
        return bits
    numbers = {place: number for place in likely if (number := _number(texts[place])) is not None}
    bits[list(numbers)] = _bits_of_numbers(np.array(list(numbers.values()), dtype=np.float64))
    return bits


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else _NUMBERS.get(text.lower())


def _hash_text(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _mix(values: Hashes) -> Hashes:
    """Scramble 64 bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
