"""Media types of tables, and which of them this installation takes."""

import importlib.util
from typing import Final

CSV: Final = b"text/csv"
NDJSON: Final = b"application/x-ndjson"
PARQUET: Final = b"application/vnd.apache.parquet"
ARROW: Final = b"application/vnd.apache.arrow.stream"
COLUMNAR: Final = (PARQUET, ARROW)
"""Those that need pyarrow, an extra: it would cost every worker's start and memory."""
EXTRA: Final = "requirements/arrow.txt"


def is_columnar_taken() -> bool:
    """Tell whether pyarrow is installed, without importing it."""
    return importlib.util.find_spec("pyarrow") is not None
