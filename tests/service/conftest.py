"""Databases, users and tokens for the tests of the service: SQLite in a file, and a PostgreSQL of one's own."""

import contextlib
import csv
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from service.auth.access import Access
from service.auth.watch import Snapshot
from service.settings import Settings
from service.users.accounts import Accounts
from service.users.database import Database
from service.users.passwords import Passwords

SECRET = "a-secret-for-tests-of-32-bytes-or-more"
PASSWORD = "correct horse"
Connect = Callable[[str], Database]
MakeSettings = Callable[..., Settings]


def postgres_folder() -> Path | None:
    """Where PostgreSQL's programs are; Debian keeps them off PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


class Postgres:
    """A cluster of one's own on a free port of the loopback, without TLS, fsync or passwords."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._data = programs, folder / "data"
        # initdb refuses to run as root; the user comes with the package.
        self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        if self._as:
            folder.chmod(0o755)
            os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._run("initdb", "--username=tester", "--auth=trust", "--encoding=UTF8", "--no-sync")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "start", "--wait", f"--options={options}", f"--log={self._data / 'log'}")

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop its processes where they are: they keep their connections and answer nothing."""
        main = (self._data / "postmaster.pid").read_text("ascii").split()[0]
        listed = subprocess.run(["pgrep", "--parent", main], capture_output=True, text=True, check=True)
        pids = list(map(int, [main, *listed.stdout.split()]))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def empty(self) -> str:
        """Return the URL of the shared database, emptied: this is faster than a new one for each test."""
        url = f"postgresql://tester@127.0.0.1:{self.port}/postgres"
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            connection.execute("SET lock_timeout = '5s'")
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return url

    def _run(self, program: str, *arguments: str) -> None:
        command: list[str | Path] = [*self._as, self._programs / program, f"--pgdata={self._data}", *arguments]
        # A pipe would be held open by the server that outlives pg_ctl.
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)


@pytest.fixture(autouse=True)
def _restore_cell_limit() -> Iterator[None]:
    """Restore the csv module's limit, which belongs to the process: a service with small bodies lowers it."""
    limit = csv.field_size_limit()
    yield
    csv.field_size_limit(limit)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a running PostgreSQL."""
    programs = postgres_folder()
    if programs is None:
        pytest.skip("PostgreSQL's programs are missing; on Debian and Ubuntu: apt-get install postgresql")
    # The user postgres may not enter pytest's own folders.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    cluster = Postgres(programs, folder)
    cluster.start()
    yield cluster
    cluster.stop()
    shutil.rmtree(folder)


@pytest.fixture
def settings(database_url: str, make_settings: MakeSettings) -> Settings:
    """Return settings that make anna the first admin, once on either engine."""
    return make_settings(database_url=database_url, admin_username="anna", admin_password=PASSWORD)


@pytest.fixture
def on_sqlite(make_settings: MakeSettings) -> Settings:
    """Return settings that make anna the first admin, in a file."""
    return make_settings(admin_username="anna", admin_password=PASSWORD)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database, once on either engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'users.db'}"
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.empty()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a database that isn't there yet."""
    return f"sqlite:///{tmp_path / 'users.db'}"


@pytest.fixture
def connect() -> Iterator[Callable[[str], Database]]:
    """Return a function that opens a database, closed when the test is over."""
    with contextlib.ExitStack() as opened:

        def connect(url: str) -> Database:
            database = Database(url)
            opened.callback(database.close)
            return database

        yield connect


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold no refusal back and look at the database often, so that no test waits for long."""
    monkeypatch.setattr("service.auth.logins.REFUSAL_DELAY_SECONDS", 0.0)
    monkeypatch.setattr("service.auth.watch.POLL_SECONDS", 0.02)


@pytest.fixture
def make_settings(sqlite_url: str) -> MakeSettings:
    """Return a function that makes settings, with cheap hashes."""

    def make(**values: object) -> Settings:
        cheap = {"argon2_time_cost": 1, "argon2_memory_kib": 8, "argon2_parallelism": 1}
        fixed = {"secret_key": SECRET, "database_url": sqlite_url, "metrics_seconds": 0.001}
        return Settings.model_validate({**fixed, **cheap, **values})

    return make


@pytest.fixture
def accounts(database_url: str, connect: Connect, make_settings: MakeSettings) -> Accounts:
    """Return accounts without users, on either engine."""
    return _without_users(connect(database_url), make_settings())


@pytest.fixture
def sqlite_accounts(sqlite_url: str, connect: Connect, make_settings: MakeSettings) -> Accounts:
    """Return accounts without users, in a file."""
    return _without_users(connect(sqlite_url), make_settings())


@pytest.fixture
def counted() -> Counter[str]:
    """Return how often `access` counted each outcome."""
    return Counter()


@pytest.fixture
def access(make_settings: MakeSettings, counted: Counter[str]) -> Access:
    """Return the access of a worker that knows anna, at revision 5."""
    made = Access(make_settings(), lambda outcome: counted.update([outcome]))
    made.watch.known = Snapshot(5, frozenset({5}))
    return made


def _without_users(database: Database, settings: Settings) -> Accounts:
    made = Accounts(database, Passwords(settings))
    made.prepare()
    return made
