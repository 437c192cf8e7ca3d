"""``make serve``: secrets are drawn once, and what it prints works when pasted."""

import json
import re
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.serve import instructions, write_env_file
from service.settings import ROOT, Settings, SettingsError
from tests.service.artifacts import SECRET, Root, load_settings, md5_of, onnx_bytes
from tests.service.processes import START_SECONDS, Service, paste, wait_for

EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")


def load(path: Path, **variables: str) -> Settings:
    return load_settings({"ENV_FILE": str(path), **variables})


def test_every_secret_of_the_example_is_generated(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_env_file(tmp_path / name, EXAMPLE)
    one, two = (load(tmp_path / name) for name in ("one", "two"))

    assert one.secret_key != two.secret_key
    assert one.admin_password != two.admin_password
    written = (tmp_path / "one").read_text().splitlines()
    assert [line for line in written if "replace-this" in line and not line.startswith("#")] == []


def test_only_its_owner_can_read_the_env_file_and_no_other_file_is_left(tmp_path: Path) -> None:
    write_env_file(tmp_path / ".env", EXAMPLE)

    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [".env"]


def test_an_existing_env_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\n")

    with pytest.raises(FileExistsError):
        write_env_file(tmp_path / ".env", EXAMPLE)

    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [(".env", "PORT=1\n")]


def test_the_environment_overrides_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"SECRET_KEY={SECRET}\nPORT=1\nHOST='$HOME'\nMAX_INSTANCES=7\n")

    found = load(tmp_path / ".env", PORT="2", MAX_INSTANCES="")

    assert (found.port, found.host, found.max_instances) == (2, "$HOME", 7)


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o640, False), (0o600, False)])
def test_an_env_file_that_everyone_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    path = tmp_path / ".env"
    path.write_text("PORT=1\n")
    path.chmod(mode)

    load(path, SECRET_KEY=SECRET)

    assert (f"`chmod 600 {path}`" in caplog.text) == warned


def test_an_env_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"HOST=\xe9\n")

    with pytest.raises(SettingsError, match=re.escape(str(tmp_path / ".env"))):
        load(tmp_path / ".env")


def test_a_line_that_is_no_setting_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".env").write_text(f"SECRET_KEY={SECRET}\nHOST 127.0.0.1 'x\n")

    load(tmp_path / ".env")

    assert "could not parse statement starting at line 2" in caplog.text


@pytest.mark.parametrize("name", ["", "nowhere/.env"])
def test_an_env_file_that_is_named_and_missing_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("ADMIN_PASSWORD=correct horse\n", ""),
        ('ADMIN_PASSWORD="correct horse"\n', "fill in PASSWORD"),
        ("ADMIN_PASSWORD=old\nADMIN_PASSWORD=correct horse\n", "fill in PASSWORD"),
        ("", "fill in PASSWORD"),
    ],
)
def test_a_password_that_sed_does_not_find_is_to_be_filled_in(tmp_path: Path, written: str, expected: str) -> None:
    root = Root(tmp_path)
    root.write(onnx_bytes())
    (tmp_path / ".env").write_text(written, newline="")
    named = {"ADMIN_USERNAME": "anna", "ADMIN_PASSWORD": "correct horse"}

    text = instructions(load_settings(root.environment() | named), tmp_path / ".env")

    assert ("sed -n" in text, expected in text) == (not expected, True)


def test_without_an_admin_it_explains_how_to_add_users(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.write(onnx_bytes())

    text = instructions(load_settings(root.environment()), tmp_path / ".env")

    assert "`python -m service.users add NAME`" in text
    assert "None" not in text


def test_the_example_s_own_password_is_refused() -> None:
    with pytest.raises(SettingsError, match="ADMIN_PASSWORD is the example value"):
        load_settings({"SECRET_KEY": SECRET, "ADMIN_PASSWORD": "replace-this-by-a-password"})
    assert "ADMIN_PASSWORD=replace-this-by-a-password\n" in EXAMPLE


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("it's a root")
    root = Root(folder)
    root.write(onnx_bytes())
    made = Service(root, "service.serve", ENV_FILE=str(folder / ".env"), ADMIN_USERNAME="", ADMIN_PASSWORD="")
    try:
        wait_for(made.is_live, "the start", START_SECONDS)
        wait_for(lambda: "Ctrl-C" in made.output(), "the greeting")
        yield made
    finally:
        made.close()


@pytest.mark.slow
@pytest.mark.xdist_group("serve")
def test_the_printed_lines_work_when_pasted(service: Service) -> None:
    printed = re.findall(r"^  .*$", service.output(), re.MULTILINE)

    answer = json.loads(paste(printed, Path("/")))

    assert answer["model"]["version"] == md5_of(onnx_bytes())
    assert f"from release {service.root.current.name} of flights.\n" in service.output()
    (password,) = re.findall(r"^ADMIN_PASSWORD=(.+)$", (service.root.folder / ".env").read_text(), re.MULTILINE)
    assert password not in service.output()


@pytest.mark.slow
def test_without_a_release_it_ends_with_one_line_that_says_how_to_make_one(tmp_path: Path) -> None:
    service = Service(Root(tmp_path), "service.serve", WORKERS="2")
    try:
        assert service.process.wait(START_SECONDS) == 1
    finally:
        service.close()

    (line,) = service.output().splitlines()
    assert line.startswith(f"error: {tmp_path}/models/releases/current: nothing has been released yet; run `make")


@pytest.mark.slow
@pytest.mark.xdist_group("serve")
def test_ctrl_c_stops_it_cleanly(service: Service) -> None:
    assert service.stop(signal.SIGINT) == 0
    assert "Traceback" not in service.output()
