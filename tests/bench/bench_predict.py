"""Measure `make predict`: `python tests/bench/bench_predict.py [--rows 1000000]`.

The floor is a loop that only runs ONNX Runtime over rows that are encoded already, in this process, before and after
each measurement. Every row of the table has another time stamp. Rates are by processor time of all processes, their
start included, because they hold on a machine that others use too. Writes build/bench-predict.md.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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

# A process of its own: what starts another counts its own memory for it.
LAUNCH = """import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)"""
FLOOR_ROWS, BATCHES = 300_000, (1024, 4096, 65_536)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of the command took."""

    name: str
    seconds: float
    processor_seconds: float
    megabytes: float
    """Of the largest process."""
    floor: float
    """Processor time of the floor, in microseconds for a row."""
    md5: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    os.chdir(ROOT)
    chosen = choose()
    model = from_bytes(chosen.content, chosen.about)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(model, folder, rows)
        matrix = model.contract.encode(pq.read_table(folder / "rows.parquet").slice(0, FLOOR_ROWS).to_pandas())
        runs = [("rows.parquet", "parquet", workers) for workers in (1, 2, 4)]
        runs += [("rows.parquet", "csv", 1), ("rows.csv", "csv", 1)]
        figures = [measure(model, matrix, folder, *each) for each in runs]
    report(figures, rows)


def write_tables(model: Model, folder: Path, rows: int) -> None:
    """Write the table of params.yaml, repeated, as Parquet and as CSV; dates get random seconds."""
    table, rng = pq.read_table(load_params().data.path), np.random.default_rng(0)
    dates = [feature.name for feature in model.contract.features if feature.type == "date"]
    written = 0
    with pq.ParquetWriter(folder / "rows.parquet", table.schema.append(pa.field("id", pa.int64()))) as writer:
        while written < rows:
            part = table.slice(0, rows - written)
            for name in dates:
                moments = part[name].to_numpy() + rng.integers(0, 3600 * 10**6, len(part)).astype("timedelta64[us]")
                part = part.set_column(part.schema.get_field_index(name), name, pa.array(moments))
            part = part.append_column("id", pa.array(np.arange(written, written + len(part))))
            writer.write_table(part, row_group_size=1 << 18)
            written += len(part)
    with pa.csv.CSVWriter(folder / "rows.csv", pq.read_schema(folder / "rows.parquet")) as writer:
        for batch in pq.ParquetFile(folder / "rows.parquet").iter_batches():
            writer.write_batch(batch)


def floor(model: Model, matrix: Matrix) -> float:
    """Return the processor time that ONNX Runtime alone takes, with the best size of batches."""

    def take(size: int) -> float:
        start = time.process_time()
        for first in range(0, len(matrix), size):
            model.session.run(None, {"X": matrix[first : first + size]})
        return (time.process_time() - start) / len(matrix) * 1e6

    return min(map(take, BATCHES))


def measure(  # noqa: PLR0913, PLR0917
    model: Model, matrix: Matrix, folder: Path, source: str, target: str, workers: int
) -> Figures:
    before, out = floor(model, matrix), folder / f"out.{target}"
    command = [sys.executable, "-m", "stages.predict", str(folder / source), str(out), "--workers", str(workers)]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", LAUNCH, *command], check=True, capture_output=True, text=True)
    seconds, (processor, largest) = time.perf_counter() - start, map(float, done.stdout.split())
    name = f"{Path(source).suffix[1:]} to {target}, {workers} workers"
    return Figures(name, seconds, processor, largest, (before + floor(model, matrix)) / 2, files.md5(out))


def report(figures: list[Figures], rows: int) -> None:
    lines = [
        f"{rows:,} rows; processor time by row, with all processes and their start\n",
        "| run | ONNX Runtime alone | this | ratio | seconds | largest process | MD5 |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in figures:
        taken = each.processor_seconds / rows * 1e6
        lines.append(
            f"| {each.name} | {each.floor:.2f} µs | {taken:.2f} µs | {each.floor / taken:.2f} "
            f"| {each.seconds:.1f} | {each.megabytes:.0f} MB | {each.md5[:8]} |"
        )
    print("\n".join(lines))
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build/bench-predict.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
