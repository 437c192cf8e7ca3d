"""Find the files to score, and cut them into partitions."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import IO, Final, Literal
from urllib.parse import unquote

from service.contract import Contract
from service.inputs.columns import find_end
from service.inputs.explain import expected
from stages.entry import log
from stages.errors import UserError
from stages.partitions import storage
from stages.predict.csv_input import GZIP, Dialect, find_encoding, is_wide, opened, read_dialect
from stages.predict.parquet_input import MAGIC, Groups, group_rows

_SUFFIXES: Final = re.compile(r"\.(?:parquet|pq|(?:csv|tsv|txt)(?:\.gz)?)", re.IGNORECASE)
_ANSWERS: Final = re.compile(
    "prediction|probability_.*|contribution_.*|base_value|explanation_error|warnings|low|high|set"
)
"""The columns of the answers."""
_AT_ONCE: Final = 16
"""How many files are opened at the same time to look at their headers."""
CSV_BYTES: Final = 32 << 20
ROWS: Final = 1 << 18
"""The size of a partition: about so many bytes of CSV, or so many rows of Parquet."""
_SHOWN_NAMES: Final = 20
LEAST_BYTES: Final = 1 << 16
NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class Source:
    """A file to score."""

    path: str
    name: str
    """Its path in the input folder."""
    kept: tuple[str, ...]
    """The columns to copy."""
    kinds: tuple[str, ...]
    """Their types."""
    hive: tuple[tuple[str, str], ...]
    """The columns in the names of its folders, such as ``year=2013``."""
    dialect: Dialect | None
    """How to read a CSV file; None for Parquet."""
    texts: tuple[str, ...]
    """The columns of a Parquet file that have categories."""
    packed: bool
    """Whether the rows can only be read from the first on: gzip, UTF-16."""

    @property
    def kind(self) -> Literal["csv", "parquet"]:
        """The file's format."""
        return "parquet" if self.dialect is None else "csv"


@dataclass(frozen=True, slots=True)
class Partition:
    """Consecutive rows of a file."""

    source: Source
    number: int
    """Its number in the file, from 0."""
    start: int
    """The first byte of CSV, or the first row of Parquet."""
    length: int | None
    """The number of bytes or rows; None for all."""
    span: tuple[int, int | None]
    """The bytes of the file that it depends on: their start and number."""
    size: int
    """Its part of the file's size, in bytes."""


def find_sources(path: str) -> list[tuple[str, str]]:
    """Return the path and the name of each table, ordered by name. Raises UserError if there is none."""
    if storage.is_file(path):
        return [(path, re.split(r"[/\\]", path)[-1])]
    if not storage.is_folder(path):
        raise UserError(
            f"{path}: not found; name a CSV or Parquet file, a folder of them, or a URL such as s3://bucket/folder"
        )
    visible = [each for each in storage.find(path) if not re.search(r"(?:^|/)[._]", each.name)]
    tables = [(each.path, each.name) for each in visible if _SUFFIXES.search(each.name) and each.size]
    if not tables:
        raise UserError(f"{path}: has no file whose name ends in .csv, .csv.gz, .tsv, .txt or .parquet")
    if len(tables) < len(visible):
        log(f"{path}: {len(visible) - len(tables):,} files that are no tables, or are empty, are left out")
    return tables


def plan(
    path: str, contract: Contract, keep: Sequence[str] | None, *, shrink: int, form: str | None
) -> list[Partition]:
    """Return the partitions of all files, in order; `shrink` divides their size.

    `form` is the output's format if it is one file; then columns in the names of folders are copied, and all files must
    have the same columns to copy. Raises UserError if a file can't be read, or its columns don't fit.
    """
    tables = find_sources(path)

    def cut(table: tuple[str, str]) -> list[Partition]:
        return _cut(*table, contract, keep, shrink=shrink, hive_kept=form is not None)

    with ThreadPoolExecutor(_AT_ONCE if storage.is_url(path) else 1) as pool:
        partitions = [partition for partitions in pool.map(cut, tables) for partition in partitions]
    return _align(partitions, typed=form == "parquet") if form else partitions


def _align(partitions: Sequence[Partition], *, typed: bool) -> list[Partition]:
    """Return the partitions with the columns to copy in the first one's order, if all have the same columns.

    `typed` says whether their types must be the same too.
    """
    aligned = []
    for each in partitions:
        first, source = partitions[0].source, each.source
        differ = sorted(set(first.kept) ^ set(source.kept))
        if differ:
            raise UserError(
                f"{source.path}: differs from {first.path} in the columns to copy, {_join(differ)}; name those that "
                f"all files have with --keep, or name a folder as OUTPUT"
            )
        one, other = (dict(zip(table.kept, table.kinds, strict=True)) for table in (first, source))
        changed = [name for name in first.kept if typed and one[name] != other[name]]
        if changed:
            name = changed[0]
            raise UserError(
                f"{source.path}: the column {name!r} is {other[name]}, but {one[name]} in {first.path}; name a "
                f"file that ends in .csv or a folder as OUTPUT, or leave the column out with --keep"
            )
        kinds = tuple(map(other.__getitem__, first.kept))
        aligned.append(replace(each, source=replace(source, kept=first.kept, kinds=kinds)))
    return aligned


