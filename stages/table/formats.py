"""Detect a file's format by its first bytes, and give its text, unpacked and in UTF-8."""

import codecs
import contextlib
import gzip
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from stages.errors import UserError

PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 22
_NAMED = "params.yaml: data.path must name a CSV or Parquet file"
_OTHER = {
    rb"version https://git-lfs|outs:\r?\n- md5:": "a pointer to the table; run: git lfs pull, or: dvc pull",
    rb"PK\x03\x04|\xd0\xcf\x11\xe0": "an Excel workbook or an archive, not CSV; save it as CSV",
    rb"\x1f\x8b|PAR1": "a gzip file whose content is no CSV; unpack it with: gunzip",
    rb"\s*(?:<(?:!doctype|!--|\?xml|html[\s>])|\{\s*[\"}]|\[\s*[\[{])": (
        "a web page, XML or JSON, not CSV; save the table as CSV or Parquet"
    ),
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


@dataclass(frozen=True, slots=True)
class Text:
    """A file of text in UTF-8, which is read in blocks."""

    path: Path
    start: int
    """Where the text starts, after a byte order mark."""
    encoding: str
    """The one that the table's file is stored in."""
    newlines: int
    returns: int
    quotes: int
    """How many line feeds, carriage returns and quotes it has."""

    def open(self) -> BinaryIO:
        """Return the file at the text's start."""
        file = self.path.open("rb")
        file.seek(self.start)
        return file

    def head(self, size: int) -> bytes:
        """Return its first bytes."""
        with self.open() as file:
            return file.read(size)


def open_text(path: Path, encoding: str | None, scratch: Path) -> Text:
    """Return the file's text; one that is packed or not in UTF-8 is written to the folder `scratch` in UTF-8.

    A byte order mark decides the encoding, else `encoding`. Without both only UTF-8 is accepted, since other
    encodings would not be noticed. Raises UserError for other files.
    """
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    try:
        with gzip.open(path) if packed else path.open("rb") as content:
            return _check(path, cast("BinaryIO", content), encoding, scratch / "text", packed=packed)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: is a damaged gzip file ({error}); copy it again") from None


def _check(path: Path, content: BinaryIO, encoding: str | None, copy: Path, *, packed: bool) -> Text:
    """Decode the content block by block, and write it to `copy` unless the file itself can be read as it is."""
    block = content.read(_BLOCK)
    for pattern, kind in _OTHER.items():
        if re.match(pattern, block, re.IGNORECASE):
            raise UserError(f"{path}: is {kind}")
    mark, found = next(((mark, name) for mark, name in _MARKS.items() if block.startswith(mark)), (b"", ""))
    decoder = _Decoder(path, encoding, found or codecs.lookup(encoding or "utf-8").name)
    as_it_is = not packed and decoder.name in ("utf-8", "utf-8-sig")
    counts, is_blank = Counter[bytes](), True
    with contextlib.nullcontext() if as_it_is else copy.open("wb") as copied:
        while True:
            text = decoder.decode(block)
            is_blank = is_blank and (not text or text.isspace())
            utf8 = block if as_it_is else text.encode()
            counts.update({each: utf8.count(each) for each in (b"\n", b"\r", b'"')})
            if copied:
                copied.write(utf8)
            if not block:
                break
            block = content.read(_BLOCK)
    if is_blank:
        raise UserError(f"{path}: is empty; {_NAMED} with a header and rows")
    start = len(mark) if as_it_is else 0
    return Text(path if as_it_is else copy, start, decoder.name, counts[b"\n"], counts[b"\r"], counts[b'"'])


class _Decoder:
    """Decodes a file block by block, and knows the line."""

    def __init__(self, path: Path, encoding: str | None, name: str) -> None:
        self.name = name
        self._path = path
        self._encoding = encoding
        self._line = 1
        self._decode = codecs.getincrementaldecoder(name)().decode

    def decode(self, block: bytes) -> str:
        """Return the block's text; an empty block is the end. Raises UserError for bytes that are no text."""
        if b"\0" in block and not self.name.startswith(("utf-16", "utf-32")):
            line = self._line + block[: block.index(b"\0")].count(b"\n")
            remedy = "name a CSV file under data.path, or set data.encoding to utf-16-le or utf-16-be"
            raise UserError(f"{self._path}: line {line} holds a NUL byte, as binary data and UTF-16 do; {remedy}")
        try:
            text = self._decode(block, final=not block)
        except UnicodeDecodeError as error:
            if self._encoding:
                problem = f"holds bytes that are no text in {self._encoding}; correct data.encoding"
            else:
                guess = _guess(error.object, error.start)
                problem = f"is not UTF-8; it may be {guess}: set data.encoding, or save it as UTF-8"
            line = self._line + error.object[: error.start].count(b"\n")
            raise UserError(f"{self._path}: line {line} {problem}") from None
        self._line += text.count("\n")
        return text


def _guess(content: bytes, place: int) -> str:
    """Return the word around this position, decoded with other encodings."""
    word = re.split(rb"[\s,;|\"]", content[max(0, place - 15) : place])[-1]
    word += re.split(rb"[\s,;|\"]", content[place : place + 15])[0]
    return ", ".join(f"{word.decode(each, errors='replace')!r} in {each}" for each in _LIKELY)
