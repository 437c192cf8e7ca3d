"""Users from the command line."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from service.settings import Settings
from service.users.__main__ import main
from service.users.accounts import Accounts
from service.users.database import Database
from service.users.database_url import parse
from service.users.revisions import UserRevisions
from tests.service.conftest import log_in

Connect = Callable[[str], Database]
MakeSettings = Callable[..., Settings]
PASSWORD = "correct horse"
CHEAP = {"ARGON2_TIME_COST": "1", "ARGON2_MEMORY_KIB": "8", "ENV_FILE": os.devnull}


@pytest.fixture
def run(database_url: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Give a function that runs the command as a process, with a password on stdin."""

    def run(*arguments: str, password: str = "") -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-W", "error", "-m", "service.users", *arguments]
        environ = {**os.environ, **CHEAP, "DATABASE_URL": database_url}
        return subprocess.run(program, input=password, capture_output=True, text=True, check=False, env=environ)

    return run


@pytest.mark.slow
def test_users_are_managed_from_the_command_line(
    accounts: Accounts, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    added = run("add", "Anna", "--scope", "admin", "--scope", "predict", password=PASSWORD + "\n")
    accounts.add("bob", PASSWORD)
    accounts.disable("bob")

    listed = run("list")

    assert added.stderr + listed.stderr == ""
    assert [line.split()[:-1] for line in listed.stdout.splitlines()] == [
        ["user", "scopes", "state"],
        ["anna", "admin", "predict", "active"],
        ["bob", "predict", "disabled"],
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "status", "told"),
    [
        ("{program} list | true", 0, ""),
        ("{program} list > /dev/full", 1, "users: error: stdout: No space left on device"),
        ("PYTHONIOENCODING=ascii {program} list", 0, ""),
        ("{program} add bob <&-", 1, "users: error: "),
    ],
)
def test_an_output_that_takes_nothing_is_told_in_a_line(
    sqlite_accounts: Accounts, shell: str, status: int, told: str
) -> None:
    sqlite_accounts.add("zoé", PASSWORD)
    command = shell.format(program=f"{sys.executable} -m service.users")
    environ = {**os.environ, **CHEAP, "DATABASE_URL": sqlite_accounts.where}

    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, env=environ)

    assert (done.returncode, "Traceback" in done.stderr) == (status, False)
    assert done.stderr.startswith(told)
    assert (done.stderr == "") is (told == "")


def test_a_file_that_is_no_users_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "users.db").write_bytes(b"nothing that SQLite wrote" * 100)

    with pytest.raises(SystemExit, match=r"users\.db: .* is it the users database that DATABASE_URL names"):
        command_line(f"sqlite:///{tmp_path / 'users.db'}", "list")


def command_line(url: str, *arguments: str) -> None:
    with patch.dict(os.environ, {**CHEAP, "DATABASE_URL": url}):
        main(arguments)


@pytest.mark.parametrize(
    ("line", "password", "told"),
    [
        ("add anna", PASSWORD, "exists already"),
        ("add bob", "short", "at least 8 characters, not 5"),
        ("add bob", "", "at least 8 characters, not 0"),
        ("add x" + "x" * 64, PASSWORD, "1 to 64 characters"),
        ("passwd bob", PASSWORD, "no user 'bob'"),
        ("remove anna", "", "last admin"),
        ("disable anna", "", "--force"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    sqlite_accounts: Accounts,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    password: str,
    told: str,
) -> None:
    sqlite_accounts.add("anna", PASSWORD, ["admin"])
    revisions = UserRevisions(parse(sqlite_accounts.where))
    before = revisions.changes(since=-1)
    monkeypatch.setattr(sys, "stdin", io.StringIO(password))

    with pytest.raises(SystemExit) as caught:
        command_line(sqlite_accounts.where, *line.split())

    message = str(caught.value)
    assert told in message
    assert "\n" not in message
    assert password not in message or not password
    assert revisions.changes(since=-1) == before


def test_the_database_is_the_one_that_the_services_env_file_names(
    sqlite_accounts: Accounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_accounts.add("anna", PASSWORD)
    (tmp_path / "env").write_text(f"DATABASE_URL={sqlite_accounts.where}\n", encoding="utf-8")

    monkeypatch.setenv("ENV_FILE", str(tmp_path / "env"))

    main(["disable", "anna"])

    assert [each.disabled for each in sqlite_accounts.list()] == [True]


def test_a_database_that_is_down_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^users: error: .*No such file or directory; is it the users database"):
        command_line(f"sqlite:///{tmp_path}/nowhere/users.db", "list")


def test_users_are_managed_without_the_key_that_a_file_holds(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 32, encoding="utf-8")
    with patch.dict(os.environ, {"SECRET_KEY_FILE": str(tmp_path / "key")}):
        command_line(sqlite_url, "migrate")


def on_terminal(url: str, answers: list[bytes], *arguments: str) -> tuple[int, bytes]:
    """Run the command on a terminal, answer each prompt, and give the status and all that the terminal showed."""
    program = [sys.executable, "-m", "service.users", *arguments]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(program[0], program, {**os.environ, **CHEAP, "DATABASE_URL": url})  # noqa: S606  # pty forks
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 1024)
        except OSError:
            break
        if answers and shown.endswith(b": "):
            os.write(terminal, answers.pop(0) + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_password_is_asked_for_twice_and_never_shown(sqlite_accounts: Accounts, sqlite_url: str) -> None:
    status, shown = on_terminal(sqlite_url, [PASSWORD.encode()] * 2, "add", "anna")

    assert (status, log_in(sqlite_accounts, "anna", PASSWORD) is not None) == (0, True)
    assert PASSWORD.encode() not in shown


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_two_passwords_that_differ_add_nobody(sqlite_accounts: Accounts, sqlite_url: str) -> None:
    status, shown = on_terminal(sqlite_url, [PASSWORD.encode(), b"another horse"], "add", "anna")

    assert status == 1
    assert b"the two passwords differ" in shown
    assert sqlite_accounts.list() == []
