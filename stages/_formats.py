"""What a file is by its first bytes, and its text: unpacked, in UTF-8, no larger than the machine can hold."""

import codecs
import io
import os
import re
import zlib
from pathlib import Path

from stages._errors import UserError

HEAD = 65_536
PARQUET = b"PAR1"
GZIP = b"\x1f\x8b"
_STEP = 1 << 20
_SHARE_OF_MEMORY = 4
"""A text takes about four times its size while it is read: itself, its cells, and the columns made of them."""
_SAVE = "save the table as CSV or Parquet"
_NAMED = "params.yaml: data.path must name a CSV or Parquet file"

_KINDS = (
    (rb"PK\x03\x04.{26}(\[Content|xl/|_rels)", "an Excel workbook (.xlsx)"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"SQLite format 3\0", "an SQLite database"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls) or another Office file"),
    (rb"\x80[\x02-\x05]", "a Python pickle"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|BM.{4}\0\0\0\0|RIFF.{4}WEBP|II\*\0|MM\0\*", "an image"),
    (rb"%PDF-", "a PDF document"),
    (rb"BZh[1-9]1AY&SY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|.{257}ustar", "an archive"),
    (GZIP, "a file packed twice with gzip"),
    (PARQUET, "a Parquet file packed with gzip"),
    (rb"ARROW1|FEA1|\xff\xff\xff\xff.{2}\0\0", "an Arrow or Feather file"),
    (rb"\x89HDF\r\n|\x93NUMPY|Obj\x01|ORC|\x7fELF|MZ.\0", "a binary file"),
    (rb"\s*(<!(doctype|DOCTYPE)|<html|<HTML)", "a web page"),
    (rb"\s*<\?xml", "an XML document"),
    (rb"\s*(\{\s*[\"}]|\[\s*[\[{])", "a JSON document"),
    (rb"\s*@(relation|RELATION)\s", "an ARFF file"),
)
_POINTERS = (
    (rb"version https://git-lfs", "is a pointer of Git LFS, not the table; run: git lfs pull"),
    (rb"outs:\r?\n- md5:", "is DVC's note about a file, not the table; name the file without .dvc, and run: dvc pull"),
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LIKELY = ("cp1252", "cp1250", "cp1251", "gb18030", "shift_jis")
_MOST_CONTROL = 0.01
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1a")


def head_of(path: Path) -> bytes:
    """Return the first bytes of the file that `data.path` names.

    Raises UserError if there is no such file, or nothing in it.
    """
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "not found"
        raise UserError(f"{path}: {problem}; {_NAMED}")
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise UserError(f"{path}: is empty; {_NAMED} with rows")
    return head


def read_text(path: Path, encoding: str | None) -> tuple[bytes, str]:
    """Return the file's text in UTF-8, unpacked, and the encoding that it is stored in.

    Without `encoding`, only what proves itself is accepted: UTF-8, and UTF-16 or UTF-32 with a
    byte order mark. Raises UserError for other files.
    """
    content = _content(path)
    head = content[:HEAD]
    _refuse_other_kinds(path, head)
    found = encoding or next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
    if not found.startswith(("utf-16", "utf-32")):
        _refuse_binary(path, content)
    text = _as_utf8(path, content, found, said=encoding is not None)
    if not text.strip():
        raise UserError(f"{path}: is empty: it holds only blanks; expected a header and rows")
    return text, found


def _content(path: Path) -> bytes:
    if path.stat().st_size > _limit():
        raise _too_large(path)
    content = path.read_bytes()
    return _unpacked(path, content) if content.startswith(GZIP) else content


def _limit() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _SHARE_OF_MEMORY


def _too_large(path: Path) -> UserError:
    return UserError(
        f"{path}: holds more than {_limit() / 1e9:.1f} GB of text, too much for this machine's memory; "
        "use fewer rows, or write it as Parquet"
    )


def _unpacked(path: Path, packed: bytes) -> bytes:
    """Unpack all members of a gzip file, step by step, so that a small file cannot fill the memory."""
    content, rest, limit = bytearray(), packed, _limit()
    try:
        while rest.startswith(GZIP):
            member = zlib.decompressobj(wbits=31)
            while not member.eof and rest:
                content += member.decompress(rest, _STEP)
                rest = member.unconsumed_tail or member.unused_data
                if len(content) > limit:
                    raise _too_large(path)
            if not member.eof:
                raise UserError(f"{path}: is a damaged gzip file: it ends too early; copy it anew")
    except zlib.error as error:
        raise UserError(f"{path}: is a damaged gzip file ({error}); copy it anew") from None
    if rest.strip(b"\0"):
        raise UserError(f"{path}: is a damaged gzip file: other bytes follow its end; copy it anew")
    return bytes(content)


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    for pattern, problem in _POINTERS:
        if re.match(pattern, head):
            raise UserError(f"{path}: {problem}")
    for pattern, kind in _KINDS:
        if re.match(pattern, head, re.DOTALL):
            raise UserError(f"{path}: is {kind}, not CSV; {_SAVE}")


def _refuse_binary(path: Path, content: bytes) -> None:
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        wide = "; if the file is UTF-16 without a byte order mark, set data.encoding to utf-16-le or utf-16-be"
        raise UserError(f"{path}: line {line} holds a NUL byte; remove it, or copy the file anew{wide * (line == 1)}")
    head = content[:HEAD]
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
            raise _not_text(path, content, start - pending + error.start, encoding, said=said) from None
        written.write(text.encode())
    return content if encoding == "utf-8" else written.getvalue()


def _not_text(path: Path, content: bytes, place: int, encoding: str, *, said: bool) -> UserError:
    """Explain which bytes are no text in `encoding`, and how other encodings would read them."""
    line = content[:place].count(b"\n") + 1
    if said:
        return UserError(f"{path}: line {line} holds bytes that are no text in {encoding}; correct data.encoding")
    word = re.search(rb"[^\s,;|\"]{0,15}\Z", content[:place]).group()  # type: ignore[union-attr]  # matches nothing too
    word += re.match(rb"[^\s,;|\"]{1,15}", content[place:] + b" ").group()  # type: ignore[union-attr]
    readings: dict[str, str] = {}
    for each in _LIKELY:
        shown = word.decode(each, errors="replace")
        if "\ufffd" not in shown:
            readings.setdefault(shown, each)
    shown = ", ".join(f"{text!r} in {each}" for text, each in readings.items()) or repr(word)
    return UserError(f"{path}: line {line} is not UTF-8; it may say {shown}: set data.encoding, or save it as UTF-8")
