"""Run a stage and measure its memory."""

import os
import subprocess
import sys
from pathlib import Path

# A process starts with the peak memory of the one that starts it, and pytest's is large: this one is small.
_LAUNCH = """import resource, subprocess, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
done = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(done.returncode)"""


def run_stage(stage: str, folder: Path, root: Path, limit: int = -1, **environment: str) -> int:
    """Run a stage of `root` in `folder`, and return its peak resident memory in bytes; fail the test if it fails.

    `limit` bounds its data segment (RLIMIT_DATA), in bytes; -1 is none.
    """
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCH, str(limit), sys.executable, "-m", f"stages.{stage}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    return int(done.stdout)
