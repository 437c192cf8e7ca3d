"""The results of a run, read from the files that the stages wrote."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages import files
from stages.params.params import Params
from stages.params.sample_use import SampleUse, read_sample_use
from stages.schema import Schema, read_schema
from stages.stored import StoredTable, Table

_TEXT = {
    "slices": ("column", "value"),
    "groups": ("column", "group", "class", "metric", "note"),
    "confusion": ("actual", "predicted"),
}
_AS_TEXT = "worst"
_OF_PLOTS = ("class", "feature", "value", "pair", "part", "by")
HASHED = (files.TRAIN, files.TEST, files.SCHEMA, files.MODEL, files.ONNX, files.METRICS)


@dataclass(frozen=True, slots=True)
class Results:
    """What the report shows. Nothing of it depends on the time, the machine, Git or earlier runs."""

    params: Params
    schema: Schema
    metrics: dict[str, Any]
    validation: dict[str, Any]
    """The content of validation.json."""
    slices: pd.DataFrame
    groups: pd.DataFrame
    plots: dict[str, pd.DataFrame]
    """The tables of metrics/plots, by name."""
    train: Table
    test: Table
    sample: SampleUse
    """Which training rows the model was fitted on."""
    md5s: dict[str, str]
    """The MD5 of each file, by its path."""


def read_results(params: Params) -> Results:
    """Read the files of the workspace."""
    hashed = [path for path in (Path(params.data.path), *HASHED) if path.is_file()]
    return Results(
        params,
        read_schema(),
        json.loads(files.METRICS.read_text("utf-8")),
        json.loads(files.VALIDATION.read_text("utf-8")),
        read_table(files.SLICES),
        read_table(files.GROUPS),
        {path.stem: read_table(path) for path in sorted(files.PLOTS.glob("*.csv"))},
        StoredTable(files.TRAIN),
        StoredTable(files.TEST),
        read_sample_use(),
        {str(path): files.md5(path) for path in hashed},
    )


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file that `evaluate` wrote; text such as NA stays text, and an empty number is NaN."""
    text = _TEXT.get(path.stem, _OF_PLOTS)
    types = str if path.stem == _AS_TEXT else dict.fromkeys(text, str)
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
    for name in table.columns if path.stem == _AS_TEXT else table.columns.intersection(list(text)):
        # Spreadsheets need the apostrophe.
        table[name] = table[name].fillna("").str.replace(r"^'(?=[=+\-@])", "", regex=True)
    return table
