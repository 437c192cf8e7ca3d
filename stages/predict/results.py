"""Put the parts together as one file or as a folder; the output has its name only once it is complete."""

import contextlib
import csv
import fcntl
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from stages.entry import log
from stages.errors import UserError
from stages.files import md5_of
from stages.partitions import storage
from stages.partitions.parts import MANIFEST, About
from stages.predict.output import open_writer
from stages.predict.places import file_form
from stages.predict.progress import Progress
from stages.predict.work import Task, errors_name

_COPIED: Final = 1 << 20


def parts_folder(output: str) -> str:
    """Return the folder of the parts: beside the output, or at the output's own place if it is a folder in a store.

    A store can't rename a folder; there the manifest, which is written last, says that the output is complete.
    """
    head, _, name = output.rpartition("/")
    if storage.is_url(output) and file_form(output) is None:
        return output
    return f"{head}/.{name}.parts"


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Keep other commands away from the folder. Raises UserError if one uses it."""
    if storage.is_url(folder):
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with (Path(folder) / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another `make predict` writes the same output; wait for it, or end it"
            ) from None
        yield


@contextlib.contextmanager
def resumable(folder: str, progress: Progress) -> Iterator[None]:
    """Keep the parts that are done if the block fails, so that the same command goes on from there."""
    try:
        yield
    except BaseException:
        if not storage.is_url(folder):
            for each in Path(folder).rglob(f"*{storage.UNFINISHED}"):
                each.unlink(missing_ok=True)
        if progress.rows:
            log(f"{progress.rows:,} rows are done and kept in {folder}; the same command goes on from there")
        else:
            storage.remove_folder(folder)
        raise
    finally:
        progress.end()


def write_file(output: str, folder: str, tasks: Sequence[Task]) -> str:
    """Write all parts into one file; return its MD5."""
    form = file_form(output)
    with storage.writing(output) as out:
        if form == "csv":
            for task in tasks:
                _copy(storage.join(folder, task.name), out)
        else:
            writer = open_writer("parquet", out)
            for task in tasks:
                _append(storage.join(folder, task.name), writer)
            writer.close()
    return out.md5


def _copy(path: str, out: storage.HashedFile) -> None:
    with storage.open_file(path) as file:
        while piece := file.read(_COPIED):
            out.write(piece)


def _append(path: str, writer: Any) -> None:
    with storage.open_file(path) as file, pa.ipc.open_stream(file) as batches:
        for batch in batches:
            writer.write(dict(zip(batch.schema.names, batch.columns, strict=True)))


def write_errors(path: str, folder: str, tasks: Sequence[Task], abouts: Sequence[About]) -> None:
    """Write the errors of all parts into one CSV file, which has only a header if there are none."""
    header = io.StringIO(newline="")
    csv.writer(header, lineterminator="\n").writerow(["file", "line", "column", "expected", "got"])
    with storage.writing(path) as out:
        out.write(header.getvalue().encode())
        for task, about in zip(tasks, abouts, strict=True):
            if about["left_out"]:
                _copy(storage.join(folder, errors_name(task.name)), out)


def finish_folder(output: str, folder: str, tasks: Sequence[Task], manifest: dict[str, Any]) -> str:
    """Remove what is no part, write the manifest, and give the folder its name; return the manifest's MD5."""
    known = {task.name for task in tasks}
    for each in storage.find(folder):
        if each.name not in known:
            storage.remove(each.path)
    content = json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n"
    storage.write(storage.join(folder, MANIFEST), content)
    if folder != output:
        _rename(Path(folder), Path(output))
    return md5_of(content)


def _rename(folder: Path, output: Path) -> None:
    for each in sorted(folder.rglob("*"), reverse=True):
        if each.is_dir() and not any(each.iterdir()):
            each.rmdir()
    before = folder.with_suffix(".before")
    with contextlib.suppress(FileNotFoundError):
        output.rename(before)
    folder.rename(output)
    storage.remove_folder(str(before))
