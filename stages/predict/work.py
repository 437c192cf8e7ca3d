"""Score a partition: what a worker does, wherever it runs."""

import csv
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from typing import Final, Self

import pyarrow as pa

from service.model import ArtifactError, Model, from_bytes
from service.shapley import Explainer, NoBackgroundError
from stages.entry import without
from stages.errors import UserError
from stages.files import md5_of
from stages.partitions import storage
from stages.partitions.parts import About, make_part
from stages.partitions.storage import HashedFile
from stages.predict.csv_input import Bytes, Ragged, opened, read_blocks
from stages.predict.output import Form, open_writer, plain_type
from stages.predict.parquet_input import Groups
from stages.predict.scoring import RowError, Scorer
from stages.predict.sources import Partition, Source

ERRORS: Final = "_errors"
"""The folder of the errors, beside the parts."""
SHOWN: Final = 20
"""Most errors in one message."""
_FORM: Final = 2
"""The form of parts: those of an interrupted run of an older version of this project can't be used if it differs."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is the same for all partitions."""

    folder: str
    """Where the parts are written."""
    model: str
    """The path of the model's file."""
    md5: str
    """The MD5 of that file."""
    threshold: float
    explain: bool
    coverage: float | None
    """The level of intervals or sets."""
    errors: bool
    """Whether rows with errors are left out and written to another file, instead of stopping."""


@dataclass(frozen=True, slots=True)
class Task:
    """A partition, and the part that it becomes."""

    partition: Partition
    name: str
    """The part's name in the folder."""
    form: Form
    with_header: bool
    """Whether the part begins with a header, if it is CSV."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Some rows of a file."""

    columns: dict[str, pa.Array]
    rows: int
    ragged: list[Ragged]
    places: Callable[[], Sequence[int]]
    """Returns the line of each row in CSV, or its number in Parquet, from 1."""


def score_partition(job: Job, task: Task) -> About:
    """Write the answers for a partition, and the errors of its rows; return how many there are.

    Raises UserError for a wrong row, unless the job collects errors.
    """
    path = task.partition.source.path
    with storage.errors_as_line(path):
        fingerprint = storage.fingerprint(path, *task.partition.span)
    source = {
        "input": fingerprint,
        "model": job.md5,
        "settings": md5_of(repr((_FORM, replace(job, folder="", model=""), task)).encode()),
    }
    with storage.errors_as_line(job.folder):  # here, because not every error of a client can be sent to another process
        return make_part(job.folder, task.name, source, partial(_score, job, task))


def score_alone(job: Job, task: Task) -> About:
    """Do `score_partition` in a process that does nothing else."""
    skip_pandas()
    return score_partition(job, task)


@cache
def skip_pandas() -> None:
    """Let PyArrow find no pandas in this process, unless it is imported: that takes as long as all other imports."""
    if "pandas" not in sys.modules:
        with without("pandas"):
            pa.array([None])


def errors_name(name: str) -> str:
    """Return the name of the file with the errors of a part."""
    return f"{ERRORS}/{name}.csv"


@lru_cache(1)
def _load(path: str, md5: str) -> Model:
    """Return the model, loaded once by a process from bytes with the right MD5."""
    content = storage.read(path) or b""
    if md5_of(content) != md5:
        raise UserError(f"{path}: its MD5 is {md5_of(content)}, expected {md5}; run the command again")
    try:
        return from_bytes(content, path)
    except ArtifactError as error:
        raise UserError(str(error)) from None


@lru_cache(1)
def _explainer(path: str, md5: str) -> Explainer:
    try:
        return Explainer(_load(path, md5))
    except NoBackgroundError:
        raise UserError("the model has no background rows for --explain; run `dvc repro` and `make promote`") from None


