"""Find out what columns of text hold: numbers, truth values, dates or text.

All cells of a column decide. What they leave open, and what looks like a number or a date but
is not written as one, is reported.
"""

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import parse_boolean
from stages._dates import find_said_form, read_dates, read_said_dates
from stages._disguise import find_disguise
from stages._findings import Cells, read_text
from stages._numbers import Numbers, find_numbers
from stages._params import DataParams

_MOST_CLASSES = 200


def read_column(cells: Cells, data: DataParams, dates: dict[str, str]) -> pd.Series | Numbers:
    """Return the column's values, or numbers that `find_marks` and `convert` are to read.

    The form of dates, where it is not ISO 8601, is added to `dates`; problems go to ``cells.findings``.
    """
    said = find_said_form(cells, data)
    if said is not None:
        return read_said_dates(cells, said, dates)
    for read in (find_numbers, _read_booleans):
        found = read(cells, data)
        if found is not None:
            return found
    labels = _holds_labels(cells, data)
    moments = read_dates(cells, dates, labels=labels)
    if moments is None and not labels:
        _report_disguise(cells)
    return read_text(cells) if moments is None else moments


def _holds_labels(cells: Cells, data: DataParams) -> bool:
    """Return whether the column is the target and its texts recur, so that they are classes (``1 2 N/A``)."""
    if cells.name != data.target or data.task == "regression":
        return False
    distinct = pc.count_distinct(cells.texts).as_py()
    return bool(data.task == "classification" or distinct <= min(_MOST_CLASSES, cells.known // 2))


def _report_disguise(cells: Cells) -> None:
    counted = pc.value_counts(cells.texts.drop_null())
    found = find_disguise(counted.field("values"), counted.field("counts").to_numpy())
    if found is not None:
        cells.report(cells.row_of(found.text), found.problem, found.remedy)


def _read_booleans(cells: Cells, _: DataParams) -> pd.Series | None:
    """Read true and false in any case, 1 and 0 among them; yes and no, t and f stay the text that they are."""
    if not cells.all_match("(?i)true|false|1|0"):
        return None
    texts = pc.unique(cells.texts).drop_null()
    flags = pa.array([parse_boolean(text) for text in texts.to_pylist()], pa.bool_())
    values = pc.take(flags, pc.index_in(cells.texts, texts))
    return as_booleans(values).rename(cells.name)


def as_booleans(values: pa.ChunkedArray) -> pd.Series:
    """Return bool, or nullable boolean where values are missing."""
    series: pd.Series[Any] = values.to_pandas()
    return series.astype("boolean") if values.null_count else series.astype("bool")
