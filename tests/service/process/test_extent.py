"""A body that holds more than a request may is refused within a second, in little memory."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.contract import CategoryFeature, NumberFeature
from tests.service.artifacts import Root, contract, graph, stump, with_contract
from tests.service.processes import Service, running

pytestmark = pytest.mark.slow

MEGABYTES = 30 * 1024 * 1024
SECONDS = 5.0
"""One on a quiet machine; CI's are busy."""
MEMORY_KIB = 150 * 1024


def filled(begin: bytes, unit: bytes, end: bytes) -> bytes:
    """Repeat `unit` until the body has 30 MB."""
    return begin + unit * ((MEGABYTES - len(begin) - len(end)) // len(unit)) + end


def v2(begin: bytes, unit: bytes, end: bytes) -> bytes:
    return filled(b'{"inputs":[' + begin, unit, end + b"]}")


# Both may be missing, so that an empty object is a right row.
FEATURES = (
    NumberFeature(name="x0", nullable=True, minimum=0, maximum=1, bin_edges=(0.5,), bin_shares=(0.5, 0.5, 0)),
    CategoryFeature(name="x1", nullable=True, categories=("a", "b"), bin_shares=(0.5, 0.5, 0)),
)
INSTANCES = b'{"instances":['
TENSOR = b'{"name":"x0","datatype":"FP64","shape":[1],"data":['
BODIES = {
    "empty objects": ("application/json", filled(INSTANCES, b"{},", b"{}]}")),
    "right rows": ("application/json", filled(INSTANCES, b'{"x0":1,"x1":"a"},', b'{"x0":1,"x1":"a"}]}')),
    "arrays": ("application/json", filled(INSTANCES, b"[],", b"[]]}")),
    "nested arrays": ("application/json", filled(INSTANCES, b"[", b"")),
    "numbers": ("application/json", filled(INSTANCES, b"1.5,", b"1]}")),
    "a long text": ("application/json", filled(INSTANCES + b'{"x0":"', b"a", b'"}]}')),
    "a long text of one wide character": ("application/json", filled(INSTANCES + b'{"x0":"', b"a", '😀"}]}'.encode())),
    "a long text of escapes": ("application/json", filled(INSTANCES + b'{"x0":"', b"\\n", b'"}]}')),
    "a long number": ("application/json", filled(INSTANCES + b'{"x0":', b"1", b"}]}")),
    "a name that comes again and again": ("application/json", filled(INSTANCES + b"{", b'"x0":1,', b'"x1":"a"}]}')),
    "members": ("application/json", filled(b"{", b'"a":1,', b'"b":1}')),
    "blanks": ("application/json", filled(INSTANCES, b" ", b"1]}")),
    "a long category": ("application/json", filled(INSTANCES + b'{"x1":"', b"a", b'"}]}')),
    "lines of numbers": ("application/x-ndjson", filled(b"", b"1\n", b"")),
    "lines of arrays": ("application/x-ndjson", filled(b"", b"[[],[]]\n", b"")),
    "a long line": ("application/x-ndjson", filled(b'{"x0":"', b"a", b'"}\n')),
    "empty lines": ("application/x-ndjson", filled(b"", b"\n", b"")),
    "cells": ("text/csv", filled(b"x0,x1\n", b"a,b\n", b"")),
    "names": ("text/csv", filled(b"x0", b",a", b"\n1,2\n")),
    "a long cell": ("text/csv", filled(b'x0,x1\n"', b"\n", b'",1\n')),
    "empty lines of CSV": ("text/csv", filled(b"", b"\n", b"")),
    "empty tensors": ("v2", v2(b"", b"{},", b"{}")),
    "a tensor of arrays": ("v2", v2(TENSOR, b"[],", b"[]]}")),
    "a tensor of numbers": ("v2", v2(TENSOR, b"1.5,", b"1]}")),
    "a tensor of one long text": ("v2", v2(TENSOR + b'"', b"a", b'"]}')),
}


def peak_kib(pid: int) -> int:
    """Return the most memory that the process has had."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    root = Root(tmp_path_factory.mktemp("extent"))
    root.write(with_contract(graph([stump()]), contract(features=FEATURES).model_dump_json()))
    with running(root) as running_service:
        yield running_service


@pytest.fixture
def pid(service: Service) -> int:
    """Return the worker's process id, its peak set back to what it has now."""
    assert service.client.post("/predict", json={"instances": [{}]}).status_code == 200
    (worker,) = service.workers() or [service.process.pid]
    Path(f"/proc/{worker}/clear_refs").write_text("5", encoding="utf-8")
    return worker


@pytest.mark.parametrize("name", BODIES)
def test_what_is_too_much_is_refused_at_once_and_in_little_memory(service: Service, pid: int, name: str) -> None:
    media, body = BODIES[name]
    path = "/v2/models/flights/infer" if media == "v2" else "/predict"
    idle = peak_kib(pid)
    began = time.monotonic()

    answer = service.client.post(path, content=body, headers={"Content-Type": media.replace("v2", "application/json")})

    seconds = time.monotonic() - began
    print(f"{name}: {answer.status_code} in {seconds:.2f} s, {(peak_kib(pid) - idle) // 1024} MB", answer.text[:300])
    assert answer.status_code in {400, 413, 422}
    assert seconds < SECONDS
    assert peak_kib(pid) - idle < MEMORY_KIB


def test_a_refused_body_does_not_stay_in_memory(service: Service, pid: int) -> None:
    media, body = BODIES["nested arrays"]
    idle = peak_kib(pid)
    answers = [service.client.post("/predict", content=body, headers={"Content-Type": media}) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {413}
    assert peak_kib(pid) - idle < MEMORY_KIB
