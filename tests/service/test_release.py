"""A release is read as it was written; whatever else lies in its folder is refused in one line."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service import release
from service.release import NoReleaseError, Registry, Release, ReleaseError
from tests.service.artifacts import make_release

MD5 = "0f3c9a12" + "0" * 24


def make(**changes: Any) -> Release:
    registered = Registry(version=3, run_id="f" * 32, registered_at=datetime(2026, 1, 1, tzinfo=UTC))
    fixed = {"onnx_md5": MD5, "revision": "e" * 40, "at": datetime(2026, 1, 2, tzinfo=UTC), "registry": registered}
    return make_release(b"", **fixed | changes)


def write(releases: Path, sequence: int, text: str | None = None, **changes: Any) -> Path:
    made = make(**changes)
    folder = releases / f"{sequence}-{made.onnx_md5[:8]}"
    folder.mkdir(parents=True)
    (folder / release.RELEASE_FILE).write_text(made.model_dump_json() if text is None else text, encoding="utf-8")
    return folder


def lead_to(releases: Path, target: str) -> None:
    beside = releases / "beside"
    beside.symlink_to(target)
    beside.replace(releases / release.CURRENT)


def refusal(folder: Path) -> str:
    with pytest.raises(ReleaseError) as caught:
        release.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_release_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert release.load(write(tmp_path, 1)) == make()


def test_what_is_not_known_of_an_old_model_may_be_null(tmp_path: Path) -> None:
    unknown: dict[str, Any] = dict.fromkeys(
        ["model_md5", "data_md5", "table_md5", "metrics_md5", "revision", "registry", "training_rows"]
    )

    assert release.load(write(tmp_path, 1, **unknown)) == make(**unknown)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"onnx_md5": "x"}, "is damaged: onnx_md5: "),
        ({"verdict": "refused"}, "is damaged: verdict: "),
        ({"metrics": {"curve": [1, 2]}}, "is damaged: metrics.curve"),
        ({"at": "2026-01-01T00:00:00"}, "is damaged: at: "),
        ({"colour": "blue"}, "is damaged: colour: "),
        ({"format": 2}, "has format 2, this version reads 1; update it"),
    ],
)
def test_a_statement_that_is_not_of_this_format_is_refused(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    text = json.dumps(make().model_dump(mode="json") | changes)

    assert expected in refusal(write(tmp_path, 1, text))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', "\0" * 100, "[" * 100_000])
def test_what_is_no_statement_is_refused(tmp_path: Path, text: str) -> None:
    assert "is damaged" in refusal(write(tmp_path, 1, text))


def test_a_missing_statement_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, 1) / release.RELEASE_FILE
    path.unlink()
    assert refusal(path.parent).startswith(f"{path}: is missing; run `make promote`")


def test_the_current_release_is_the_one_that_the_link_names(tmp_path: Path) -> None:
    with pytest.raises(NoReleaseError, match="nothing has been released yet; run `make promote`"):
        release.find_current(tmp_path)

    folder = write(tmp_path, 12)
    lead_to(tmp_path, folder.name)

    assert release.find_current(tmp_path) == folder


@pytest.mark.parametrize("target", ["/etc", "..", "../1-0f3c9a12", "a/1-0f3c9a12", "01-0f3c9a12"])
def test_a_link_that_leads_elsewhere_is_refused(tmp_path: Path, target: str) -> None:
    lead_to(tmp_path, target)

    with pytest.raises(ReleaseError, match="expected a release beside it"):
        release.find_current(tmp_path)


def test_a_copy_in_place_of_the_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / release.CURRENT).mkdir()

    with pytest.raises(ReleaseError, match="is not a link; run `make promote`"):
        release.find_current(tmp_path)


def test_history_is_all_releases_in_their_order_and_nothing_else(tmp_path: Path) -> None:
    assert release.read_history(tmp_path) == {}
    folders = [write(tmp_path, sequence, reason=f"number {sequence}") for sequence in (10, 9, 2, 1)]
    (tmp_path / ".lock").touch()
    (tmp_path / "notes").mkdir()
    assert release.read_history(tmp_path) == {}

    lead_to(tmp_path, folders[1].name)

    history = release.read_history(tmp_path)
    assert list(history) == ["1-0f3c9a12", "2-0f3c9a12", "9-0f3c9a12"]
    assert [each.reason for each in history.values()] == ["number 1", "number 2", "number 9"]
