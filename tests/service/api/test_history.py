"""GET /releases: who released which model when and why, and where the models do badly."""

import shutil
from typing import Any

import pytest

from service.release import RELEASE_FILE, SLICES_FILE
from tests.service.artifacts import Root

HEAD = "column,value,rows,{0},{0}_low,{0}_high,actual,predicted,worse,units\n"
LINES = [
    ("kind,one,40,0.61,0.5,0.7,0.2,0.3,True,40\n", "kind,one", 0.61),
    ('shop,"<script>, é",41,0.52,0.4,0.6,0.2,0.3,True,41\n', "shop,<script>, é", 0.52),
    ("flag,true,40,0.61,0.5,0.7,0.2,0.3,True,40\n", "the rows of kind one again", 0),
    ("flag,false,90,0.3,,,0.2,0.3,False,9\n", "no certain difference", 0),
]


@pytest.fixture
def releases(service: Any, tmp_path: Any) -> Root:
    """Return a copy of the releases with a second one."""
    shutil.copytree(service.artifact.root.releases, tmp_path / "models/releases", symlinks=True)
    made = Root(tmp_path)
    made.write(made.model.read_bytes(), name="shop", by="Grace", reason="snow", verdict="rollback")
    return made


@pytest.mark.parametrize(("metric", "first"), [("roc_auc", 0.52), ("mean_absolute_error", 0.61)])
def test_the_releases_are_listed_newest_first_with_their_worst_slices(
    start: Any, releases: Root, metric: str, first: float
) -> None:
    (releases.current / SLICES_FILE).write_text(HEAD.format(metric) + "".join(line for line, *_ in LINES), "utf-8")
    service = start(releases=releases.releases)
    newest, oldest = service.client.get("/releases", headers=service.headers).json()

    assert (newest["by"], newest["reason"], newest["verdict"]) == ("Grace", "snow", "rollback")
    assert (newest["release"], newest["version"]) == (releases.current.name, service.artifact.model.version)
    assert {f"{each['column']},{each['value']}": each["score"] for each in newest["worst_slices"]} == {
        what: score for _, what, score in LINES if score
    }
    assert (newest["worst_slices"][0]["score"], newest["worst_slices"][0]["metric"]) == (first, metric)
    assert (oldest["by"], oldest["worst_slices"]) == ("Ada", None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b'"\0',
        b"column,value\nkind,one\n",
        HEAD.encode() + b"kind,one,many,0.61,0.5,0.7,0.2,0.3,True,40\n",
    ],
    ids=["empty", "not UTF-8", "NUL", "too few columns", "no number"],
)
def test_a_damaged_list_of_slices_is_left_out_and_the_release_stays(start: Any, releases: Root, content: bytes) -> None:
    (releases.current / SLICES_FILE).write_bytes(content)
    service = start(releases=releases.releases)

    answer = service.client.get("/releases", headers=service.headers)

    assert [(each["by"], each["worst_slices"]) for each in answer.json()] == [("Grace", None), ("Ada", None)]


def test_only_callers_with_a_credential_see_who_released_what(service: Any) -> None:
    assert service.client.get("/releases").status_code == 401


def test_a_release_that_cannot_be_read_is_left_out(start: Any, releases: Root) -> None:
    (releases.releases / "0-00000000").mkdir()
    oldest = releases.releases / f"1-{releases.current.name.partition('-')[2]}"
    (oldest / RELEASE_FILE).write_text("damaged")
    service = start(releases=releases.releases)

    (shown,) = service.client.get("/releases", headers=service.headers).json()

    assert shown["release"] == releases.current.name
