"""Run a command: parse its arguments, log its progress, and report an error in one line."""

import argparse
import atexit
import contextlib
import errno
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path

from stages.errors import UserError

_UNDO = "`git checkout params.yaml dvc.lock metrics data/prepared && dvc checkout --allow-missing`"
_REMEDIES = {
    errno.ENOSPC: "no space left on the disk; free some and run the command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
    errno.EFBIG: "the file grows beyond what this process or file system allows; raise `ulimit -f`, or write elsewhere",
    errno.EACCES: "permission denied; change the file's or folder's permissions",
    errno.EPERM: "permission denied; change the file's or folder's permissions",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another place",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}

GROUPS = ("catboost", "skl2onnx", "xgboost")
"""Packages that are installed only if params.yaml's model needs them; each has a lock file of its name."""


def log(message: str) -> None:
    """Print a line of progress."""
    logging.getLogger("stages").info(message)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import a large package without garbage collection, which would take half a second."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Hide these packages from imports in the block, which saves their import time."""
    known = {name: sys.modules.pop(name) for name in packages if name in sys.modules}
    hidden = _Hidden(packages)
    sys.meta_path.insert(0, hidden)
    try:
        yield
    finally:
        sys.meta_path.remove(hidden)
        sys.modules |= known


class _Hidden(MetaPathFinder):
    """Makes imports of packages fail; for code that Cython has compiled, None in sys.modules doesn't."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, *_: object) -> None:
        if name in self._packages:
            raise ModuleNotFoundError(name, name=name)


def run(main: Callable[..., None], add_arguments: Callable[[argparse.ArgumentParser], None] | None = None) -> None:
    """Parse the command line and run `main` with its arguments by name.

    `--help` prints the module's docstring and runs nothing; the exit status is 2 after an unknown argument, 1
    after a user's mistake (one line on stderr), and 3 if a check refuses a model.
    """
    module = sys.modules[main.__module__]
    name = (module.__spec__.name if module.__spec__ else main.__module__).removesuffix(".__main__")
    stage = name.rpartition(".")[2]
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if add_arguments:
        add_arguments(parser)
    arguments = vars(parser.parse_args())
    atexit.register(gc.freeze)  # else a last garbage collection of all imports takes a second
    logging.basicConfig(format=f"{stage:<9} %(message)s", level=logging.WARNING)
    logging.getLogger("stages").setLevel(logging.INFO)
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    try:
        main(**arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads the output has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except UserError as error:
        _fail(stage, *map(str, error.args), status=error.status)
    except ModuleNotFoundError as error:
        if error.name not in GROUPS:
            raise
        _fail(stage, f"the model needs {error.name}, which isn't installed; run `make .venv/.{error.name}`")
    except MemoryError:
        _fail(stage, "not enough memory for this table; use fewer rows or a larger machine")
    except OSError as error:
        if "libgomp" in str(error):
            _fail(stage, "LightGBM needs the library libgomp; install it (on Debian and Ubuntu: apt install libgomp1)")
        remedy = _REMEDIES.get(error.errno or 0)
        if remedy is None:
            raise
        _fail(stage, f"{_relative(error.filename)}: {remedy}")


def _fail(stage: str, *messages: str, status: int = 1) -> None:
    for message in messages:
        print(f"{stage}: error: {' '.join(message.split())}", file=sys.stderr)
    if _is_experiment_in_workspace():
        print(f"{stage}: the experiment's changes are still in the workspace; {_UNDO} undoes them", file=sys.stderr)
    raise SystemExit(status)


def _is_experiment_in_workspace() -> bool:
    """Return whether `dvc exp run` runs here, not in a temporary copy. If it fails, it leaves params.yaml changed."""
    return "DVC_EXP_NAME" in os.environ and Path(os.environ.get("DVC_ROOT", "")) == Path.cwd()


def _relative(filename: object) -> str:
    if not isinstance(filename, (str, bytes)):
        return "writing"
    path = Path(os.fsdecode(filename))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
