"""What a file is by its first bytes, and its content: whole, unpacked, and no larger than the machine can hold."""

import os
import re
import zipfile
import zlib
from pathlib import Path

from stages._errors import UserError

HEAD = 65_536
PARQUET = b"PAR1"
GZIP = b"\x1f\x8b"
_STEP = 1 << 20
_SHARE_OF_MEMORY = 4
"""A text takes about four times its size while it is read: itself, its cells, and the columns made of them."""
_MOST_CONTROL = 0.01
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1a")
_SAVE = "save the table as CSV or Parquet"

_KINDS = (
    (rb"SQLite format 3\0", "an SQLite database"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls) or another Office file"),
    (rb"\x80[\x02-\x05]", "a Python pickle"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|BM.{4}\0\0\0\0|RIFF.{4}WEBP|II\*\0|MM\0\*", "an image"),
    (rb"%PDF-", "a PDF document"),
    (rb"BZh[1-9]1AY&SY", "a file packed with bzip2"),
    (rb"\xfd7zXZ\0", "a file packed with xz"),
    (rb"\x28\xb5\x2f\xfd", "a file packed with zstd"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (rb"Rar!\x1a\x07", "a RAR archive"),
    (rb".{257}ustar", "a tar archive"),
    (GZIP, "a file packed twice with gzip"),
    (rb"ARROW1|FEA1|\xff\xff\xff\xff.{2}\0\0", "an Arrow or Feather file"),
    (rb"\x89HDF\r\n", "an HDF5 file"),
    (rb"\x93NUMPY", "a NumPy array"),
    (rb"Obj\x01", "an Avro file"),
    (rb"ORC", "an ORC file"),
    (rb"\x7fELF|MZ.\0", "a program"),
    (rb"\s*(<!(doctype|DOCTYPE)|<html|<HTML)", "a web page"),
    (rb"\s*<\?xml", "an XML document"),
    (rb"\s*(\{\s*[\"}]|\[\s*[\[{])", "a JSON document"),
    (rb"\s*@(relation|RELATION)\s", "an ARFF file"),
)
_POINTERS = (
    (rb"version https://git-lfs", "is a pointer of Git LFS, not the table; run: git lfs pull"),
    (rb"outs:\r?\n- md5:", "is DVC's note about a file, not the table; name the file without .dvc, and run: dvc pull"),
)


def head_of(path: Path) -> bytes:
    """Give the first bytes of the file that `data.path` names.

    Raises UserError if there is no such file, or nothing in it.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder; params.yaml: data.path must name a CSV or Parquet file")
    if not path.exists():
        raise UserError(f"{path}: not found; params.yaml: data.path must name a CSV or Parquet file")
    if not path.is_file():
        raise UserError(f"{path}: is no regular file; params.yaml: data.path must name a CSV or Parquet file")
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise UserError(f"{path}: is empty; params.yaml: data.path must name a CSV or Parquet file with rows")
    return head


def content_of(path: Path) -> bytes:
    """Give the file's bytes, unpacked if it is packed with gzip, after making sure that they are text of some kind."""
    size = path.stat().st_size
    if size > _limit():
        raise _too_large(path)
    content = path.read_bytes()
    if content.startswith(GZIP):
        content = _unpacked(path, content)
    _refuse_other_kinds(path, content[:HEAD])
    _refuse_wide(path, content[:HEAD])
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise UserError(f"{path}: line {line} holds a NUL byte; it is no CSV file or is damaged: copy it anew")
    _refuse_binary(path, content[:HEAD])
    if not content.strip():
        raise UserError(f"{path}: is empty: it holds only blanks; expected a header and rows")
    return content


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
    if head.startswith(b"PK\x03\x04"):
        raise UserError(f"{path}: is {_kind_of_zip(path)}; {_SAVE}")
    if head.startswith(PARQUET):
        raise UserError(f"{path}: is a Parquet file packed with gzip; unpack it with: gunzip")
    for pattern, kind in _KINDS:
        if re.match(pattern, head, re.DOTALL):
            raise UserError(f"{path}: is {kind}, not CSV; {_SAVE}")


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError):
        return "a damaged ZIP archive"
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook (.xlsx), not CSV"
    return "a ZIP archive, not CSV" if "mimetype" not in names else "an OpenDocument file, not CSV"


def _refuse_wide(path: Path, head: bytes) -> None:
    """Refuse UTF-16 and UTF-32, with or without a byte order mark."""
    for mark, encoding in (
        (b"\xff\xfe\0\0", "UTF-32"),
        (b"\0\0\xfe\xff", "UTF-32"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
    ):
        if head.startswith(mark):
            raise UserError(f"{path}: is {encoding}, expected UTF-8; convert it with: iconv -f {encoding} -t UTF-8")
    for width, encoding in ((4, "UTF-32"), (2, "UTF-16")):
        whole = head[: len(head) // width * width]
        for byte, order in ((0, "LE"), (width - 1, "BE")):
            if whole and _is_ascii_in(whole, byte, width):
                name = f"{encoding}{order}"
                raise UserError(f"{path}: is {name}, expected UTF-8; convert it with: iconv -f {name} -t UTF-8")


def _is_ascii_in(head: bytes, byte: int, width: int) -> bool:
    """Tell whether only the byte at `byte` of each `width` is used, as ASCII is in a wide encoding."""
    others = [head[place::width] for place in range(width) if place != byte]
    return b"\0" not in head[byte::width] and not any(other.strip(b"\0") for other in others)


def _refuse_binary(path: Path, head: bytes) -> None:
    control = len(head) - len(head.translate(None, _CONTROL))
    if control > _MOST_CONTROL * len(head):
        raise UserError(f"{path}: is no text but binary data; params.yaml: data.path must name a CSV or Parquet file")
