"""Workers read only what is new, and miss nothing, whoever changes what at the same time."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from service.auth.watch import UNREAD, Snapshot, read_snapshot
from service.settings import Settings
from service.users import accounts as module
from service.users.accounts import Accounts, ApiKeys
from service.users.database import Database
from service.users.passwords import Passwords
from service.users.rules import AccountError
from tests.service.processes import wait_for

if TYPE_CHECKING:
    from tests.service.conftest import Postgres

Connect = Callable[[str], Database]
MakeSettings = Callable[..., Settings]
PASSWORD = "correct horse"
NAMES = ["anna", "bob", "carl"]


class Worker:
    """Reads changes as a worker of the service does."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.known = UNREAD

    def read(self) -> Snapshot:
        self.known = read_snapshot(self.database, self.known) or self.known
        return self.known

    def everything(self) -> Snapshot:
        """Return what a worker that starts now reads."""
        found = read_snapshot(self.database)
        assert found is not None
        return found


@pytest.fixture
def worker(accounts: Accounts, database_url: str, connect: Connect) -> Worker:
    made = Worker(connect(database_url))
    accounts.add("anna", PASSWORD, ["admin"])
    made.read()
    return made


def change_at_random(accounts: Accounts, keys: ApiKeys, drawn: random.Random) -> None:
    name = drawn.choice(NAMES)
    changes: list[Callable[[], object]] = [
        lambda: accounts.add(name, PASSWORD),
        lambda: accounts.disable(name, force=True),
        lambda: accounts.enable(name),
        lambda: accounts.set_password(name, PASSWORD),
        lambda: accounts.remove(name, force=True),
        lambda: keys.add(name, ["predict"], None),
        lambda: keys.revoke(name),
    ]
    with suppress(AccountError):  # the user is there already, or isn't there
        drawn.choice(changes)()


def test_what_did_not_change_is_not_read_again(accounts: Accounts, worker: Worker) -> None:
    bob = accounts.add("bob", PASSWORD).revision
    worker.read()
    with worker.database.writing() as session:
        session.execute(text("DELETE FROM users WHERE username = 'bob'"))  # not as the service does it

    accounts.add("carl", PASSWORD)

    assert bob in worker.read().users
    assert bob not in worker.everything().users


@pytest.mark.parametrize("seed", range(3))
def test_changes_read_one_by_one_or_together_give_what_a_new_worker_reads(
    accounts: Accounts, worker: Worker, seed: int
) -> None:
    drawn, keys = random.Random(seed), ApiKeys(worker.database)
    for _ in range(20):
        for _ in range(drawn.randint(1, 4)):
            change_at_random(accounts, keys, drawn)
        assert worker.read() == worker.everything()


@pytest.fixture
def slow_accounts(postgres: "Postgres", connect: Connect, make_settings: MakeSettings) -> Iterator["SlowAccounts"]:
    made = SlowAccounts(connect(postgres.empty()), Passwords(make_settings()))
    made.prepare()
    yield made
    made.may_commit.set()


class SlowAccounts(Accounts):
    """Accounts whose `set_password` takes its revision and then waits with an open transaction."""

    def __init__(self, database: Database, passwords: Passwords) -> None:
        super().__init__(database, passwords)
        self.database, self.hash = database, passwords.hash
        self.waits, self.may_commit = threading.Event(), threading.Event()

    def set_password_slowly(self) -> None:
        def hash_slowly(password: str) -> str:
            self.waits.set()
            assert self.may_commit.wait(10)
            return self.hash(password)

        self._passwords.hash = hash_slowly  # type: ignore[method-assign]  # the moment between revision and commit
        self.set_password("anna", "another horse")


def test_of_two_open_transactions_the_first_revision_commits_first(
    slow_accounts: SlowAccounts, postgres: "Postgres", connect: Connect, make_settings: MakeSettings
) -> None:
    other = Accounts(connect(f"postgresql://tester@127.0.0.1:{postgres.port}/postgres"), Passwords(make_settings()))
    anna, bob = (other.add(name, PASSWORD).revision for name in ("anna", "bob"))
    worker = Worker(slow_accounts.database)
    worker.read()

    def is_locked() -> bool:
        with worker.database.reading() as session:
            return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slow_accounts.set_password_slowly)
        assert slow_accounts.waits.wait(10)
        second = pool.submit(other.disable, "bob", force=True)
        wait_for(is_locked, "the second waits for the first")
        assert worker.read().users == {anna, bob}, "nothing is committed yet"
        slow_accounts.may_commit.set()
        first.result(10)
        second.result(10)

    assert not worker.read().users & {anna, bob}
    assert worker.known == worker.everything()


def test_a_worker_that_reads_all_the_time_misses_no_change_of_many_writers(
    accounts: Accounts, worker: Worker, database_url: str, connect: Connect, make_settings: MakeSettings
) -> None:
    def change(seed: int) -> None:
        mine, drawn = connect(database_url), random.Random(seed)
        for _ in range(15):
            change_at_random(Accounts(mine, Passwords(make_settings())), ApiKeys(mine), drawn)

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(change, seed) for seed in range(4)]
        while not all(each.done() for each in writers):
            worker.read()
        for each in writers:
            each.result()

    assert worker.read() == worker.everything()
    assert worker.known.revision > accounts.list()[0].revision - 1


@pytest.mark.parametrize("later", [True, False], ids=["and then this version", "alone"])
def test_what_a_replica_of_an_older_version_changes_is_noticed(accounts: Accounts, worker: Worker, later: bool) -> None:
    bob = accounts.add("bob", PASSWORD).revision
    assert bob in worker.read().users
    with worker.database.writing() as session:  # without a row in the table `changes`
        session.execute(text("UPDATE revision SET value = value + 1"))
        session.execute(text("DELETE FROM users WHERE username = 'bob'"))
    if later:
        accounts.add("carl", PASSWORD)

    assert bob not in worker.read().users
    assert worker.known == worker.everything()


def test_a_worker_that_reads_after_the_changes_were_deleted_reads_everything(
    accounts: Accounts, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = accounts.add("bob", PASSWORD).revision
    worker.read()
    monkeypatch.setattr(module, "KEPT_CHANGES", 0)
    accounts.disable("bob")
    accounts.add("carl", PASSWORD)

    with worker.database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM changes")) == 1, "the last one"
    assert bob not in worker.read().users
    assert worker.known == worker.everything()
