"""The arguments of commands that say where to run."""

import argparse
import os


def add_scheduler(parser: argparse.ArgumentParser, work: str) -> None:
    """Add `--scheduler`, whose workers do the `work`."""
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        default=os.environ.get("DASK_SCHEDULER_ADDRESS") or None,
        help=f"a Dask scheduler, such as tcp://host:8786, whose workers {work} (default: DASK_SCHEDULER_ADDRESS)",
    )


def positive(text: str) -> int:
    """Return a whole number above 0. Raises ArgumentTypeError for another text."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)
