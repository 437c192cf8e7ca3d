"""Whatever form a table comes in, its rows get the same answers, and wrong ones are named."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.errors import UserError

Predict = Callable[..., None]


@pytest.fixture
def answers(csv: Path, predict: Predict, tmp_path: Path) -> str:
    """Return what the rows get as plain CSV."""
    predict(csv, tmp_path / "answers.csv")
    return (tmp_path / "answers.csv").read_text("utf-8")


def scored(predict: Predict, source: Path, **options: Any) -> str:
    predict(source, source.parent / "out.csv", **options)
    return (source.parent / "out.csv").read_text("utf-8")


def test_gzip_windows_lines_and_a_byte_order_mark_change_nothing(
    csv: Path, answers: str, predict: Predict, tmp_path: Path
) -> None:
    content = b"\xef\xbb\xbf\r\n" + csv.read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(content))

    assert scored(predict, tmp_path / "rows.csv.gz") == answers


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"shop": "category", "kind": "category"},
        {"when": "datetime64[ns]"},
        {"when": "datetime64[s]"},
        {"flag": "str"},
        {"flag": "object"},
    ],
)
def test_parquet_s_own_types_get_the_same_answers(
    rows: pd.DataFrame, answers: str, predict: Predict, tmp_path: Path, change: dict[str, str]
) -> None:
    rows.astype(change).to_parquet(tmp_path / "rows.parquet")

    assert scored(predict, tmp_path / "rows.parquet") == answers


def test_dates_in_a_time_zone_count_in_utc(rows: pd.DataFrame, answers: str, predict: Predict, tmp_path: Path) -> None:
    rows["when"] = rows["when"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    rows.to_parquet(tmp_path / "rows.parquet")

    assert scored(predict, tmp_path / "rows.parquet") == answers


def test_small_row_groups_change_nothing(rows: pd.DataFrame, answers: str, predict: Predict, tmp_path: Path) -> None:
    rows.to_parquet(tmp_path / "rows.parquet", row_group_size=7)

    assert scored(predict, tmp_path / "rows.parquet") == answers


def test_a_file_cut_into_parts_gets_the_same_answers_from_every_number_of_workers(
    csv: Path, answers: str, predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.predict.sources.CSV_BYTES", 1 << 12)
    monkeypatch.setattr("stages.predict.sources.LEAST_BYTES", 1 << 12)

    assert scored(predict, csv) == answers
    assert scored(predict, csv, workers=2) == answers


def test_line_breaks_in_cells_keep_lines_right(csv: Path, predict: Predict) -> None:
    header = csv.read_text("utf-8").partition("\n")[0]
    rows = [*(f'"{number}\n\nx",0.5,,one,one,true,,' for number in range(3)), "9,large,,one,one,true,,"]
    csv.write_text("\n".join([header, *rows]), "utf-8")

    with pytest.raises(UserError, match=r"line 11, column 'size'"):
        scored(predict, csv)


def test_a_folder_becomes_a_folder_with_the_same_names_and_a_manifest(
    rows: pd.DataFrame, answers: str, predict: Predict, tmp_path: Path
) -> None:
    (tmp_path / "in/kind=one").mkdir(parents=True)
    (tmp_path / "in/kind=two").mkdir()
    rows.drop(columns="kind").to_csv(tmp_path / "in/kind=one/a.csv", index=False)
    rows.assign(kind="one").drop(columns="kind").to_parquet(tmp_path / "in/kind=two/b.parquet")
    (tmp_path / "in/_SUCCESS").touch()

    predict(tmp_path / "in", tmp_path / "out")

    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert names == ["_manifest.json", "kind=one/a.csv", "kind=two/b.parquet"]
    predict(tmp_path / "in", tmp_path / "all.csv")
    both = pd.read_csv(tmp_path / "all.csv")
    assert (
        both["probability_да"][: len(rows)].tolist()
        == pd.read_csv(tmp_path / "out/kind=one/a.csv")["probability_да"].tolist()
    )
    whole = pd.read_csv(tmp_path / "answers.csv")
    is_one = (rows["kind"] == "one").to_numpy()
    assert both["probability_да"][: len(rows)][is_one].tolist() == whole["probability_да"][is_one].tolist()
    assert not list(tmp_path.glob(".*"))


def test_a_folder_with_other_files_is_not_replaced(csv: Path, predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/letter.txt").touch()

    with pytest.raises(UserError, match="out: is a folder with other files"):
        predict(csv, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"a b": "b a"},
            "no column 'a b', a feature of the model, but columns that the model doesn't know: 'id', 'b a'",
        ),
        ({"size": "id2"}, "no column 'size', a feature of the model: a finite number"),
        ({"id": "size"}, "the column 'size' is there twice"),
        ({"id": "prediction"}, "'prediction' is a column of the answers"),
    ],
)
def test_a_column_that_does_not_fit_is_one_line(
    rows: pd.DataFrame, predict: Predict, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    rows.rename(columns=change).to_csv(tmp_path / "rows.csv", index=False)

    with pytest.raises(UserError, match=message):
        predict(tmp_path / "rows.csv", tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_columns_are_kept_by_name_also_features_and_the_target(csv: Path, predict: Predict) -> None:
    header = scored(predict, csv, keep=["y", "size"]).partition("\n")[0]

    assert header == "y,size,prediction,probability_да,probability_нет,warnings"


def test_wrong_rows_go_to_a_side_file_and_the_others_are_scored(
    csv: Path, answers: str, predict: Predict, tmp_path: Path
) -> None:
    lines, given = csv.read_text("utf-8").splitlines(), answers.splitlines()
    lines[3] = "002,large,,one,one,maybe,2020-13-01,да"
    lines[5] = "004,1"
    csv.write_text("\n".join(lines), "utf-8")

    assert scored(predict, csv, errors=str(tmp_path / "wrong.csv")).splitlines() == [*given[:3], given[4], *given[6:]]
    wrong = pd.read_csv(tmp_path / "wrong.csv")
    assert wrong["file"].unique().tolist() == [str(csv)]
    assert list(zip(wrong["line"], wrong["column"].fillna(""), wrong["got"], strict=True)) == [
        (4, "size", '"large"'),
        (4, "flag", '"maybe"'),
        (4, "when", '"2020-13-01"'),
        (6, "", "2 cells"),
    ]


def test_if_all_rows_are_wrong_the_output_has_a_header_only(csv: Path, predict: Predict, tmp_path: Path) -> None:
    header = csv.read_text("utf-8").partition("\n")[0]
    csv.write_text(f"{header}\n002,large,,one,one,maybe,2020-13-01,да\n", "utf-8")

    assert scored(predict, csv, errors=str(tmp_path / "wrong.csv")).count("\n") == 1


def test_a_wrong_value_in_parquet_is_named_by_its_row(predict: Predict, rows: pd.DataFrame, tmp_path: Path) -> None:
    rows.loc[4, "size"] = float("inf")
    rows.to_parquet(tmp_path / "rows.parquet")

    with pytest.raises(UserError, match="row 5, column 'size': expected a finite number, got Infinity"):
        predict(tmp_path / "rows.parquet", tmp_path / "out.csv")


def test_parquet_keeps_the_types_of_kept_columns(rows: pd.DataFrame, predict: Predict, tmp_path: Path) -> None:
    rows.assign(id=pd.date_range("2020", periods=len(rows), tz="Europe/Paris")).to_parquet(tmp_path / "rows.parquet")

    predict(tmp_path / "rows.parquet", tmp_path / "out.parquet")

    schema = pq.read_schema(tmp_path / "out.parquet")
    assert schema.field("id").type == pq.read_schema(tmp_path / "rows.parquet").field("id").type
    assert schema.field("prediction").type == pa.string()
    assert schema.field("probability_да").type == pa.float32()


@pytest.mark.parametrize("name", ["empty.csv", "header.csv"])
def test_a_table_without_rows_is_refused(csv: Path, predict: Predict, tmp_path: Path, name: str) -> None:
    header = csv.read_text("utf-8").partition("\n")[0]
    (tmp_path / name).write_text("" if name == "empty.csv" else header, "utf-8")

    with pytest.raises(UserError, match=name):
        predict(tmp_path / name, tmp_path / "out.csv")


def test_a_damaged_parquet_file_is_one_line(predict: Predict, rows: pd.DataFrame, tmp_path: Path) -> None:
    rows.to_parquet(tmp_path / "rows.parquet")
    content = (tmp_path / "rows.parquet").read_bytes()
    (tmp_path / "rows.parquet").write_bytes(content[:300] + b"\0" * 200 + content[500:])

    with pytest.raises(UserError, match=r"rows.parquet: is a damaged Parquet file"):
        predict(tmp_path / "rows.parquet", tmp_path / "out.csv")
