"""What a file is by its first bytes, and its text: unpacked, in UTF-8, no larger than the machine can hold."""

import codecs
import gzip
import io
import os
import re
import zlib
from pathlib import Path

from stages.errors import UserError

PARQUET = b"PAR1"
GZIP = b"\x1f\x8b"
_HEAD = 65_536
_STEP = 1 << 20
_SHARE_OF_MEMORY = 4
"""A text takes about four times its size while it is read: itself, its cells, and the columns made of them."""
_MOST_CONTROL = 0.01
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1a")
_NAMED = "params.yaml: data.path must name a CSV or Parquet file"
_OTHER = {
    rb"version https://git-lfs": "a pointer of Git LFS, not the table; run: git lfs pull",
    rb"outs:\r?\n- md5:": "DVC's note about a file, not the table; name the file without .dvc, and run: dvc pull",
    rb"PK\x03\x04.{26}(\[Content|xl/|_rels)|\xd0\xcf\x11\xe0": "an Excel workbook, not CSV; save it as CSV",
    rb"PK\x03\x04": "a ZIP archive, not CSV; unpack it",
    rb"BZh[1-9]1AY&SY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf\x27\x1c|Rar!|.{257}ustar": "an archive; unpack it",
    GZIP: "a file packed twice with gzip; unpack it with: gunzip",
    PARQUET: "a Parquet file packed with gzip; unpack it with: gunzip",
    rb"SQLite format 3\0": "an SQLite database, not CSV; save the table as CSV or Parquet",
    rb"\x80[\x02-\x05]": "a Python pickle, not CSV; save the table as CSV or Parquet",
    rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*": "an image, not CSV; save the table as CSV or Parquet",
    rb"%PDF-": "a PDF document, not CSV; save the table as CSV or Parquet",
    rb"\s*(<!(doctype|DOCTYPE)|<html|<HTML|<\?xml)": "a web page or XML, not CSV; save the table as CSV or Parquet",
    rb"\s*(\{\s*[\"}]|\[\s*[\[{])": "a JSON document, not CSV; save the table as CSV or Parquet",
}
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LIKELY = ("cp1252", "cp1250", "cp1251", "gb18030", "shift_jis")


def is_parquet(path: Path) -> bool:
    """Return whether the file that `data.path` names is Parquet.

    Raises UserError if there is no such file, or nothing in it, or its name is wrong.
    """
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "not found"
        raise UserError(f"{path}: {problem}; {_NAMED}")
    with path.open("rb") as file:
        head = file.read(len(PARQUET))
    if not head:
        raise UserError(f"{path}: is empty; {_NAMED} with rows")
    if path.suffix == ".parquet" and head != PARQUET:
        raise UserError(f"{path}: is named .parquet but is no Parquet file; write it anew or rename it")
    return head == PARQUET


def read_text(path: Path, encoding: str | None) -> tuple[bytes, str]:
    """Return the file's text in UTF-8, unpacked, and the encoding that it is stored in.

    A byte order mark decides, else `encoding`. Without both only UTF-8 is accepted, which proves
    itself. Raises UserError for other files.
    """
    content = _unpack(path)
    for pattern, kind in _OTHER.items():
        if re.match(pattern, content[:_HEAD], re.DOTALL):
            raise UserError(f"{path}: is {kind}")
    marked = (name for mark, name in _MARKS.items() if content.startswith(mark))
    found = next(marked, codecs.lookup(encoding or "utf-8").name)
    if not found.startswith(("utf-16", "utf-32")):
        _refuse_binary(path, content)
    text = _as_utf8(path, content, found, said=encoding is not None)
    if not text.strip():
        raise UserError(f"{path}: is empty: it holds only blanks; expected a header and rows")
    return text, found


def _limit() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _SHARE_OF_MEMORY


def _unpack(path: Path) -> bytes:
    """Read the file, through gzip if it is packed, and no more of it than the memory holds."""
    with path.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(_limit() + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: is a damaged gzip file ({error}); copy it anew") from None
    if len(content) > _limit():
        raise UserError(
            f"{path}: holds more than {_limit() / 1e9:.1f} GB of text, too much for this machine's memory; "
            "use fewer rows, or write it as Parquet"
        )
    return content


def _refuse_binary(path: Path, content: bytes) -> None:
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        wide = "; if the file is UTF-16 without a byte order mark, set data.encoding to utf-16-le or utf-16-be"
        raise UserError(f"{path}: line {line} holds a NUL byte; remove it, or copy the file anew{wide * (line == 1)}")
    head = content[:_HEAD]
    if len(head) - len(head.translate(None, _CONTROL)) > _MOST_CONTROL * len(head):
        raise UserError(f"{path}: is no text but binary data; {_NAMED}")


def _as_utf8(path: Path, content: bytes, encoding: str, *, said: bool) -> bytes:
    """Decode step by step, to save memory."""
    decoder = codecs.getincrementaldecoder(encoding)()
    written = io.BytesIO()
    for start in range(0, len(content) + 1, _STEP):
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(content[start : start + _STEP], final=start + _STEP > len(content))
        except UnicodeDecodeError as error:
            raise _not_text(path, content, start - pending + error.start, encoding if said else None) from None
        if encoding != "utf-8":
            written.write(text.encode())
    return content if encoding == "utf-8" else written.getvalue()


def _not_text(path: Path, content: bytes, place: int, said: str | None) -> UserError:
    """Explain which bytes are no text, and how other encodings would read them."""
    line = content[:place].count(b"\n") + 1
    if said:
        return UserError(f"{path}: line {line} holds bytes that are no text in {said}; correct data.encoding")
    word = re.split(rb"[\s,;|\"]", content[max(0, place - 15) : place])[-1]
    word += re.split(rb"[\s,;|\"]", content[place : place + 15])[0]
    readings = {word.decode(each, errors="replace"): each for each in reversed(_LIKELY)}
    shown = ", ".join(f"{text!r} in {each}" for text, each in reversed(readings.items()) if "\ufffd" not in text)
    return UserError(f"{path}: line {line} is not UTF-8; it may say {shown}: set data.encoding, or save it as UTF-8")
