"""Measure how time and memory of each stage grow: `python tests/bench/growth.py [--times 1 3]`.

Works in a clone of HEAD in a temporary folder, on the demo's 336,776 rows so many times, each with another second. The
fit is on 200,000 rows (`train.sample`). Processor seconds are of all processes of the command, the memory is of the
largest one. The exponents are those of rows: 1 is linear, 0 doesn't grow. Writes build/bench-growth.md.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run as a program, from wherever

from tests.bench.pipeline import Cost, run  # noqa: E402
from tests.bench.tables import repeat  # noqa: E402

STAGES = ("validate", "prepare", "train", "export", "evaluate", "register")
PREDICT = ("predict", "data/raw/flights.parquet", "out.parquet")
SAMPLE = 200_000


def lift_row_limit(suite: Path) -> None:
    """Remove the limit on the number of rows from the demo's suite."""
    document = json.loads(suite.read_text(encoding="utf-8"))
    kept = [each for each in document["expectations"] if each["type"] != "expect_table_row_count_to_be_between"]
    suite.write_text(json.dumps(document | {"expectations": kept}), encoding="utf-8")


def make_clone(folder: Path) -> tuple[Path, Path]:
    """Return a clone of HEAD whose fit takes a sample, and the demo's table."""
    clone = folder / "clone"
    run(folder, "git", "clone", "--quiet", str(ROOT), str(clone))
    run(clone, sys.executable, "-m", "stages.ingest")
    table = (clone / "data/raw/flights.parquet").rename(folder / "flights.parquet")
    yaml, path = YAML(), clone / "params.yaml"
    params = yaml.load(path)
    params["train"]["sample"] = SAMPLE
    yaml.dump(params, path)
    lift_row_limit(clone / "data/suites/flights.json")
    return clone, table


def measure(clone: Path, source: Path, rows: int) -> dict[str, Cost]:
    """Return the cost of each stage, and of scoring the table."""
    repeat(source, clone / "data/raw/flights.parquet", rows)
    costs = {stage: run(clone, sys.executable, "-m", f"stages.{stage}") for stage in STAGES}
    command, *arguments = PREDICT
    return costs | {command: run(clone, sys.executable, "-m", f"stages.{command}", *arguments)}


def exponent(sizes: list[int], values: list[float]) -> str:
    """Return the slope of a line through the logarithms."""
    return f"{np.polyfit(np.log(sizes), np.log(values), 1)[0]:.2f}" if len(sizes) > 1 else ""


def markdown(found: dict[int, dict[str, Cost]]) -> str:
    """Return a table of processor seconds and MiB."""
    sizes = list(found)
    heads = [f"{size:,} rows" for size in sizes]
    lines = [f"| stage | {' | '.join(heads)} | time | memory |", "|---" * (len(sizes) + 3) + "|"]
    for stage in found[sizes[0]]:
        costs = [found[size][stage] for size in sizes]
        cells = [f"{each.processor:.1f} s, {each.peak:,.0f} MiB" for each in costs]
        slopes = exponent(sizes, [each.processor for each in costs]), exponent(sizes, [each.peak for each in costs])
        lines.append(f"| {' | '.join([stage, *cells, *slopes])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure each size, print and save the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 3, 10, 30])
    times = sorted(set(parser.parse_args().times))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        clone, table = make_clone(Path(folder))
        rows = pq.read_metadata(table).num_rows
        found = {rows * each: measure(clone, table, rows * each) for each in times}
    report = markdown(found)
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build/bench-growth.md").write_text(report, encoding="utf-8")
    print(report, end="")


if __name__ == "__main__":
    main()
