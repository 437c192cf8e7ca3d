"""Users and API keys from the command line."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from sqlalchemy import update

from service.auth.watch import read_snapshot
from service.users.__main__ import main
from service.users.accounts import Accounts, ApiKeys
from service.users.database import ApiKey, Database

Connect = Callable[[str], Database]
Run = Callable[..., subprocess.CompletedProcess[str]]
PASSWORD = "correct horse"
CHEAP = {"ARGON2_TIME_COST": "1", "ARGON2_MEMORY_KIB": "8", "ENV_FILE": os.devnull}


@pytest.fixture
def run(sqlite_url: str) -> Run:
    """Return a function that runs the command as a process, with a password on stdin."""

    def run(*arguments: str, password: str = "") -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-W", "error", "-m", "service.users", *arguments]
        environ = {**os.environ, **CHEAP, "DATABASE_URL": sqlite_url}
        return subprocess.run(program, input=password, capture_output=True, text=True, check=False, env=environ)

    return run


def command_line(url: str, *arguments: str) -> None:
    with patch.dict(os.environ, {**CHEAP, "DATABASE_URL": url}):
        main(arguments)


@pytest.mark.slow
def test_users_and_keys_are_managed_from_the_command_line(sqlite_accounts: Accounts, run: Run) -> None:
    added = run("add", "Anna", "--scope", "admin", "--scope", "predict", password=PASSWORD + "\n")
    sqlite_accounts.disable(sqlite_accounts.add("bob", PASSWORD).username)
    key = run("key", "add", "nightly", "--scopes", "predict", "--expires", "90d")

    listed, keys = run("list"), run("key", "list")

    assert added.stderr + listed.stderr + keys.stderr == ""
    assert [line.split()[:-1] for line in listed.stdout.splitlines()] == [
        ["user", "scopes", "state"],
        ["anna", "admin", "predict", "active"],
        ["bob", "predict", "disabled"],
    ]
    assert key.stdout.startswith("key_")
    assert len(key.stdout.split()) == 1  # so that KEY=$(…) holds it
    assert "isn't shown again" in key.stderr
    today, end = (f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}" for days in (0, 90))
    assert keys.stdout.splitlines()[1].split() == ["nightly", "predict", today, end, "never"]
    assert key.stdout.strip() not in keys.stdout


@pytest.mark.parametrize(
    ("expires", "days"),
    [([], 90), (["--expires", "12h"], 0.5), (["--expires", "2w"], 14), (["--expires", "never"], None)],
)
def test_a_key_expires_when_it_should(
    sqlite_accounts: Accounts, sqlite_url: str, connect: Connect, expires: list[str], days: float | None
) -> None:
    command_line(sqlite_url, "key", "add", "Nightly", "--scopes", "predict", "admin", *expires)

    (key,) = ApiKeys(connect(sqlite_url)).list()
    assert (key.name, sorted(key.scopes)) == ("nightly", ["admin", "predict"])
    assert (key.expires_at and key.expires_at - key.created_at) == (days and timedelta(days=days))


def test_an_expired_key_is_listed_as_such_and_a_revoked_one_no_more(
    sqlite_accounts: Accounts, sqlite_url: str, connect: Connect, capsys: pytest.CaptureFixture[str]
) -> None:
    database = connect(sqlite_url)
    ApiKeys(database).add("nightly", ["predict"], timedelta(days=1))
    with database.writing() as session:
        session.execute(update(ApiKey).values(expires_at=datetime(2020, 1, 2, tzinfo=UTC)))

    for command in (["list"], ["revoke", "NIGHTLY"], ["list"]):
        command_line(sqlite_url, "key", *command)

    listed = capsys.readouterr().out.splitlines()
    assert "2020-01-02 (expired)" in listed[1]
    assert listed[2:] == ["revoked NIGHTLY; workers refuse it within 5 s", "key  scopes  since  expires  last used"]


@pytest.mark.parametrize(
    "mistake",
    [
        ("add anna", PASSWORD, "exists already"),
        ("add bob", "short", "at least 8 characters, not 5"),
        ("add bob", "", "at least 8 characters, not 0"),
        ("add x" + "x" * 64, PASSWORD, "1 to 64 characters"),
        ("passwd bob", PASSWORD, "no user 'bob'"),
        ("remove anna", "", "last admin"),
        ("disable anna", "", "--force"),
        ("key add nightly", "", "exists already"),
        ("key revoke weekly", "", "no key 'weekly'"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    sqlite_accounts: Accounts,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    mistake: tuple[str, str, str],
) -> None:
    (line, password, expected), url = mistake, sqlite_accounts._database._shown
    database = connect(url)
    sqlite_accounts.add("anna", PASSWORD, ["admin"])
    ApiKeys(database).add("nightly", ["predict"], None)
    before = read_snapshot(database)
    monkeypatch.setattr(sys, "stdin", io.StringIO(password))

    with pytest.raises(SystemExit) as caught:
        command_line(url, *line.split())

    message = str(caught.value)
    assert expected in message
    assert "\n" not in message
    assert password not in message or not password
    assert read_snapshot(database) == before


@pytest.mark.parametrize("expires", ["90", "0d", "-1d", "1y", "100000w", "soon", "٣d"])
def test_a_time_that_is_none_is_refused(sqlite_url: str, capsys: pytest.CaptureFixture[str], expires: str) -> None:
    with pytest.raises(SystemExit):
        command_line(sqlite_url, "key", "add", "nightly", f"--expires={expires}")

    assert "expected a time such as 12h" in capsys.readouterr().err


def test_a_file_that_is_no_users_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "users.db").write_bytes(b"nothing that SQLite wrote" * 100)

    with pytest.raises(SystemExit, match=r"users\.db: .* is it the users database that DATABASE_URL names"):
        command_line(f"sqlite:///{tmp_path / 'users.db'}", "list")


def test_a_database_that_is_down_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^users: error: .*No such file or directory; is it the users database"):
        command_line(f"sqlite:///{tmp_path}/nowhere/users.db", "list")


def test_the_database_is_the_one_that_the_services_env_file_names(
    sqlite_accounts: Accounts, sqlite_url: str, tmp_path: Path
) -> None:
    sqlite_accounts.add("anna", PASSWORD)
    (tmp_path / "env").write_text(f"DATABASE_URL={sqlite_url}\n", encoding="utf-8")

    with patch.dict(os.environ, {"ENV_FILE": str(tmp_path / "env")}):
        main(["disable", "anna"])

    assert [each.disabled for each in sqlite_accounts.list()] == [True]


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
@pytest.mark.parametrize("second", [PASSWORD, "another horse"])
def test_a_password_is_asked_for_twice_and_never_shown(sqlite_accounts: Accounts, sqlite_url: str, second: str) -> None:
    status, shown = on_terminal(sqlite_url, [PASSWORD.encode(), second.encode()], "add", "anna")

    same = second == PASSWORD
    assert (status, sqlite_accounts.check("anna", PASSWORD) is not None) == (0 if same else 1, same)
    assert (b"the two passwords differ" in shown) is not same
    assert PASSWORD.encode() not in shown