def _score(job: Job, task: Task, out: HashedFile) -> About:
    model, source = _load(job.model, job.md5), task.partition.source
    reading = source.dialect.reading if source.dialect else model.contract.reading
    explainer = _explainer(job.model, job.md5) if job.explain else None
    bound = model.coverage.bound(job.coverage) if model.coverage and job.coverage else None
    scorer = Scorer(model, job.threshold, reading, explainer, bound)
    rows, totals = 0, Counter[str]()
    writer = open_writer(task.form, out, with_header=task.with_header)
    wanted = [*(feature.name for feature in model.contract.features), *source.kept]
    with _Errors(source, collect=job.errors) as found:
        for batch in _read(task.partition, wanted, scorer.rows_at_once(len(wanted))):
            scored = scorer.score(batch.columns, batch.rows, are_cells=source.dialect is not None)
            found.add(batch, scored.errors)
            kept = {name: batch.columns[name] for name in source.kept}
            kept = {name: column.cast(plain_type(column.type)) for name, column in kept.items()}
            if scored.good is not None:
                kept = {name: column.filter(pa.array(scored.good)) for name, column in kept.items()}
            writer.write(kept | scored.columns)
            rows += len(scored.columns["prediction"])
            totals.update(scored.counts)
        writer.close()
        found.write(storage.join(job.folder, errors_name(task.name)))
    return {"rows": rows, "left_out": found.rows, "counts": dict(totals)}


def _read(partition: Partition, wanted: Sequence[str], at_once: int) -> Iterator[_Rows]:
    """Yield the rows of a partition."""
    with storage.errors_as_line(partition.source.path):
        yield from _read_rows(partition, wanted, at_once)


def _read_rows(partition: Partition, wanted: Sequence[str], at_once: int) -> Iterator[_Rows]:
    source, start, length = partition.source, partition.start, partition.length
    if source.dialect is None:
        with Groups(source.path, source.texts) as groups:
            for first, batch in groups.read(start, length or 0, wanted, at_once):
                columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | _constants(source, batch.num_rows)
                numbers = partial(range, first + 1, first + batch.num_rows + 1)
                yield _Rows(columns, batch.num_rows, [], numbers)
        return
    with storage.open_file(source.path) as file:
        text: Bytes = file
        if source.packed:
            text = opened(file, source.path, source.dialect.reading)
            text.read(start)
        else:
            file.seek(start)
        for block in read_blocks(text, source.path, source.dialect, length, wanted):
            yield _Rows(block.columns | _constants(source, block.rows), block.rows, block.ragged, block.lines)


def _constants(source: Source, rows: int) -> dict[str, pa.Array]:
    """Return the columns in the names of folders."""
    return {
        name: pa.array([value]).dictionary_encode().take(pa.nulls(rows, pa.int8()).fill_null(0))
        for name, value in source.hive
    }


class _Errors:
    """The errors of a partition's rows, as lines of CSV: file, line, column, expected, got."""

    def __init__(self, source: Source, *, collect: bool) -> None:
        self._path = source.path
        self._unit = "line" if source.dialect else "row"
        self._collect = collect
        self._file = tempfile.SpooledTemporaryFile(1 << 20, "w+", encoding="utf-8", newline="")  # noqa: SIM115
        self._lines = csv.writer(self._file, lineterminator="\n")
        self.rows = 0
        """The number of rows with errors."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, batch: _Rows, errors: Sequence[RowError]) -> None:
        """Add errors. Raises UserError if they aren't collected."""
        if not (errors or batch.ragged):
            return
        places = batch.places() if errors else ()
        lines = [(places[each.row], each.column, each.expected, each.got) for each in errors]
        lines += [(each.line, None, f"{each.wanted} cells", f"{each.cells} cells") for each in batch.ragged]
        lines.sort(key=lambda line: line[0])
        if not self._collect:
            raise UserError(*self._describe(lines))
        self._lines.writerows((self._path, *line) for line in lines)
        self.rows += len({line for line, *_ in lines})

    def _describe(self, lines: Sequence[tuple[int, str | None, str, str]]) -> Iterator[str]:
        for line, column, expected, got in lines[:SHOWN]:
            where = f"{self._unit} {line}" + (f", column {column!r}" if column else "")
            yield f"{self._path}: {where}: expected {expected}, got {got}"
        more = f"and {len(lines) - SHOWN:,} more nearby; " if len(lines) > SHOWN else ""
        yield f"{self._path}: {more}correct these rows, or leave them out with --errors FILE, which lists them"

    def write(self, path: str) -> None:
        """Write the errors to a file if there are any."""
        if self.rows:
            self._file.seek(0)
            storage.write(path, self._file.read().encode())
