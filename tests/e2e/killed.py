"""Kill stages with SIGKILL at some of their renames: ``python killed.py prepare:1,2 train:1``.

A stage writes a file beside its place and renames it, so that every write ends in a rename.
The stages are imported once; each attempt is a fork. The last line printed names each stage
with the renames that killed it.
"""

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any


def attempt(stage: str, at: int) -> int:
    """Run the stage in a fork that is killed at rename number `at`; return its exit status, or minus the signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    calls, replace = 0, os.replace

    def die(*args: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*args, **options)

    os.replace = die
    importlib.import_module(f"stages.{stage}.__main__").main()
    os._exit(0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    kills = [(stage, list(map(int, at.split(",")))) for stage, _, at in (each.partition(":") for each in sys.argv[1:])]
    del sys.argv[1:]
    for stage, _ in kills:
        importlib.import_module(f"stages.{stage}.__main__")
    killed = {stage: [at for at in numbers if attempt(stage, at) == -signal.SIGKILL] for stage, numbers in kills}
    print(*(f"{stage}:{','.join(map(str, at))}" for stage, at in killed.items()))
