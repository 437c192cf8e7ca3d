"""Score tables without a server; the answers equal those of POST /predict, to the last digit.

INPUT is a CSV or Parquet file, a folder of them, or a URL such as s3://bucket/folder. OUTPUT is a file that ends in
.csv or .parquet, or a folder, which gets a file for each part of the input. The model is the release in service, or
models/model.onnx if nothing has been released.

  python -m stages.predict data/new.csv scores.csv
  python -m stages.predict data/months scores --workers 2 --keep id,month --errors wrong.csv

Example: make predict INPUT=flights.csv OUTPUT=scored.csv
"""

import argparse
import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType

from stages.partitions.server import start_server

if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # another thread would only wait, and take 0.1 s to do so
    if os.environ.get("MIMALLOC_PURGE_DELAY") == "0":  # as the package sets it
        os.environ["MIMALLOC_PURGE_DELAY"] = "10000"  # Arrow keeps freed memory for the next batch: 8 % less time
    if "--workers" in sys.argv[:-1] and sys.argv[sys.argv.index("--workers") + 1] != "1":
        start_server(["stages.predict.__main__"])  # which imports while this process does

from service.contract import Contract
from service.coverage import LevelError
from service.model import ArtifactError, from_bytes
from stages.entry import log, run
from stages.errors import UserError
from stages.partitions import storage
from stages.partitions.arguments import add_scheduler, positive
from stages.partitions.executors import Spread
from stages.partitions.parts import MANIFEST, About
from stages.partitions.run import run_partitions
from stages.predict import results
from stages.predict.choice import Choice, choose
from stages.predict.places import check_places, file_form
from stages.predict.scoring import SUM
from stages.predict.sources import Partition, plan
from stages.predict.work import Job, Task, score_alone, score_partition, skip_pandas
from stages.progress import Progress, count_units, showing

_EXPLAINED = 256
"""How many times smaller partitions are with --explain, which takes that much longer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("input", metavar="INPUT", help="a CSV or Parquet file, a folder of them, or an s3:// URL")
    parser.add_argument(
        "output", metavar="OUTPUT", help="a file that ends in .csv or .parquet, a folder, or an s3:// URL"
    )
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="number of processes (default: 1)")
    add_scheduler(parser, "score")
    parser.add_argument("--explain", action="store_true", help="add what each feature contributes to the score")
    parser.add_argument(
        "--coverage",
        type=_level,
        metavar="LEVEL",
        help="add intervals (low, high) or sets of classes that contain the truth with this probability, such as 0.9",
    )
    parser.add_argument(
        "--keep",
        metavar="COLUMNS",
        type=lambda text: [name.strip() for name in text.split(",") if name.strip()],
        help="columns to copy, separated by commas (default: those that the model doesn't use, except the target)",
    )
    parser.add_argument("--errors", metavar="FILE", help="leave rows with errors out, and list them in this CSV file")


def _level(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text!r}")


def main(  # noqa: PLR0913  # the arguments of the command
    *,
    input: str,  # noqa: A002  # the argument's name
    output: str,
    workers: int,
    scheduler: str | None,
    explain: bool,
    coverage: float | None,
    keep: Sequence[str] | None,
    errors: str | None,
) -> None:
    """Score the tables, and write all answers or nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    skip_pandas()
    if not (input and output):
        raise UserError("name a table and where to write: make predict INPUT=new.csv OUTPUT=scores.csv")
    source, output = storage.absolute(input), storage.absolute(output)
    errors = storage.absolute(errors) if errors else None
    with storage.errors_as_line(output):
        check_places(source, output, errors)
    chosen = choose()
    contract = _contract(chosen, coverage)
    form, folder = file_form(output), results.parts_folder(output)
    shrink = _EXPLAINED if explain else 1
    with storage.errors_as_line(input):
        partitions = plan(source, contract, keep, shrink=shrink, form=form)
    if not partitions:
        raise UserError(f"{input}: has no rows")
    tasks = _name(partitions, form)
    with (
        storage.errors_as_line(output),
        results.locked(folder),
        showing("scoring", every=10) as progress,
        results.resumable(folder, progress),
    ):
        progress.begin(sum(each.size for each in partitions), "row")
        storage.remove(storage.join(folder, MANIFEST))  # until the end, what is there isn't complete
        model = storage.join(folder, f"_model-{chosen.md5}.onnx")
        storage.write(model, chosen.content)
        job = Job(folder, model, chosen.md5, chosen.threshold, explain, coverage, errors is not None)
        score = partial(_score, job, tasks, Spread(workers, scheduler), progress, errors)
        if form:
            with results.merging(form, output, folder, tasks) as merge:
                abouts = score(merge.add)
            md5 = merge.md5
            storage.remove_folder(folder)
        else:
            abouts = score(lambda _: None)
            md5 = results.finish_folder(output, folder, tasks, _manifest(job, tasks, abouts))
    for line in _summary(chosen, abouts, progress, f"{output} (MD5 {md5})", errors):
        log(line)


