"""Measure the pipeline, each figure as a ratio to a floor in the same run: ``make bench``.

Works in a clone of HEAD in a temporary folder and writes build/bench-pipeline.md and .json.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run as a program, from wherever

from tests.bench.report import Row, write  # noqa: E402

STAGES = ("ingest", "validate", "prepare", "train", "export", "evaluate", "register")
_TRIALS = 3
_MIB = 1024.0
_PLAIN_FIT = """
import time, joblib, numpy as np, pandas as pd
from sklearn.ensemble import RandomForestClassifier
rows = pd.read_parquet("data/prepared/train.parquet")
encoded = np.nan_to_num(joblib.load("models/model.joblib")[:1].transform(rows), nan=-1e3)
forest = RandomForestClassifier(100, max_depth=12, min_samples_leaf=2, n_jobs=-1, random_state=42)
start = time.perf_counter()
forest.fit(encoded, rows["arrival"])
print(time.perf_counter() - start)
"""
_SIZE = """
import pandas as pd
print(pd.read_parquet("data/raw/flights.parquet").memory_usage(deep=True).sum() / 2**20)
"""
_IMPORT = "import time; start = time.perf_counter(); import stages.{}.__main__; print(time.perf_counter() - start)"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command and its children took."""

    seconds: float
    """By the clock."""
    processor: float
    """Seconds of the processor."""
    peak: float
    """MiB of the largest process."""


def run(folder: Path, *command: str) -> Cost:
    """Run `command` in `folder` and measure it; if it fails, stop with its output."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(command)}:\n{output.read().decode()[-3000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _MIB)


def printed(folder: Path, program: str) -> float:
    """Run a Python program that prints one number."""
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout)


def idle_repro(folder: Path, clone: Path) -> Row:
    """Compare `dvc repro` with nothing to do with DVC's own time for seven stages of ``true``."""
    floor = folder / "floor"
    floor.mkdir()
    stages = "".join(f"  s{i}:\n    cmd: 'true'\n    deps: [d{i}]\n" for i in range(len(STAGES)))
    (floor / "dvc.yaml").write_text(f"stages:\n{stages}", encoding="utf-8")
    for i in range(len(STAGES)):
        (floor / f"d{i}").touch()
    run(floor, "git", "init", "--quiet")
    run(floor, "dvc", "init", "--quiet")
    run(floor, "dvc", "repro", "--quiet")
    pairs = [(run(clone, "dvc", "repro").seconds, run(floor, "dvc", "repro").seconds) for _ in range(_TRIALS)]
    ours, theirs = (min(column) for column in zip(*pairs, strict=True))
    return Row("`dvc repro` with nothing to do / seven stages of `true`", ours, theirs, "s", 1.5)


def measure(folder: Path) -> list[Row]:
    """Return all rows of the report."""
    clone = folder / "clone"
    run(folder, "git", "clone", "--quiet", str(ROOT), str(clone))
    whole = run(clone, "dvc", "repro", "--force", "--no-run-cache")
    fit = printed(clone, _PLAIN_FIT)
    size = printed(clone, _SIZE)
    rows = [
        Row("`dvc repro --force` / plain fit of a forest of 100 trees, 12 levels", whole.seconds, fit, "s", 3.5),
        Row("peak memory of `dvc repro --force` / table in memory", whole.peak, size, "MiB", 6.0),
        idle_repro(folder, clone),
    ]
    start = min(run(clone, sys.executable, "-c", "import pandas").seconds for _ in range(_TRIALS))
    for stage in STAGES:
        seconds = min(printed(clone, _IMPORT.format(stage)) for _ in range(_TRIALS))
        rows.append(Row(f"import of stages.{stage} / import of pandas", seconds, start, "s", None))
    return rows


def main() -> None:
    """Measure, print and save the report."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        rows = measure(Path(folder))
    write(rows, "pipeline")


if __name__ == "__main__":
    main()
