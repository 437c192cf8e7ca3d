"""Valid requests, and mutations that a careless or hostile caller might send."""

import json
from random import Random
from typing import Any, Final

from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, Feature

Row = dict[str, Any]
ODD: Final = [
    b"1e400", b"-0", b"-1E+2", b"0x10", b"1_0", b"+1", b"01", b".5", b"5.", b"1e-400", b"NaN", b"-Infinity", b"null",
    b"true", b'""', b'"\\ud800"', b'"\\u0000"', b"[]", b"{}", b"9" * 400, b"0." + b"1" * 400, b"[" * 2000,
    b'{"a":' * 500,
    b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"\x00", b"\xef\xbb\xbf", b"\r\n", b"\r", b'"', b"\\", b",", b";", b":",
    b"}", b"]", "\u0661".encode(), "\uff11".encode(), "\u2028".encode(), b"9007199254740993", b"1e308", b"3.5e38",
]  # fmt: skip
MILD: Final = [
    b"0", b"-0.0", b"7", b"1E2", b"0.30000000000000004", b"1e-7", b"12345678901234567890", b"0.1e1",
    b'"\\u0041\\u0041"',
    b'"JFK"', b"null", b"true",
]  # fmt: skip
"""Values that may be valid, in another spelling."""
LINES: Final = [
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Content-Length: 0", b"Content-Length: -1",
    b"Content-Length: 99999999999999999999", b"Content-Length: 5, 5", b"Content-Encoding: gzip",
    b"Expect: 100-continue",
    b"Upgrade: websocket", b"Connection: upgrade, close", b"Host: a\x00b", b"X: " + b"y" * 70_000, b": nothing",
    b" folded", b"X-Request-ID: \xff\xfe", b"X-Request-ID: " + b"z" * 300, b"Content-Type: text/csv",
    b"Content-Type: application/json; charset=utf-16", b"Authorization: Bearer a", b"Authorization: Basic eDp5",
]  # fmt: skip


def row(random: Random, contract: Contract) -> Row:
    """Return a random row that the contract allows."""
    return {feature.name: _value(random, feature) for feature in contract.features}


def _value(random: Random, feature: Feature) -> Any:
    if feature.nullable and random.random() < 0.1:
        return None
    match feature:
        case CategoryFeature():
            return random.choice(feature.categories)
        case BooleanFeature():
            return random.random() < 0.5
        case DateFeature():
            return random.choice([feature.minimum, feature.maximum])
        case _:
            return round(random.uniform(feature.minimum, feature.maximum), random.randrange(8))


def tables(rows: list[Row]) -> dict[str, bytes]:
    """Return rows in each form that /predict accepts, by content type."""
    lines = [",".join(rows[0]), *(",".join(map(_text, each.values())) for each in rows)]
    return {
        "application/json": json.dumps({"instances": rows}).encode(),
        "application/x-ndjson": "\n".join(map(json.dumps, rows)).encode(),
        "text/csv": "\n".join(lines).encode(),
    }


def _text(value: Any) -> str:
    return "" if value is None else json.dumps(value).strip('"')


def tensors(contract: Contract, rows: list[Row]) -> bytes:
    """Return rows as a request of the Open Inference Protocol."""
    kinds = {"number": "FP64", "boolean": "BOOL"}
    inputs = [
        {
            "name": feature.name,
            "shape": [len(rows)],
            "datatype": kinds.get(feature.type, "BYTES"),
            "data": [each[feature.name] for each in rows],
        }
        for feature in contract.features
    ]
    return json.dumps({"inputs": inputs}).encode()


def mutate(random: Random, content: bytes, other: bytes) -> bytes:
    """Change bytes, cut, repeat, splice with `other`, or insert something odd; once or a few times."""
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        at, to = sorted(random.randrange(len(content) + 1) for _ in range(2))
        before, after = content[:at], content[at:]
        content = random.choice([
            before + bytes([random.randrange(256)]) + after[1:],
            before,
            content[:to] + content[at : min(to, at + 1000)] + content[to:],
            before + other[random.randrange(len(other) + 1) :],
            before + after[random.randrange(1, 20) :],
            before + random.choice(ODD) + after,
            _put(random, content, at, ODD),
        ])  # fmt: skip
    return content


def respell(random: Random, content: bytes) -> bytes:
    """Replace values by others that may be valid, escape a letter, add white space."""
    for _ in range(random.choice([1, 2, 5])):
        at = random.randrange(len(content))
        match random.randrange(3):
            case 0:
                content = _put(random, content, at, MILD)
            case 1 if chr(content[at]).isalpha():
                content = content[:at] + b"\\u%04x" % content[at] + content[at + 1 :]
            case _ if content[at] in b":,[{":
                content = content[: at + 1] + b" \n\t" + content[at + 1 :]
    return content


def _put(random: Random, content: bytes, at: int, values: list[bytes]) -> bytes:
    """Replace a whole value after that place by one of `values`."""
    begins = [place + 1 for place in range(at, min(len(content), at + 200)) if content[place] in b":,[\n"]
    begin = begins[0] if begins else at
    ends = [place for place in range(begin, min(len(content), begin + 200)) if content[place] in b",}]\n"]
    return content[:begin] + random.choice(values) + content[ends[0] if ends else begin :]


def request(method: bytes, path: bytes, headers: list[bytes], body: bytes) -> bytes:
    """Write a request as HTTP/1.1."""
    head = b"\r\n".join([b"%s %s HTTP/1.1" % (method, path), *headers, b"Content-Length: %d" % len(body)])
    return head + b"\r\n\r\n" + body


def mutate_request(random: Random, content: bytes) -> bytes:
    """Change the headers of a request, or how its body is framed."""
    head, _, body = content.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for _ in range(random.choice([1, 1, 2, 3])):
        at = random.randrange(len(lines))
        match random.randrange(5):
            case 0:
                lines.insert(random.randrange(1, len(lines) + 1), random.choice([*LINES, lines[at]]))
            case 1:
                lines[at] = mutate(random, lines[at], random.choice(LINES))
            case 2 if len(lines) > 1:
                del lines[at]
            case 3:
                body = b"%x\r\n%s\r\n0\r\n\r\n" % (random.choice([len(body), len(body) + 1, 2**64]), body)
                lines.append(b"Transfer-Encoding: chunked")
            case _:
                body += random.choice([content, b"garbage", b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
    return random.choice([b"\r\n", b"\r\n", b"\r\n", b"\n"]).join(lines) + b"\r\n\r\n" + body
