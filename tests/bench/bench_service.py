"""Measure the service: `python tests/bench/bench_service.py [--seconds 5] [--rounds 5] [--forest model.onnx]`.

Server and load run on different cores, in turns with what they are compared with, so that
a noisy machine is noisy for both. Ratios by the server's processor time are given too:
they hold on a machine that others use at the same time. The floor is a FastAPI endpoint
that validates the same body with Pydantic and returns a constant. Needs the demo's model,
`wrk`, `hey`, and rows: a Parquet table with the contract's features. Writes
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

import numpy as np
import orjson
import pandas as pd

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run as a program, from wherever

from service import model  # noqa: E402
from tests.bench.bodies import make_records, make_rows, write_script  # noqa: E402
from tests.bench.load import Figures, at_rate, flat_out, on_core, wrong_logins  # noqa: E402
from tests.bench.report import Row, write  # noqa: E402
from tests.bench.servers import Server, Servers, wait  # noqa: E402

SERVER_CORE, LOAD_CORE, BOTH = "0", "1", "0,1"
MAX_MEGABYTES = 175.0


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements share."""

    options: argparse.Namespace
    folder: Path
    servers: Servers
    served: model.Model
    rows: pd.DataFrame
    records: list[dict[str, Any]]

    @property
    def beyond(self) -> list[dict[str, Any]]:
        """Return the records, each with one value outside training's range."""
        feature = next(each for each in self.served.contract.features if each.type == "number")
        return [{**record, feature.name: feature.maximum + 1.0} for record in self.records]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        bench = _bench(options, options.model, Path(name))
        rows = [*_one_server(bench), *_cold_start(bench), *_two_workers(bench)]
    if options.forest:
        with tempfile.TemporaryDirectory() as name:
            rows += _forest(_bench(options, options.forest, Path(name)))
    write(rows, "service")


def _bench(options: argparse.Namespace, path: Path, folder: Path) -> Bench:
    served = model.load(path)
    rows = make_rows(served.contract, options.rows)
    return Bench(options, folder, Servers(path, folder), served, rows, make_records(served.contract, rows))


def _one_server(bench: Bench) -> list[Row]:
    with bench.servers.service(SERVER_CORE):
        pass  # the first start ever makes the database, and stays 10 MB larger for it
    with bench.servers.floor(SERVER_CORE) as floor, bench.servers.service(SERVER_CORE) as service:
        token = bench.servers.token(service)
        one, beyond = (
            write_script(bench.folder, 1, records, token, name)
            for records, name in ((bench.records, "one"), (bench.beyond, "beyond"))
        )
        hundred = write_script(bench.folder, 100, bench.records, token)
        return [
            *_compared_with_floor(bench, "one row", floor, service, one, 1.3),
            *_compared_with_floor(bench, "one row beyond training", floor, service, beyond, 1.1),
            *_compared_with_floor(bench, "100 rows", floor, service, hundred, 0.9),
            *_latencies(bench, floor, service, one, token),
            _memory("a login and requests", service),
            *_table(bench, service, token),
            _memory("all this", service),
        ]


def _forest(bench: Bench) -> list[Row]:
    with bench.servers.floor(SERVER_CORE) as floor, bench.servers.service(SERVER_CORE) as service:
        script = write_script(bench.folder, 100, bench.records, bench.servers.token(service))
        return _compared_with_floor(bench, "100 rows, a forest", floor, service, script, 0.5)


def _compared_with_floor(  # noqa: PLR0913, PLR0917  # what is compared with what
    bench: Bench, what: str, floor: Server, service: Server, script: Path, least: float
) -> list[Row]:
    floors, ours = [], []
    for _ in range(bench.options.rounds):
        floors.append(flat_out(floor, script, bench.options.seconds, LOAD_CORE))
        ours.append(flat_out(service, script, bench.options.seconds, LOAD_CORE))
    return compared(f"{what} a request / the floor", ours, floors, "requests/s", least)


def _latencies(bench: Bench, floor: Server, service: Server, script: Path, token: str) -> list[Row]:
    """Measure p99 at 8 connections, and at half that rate while 50 clients log in with wrong passwords."""
    body, seconds = bench.folder / "body.json", bench.options.seconds
    body.write_bytes(orjson.dumps({"instances": bench.records[:1]}))
    floors, ours, quiet, under = [], [], [], []
    for _ in range(bench.options.rounds):
        floors.append(flat_out(floor, script, seconds, LOAD_CORE, connections=8))
        ours.append(flat_out(service, script, seconds, LOAD_CORE, connections=8))
    rate = 0.5 * _median(ours, "rate")
    for _ in range(bench.options.rounds):
        quiet.append(at_rate(service, rate, body, token, seconds, LOAD_CORE))
        with wrong_logins(service, seconds + 2, LOAD_CORE):
            under.append(at_rate(service, rate, body, token, seconds, LOAD_CORE))
    return [
        Row("p99 at 8 connections / the floor's", _median(ours, "p99"), _median(floors, "p99"), "ms", 1.0),
        Row("p99 under 50 parallel wrong logins / without", _median(under, "p99"), _median(quiet, "p99"), "ms", 3.0),
    ]


def _memory(after: str, service: Server) -> Row:
    what = f"resident memory of a worker after {after} / what it may have"
    return Row(what, service.resident, MAX_MEGABYTES, "MB", 1.0)


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
    return compared("CSV / ONNX Runtime alone", ours, loops, "rows/s", None)


def _cold_start(bench: Bench) -> list[Row]:
    """Measure from the start of the process to the first answer, with an earlier token and files in the cache."""
    body = orjson.dumps({"instances": bench.records[:1]})
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
    """Measure two workers and their load on two cores, so the load uses part of the second core."""
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
    """Return the ratios by the clock and by processor time, each of the round with the median ratio."""
    rows = []
    for name, note, least in (("rate", "", bound), ("per CPU second", ", by CPU", None)):
        pairs = sorted(zip(ours, others, strict=True), key=lambda pair: pair[0][name] / pair[1][name])  # used at once
        mine, other = pairs[len(pairs) // 2]
        rows.append(Row(what + note, mine[name], other[name], unit, least, least=True))
    return rows


def _loop(bench: Bench, size: int) -> Figures:
    """Return the rows per second of ONNX Runtime itself, on the server's core, for the same rows as matrices."""
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
    parser.add_argument("--forest", type=Path, help="the ONNX file of a forest of 100 trees, to compare 100 rows with")
    parser.add_argument("--rows", type=Path, default=ROOT / "data/prepared/train.parquet")
    for program in ("wrk", "hey"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed; on Debian and Ubuntu: apt install {program}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
