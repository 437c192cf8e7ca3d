"""Logins: a token for a name and a password, at a pace that the rest of the service doesn't feel."""

import asyncio
from dataclasses import dataclass
from typing import Final

from service.auth.throttle import Throttle, ThrottledError, network
from service.auth.tokens import Count, Tokens
from service.http.problems import Problem
from service.settings import Settings
from service.threads import BusyError, Threads
from service.users.accounts import Account, Accounts
from service.users.database import DatabaseDownError
from service.users.rules import lookup_name

WAITING: Final = 32
"""Logins of one worker that may wait for a free thread; at 20 to 150 ms a hash, beside predictions or under them,
the last one waits 1 to 5 seconds."""
ANSWER_SECONDS: Final = 10.0
HOLD_SECONDS: Final = 1.0
"""How long a refusal is held back. Refusing is cheap, but fifty clients that ask again at once would keep the
event loop busy with it."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a login gives."""

    token: str
    seconds: int
    """Its life."""
    scope: str
    """Its scopes, separated by spaces."""


class Logins:
    """Issues tokens for passwords.

    Threads of their own check passwords, `login_concurrency` at a time, with a bounded queue before them.
    The throttle is asked first, so that most attempts of an attacker never cost a hash.
    """

    def __init__(self, settings: Settings, accounts: Accounts, tokens: Tokens, count: Count) -> None:
        self._accounts = accounts
        self._tokens = tokens
        self._count = count
        self._throttle = Throttle(settings.login_attempts, settings.login_window_seconds, settings.workers)
        self._threads = Threads("login", settings.login_concurrency, WAITING)

    async def log_in(self, username: str, password: str, scope: str, address: str | None) -> Grant:
        """Issue a token.

        Parameters
        ----------
        scope
            Requested scopes, separated by spaces; all of the user's for an empty text.
        address
            Where the request comes from, as uvicorn has it.

        Raises
        ------
        Problem
            400 for a scope that the user lacks, 401 for a wrong name or password, 429 after too many of them,
            503 when the database is down or too many logins wait.
        """
        place = network(address)
        try:
            self._throttle.check(place, lookup_name(username))
            account = await self._threads.run(lambda: self._check(place, username, password), ANSWER_SECONDS)
        except ThrottledError as error:
            detail = f"Too many failed logins for this {error.by}; try again later"
            raise await self._hold(429, f"throttled_{error.by.replace(' ', '')}", detail, error.seconds) from None
        except BusyError:
            raise await self._hold(503, "busy", "Too many logins at once; try again", 1) from None
        except (DatabaseDownError, TimeoutError):
            self._count("database_down")
            raise Problem(503, "The users database doesn't answer", headers={"Retry-After": "2"}) from None
        return self._grant(account, scope)

    def close(self) -> None:
        """End the threads once they are free."""
        self._threads.close()

    def _check(self, place: str, username: str, password: str) -> Account | None:
        """Check the password; runs in a thread. The throttle is asked again: others may have failed meanwhile."""
        name = lookup_name(username)
        self._throttle.check(place, name)
        account = self._accounts.check(username, password)
        (self._throttle.trust if account else self._throttle.count_failure)(place, name)
        return account

    def _grant(self, account: Account | None, scope: str) -> Grant:
        if account is None:
            self._count("wrong_credentials")
            detail, challenge = "The user name or the password is wrong", {"WWW-Authenticate": "Bearer"}
            raise Problem(401, detail, headers=challenge, members={"error": "invalid_grant"})
        asked = frozenset(scope.split()) or account.scopes
        if not asked <= account.scopes:
            self._count("invalid_scope")
            detail = f"Scopes of this user are {' '.join(sorted(account.scopes))}; ask for those or for none"
            raise Problem(400, detail, members={"error": "invalid_scope"})
        self._count("granted")
        token, seconds = self._tokens.issue(account.username, asked, account.revision)
        return Grant(token, seconds, " ".join(sorted(asked)))

    async def _hold(self, status: int, outcome: str, detail: str, retry_after: int) -> Problem:
        self._count(outcome)
        await asyncio.sleep(HOLD_SECONDS)
        return Problem(status, detail, headers={"Retry-After": str(retry_after)})