def _stop(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _contract(chosen: Choice, level: float | None) -> Contract:
    """Return the model's contract. Raises UserError if the model can't be used, or has no intervals for the level."""
    try:
        model = from_bytes(chosen.content, chosen.about)
        if level and model.coverage is None:
            raise UserError(
                f"{chosen.about}: has no intervals or sets for --coverage; run `make repro` to train it again"
            )
        if level and model.coverage:
            model.coverage.bound(level)
    except LevelError as error:
        raise UserError(f"--coverage {level} can't be promised: {error}") from None
    except ArtifactError as error:
        raise UserError(str(error)) from None
    return model.contract


def _name(partitions: Sequence[Partition], form: str | None) -> list[Task]:
    """Name the parts: by their number for one file, else as the files of the input."""
    if form:
        return [
            Task(each, f"part-{number:06}", "csv" if form == "csv" else "arrow", with_header=number == 0)
            for number, each in enumerate(partitions)
        ]
    pieces = Counter(each.source.name for each in partitions)
    tasks = []
    for each in partitions:
        kind = each.source.kind
        stem = each.source.name.removesuffix(".gz").rpartition(".")[0]
        number = f"-{each.number:05}" if pieces[each.source.name] > 1 else ""
        tasks.append(Task(each, f"{stem}{number}.{kind}", kind, with_header=True))
    twice = [name for name, times in Counter(task.name for task in tasks).items() if times > 1]
    if twice:
        raise UserError(f"two files of the input would become {twice[0]}; rename one")
    return tasks


def _score(  # noqa: PLR0913, PLR0917
    job: Job,
    tasks: Sequence[Task],
    spread: Spread,
    progress: Progress,
    errors: str | None,
    add: Callable[[int], None],
) -> list[About]:
    """Make all parts, call `add` with the place of each that is done, and write the errors of their rows."""

    def done(place: int, about: About) -> None:
        progress.add(tasks[place].partition.size, about["rows"])
        add(place)

    score = score_partition if spread.scheduler else score_alone
    abouts = run_partitions(partial(score, job), tasks, spread, done)
    if errors:
        results.write_errors(errors, job.folder, tasks, abouts)
    return abouts


def _manifest(job: Job, tasks: Sequence[Task], abouts: Sequence[About]) -> dict[str, object]:
    parts = [{"name": task.name, **about} for task, about in zip(tasks, abouts, strict=True)]
    return {"model": job.md5, "threshold": job.threshold, "rows": sum(each["rows"] for each in abouts), "parts": parts}


def _summary(chosen: Choice, abouts: Sequence[About], progress: Progress, output: str, errors: str | None) -> list[str]:
    rows, left_out = (sum(each[name] for each in abouts) for name in ("rows", "left_out"))
    counts: Counter[str] = Counter()
    for each in abouts:
        counts.update(each["counts"])
    shares = (
        f"mean {counts[SUM] / max(rows, 1):.4g}"
        if SUM in counts
        else ", ".join(f"{name} {count / max(rows, 1):.1%}" for name, count in counts.items())
    )
    lines = [f"model: {chosen.about}, MD5 {chosen.md5}{chosen.hint}"]
    if errors:
        lines.append(f"rows with errors: {left_out:,}, listed in {errors}")
    took = f"{progress.seconds:.1f} s ({progress.rate:,.0f} rows/s)"
    lines.append(f"{count_units(rows, 'row')} scored in {took}: {shares}")
    return [*lines, f"written: {output}"]


if __name__ == "__main__":
    run(main, add_arguments)
