"""A body that holds more than a request may is refused soon, in little memory."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.contract import CategoryFeature, NumberFeature
from tests.service.artifacts import Root, contract, graph, stump, with_contract
from tests.service.processes import Service, running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("extent")]

MEGABYTES = 30 * 1024 * 1024
SECONDS = 3.0
"""Of processor time, at most 0.7 on a quiet machine; on a slow one with others at work three times that."""
MEMORY_KIB = 150 * 1024


def filled(begin: bytes, unit: bytes, end: bytes) -> bytes:
    """Repeat `unit` until the body has 30 MB."""
    return begin + unit * ((MEGABYTES - len(begin) - len(end)) // len(unit)) + end


def v2(begin: bytes, unit: bytes, end: bytes) -> tuple[bytes, bytes, bytes]:
    return b'{"inputs":[' + begin, unit, end + b"]}"


# Both may be missing, so that an empty object is a right row.
FEATURES = (
    NumberFeature(name="x0", nullable=True, minimum=0, maximum=1, bin_edges=(0.5,), bin_shares=(0.5, 0.5, 0)),
    CategoryFeature(name="x1", nullable=True, categories=("a", "b"), bin_shares=(0.5, 0.5, 0)),
)
INSTANCES = b'{"instances":['
TENSOR = b'{"name":"x0","datatype":"FP64","shape":[1],"data":['
BODIES = {
    "empty objects": ("application/json", (INSTANCES, b"{},", b"{}]}")),
    "right rows": ("application/json", (INSTANCES, b'{"x0":1,"x1":"a"},', b'{"x0":1,"x1":"a"}]}')),
    "arrays": ("application/json", (INSTANCES, b"[],", b"[]]}")),
    "nested arrays": ("application/json", (INSTANCES, b"[", b"")),
    "numbers": ("application/json", (INSTANCES, b"1.5,", b"1]}")),
    "a long text": ("application/json", (INSTANCES + b'{"x0":"', b"a", b'"}]}')),
    "a long text of one wide character": ("application/json", (INSTANCES + b'{"x0":"', b"a", '😀"}]}'.encode())),
    "a long text of escapes": ("application/json", (INSTANCES + b'{"x0":"', b"\\n", b'"}]}')),
    "a long number": ("application/json", (INSTANCES + b'{"x0":', b"1", b"}]}")),
    "a name that comes again and again": ("application/json", (INSTANCES + b"{", b'"x0":1,', b'"x1":"a"}]}')),
    "members": ("application/json", (b"{", b'"a":1,', b'"b":1}')),
    "blanks": ("application/json", (INSTANCES, b" ", b"1]}")),
    "a long category": ("application/json", (INSTANCES + b'{"x1":"', b"a", b'"}]}')),
    "lines of numbers": ("application/x-ndjson", (b"", b"1\n", b"")),
    "lines of arrays": ("application/x-ndjson", (b"", b"[[],[]]\n", b"")),
    "a long line": ("application/x-ndjson", (b'{"x0":"', b"a", b'"}\n')),
    "empty lines": ("application/x-ndjson", (b"", b"\n", b"")),
    "cells": ("text/csv", (b"x0,x1\n", b"a,b\n", b"")),
    "names": ("text/csv", (b"x0", b",a", b"\n1,2\n")),
    "a long cell": ("text/csv", (b'x0,x1\n"', b"\n", b'",1\n')),
    "empty lines of CSV": ("text/csv", (b"", b"\n", b"")),
    "empty tensors": ("v2", v2(b"", b"{},", b"{}")),
    "a tensor of arrays": ("v2", v2(TENSOR, b"[],", b"[]]}")),
    "a tensor of numbers": ("v2", v2(TENSOR, b"1.5,", b"1]}")),
    "a tensor of one long text": ("v2", v2(TENSOR + b'"', b"a", b'"]}')),
}


def peak_kib(pid: int) -> int:
    """Return the most memory that the process has had."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
    media, parts = BODIES[name]
    body = filled(*parts)
    path = "/v2/models/flights/infer" if media == "v2" else "/predict"
    idle = peak_kib(pid)
    began = processor_seconds(pid)

    answer = service.client.post(path, content=body, headers={"Content-Type": media.replace("v2", "application/json")})

    seconds = processor_seconds(pid) - began
    print(f"{name}: {answer.status_code} in {seconds:.2f} s, {(peak_kib(pid) - idle) // 1024} MB", answer.text[:300])
    assert answer.status_code in {400, 413, 422}
    assert seconds < SECONDS
    assert peak_kib(pid) - idle < MEMORY_KIB


def test_a_refused_body_does_not_stay_in_memory(service: Service, pid: int) -> None:
    media, parts = BODIES["nested arrays"]
    body = filled(*parts)
    idle = peak_kib(pid)
    answers = [service.client.post("/predict", content=body, headers={"Content-Type": media}) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {413}
    assert peak_kib(pid) - idle < MEMORY_KIB
