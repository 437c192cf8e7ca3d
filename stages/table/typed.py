"""The typed table: the raw table as `validate` parsed it, so that later stages don't parse it again."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from service.cells import Reading
from stages import files
from stages.errors import UserError

_RULES = b"reading"


def write_typed(table: pd.DataFrame, reading: Reading, path: Path) -> None:
    """Write the table as Parquet, with the rules for reading its cells in the file's metadata."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {**(arrow.schema.metadata or {}), _RULES: reading.model_dump_json().encode()}
    with files.replacing(path) as beside:
        pq.write_table(arrow.replace_schema_metadata(metadata), beside)


def read_typed(path: Path) -> tuple[pd.DataFrame, Reading]:
    """Return the typed table, and the rules for reading its cells. Raises UserError if the file is missing."""
    if not path.is_file():
        raise UserError(f"{path}: not found; run `dvc repro validate`, which writes it")
    arrow = pq.read_table(path, use_threads=False)
    return arrow.to_pandas(), Reading.model_validate_json(arrow.schema.metadata[_RULES])