def _cut(  # noqa: PLR0913
    path: str, name: str, contract: Contract, keep: Sequence[str] | None, *, shrink: int, hive_kept: bool
) -> list[Partition]:
    hive = _hive_columns(name)
    with storage.open_file(path) as file:
        head = file.read(len(MAGIC))
        file.seek(0)
        if head == MAGIC:
            with Groups(path) as groups:
                kept = choose_columns(path, groups.names, hive, contract, keep, hive_kept=hive_kept)
                cuts = list(group_rows(groups, max(1, ROWS // shrink)))
                categories = {feature.name for feature in contract.features if feature.type == "category"}
                texts = tuple(column for column in groups.names if column in categories)
            source = Source(path, name, kept, groups.kinds(kept), hive, None, texts, packed=False)
            return [Partition(source, number, *cut, cut[2][1]) for number, cut in enumerate(cuts)]
        if re.search(r"\.(?:parquet|pq)$", name, re.IGNORECASE):
            raise UserError(f"{path}: is named .parquet but is no Parquet file; write it again or rename it")
        dialect = read_dialect(opened(file, path, contract.reading), path, contract)
        kept = choose_columns(path, dialect.names, hive, contract, keep, hive_kept=hive_kept)
        packed = head.startswith(GZIP) or is_wide(head, contract.reading)
        source, size = Source(path, name, kept, ("string",) * len(kept), hive, dialect, (), packed), storage.size(path)
        if packed or storage.is_url(path):
            return [Partition(source, 0, dialect.start, None, (0, None), size)]
        return list(_cut_csv(file, source, dialect, max(LEAST_BYTES, CSV_BYTES // shrink), contract.reading.encoding))


def _cut_csv(file: IO[bytes], source: Source, dialect: Dialect, bound: int, own_encoding: str) -> Iterator[Partition]:
    """Yield parts of whole lines, with about `bound` bytes each."""
    start, line, encoding, number = dialect.start, dialect.line, dialect.encoding, 0
    file.seek(start)
    while content := file.read(bound):
        while len(content) % bound == 0 and not find_end(content):  # a row that is longer
            piece = file.read(bound)
            content += piece
            if not piece:
                break
        end = find_end(content) if len(content) % bound == 0 else len(content)
        end = end or len(content)
        file.seek(start + end)
        here = replace(dialect, start=start, line=line, encoding=encoding)
        yield Partition(replace(source, dialect=here), number, start, end, (start, end), end)
        encoding = encoding or find_encoding(content[:end], source.path, own_encoding)
        start, line, number = start + end, line + content.count(b"\n", 0, end), number + 1


def _hive_columns(name: str) -> tuple[tuple[str, str], ...]:
    """Return the columns in the names of folders, such as ``year=2013/month=1``; an empty text means no value."""
    pairs = [part.partition("=") for part in re.split(r"[/\\]", name)[:-1] if "=" in part]
    return tuple((unquote(key), "" if value == NO_VALUE else unquote(value)) for key, _, value in pairs)


def choose_columns(  # noqa: PLR0913
    path: str,
    names: Sequence[str],
    hive: Sequence[tuple[str, str]],
    contract: Contract,
    keep: Sequence[str] | None,
    *,
    hive_kept: bool,
) -> tuple[str, ...]:
    """Return the columns to copy. Raises UserError if a column is missing, or there twice, or may be misspelt.

    By default these are the columns that the model doesn't use, without the target.
    """
    twice = [name for name, times in Counter([*names, *(key for key, _ in hive)]).items() if times > 1]
    if twice:
        raise UserError(f"{path}: the column {twice[0]!r} is there twice; rename or remove one")
    present = {*names, *(key for key, _ in hive)}
    features = {feature.name: feature for feature in contract.features}
    absent = [feature for feature in contract.features if feature.name not in present]
    needed = [feature for feature in absent if not feature.nullable]
    if needed:
        first = needed[0]
        raise UserError(
            f"{path}: has no column {first.name!r}, a feature of the model: {expected(first)}; it has {_join(names)}"
        )
    known = {*features, contract.target, *contract.left_out, *(keep or ())}
    unknown = [name for name in names if name not in known]
    if absent and unknown:
        raise UserError(
            f"{path}: has no column {absent[0].name!r}, a feature of the model, but columns that the model "
            f"doesn't know: {_join(unknown)}; rename one, or name those to copy with --keep"
        )
    if keep is None:
        columns = [*names, *(key for key, _ in hive if hive_kept)]
        keep = [name for name in columns if name not in {*features, contract.target}]
    clash = next(filter(_ANSWERS.fullmatch, keep), None)
    if clash:
        raise UserError(f"{path}: {clash!r} is a column of the answers; rename it, or leave it out with --keep")
    lacking = [name for name in keep if name not in present]
    if lacking:
        raise UserError(f"{path}: has no column {lacking[0]!r}, which --keep names; it has {_join(names)}")
    return tuple(keep)


def _join(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    return f"{', '.join(f'{name!r:.60}' for name in names[:_SHOWN_NAMES])}{more}"
