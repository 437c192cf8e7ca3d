"""A file is written whole or not at all, and what killed writers left is cleared away."""

import errno
from pathlib import Path

import pytest

from stages import files


def test_the_next_write_removes_the_files_of_a_killed_process(tmp_path: Path) -> None:
    for path in (tmp_path / ".a.json.tmp", tmp_path / "b.json.tmp"):
        path.write_text("half", encoding="utf-8")
    files.write_json(tmp_path / "a.json", {})

    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "b.json.tmp"}


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, float("nan"))

    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["old"]


def test_an_error_of_a_library_that_names_no_file_names_the_output(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as raised, files.replacing(tmp_path / "a.parquet"):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert raised.value.filename == str(tmp_path / "a.parquet")


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(PermissionError) as raised, files.replacing(tmp_path / "a.parquet"):
        raise PermissionError(errno.EACCES, "Permission denied", "elsewhere")

    assert raised.value.filename == "elsewhere"
