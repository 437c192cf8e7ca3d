"""Kill a stage by SIGKILL at its first rename, its second, ... until it lives: ``python killed.py STAGE``.

A stage writes a file beside and renames it, so that every write ends in a rename. The stage
is imported once; each attempt is a fork of its own. Prints how often it was killed.
"""

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

_MOST_WRITES = 40


def attempt(stage: str, at: int) -> int:
    """Run the stage in a fork that dies at rename number `at`; give its exit status, or minus the signal."""
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
    importlib.import_module(f"stages.{stage}").main()
    os._exit(0)


def main(stage: str) -> None:
    """Raise AssertionError if an attempt ends in another way than killed or well."""
    importlib.import_module(f"stages.{stage}")
    for at in range(1, _MOST_WRITES):
        status = attempt(stage, at)
        if status == 0:
            print(at - 1)
            return
        assert status == -signal.SIGKILL, f"rename {at}: status {status}"
    raise AssertionError(f"more than {_MOST_WRITES} writes")


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main(sys.argv[1])
