"""Mistakes with places, files and columns are one line, and nothing is replaced by accident."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.errors import UserError

Predict = Callable[..., None]


@pytest.mark.parametrize(
    ("source", "target", "errors", "message"),
    [
        ("rows.csv", "rows.csv", None, "OUTPUT .*rows.csv and INPUT .*rows.csv are in the same place"),
        ("rows.csv", "out.csv", "rows.csv", "--errors .* and INPUT .* are in the same place"),
        ("rows.csv", "out.csv", "out.csv", "--errors .* and OUTPUT .* are in the same place"),
        ("rows.csv", "out", "out/wrong.csv", "--errors .* and OUTPUT .* are in the same place"),
        ("", "out.csv", None, "OUTPUT .*out.csv and INPUT .* are in the same place"),
        ("rows.csv", "folder.csv", None, "folder.csv: is a folder or a device; name a file"),
        ("rows.csv", "out.csv", "folder.csv", "folder.csv: is a folder or a device; name a file"),
        ("rows.csv", "pipe", None, "pipe: is a file; name a folder"),
        ("rows.csv", "pipe.csv", None, "pipe.csv: is a folder or a device; name a file"),
        ("rows.csv", "out.xlsx", None, "out.xlsx: name a file that ends in .csv or .parquet, or a folder"),
        ("rows.csv", "out.csv.gz", None, "out.csv.gz: name a file that ends in .csv or .parquet, or a folder"),
    ],
)
def test_what_is_there_is_not_replaced_by_accident(  # noqa: PLR0913, PLR0917  # the command's places
    csv: Path, predict: Predict, tmp_path: Path, source: str, target: str, errors: str | None, message: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("pipe", "pipe.csv"):
        os.mkfifo(tmp_path / name)
    before, content = sorted(tmp_path.iterdir()), csv.read_bytes()

    with pytest.raises(UserError, match=message):
        predict(tmp_path / source, tmp_path / target, errors=errors and str(tmp_path / errors))
    assert (sorted(tmp_path.iterdir()), csv.read_bytes()) == (before, content)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("", "out.csv", "name a table and where to write: make predict INPUT="),
        ("rows.csv", "", "name a table and where to write"),
        ("gs://bucket/rows.csv", "out.csv", "gs:// is no place for tables"),
        ("rows.csv", "http://127.0.0.1/out.csv", "http:// is no place for tables"),
    ],
)
def test_a_place_that_is_missing_or_unknown_is_one_line(
    predict: Predict, source: str, target: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        predict(source, target)


@pytest.mark.parametrize("damage", [lambda content: content[:-20], lambda content: content[:40] + bytes(40)])
def test_a_damaged_gzip_file_is_one_line(
    csv: Path, predict: Predict, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "rows.csv.gz").write_bytes(damage(gzip.compress(csv.read_bytes())))

    with pytest.raises(UserError, match=r"rows.csv.gz: is a damaged gzip file"):
        predict(tmp_path / "rows.csv.gz", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("everything", "message"),
    [(False, "cells must be separated by ',', but the header has ';'"), (True, "is not CSV with ','")],
)
def test_other_delimiters_than_the_training_table_s_are_named(
    rows: pd.DataFrame, predict: Predict, tmp_path: Path, everything: bool, message: str
) -> None:
    rows.to_csv(tmp_path / "rows.csv", sep=";", index=False, quoting=1 if everything else 0)

    with pytest.raises(UserError, match=message):
        predict(tmp_path / "rows.csv", tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        ({"more": 1}, "out.csv", "b.parquet: differs from .*a.parquet in the columns to copy, 'more'"),
        ({"id": 1}, "out.parquet", "b.parquet: the column 'id' is int64, but large_string in .*a.parquet"),
    ],
)
def test_files_with_other_columns_to_copy_do_not_become_one_file(  # noqa: PLR0913, PLR0917
    rows: pd.DataFrame, predict: Predict, tmp_path: Path, change: dict[str, Any], name: str, message: str
) -> None:
    (tmp_path / "in").mkdir()
    rows.to_parquet(tmp_path / "in/a.parquet")
    rows.assign(**change).to_parquet(tmp_path / "in/b.parquet")

    with pytest.raises(UserError, match=message):
        predict(tmp_path / "in", tmp_path / name)
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


def test_columns_to_copy_in_another_order_come_in_the_first_file_s(
    rows: pd.DataFrame, predict: Predict, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    rows.assign(more="x").to_csv(tmp_path / "in/a.csv", index=False)
    rows.assign(more="x")[["more", *rows]].to_csv(tmp_path / "in/b.csv", index=False)

    predict(tmp_path / "in", tmp_path / "out.csv")

    answers = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert answers["id"].tolist() == [*rows["id"], *rows["id"]]
    assert set(answers["more"]) == {"x"}


def write(rows: pd.DataFrame, path: Path, **columns: pa.Array) -> None:
    table = pa.Table.from_pandas(rows.head(3).drop(columns=[*columns], errors="ignore"))
    for name, values in columns.items():
        table = table.append_column(name, values)
    pq.write_table(table, path)


@pytest.mark.parametrize(
    "column",
    [{"size": pa.array([[1], [2], [3]])}, {"shop": pa.array([b"\xff"] * 3)}, {"note": pa.array([b"\xff"] * 3)}],
)
def test_a_column_of_a_type_that_does_not_fit_is_one_line(
    rows: pd.DataFrame, predict: Predict, tmp_path: Path, column: dict[str, pa.Array]
) -> None:
    write(rows, tmp_path / "rows.parquet", **column)

    with pytest.raises(UserError, match=f"the column {next(iter(column))!r} has the type "):
        predict(tmp_path / "rows.parquet", tmp_path / "out.csv")
    assert [each.name for each in tmp_path.iterdir()] == ["rows.parquet"]


def test_lists_and_bytes_are_quoted_in_csv(rows: pd.DataFrame, predict: Predict, tmp_path: Path) -> None:
    write(rows, tmp_path / "rows.parquet", some=pa.array([[1, 2], None, []]), raw=pa.array([b'a,"b"', None, b""]))

    predict(tmp_path / "rows.parquet", tmp_path / "out.csv")

    answers = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert answers["some"].tolist() == ["[1,2]", "", "[]"]
    assert answers["raw"].tolist() == ['a,"b"', "", ""]
