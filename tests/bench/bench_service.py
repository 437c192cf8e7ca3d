"""Measure the service: `python tests/bench/bench_service.py [--seconds 5] [--rounds 5] [--all]`.

Server and load run on different cores, in turns with what they are compared with, so that
a noisy machine is noisy for both. Ratios by the server's processor time are given too:
they hold on a machine that others use at the same time. The floor is a FastAPI endpoint
that validates the same body with Pydantic and returns a constant. Needs `wrk` and what
`dvc repro` makes. Writes build/bench-service.{md,json}.
"""

import argparse
import itertools
import os
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
from tests.bench.forest import make_forest  # noqa: E402
from tests.bench.load import Figures, flat_out, on_core, require_wrk, wrong_logins  # noqa: E402
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
        rows = _lines(bench, make_forest(options.model))
        if options.all:
            rows += [*_one_server(bench), *_cold_start(bench), *_two_workers(bench)]
    write(rows, "service")


def _bench(options: argparse.Namespace, path: Path, folder: Path) -> Bench:
    served = model.load(path)
    rows = make_rows(served.contract, options.rows)
    return Bench(options, folder, Servers(path, folder), served, rows, make_records(served.contract, rows))


def _lines(bench: Bench, forest: Path) -> list[Row]:
    """Measure the service against the floor, all servers on one core and taking turns."""
    (folder := bench.folder / "forest").mkdir()
    forests = Servers(forest, folder)
    with (
        bench.servers.floor(SERVER_CORE) as floor,
        bench.servers.service(SERVER_CORE) as service,
        forests.service(SERVER_CORE) as other,
    ):
        token, others = bench.servers.token(service), forests.token(other)
        one = write_script(bench.folder, 1, bench.records, token)
        beyond = write_script(bench.folder, 1, bench.beyond, token, "beyond")
        hundred = write_script(bench.folder, 100, bench.records, token)
        to_forest = write_script(bench.folder, 100, bench.records, others, "forest")
        return [
            _against(bench, "one row", floor, service, one, 1.3),
            _against(bench, "one row beyond training", floor, service, beyond, 1.1),
            _against(bench, "100 rows, the demo's default model", floor, service, hundred, 0.9),
            _against(bench, "100 rows, a forest of 100 trees and 12 levels", floor, other, to_forest, 0.5),
            _p99(bench, floor, service, one),
        ]


def _against(bench: Bench, what: str, floor: Server, service: Server, script: Path, least: float) -> Row:  # noqa: PLR0913, PLR0917  # what is compared with what
    floors, ours = [], []
    for _ in range(bench.options.rounds):
        floors.append(flat_out(floor, script, bench.options.seconds, LOAD_CORE))
        ours.append(flat_out(service, script, bench.options.seconds, LOAD_CORE))
    return compared(what, ours, floors, "requests/s", least)


def _p99(bench: Bench, floor: Server, service: Server, script: Path) -> Row:
    floors, ours = [], []
    for _ in range(bench.options.rounds):
        floors.append(flat_out(floor, script, bench.options.seconds, LOAD_CORE, connections=8))
        ours.append(flat_out(service, script, bench.options.seconds, LOAD_CORE, connections=8))
    return Row("p99 at 8 connections", _median(ours, "p99"), _median(floors, "p99"), "ms", 1.0)


def _one_server(bench: Bench) -> list[Row]:
    with bench.servers.service(SERVER_CORE) as service:
        token = bench.servers.token(service)
        script = write_script(bench.folder, 1, bench.records, token)
        flat_out(service, script, bench.options.seconds, LOAD_CORE)
        first = _memory("a login and requests", service)
        return [first, _under_logins(bench, service, script), *_table(bench, service, token), _memory("all", service)]


def _under_logins(bench: Bench, service: Server, script: Path) -> Row:
    """Measure p99 at one connection, while 50 clients log in with wrong passwords and without them."""
    quiet, under = [], []
    for _ in range(bench.options.rounds):
        quiet.append(flat_out(service, script, bench.options.seconds, LOAD_CORE, connections=1))
        with wrong_logins(service, bench.folder, LOAD_CORE):
            under.append(flat_out(service, script, bench.options.seconds, LOAD_CORE, connections=1))
    return Row("p99 under 50 parallel wrong logins / without", _median(under, "p99"), _median(quiet, "p99"), "ms", 3.0)


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
    return [compared("CSV / ONNX Runtime alone", ours, loops, "rows/s", None)]


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
    return [compared("WORKERS=2 / one worker, the load on the same two cores", ours, ones, "requests/s", 1.7)]


def compared(what: str, ours: list[Figures], others: list[Figures], unit: str, bound: float | None) -> Row:
    """Return the round with the median ratio by the clock, with the median ratio by processor time."""
    pairs = sorted(zip(ours, others, strict=True), key=lambda pair: pair[0]["rate"] / pair[1]["rate"])
    mine, other = pairs[len(pairs) // 2]
    by_cpu = statistics.median(one["per CPU second"] / two["per CPU second"] for one, two in pairs)
    return Row(what, mine["rate"], other["rate"], unit, bound, least=True, by_cpu=by_cpu)


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
    parser.add_argument("--rows", type=Path, default=ROOT / "data/prepared/train.parquet")
    parser.add_argument("--all", action="store_true", help="measure memory, CSV, cold start and two workers as well")
    require_wrk()
    return parser.parse_args()


if __name__ == "__main__":
    main()
