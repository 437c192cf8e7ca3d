"""Find out what columns of text hold: numbers, truth values, dates or text.

All cells of a column decide. What they leave open, and what looks like a number or a date but
is not written as one, is reported.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from service.cells import parse_boolean
from stages.params import DataParams
from stages.table.dates import read_dates, read_iso_dates, read_said_dates
from stages.table.disguise import find_disguise
from stages.table.findings import Cells, Distinct, read_text
from stages.table.numbers import Numbers, find_marked_numbers, find_plain_numbers

_MOST_CLASSES = 200


def read_column(cells: Cells, data: DataParams, dates: dict[str, str]) -> pd.Series | Numbers:
    """Return the column's values, or numbers that `find_marks` and `convert` are to read.

    The form of dates, where it is not ISO 8601, is added to `dates`; problems go to ``cells.findings``.
    """
    return next(found for found in _attempts(cells, data, dates) if found is not None)


def _attempts(cells: Cells, data: DataParams, dates: dict[str, str]) -> Iterator[pd.Series | Numbers | None]:
    """Yield what the column is read as, None where it is not of a kind; text is the last."""
    if cells.known == 0:
        yield pd.Series(np.full(len(cells.texts), np.nan), name=cells.name)
    yield read_said_dates(cells, data, dates)
    yield find_plain_numbers(cells, data)
    yield read_iso_dates(cells)
    distinct = cells.distinct()
    labels = _are_labels(cells, data, distinct)
    yield find_marked_numbers(cells, distinct)
    yield _read_booleans(cells, distinct)
    yield read_dates(cells, distinct, dates, labels=labels)
    disguise = None if labels else find_disguise(distinct.array, distinct.counts)
    if disguise is not None:
        text, problem, remedy = disguise
        cells.report(cells.row_of(text), problem, remedy)
    yield read_text(cells)


def _are_labels(cells: Cells, data: DataParams, distinct: Distinct) -> bool:
    """Return whether the column is the target and its texts recur, so that they are classes (``1 2 N/A``)."""
    if cells.name != data.target or data.task == "regression":
        return False
    return data.task == "classification" or len(distinct.texts) <= min(_MOST_CLASSES, cells.known // 2)


def _read_booleans(cells: Cells, distinct: Distinct) -> pd.Series | None:
    """Read true and false in any case, 1 and 0 among them; yes and no, t and f stay the text that they are."""
    try:
        flags = [parse_boolean(text) for text in distinct.texts]
    except ValueError:
        return None
    values = distinct.spread(flags, None, "object")
    return pd.Series(values, name=cells.name, dtype="boolean" if cells.texts.null_count else "bool")
