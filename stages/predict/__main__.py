"""Score a table without a server: the answers of POST /predict, to the last digit.

The model is the release in service, or models/model.onnx if nothing has been released.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from service.model import ArtifactError, from_bytes
from stages import files
from stages.entry import log, run
from stages.errors import UserError
from stages.predict.choice import choose
from stages.predict.csv_input import Bytes, Dialect, opened, read_blocks, read_dialect
from stages.predict.output import csv_header, write_csv
from stages.predict.scoring import ROWS, Scorer

_SHOWN: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("input", metavar="INPUT", help="a CSV file")
    parser.add_argument("output", metavar="OUTPUT", help="the file to write, CSV")
    parser.add_argument(
        "--keep",
        metavar="COLUMNS",
        help="columns to copy to the output, separated by commas (those that are no feature)",
    )


def main(*, input: str, output: str, keep: str | None) -> None:  # noqa: A002  # the argument's name
    """Score the table, and write all answers or nothing."""
    chosen, start = choose(), time.perf_counter()
    try:
        model = from_bytes(chosen.content, chosen.about)
    except ArtifactError as error:
        raise UserError(str(error)) from None
    if not Path(input).is_file():
        raise UserError(f"{input}: not found")
    rows = 0
    with Path(input).open("rb") as raw, files.replacing(Path(output)) as beside, beside.open("wb") as out:
        dialect = read_dialect(opened(raw, model.contract.reading), input, model.contract)
        raw.seek(0)
        file = opened(raw, model.contract.reading)
        file.read(dialect.start)
        scorer = Scorer(model, chosen.threshold, dialect.reading)
        rows = _score(scorer, file, input, dialect, _kept(dialect, scorer, keep), out)
    log(f"{rows:,} rows scored in {time.perf_counter() - start:.1f} s by {chosen.about}, MD5 {chosen.md5}")


def _score(  # noqa: PLR0913, PLR0917
    scorer: Scorer, file: Bytes, name: str, dialect: Dialect, kept: Sequence[str], out: IO[bytes]
) -> int:
    rows = 0
    wanted = [*(feature.name for feature in scorer.contract.features), *kept]
    for block in read_blocks(file, name, dialect, None, wanted):
        if block.ragged:
            first = block.ragged[0]
            raise UserError(f"{name}: line {first.line} has {first.cells} cells, the header has {dialect.width}")
        for start in range(0, block.rows, ROWS):
            columns = {each: column.slice(start, ROWS) for each, column in block.columns.items()}
            count = min(ROWS, block.rows - start)
            scored = scorer.score(columns, count, are_cells=True)
            if scored.errors:
                lines = block.lines()
                where = f"{name}: line {{}}, column {{!r}}: expected {{}}, got {{}}"
                shown = scored.errors[:_SHOWN]
                raise UserError(
                    *(where.format(lines[start + each.row], each.column, each.expected, each.got) for each in shown)
                )
            made = {each: columns[each] for each in kept} | scored.columns
            if not rows:
                out.write(csv_header(list(made)))
            write_csv(list(made.values()), count, out)
            rows += count
    return rows


def _kept(dialect: Dialect, scorer: Scorer, keep: str | None) -> list[str]:
    features = {feature.name for feature in scorer.contract.features}
    if keep is None:
        return [name for name in dialect.names if name not in {*features, scorer.contract.target}]
    names = [name.strip() for name in keep.split(",") if name.strip()]
    for name in names:
        if name not in dialect.names:
            raise UserError(f"--keep: the table has no column {name!r}")
    return names


if __name__ == "__main__":
    run(main, add_arguments)
