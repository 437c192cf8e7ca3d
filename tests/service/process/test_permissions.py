"""Files that the service's user may not read or write: one line that names them, or what still works goes on."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.artifacts import Root, md5_of, onnx_bytes, written
from tests.service.processes import BODY, START_SECONDS, Service, running, wait_for

pytestmark = pytest.mark.slow

# Root may do everything; without these it is a user like others.
_AS_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"]
PREFIX = _AS_USER if os.geteuid() == 0 else []
USER = {"username": "bert", "password": "battery staple"}


@pytest.fixture(autouse=True)
def _needs_setpriv() -> None:
    if PREFIX and shutil.which("setpriv") is None:
        pytest.skip("as root, permissions hold for programs started by `setpriv` alone (util-linux), which is missing")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    yield written(tmp_path)
    # Lest pytest fails to remove it where it is not root.
    for path in (tmp_path, *(each for each in tmp_path.rglob("*") if each.is_dir())):
        path.chmod(0o700)


@pytest.fixture
def service(root: Root, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Return a service of a user like others, with its database made."""
    monkeypatch.setattr("tests.service.processes.COMMAND", [*PREFIX, sys.executable])
    with running(root) as made:
        yield made


def refusal(root: Root, monkeypatch: pytest.MonkeyPatch, **changes: str) -> str:
    """Return the output of a service that doesn't start."""
    monkeypatch.setattr("tests.service.processes.COMMAND", [*PREFIX, sys.executable])
    service = Service(root, **changes)
    try:
        assert service.process.wait(START_SECONDS) == 1
        return service.output()
    finally:
        service.close()


@pytest.mark.parametrize(("name", "workers"), [("current/model.onnx", "2"), ("current/release.json", "1"), (".", "1")])
def test_a_start_that_may_not_read_its_files_says_which(
    root: Root, monkeypatch: pytest.MonkeyPatch, name: str, workers: str
) -> None:
    path = (root.releases / name).resolve()
    path.chmod(0)

    output = refusal(root, monkeypatch, WORKERS=workers)
    assert output.count("\n") == 1
    assert f"{path}" in output
    assert "Permission denied" in output


def test_a_start_that_may_not_read_its_settings_says_so(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root.folder / "settings"
    path.write_text("")
    path.chmod(0)

    assert refusal(root, monkeypatch, ENV_FILE=str(path)) == f"error: cannot read {path}: Permission denied\n"


def test_a_start_that_may_not_write_its_counters_says_where(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root.folder / "counters"
    folder.mkdir(mode=0o500)

    output = refusal(root, monkeypatch, METRICS_DIR=str(folder), WORKERS="2")
    assert output.count("\n") == 1
    assert output.startswith(f"error: {folder}/")
    assert output.endswith("Permission denied\n")


def test_a_database_that_may_not_be_written_is_still_read(service: Service, root: Root) -> None:
    (root.folder / "users.db").chmod(0o400)
    service.sign_in()

    assert service.client.post("/predict", json=BODY).status_code == 200
    assert service.client.post("/admin/users", json=USER).status_code == 503
    assert "attempt to write a readonly database" in service.output()
    wait_for(lambda: service.client.get("/health/ready").json()["database"] == "read-only", "the check", 15)
    assert service.client.get("/health/ready").json()["status"] == "degraded"
    assert service.client.get("/health/ready").status_code == 200


def test_an_unreadable_database_stops_only_logins(service: Service, root: Root) -> None:
    database = root.folder / "users.db"
    database.chmod(0)

    def database_is(state: str) -> bool:
        return bool(service.client.get("/health/ready").json()["database"] == state)

    wait_for(lambda: database_is("down"), "the news")
    assert f"{database}: unable to open database file" in service.output()
    assert service.client.post("/predict", json=BODY).status_code == 200
    database.chmod(0o600)
    wait_for(lambda: database_is("ok"), "the recovery")
    service.sign_in()


def test_a_new_model_that_may_not_be_read_is_refused_until_it_may(service: Service, root: Root) -> None:
    before = service.version()
    unreadable = root.prepare(onnx_bytes(lean=1.0))
    (unreadable / "model.onnx").chmod(0)
    root.promote(unreadable)

    wait_for(lambda: "model.onnx: Permission denied" in service.output(), "the refusal")
    assert service.version() == before
    (unreadable / "model.onnx").chmod(0o600)
    wait_for(lambda: service.version() == md5_of(onnx_bytes(lean=1.0)), "the new model")


def test_tables_need_no_folder_that_the_environment_names_and_nobody_may_write(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.service.processes.COMMAND", [*PREFIX, sys.executable])
    folder = root.folder / "temporary"
    folder.mkdir(mode=0o500)
    table = "x0,x1\n" + "0.25,0.5\n" * 200_000
    with running(root, TMPDIR=str(folder)) as service:
        answer = service.client.post("/predict", content=table, headers={"Content-Type": "text/csv"})
    assert answer.text.count("\n") == 200_001
