"""Kill a stage with SIGKILL at some of its renames, then let it complete: ``python killed.py STAGE 1 2 7``.

A stage writes a file beside its place and renames it, so that every write ends in a rename. The
stage is imported once; each attempt is a fork. Prints how often it was killed.
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
    sys.argv, (name, *numbers) = sys.argv[:1], sys.argv[1:]
    importlib.import_module(f"stages.{name}.__main__")
    print([attempt(name, int(number)) for number in numbers].count(-signal.SIGKILL))
