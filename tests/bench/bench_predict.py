"""Measure `make predict`: `python tests/bench/bench_predict.py [--rows 10000000] [--rounds 2]`.

The floor is a loop that only runs ONNX Runtime over rows that are encoded already, in this process. It takes turns with
the command, which is stopped meanwhile, because a machine that others use too can be a third slower from one second to
the next. Every row of the table has another time stamp. Rates are by processor time of all processes, their start
included. One process is compared with 2 and 4 processes, and with a Dask cluster of 2 workers, without the time of its
scheduler; of several rounds the least counts. Writes build/bench-predict.{md,json}.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run as a program, from wherever

from service.encoding import Matrix  # noqa: E402
from service.model import Model, from_bytes  # noqa: E402
from stages import files  # noqa: E402
from stages.params.loading import load_params  # noqa: E402
from stages.predict.choice import choose  # noqa: E402
from tests.bench.report import Row, write  # noqa: E402
from tests.bench.tables import repeat  # noqa: E402
from tests.dask_cluster import running_cluster  # noqa: E402

# A small process, because what starts another counts its own memory for it. The workers aren't its children, but those
# of a process that it waits for as their "subreaper" (36) when the command has ended.
LAUNCH = """import ctypes, os, resource, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
try:
    while os.wait(): pass
except ChildProcessError:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)"""
FLOOR_ROWS, BATCHES = 200_000, (1024, 4096)
TURN_SECONDS = 0.3
"""How long the command runs before the floor's next turn, which takes about as long."""
WORKER_MEGABYTES = 350.0
ON_CLUSTER = "2 workers of a Dask cluster"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of the command took."""

    seconds: float
    processor: float
    """Seconds of processor time of all processes."""
    megabytes: float
    """Of the largest process."""
    md5: str


@dataclass(frozen=True, slots=True)
class Bench:
    """A model, its encoded rows for the floor, and a folder with tables."""

    model: Model
    matrix: Matrix
    folder: Path

    def run(self, source: str, form: str, *options: str, in_turn: Callable[[], None] | None = None) -> Figures:
        """Run the command, in turns with `in_turn`."""
        out = self.folder / f"out.{form}"
        command = [sys.executable, "-m", "stages.predict", str(self.folder / source), str(out), *options]
        launch, start = [sys.executable, "-c", LAUNCH, *command], time.perf_counter()
        with subprocess.Popen(launch, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
            try:
                while in_turn and process.poll() is None:
                    time.sleep(TURN_SECONDS)
                    os.killpg(process.pid, signal.SIGSTOP)
                    in_turn()
                    os.killpg(process.pid, signal.SIGCONT)
                printed, _ = process.communicate()
            except BaseException:  # Ctrl-C doesn't reach a session of its own
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode:
            sys.exit(f"{' '.join(command)} has failed")
        seconds, (processor, largest) = time.perf_counter() - start, map(float, printed.split())
        return Figures(seconds, processor, largest, files.md5(out))

    def run_on_cluster(self, source: str, form: str) -> Figures:
        """Run the command on 2 workers of Dask that have imported their packages before.

        The cluster ends with it, because idle workers take processor time, which would count elsewhere.
        """
        with tempfile.TemporaryDirectory() as folder, running_cluster(ROOT, Path(folder)) as cluster:
            self.run("few.parquet", form, "--scheduler", cluster.address)
            before = cluster.worker_seconds()
            found = self.run(source, form, "--scheduler", cluster.address)
            return replace(found, processor=found.processor + cluster.worker_seconds() - before)

    def rate(self, what: str, source: str, form: str, rows: int, least: float | None = None) -> Row:
        """Return the rows of a second of processor time, compared with the floor's."""
        seconds = {size: list[float]() for size in BATCHES}
        sizes = cycle(BATCHES)

        def floor() -> None:
            size, start = next(sizes), time.process_time()
            for first in range(0, len(self.matrix), size):
                self.model.session.run(None, {"X": self.matrix[first : first + size]})
            seconds[size].append(time.process_time() - start)

        processor = self.run(source, form, in_turn=floor).processor
        best = min(map(statistics.fmean, seconds.values()))
        name = f"{what}, {rows:,} rows: rows by second of processor / ONNX Runtime alone"
        return Row(name, rows / processor, len(self.matrix) / best, "rows/s", least, least=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    os.chdir(ROOT)
    chosen = choose()
    model = from_bytes(chosen.content, chosen.about)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = Path(load_params().data.path)
        repeat(source, folder / "rows.parquet", options.rows, key="id")
        repeat(source, folder / "few.parquet", options.rows // 10, key="id")
        write_csv(folder / "few.parquet", folder / "few.csv")
        matrix = model.contract.encode(pq.read_table(folder / "few.parquet").slice(0, FLOOR_ROWS).to_pandas())
        rows = measure(Bench(model, matrix, folder), options.rows, options.rounds)
    write(rows, "predict")


def write_csv(source: Path, target: Path) -> None:
    """Write a Parquet file as CSV."""
    with pa.csv.CSVWriter(target, pq.read_schema(source)) as writer:
        for batch in pq.ParquetFile(source).iter_batches():
            writer.write_batch(batch)


def measure(bench: Bench, rows: int, rounds: int) -> list[Row]:
    """Return the lines of the report. Ends the program if the answers depend on the number of workers."""
    workers = {f"{number} workers": number for number in (1, 2, 4)}
    found = {engine: list[Figures]() for engine in (*workers, ON_CLUSTER)}
    for _ in range(rounds):  # in turns, so that a busy moment doesn't hit only one of them
        for engine, number in workers.items():
            found[engine].append(bench.run("rows.parquet", "parquet", "--workers", str(number)))
        found[ON_CLUSTER].append(bench.run_on_cluster("rows.parquet", "parquet"))
    few = bench.run("few.parquet", "parquet", "--workers", "2")
    if len({each.md5 for figures in found.values() for each in figures}) > 1:
        sys.exit("1, 2 and 4 workers and a Dask cluster give different bytes")
    one, *others = found
    processor = {engine: min(each.processor for each in figures) for engine, figures in found.items()}
    clock = {engine: min(each.seconds for each in figures) for engine, figures in found.items()}
    bounds = {"2 workers": (0.9, 1.6)}
    return [
        bench.rate("Parquet to Parquet", "rows.parquet", "parquet", rows, 0.6),
        bench.rate("Parquet to CSV", "rows.parquet", "csv", rows),
        bench.rate("CSV to CSV", "few.csv", "csv", rows // 10),
        *(
            Row(f"{engine}: {what} of 1 / of these", took[one], took[engine], "s", bound, least=True)
            for engine in others
            for what, took, bound in zip(
                ("processor time", "time"), (processor, clock), bounds.get(engine, (None, None)), strict=True
            )
        ),
        *(
            Row(f"largest process of {engine}, {count:,} rows", each.megabytes, WORKER_MEGABYTES, "MB", 1.0)
            for engine, count, each in [
                ("2 workers", rows // 10, few),
                ("2 workers", rows, found["2 workers"][0]),
                ("4 workers", rows, found["4 workers"][0]),
            ]
        ),
    ]


if __name__ == "__main__":
    main()
