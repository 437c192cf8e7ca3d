"""Text in any common encoding becomes UTF-8."""

import codecs
import io
import re
from pathlib import Path

from charset_normalizer import from_bytes

from stages._errors import UserError

_STEP = 1 << 20
_SAMPLE = 65_536
_HIGH = re.compile(rb"[\x80-\xff]+")
_ISOLATED = 1.5
"""In Latin script letters beyond ASCII stand alone; in others they come in runs."""
_CANDIDATES = [
    "cp1252",
    "cp1251",
    "cp1250",
    "cp932",
    "euc_jp",
    "gb18030",
    "big5",
    "cp949",
    "koi8_r",
    "cp1253",
    "cp1254",
]
_WEST_EUROPEAN = frozenset(
    "àâäãåáæçèéêëìíîïñòóôöõøœùúûüýÿßÀÂÄÃÅÁÆÇÈÉÊËÌÍÎÏÑÒÓÔÖÕØŒÙÚÛÜÝ€£§°²³µ½¼×·¡¿ªº«»‘’“”„–—…•©®™´¨\xa0"
)


def find_encoding(path: Path, content: bytes) -> str:
    """Give the name of the encoding that all of `content` is in.

    UTF-8 if it can be. Else letters that stand alone among ASCII tell West European text
    (cp1252, a superset of latin-1), which a statistical detector takes for Central European
    as often as not; only what is not of that kind is left to one.

    Raises UserError if the bytes are text in none of the common encodings.
    """
    if _first_error(content, "utf-8") is None:
        return "utf-8-sig" if content.startswith(codecs.BOM_UTF8) else "utf-8"
    sample = _telling_lines(content)
    encoding = "cp1252" if _is_west_european(sample) else _detected(sample)
    if encoding is None:
        raise UserError(f"{path}: is no text in a known encoding; convert it to UTF-8, for example with iconv")
    error = _first_error(content, encoding)
    if error is not None:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}: line {line} holds bytes that are no text in UTF-8 nor in {encoding}; "
            "convert the file to UTF-8, for example with iconv"
        )
    return encoding


def as_utf8(content: bytes, encoding: str) -> bytes:
    """Turn `content` into UTF-8, step by step, to save memory."""
    if encoding in {"utf-8", "utf-8-sig"}:
        return content
    decoder = codecs.getincrementaldecoder(encoding)()
    written = io.BytesIO()
    for start in range(0, len(content), _STEP):
        written.write(decoder.decode(content[start : start + _STEP]).encode())
    return written.getvalue()


def _first_error(content: bytes, encoding: str) -> UnicodeDecodeError | None:
    """Find the first byte that is no text; its `start` counts from the beginning of `content`."""
    decoder = codecs.getincrementaldecoder(encoding)()
    for start in range(0, len(content) + 1, _STEP):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(content[start : start + _STEP], final=start + _STEP > len(content))
        except UnicodeDecodeError as error:
            error.start += start - pending
            return error
    return None


def _telling_lines(content: bytes) -> bytes:
    """Collect the first lines that hold more than ASCII."""
    lines: list[bytes] = []
    size = 0
    for found in re.finditer(rb"[^\r\n]*[\x80-\xff][^\r\n]*", content):
        lines.append(found.group())
        size += len(lines[-1])
        if size > _SAMPLE:
            break
    return b"\n".join(lines)[: 2 * _SAMPLE]


def _is_west_european(sample: bytes) -> bool:
    runs = [len(run) for run in _HIGH.findall(sample)]
    if sum(runs) >= _ISOLATED * len(runs):
        return False
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return all(letter.isascii() or letter in _WEST_EUROPEAN for letter in text)


def _detected(sample: bytes) -> str | None:
    best = from_bytes(sample, cp_isolation=_CANDIDATES).best()
    return None if best is None else best.encoding
