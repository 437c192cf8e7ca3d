"""Measure the service: `python tests/bench/bench_service.py [--seconds 5] [--rounds 5]`.

Server and load run on different cores, in turns with what they are held against, so that
a noisy machine is noisy for both. Ratios by the server's processor time are given too:
they hold on a machine that others use at the same time. Needs an artifact that dvc.lock
names, `wrk`, `hey`, and rows: a Parquet table with the contract's features. Writes
build/bench-service.{md,json}.
"""

import argparse
import itertools
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run as a program, from wherever

from service import model  # noqa: E402
from tests.bench.bodies import make_records, make_rows, write_script  # noqa: E402
from tests.bench.load import Figures, at_rate, busy, flat_out, on_core, wrong_logins  # noqa: E402
from tests.bench.report import Row, write  # noqa: E402
from tests.bench.servers import Server, Servers, wait  # noqa: E402

SERVER_CORE, LOAD_CORE, BOTH = "0", "1", "0,1"
MAX_MEGABYTES = 150.0


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements need."""

    options: argparse.Namespace
    folder: Path
    servers: Servers
    served: model.Model
    rows: pd.DataFrame
    records: list[dict[str, Any]]


def main() -> None:
    options = _options()
    served = model.load(options.model)
    rows = make_rows(served.contract, options.rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = make_records(served.contract, rows)
        bench = Bench(options, folder, Servers(options.model, folder), served, rows, records)
        write([*_one_server(bench), *_cold_start(bench), *_two_workers(bench)], "service")


def _one_server(bench: Bench) -> list[Row]:
    with bench.servers.service(SERVER_CORE):
        pass  # the first start ever makes the database, and stays 10 MB larger for it
    with bench.servers.floor(SERVER_CORE) as floor, bench.servers.service(SERVER_CORE) as service:
        token = bench.servers.token(service)
        scripts = {size: write_script(bench.folder, size, bench.records, token) for size in (1, 100)}
        return [
            *_one_row(bench, floor, service, scripts[1], token),
            _memory("a login and one-row requests", service),
            *_wrong_logins(bench, service, token),
            *_hundred_rows(bench, service, scripts[100]),
            *_table(bench, service, token),
            _memory("all this", service),
        ]


def _one_row(bench: Bench, floor: Server, service: Server, script: Path, token: str) -> list[Row]:
    seconds, floors, ours = bench.options.seconds, [], []
    for _ in range(bench.options.rounds):
        floors.append(flat_out(floor, script, seconds, LOAD_CORE))
        ours.append(flat_out(service, script, seconds, LOAD_CORE))
    body = bench.folder / "body.json"
    body.write_bytes(msgspec.json.encode({"instances": bench.records[:1]}))
    rate = 0.8 * _median(ours, "rate")
    steady = [at_rate(service, rate, body, token, seconds, LOAD_CORE) for _ in range(bench.options.rounds)]
    return [
        *compared("one row a request / FastAPI that validates it", ours, floors, "requests/s", 1.0),
        Row("p99 at 80 % of that load / p50", _median(steady, "p99"), _median(steady, "p50"), "ms", 5.0),
    ]


def _memory(after: str, service: Server) -> Row:
    return Row(
        f"resident memory of a worker after {after} / what it may have", service.resident, MAX_MEGABYTES, "MB", 1.0
    )


def _wrong_logins(bench: Bench, service: Server, token: str) -> list[Row]:
    """p99 of one-row requests at half their rate, without and with 50 callers that log in wrongly in a loop."""
    body, seconds = bench.folder / "body.json", bench.options.seconds
    rate = 0.5 * flat_out(service, write_script(bench.folder, 1, bench.records, token), seconds, LOAD_CORE)["rate"]
    quiet, under = [], []
    for _ in range(bench.options.rounds):
        quiet.append(at_rate(service, rate, body, token, seconds, LOAD_CORE))
        with wrong_logins(service, seconds + 2, LOAD_CORE):
            under.append(at_rate(service, rate, body, token, seconds, LOAD_CORE))
    return [
        Row("p99 under 50 parallel wrong logins / p99 without", _median(under, "p99"), _median(quiet, "p99"), "ms", 3.0)
    ]


def _hundred_rows(bench: Bench, service: Server, script: Path) -> list[Row]:
    loops, ours = [], []
    for _ in range(bench.options.rounds):
        with busy(LOAD_CORE):  # as it is while the service is measured
            loops.append(_loop(bench, 100))
        found = flat_out(service, script, bench.options.seconds, LOAD_CORE)
        ours.append({name: 100 * value for name, value in found.items()})
    return compared("100 rows a request / ONNX Runtime alone", ours, loops, "rows/s", 0.6)


def _table(bench: Bench, service: Server, token: str) -> list[Row]:
    path, size = bench.folder / "table.csv", bench.options.table
    pd.DataFrame(list(itertools.islice(itertools.cycle(bench.records), size))).to_csv(path, index=False)
    loops, ours = [], []
    for _ in range(max(1, bench.options.rounds // 2)):
        loops.append(_loop(bench, 2000))
        began, before = time.perf_counter(), service.cpu_seconds
        on_core(LOAD_CORE, [
            "curl", "-sS", "--fail", "-o", str(bench.folder / "out.csv"), "-H", f"Authorization: Bearer {token}",
            "-H", "Content-Type: text/csv", "--data-binary", f"@{path}", service.url,
        ])  # fmt: skip
        passed, spent = time.perf_counter() - began, service.cpu_seconds - before
        ours.append({"rate": size / passed, "per CPU second": size / spent})
    return compared("CSV / ONNX Runtime alone", ours, loops, "rows/s", 0.5)


def _cold_start(bench: Bench) -> list[Row]:
    """From the start of the process to the first answer, with a token of before; its files are in the cache."""
    body = msgspec.json.encode({"instances": bench.records[:1]})
    with bench.servers.service(BOTH) as service:
        token = bench.servers.token(service)
    ours: list[Figures] = []
    bare: list[Figures] = []
    for _ in range(bench.options.rounds):
        for times, is_bare in ((bare, True), (ours, False)):
            with bench.servers.starting(BOTH, bare=is_bare) as server:
                wait(server.url, body, token, pause=0.005)
                times.append({"wall": time.perf_counter() - server.started, "CPU": server.cpu_seconds})
    return [
        Row(f"cold start to the first answer / a bare FastAPI app, {kind}", _median(ours, kind), _median(bare, kind),
            "s", bound)
        for kind, bound in (("wall", 2.5), ("CPU", None))
    ]  # fmt: skip


def _two_workers(bench: Bench) -> list[Row]:
    """Two workers and their load on two cores, so that the load takes part of what the second could answer."""
    ours, ones = [], []
    with bench.servers.service(BOTH) as one, bench.servers.service(BOTH, workers=2) as two:
        script = write_script(bench.folder, 1, bench.records, bench.servers.token(one))
        wait(f"http://127.0.0.1:{two.port}/health/ready")
        for _ in range(bench.options.rounds):
            ones.append(flat_out(one, script, bench.options.seconds, BOTH))
            ours.append(flat_out(two, script, bench.options.seconds, BOTH))
    for each in ours:
        each["per CPU second"] *= 2  # a second of the clock has two of the processor
    return compared("WORKERS=2 / one worker, the load on the same two cores", ours, ones, "requests/s", 1.7)


def compared(what: str, ours: list[Figures], others: list[Figures], unit: str, bound: float | None) -> list[Row]:
    """By the clock and by the processor, each as the round with the middle ratio had it."""
    rows = []
    for name, note, least in (("rate", "", bound), ("per CPU second", ", by CPU", None)):
        pairs = sorted(zip(ours, others, strict=True), key=lambda pair: pair[0][name] / pair[1][name])  # used at once
        mine, other = pairs[len(pairs) // 2]
        rows.append(Row(what + note, mine[name], other[name], unit, least, least=True))
    return rows


def _loop(bench: Bench, size: int) -> Figures:
    """Rows per second of ONNX Runtime alone, on the server's core, over the same rows as ready matrices."""
    matrix = bench.served.contract.encode(bench.rows)
    blocks = [np.ascontiguousarray(matrix[at : at + size]) for at in range(0, len(matrix) - size + 1, size)]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(SERVER_CORE)})
    try:
        done, began, cpu = 0, time.perf_counter(), time.process_time()
        for block in itertools.cycle(blocks):
            bench.served.session.run(None, {"X": block})
            done += size
            if (passed := time.perf_counter() - began) > bench.options.seconds:
                return {"rate": done / passed, "per CPU second": done / (time.process_time() - cpu)}
    finally:
        os.sched_setaffinity(0, before)
    raise AssertionError("there are no rows")


def _median(measured: list[Figures], name: str) -> float:
    return statistics.median(each[name] for each in measured)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--table", type=int, default=100_000, help="rows of the CSV table")
    parser.add_argument("--model", type=Path, default=ROOT / "models/model.onnx")
    parser.add_argument("--rows", type=Path, default=ROOT / "data/prepared/train.parquet")
    for program in ("wrk", "hey"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed; on Debian and Ubuntu: apt install {program}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
