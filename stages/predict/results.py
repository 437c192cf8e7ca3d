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
from stages.predict.output import Form, open_writer
from stages.predict.places import file_form
from stages.predict.work import Task, errors_name
from stages.progress import Progress, count_units

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
    except BaseException as error:
        if not storage.is_url(folder):
            for each in Path(folder).rglob(f"*{storage.UNFINISHED}"):
                each.unlink(missing_ok=True)
        if progress.count:
            log(f"{count_units(progress.count, 'row')} done and kept in {folder}; the same command goes on from there")
        elif not storage.is_url(folder) or (isinstance(error, UserError) and not isinstance(error, storage.StoreError)):
            storage.remove_folder(folder)
        raise


class Merge:
    """Puts the parts together into one file, each as soon as it and those before are there."""

    def __init__(self, form: Form, folder: str, tasks: Sequence[Task], out: storage.HashedFile) -> None:
        self._paths = [storage.join(folder, task.name) for task in tasks]
        self._out = out
        self._writer = open_writer("parquet", out) if form == "parquet" else None
        self._done: set[int] = set()
        self._next = 0

    def add(self, place: int) -> None:
        """Add the part with this place, which is done."""
        self._done.add(place)
        while self._next in self._done:
            self._append(self._paths[self._next])
            self._next += 1

    def _append(self, path: str) -> None:
        if self._writer is None:
            _copy(path, self._out)
            return
        opened = storage.open_file(path) if storage.is_url(path) else pa.OSFile(path)
        with opened as file, pa.ipc.open_stream(file) as batches:
            for batch in batches:
                self._writer.write(dict(zip(batch.schema.names, batch.columns, strict=True)))

    def close(self) -> None:
        """Write what is left."""
        if self._writer:
            self._writer.close()

    @property
    def md5(self) -> str:
        """The MD5 of the file."""
        return self._out.md5


@contextlib.contextmanager
def merging(form: Form, output: str, folder: str, tasks: Sequence[Task]) -> Iterator[Merge]:
    """Yield what puts the parts together; the file has its name only once the block ends.

    Until then it is in the folder of the parts, where a kill may leave it; a store has no unfinished files.
    """
    path = output if storage.is_url(output) else storage.join(folder, "merged")
    with storage.writing(path) as out:
        merge = Merge(form, folder, tasks, out)
        yield merge
        merge.close()
    if path != output:
        Path(path).replace(output)


def _copy(path: str, out: storage.HashedFile) -> None:
    with storage.open_file(path) as file:
        while piece := file.read(_COPIED):
            out.write(piece)


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
