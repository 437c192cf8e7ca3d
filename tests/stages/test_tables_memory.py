"""A table larger than memory allows is told as such, whatever its format."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = 20_000_000
MEBIBYTES = 60
PROGRAM = """
import resource, sys
import pandas, pyarrow.csv, pyarrow.parquet
from stages import _tables
from stages.entry import run
from stages.params import DataParams

def main():
    spared = int(open("/proc/self/statm").read().split()[{field}]) * resource.getpagesize()
    resource.setrlimit(resource.{limit}, (spared + {bytes},) * 2)
    _tables.read(DataParams(path={path!r}, target="y"))

sys.argv = ["read"]
run(main)
"""


def write(path: Path) -> None:
    if path.suffix == ".csv":
        path.write_bytes(b"a,y\n" + b"1.5,1\n" * ROWS)
    else:
        pq.write_table(pa.table({"a": np.zeros(ROWS), "y": np.zeros(ROWS, np.int8)}), path)


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "field"), [("RLIMIT_AS", 0), ("RLIMIT_DATA", 5)])
@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_a_table_larger_than_memory_allows_is_told_as_such(
    tmp_path: Path, root: Path, name: str, limit: str, field: int
) -> None:
    write(tmp_path / name)
    program = PROGRAM.format(path=str(tmp_path / name), limit=limit, field=field, bytes=MEBIBYTES << 20)

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 1
    assert f"{name}: needs more memory than there is" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "damaged" not in done.stderr
