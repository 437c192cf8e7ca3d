"""``make serve``: secrets are drawn once, and what it prints works when pasted."""

import json
import re
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import env_file
from service.serve import instructions
from service.settings import ROOT, Settings, SettingsError
from tests.service.artifacts import SECRET, Root, md5_of, onnx_bytes
from tests.service.processes import START_SECONDS, Service, paste, wait_for

EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")


def test_every_secret_of_the_example_is_drawn_anew(tmp_path: Path) -> None:
    for name in ("one", "two"):
        env_file.write(tmp_path / name, EXAMPLE)
    one, two = (env_file.read({"ENV_FILE": str(tmp_path / name)}) for name in ("one", "two"))

    assert {name for name in one if one[name] != two.get(name)} == {"SECRET_KEY", "ADMIN_PASSWORD", "ENV_FILE"}
    written = (tmp_path / "one").read_text().splitlines()
    assert [line for line in written if "replace-this" in line and not line.startswith("#")] == []
    Settings.from_environment(one)


def test_the_file_is_its_owner_s_alone_and_comes_whole(tmp_path: Path) -> None:
    env_file.write(tmp_path / ".env", EXAMPLE)

    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [".env"]


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\n")

    with pytest.raises(FileExistsError):
        env_file.write(tmp_path / ".env", EXAMPLE)

    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [(".env", "PORT=1\n")]


def test_the_environment_counts_more_than_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").touch(mode=0o600)
    (tmp_path / ".env").write_text("PORT=1\nHOST='$HOME'\n")

    found = env_file.read({"ENV_FILE": str(tmp_path / ".env"), "PORT": "2"})

    assert (found["PORT"], found["HOST"]) == ("2", "$HOME")


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o640, False), (0o600, False)])
def test_a_file_that_everyone_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    path = tmp_path / ".env"
    path.write_text("PORT=1\n")
    path.chmod(mode)

    env_file.read({"ENV_FILE": str(path)})

    assert (f"`chmod 600 {path}`" in caplog.text) == warned


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"HOST=\xe9\n")

    with pytest.raises(SettingsError, match=re.escape(str(tmp_path / ".env"))):
        env_file.read({"ENV_FILE": str(tmp_path / ".env")})


def test_a_line_that_is_no_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\nHOST 127.0.0.1 'x\n")

    with pytest.raises(SettingsError, match=re.escape(f"{tmp_path / '.env'}: line 2 is not")):
        env_file.read({"ENV_FILE": str(tmp_path / ".env")})


@pytest.mark.parametrize("name", ["", "nowhere/.env"])
def test_a_file_that_is_named_has_to_be_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        env_file.read({"ENV_FILE": str(tmp_path / name)})


def test_an_empty_name_of_the_file_counts_as_not_set() -> None:
    assert env_file.path_of({"ENV_FILE": ""}) == ROOT / ".env"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("ADMIN_PASSWORD=correct horse\n", ""),
        ('ADMIN_PASSWORD="correct horse"\n', "fill in PASSWORD"),
        ("ADMIN_PASSWORD=correct horse # of the stable\n", "fill in PASSWORD"),
        ("ADMIN_PASSWORD=correct horse\r\n", "fill in PASSWORD"),
        ("ADMIN_PASSWORD=old\nADMIN_PASSWORD=correct horse\n", "fill in PASSWORD"),
        ("", "fill in PASSWORD"),
    ],
)
def test_a_password_that_sed_does_not_find_is_to_be_filled_in(tmp_path: Path, written: str, told: str) -> None:
    root = Root(tmp_path)
    root.write(onnx_bytes())
    (tmp_path / ".env").write_text(written, newline="")
    named = {"ADMIN_USERNAME": "anna", "ADMIN_PASSWORD": "correct horse"}

    said = instructions(Settings.from_environment(root.environment() | named), tmp_path / ".env")

    assert ("sed -n" in said, told in said) == (not told, True)


def test_without_an_admin_it_says_how_users_come(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.write(onnx_bytes())

    said = instructions(Settings.from_environment(root.environment()), tmp_path / ".env")

    assert "`python -m service.users add NAME`" in said
    assert "None" not in said


def test_the_example_s_own_password_is_refused() -> None:
    with pytest.raises(SettingsError, match="ADMIN_PASSWORD is the one of"):
        Settings.from_environment({"SECRET_KEY": SECRET, "ADMIN_PASSWORD": "replace-this-by-a-password"})
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


@pytest.mark.slow
@pytest.mark.xdist_group("serve")
def test_it_says_which_release_answers(service: Service) -> None:
    assert f"from release {service.root.current.name} of flights.\n" in service.output()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_a_release_it_ends_with_one_line_that_says_how_to_make_one(tmp_path: Path, workers: str) -> None:
    service = Service(Root(tmp_path), "service.serve", WORKERS=workers)
    try:
        assert service.process.wait(START_SECONDS) == 1
    finally:
        service.close()

    (line,) = service.output().splitlines()
    assert line.startswith(f"error: {tmp_path}/models/releases/current: nothing has been released yet; run `make")


@pytest.mark.slow
@pytest.mark.xdist_group("serve")
def test_it_says_where_the_password_stands_and_not_what_it_is(service: Service) -> None:
    (password,) = re.findall(r"^ADMIN_PASSWORD=(.+)$", (service.root.folder / ".env").read_text(), re.MULTILINE)

    assert f"is ADMIN_PASSWORD in {service.root.folder / '.env'}" in service.output()
    assert password not in service.output()


@pytest.mark.slow
@pytest.mark.xdist_group("serve")
def test_ctrl_c_stops_it_cleanly(service: Service) -> None:
    assert service.stop(signal.SIGINT) == 0
    assert "Traceback" not in service.output()
