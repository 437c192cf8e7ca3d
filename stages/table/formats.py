"""Detect a file's format by its first bytes, and read its text: unpacked and in UTF-8, if the memory suffices."""

import codecs
import gzip
import os
import re
import zlib
from pathlib import Path

from stages.errors import UserError

PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_SHARE_OF_MEMORY = 4
"""While it is read, text takes about four times its size: itself, its cells, and their columns."""
_NAMED = "params.yaml: data.path must name a CSV or Parquet file"
_OTHER = {
    rb"version https://git-lfs|outs:\r?\n- md5:": "a pointer to the table; run: git lfs pull, or: dvc pull",
    rb"PK\x03\x04|\xd0\xcf\x11\xe0": "an Excel workbook or an archive, not CSV; save it as CSV",
    rb"\x1f\x8b|PAR1": "a gzip file whose content is no CSV; unpack it with: gunzip",
    rb"\s*(?:<[!?a-z]|\{\s*[\"}]|\[\s*[\[{])": "a web page, XML or JSON, not CSV; save the table as CSV or Parquet",
}
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
_MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LIKELY = ("cp1252", "cp1251", "shift_jis")


def is_parquet(path: Path) -> bool:
    """Return whether the file is Parquet. Raises UserError if there is no such file, or its name is wrong."""
    if not path.is_file():
        raise UserError(f"{path}: {'is no file' if path.exists() else 'not found'}; {_NAMED}")
    with path.open("rb") as file:
        head = file.read(len(PARQUET))
    if path.suffix == ".parquet" and head != PARQUET:
        raise UserError(f"{path}: is named .parquet but is no Parquet file; write it again or rename it")
    return head == PARQUET


def read_text(path: Path, encoding: str | None) -> tuple[bytes, str]:
    """Return the file's text in UTF-8, unpacked, and the encoding that it is stored in.

    A byte order mark decides, else `encoding`. Without both only UTF-8 is accepted, since other
    encodings would not be noticed. Raises UserError for other files.
    """
    content = _unpack(path)
    for pattern, kind in _OTHER.items():
        if re.match(pattern, content, re.IGNORECASE):
            raise UserError(f"{path}: is {kind}")
    marked = (name for mark, name in _MARKS.items() if content.startswith(mark))
    found = next(marked, codecs.lookup(encoding or "utf-8").name)
    if b"\0" in content and not found.startswith(("utf-16", "utf-32")):
        remedy = "name a CSV file under data.path, or set data.encoding to utf-16-le or utf-16-be"
        line = _line(content, content.index(b"\0"))
        raise UserError(f"{path}: line {line} holds a NUL byte, as binary data and UTF-16 do; {remedy}")
    try:
        text = content.decode(found)
    except UnicodeDecodeError as error:
        if encoding:
            problem = f"holds bytes that are no text in {encoding}; correct data.encoding"
        else:
            problem = f"is not UTF-8; it may be {_guess(content, error.start)}: set data.encoding, or save it as UTF-8"
        raise UserError(f"{path}: line {_line(content, error.start)} {problem}") from None
    if not text or text.isspace():
        raise UserError(f"{path}: is empty; {_NAMED} with a header and rows")
    return content if found == "utf-8" else text.encode(), found


def _unpack(path: Path) -> bytes:
    """Read the file, and unpack gzip. Raises UserError if its text is too large for the memory."""
    limit = _limit()
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(limit + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: is a damaged gzip file ({error}); copy it again") from None
    if len(content) > limit:
        problem = f"holds more than {limit / 1e9:.1f} GB of text, too much for this machine's memory"
        raise UserError(f"{path}: {problem}; use fewer rows, or write it as Parquet")
    return content


def _limit() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _SHARE_OF_MEMORY


def _line(content: bytes, place: int) -> int:
    return content[:place].count(b"\n") + 1


def _guess(content: bytes, place: int) -> str:
    """Return the word around this position, decoded with other encodings."""
    word = re.split(rb"[\s,;|\"]", content[max(0, place - 15) : place])[-1]
    word += re.split(rb"[\s,;|\"]", content[place : place + 15])[0]
    return ", ".join(f"{word.decode(each, errors='replace')!r} in {each}" for each in _LIKELY)
