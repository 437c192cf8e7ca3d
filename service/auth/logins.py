"""Logins: from a name and a password to a token, at a pace that the rest of the service doesn't feel."""

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Final

from service.auth.throttle import Attempt, Throttle, ThrottledError
from service.auth.tokens import Count, Tokens
from service.http.problems import Problem
from service.settings import Settings
from service.threads import BusyError, Threads
from service.users.credentials import Credentials
from service.users.database_url import DatabaseDownError
from service.users.rules import Account, lookup_name

WAITING: Final = 32
"""Logins of one worker that may wait for a free thread; at 20 to 150 ms a hash, beside predictions or under them,
the last one waits 1 to 5 seconds."""
ANSWER_SECONDS: Final = 10.0
HOLD_SECONDS: Final = 1.0
"""How long a refusal is held back at least. Refusing is cheap, but fifty clients that ask again at once would
keep the event loop busy with it."""
PACE_SECONDS: Final = 0.02
"""Between two refusals that were held back, lest fifty clients come back in one burst."""
MAX_HELD: Final = 1000
"""Refusals held back at the same time; more are answered at once."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a login gives."""

    token: str
    seconds: int
    """Its life."""
    scope: str
    """Its scopes, separated by spaces."""


class Logins:
    """Gives tokens for passwords.

    Passwords are checked in threads of their own, `login_concurrency` at a time, with a bounded queue before
    them. The throttle is asked first, so that most attempts of an attacker never cost a hash.
    """

    def __init__(self, settings: Settings, credentials: Credentials, tokens: Tokens, count: Count) -> None:
        self._credentials = credentials
        self._tokens = tokens
        self._count = count
        self._throttle = Throttle(settings.login_attempts, settings.login_window_seconds, settings.workers)
        self._threads = Threads("login", settings.login_concurrency, WAITING)
        self._end = asyncio.Event()
        """Of the next attempt that ends."""
        self._waiting = 0
        self._held = 0
        self._next_refusal = 0.0

    async def token(self, username: str, password: str, scope: str, address: str | None) -> Grant:
        """Give a token.

        Parameters
        ----------
        scope
            Scopes asked for, separated by spaces; all of the user's for an empty text.
        address
            Where the request comes from, as uvicorn tells it.

        Raises
        ------
        Problem
            400 for a scope that the user lacks, 401 for a wrong name or password, 429 after too many of them,
            503 when the database is down or too many logins wait.
        """
        attempt = await self._admit(address, lookup_name(username))
        try:
            account = await self._threads.run(lambda: self._credentials.check(username, password), ANSWER_SECONDS)
            return self._grant(attempt, account, scope)
        except BusyError:
            self._throttle.cancelled(attempt)
        except (DatabaseDownError, TimeoutError):
            self._throttle.cancelled(attempt)
            self._count("database_down")
            raise Problem(503, "The users database gives no answer", headers={"Retry-After": "2"}) from None
        finally:
            self._throttle.ended(attempt)
            self._end.set()
            self._end = asyncio.Event()
        raise await self._busy()

    def close(self) -> None:
        """End the threads once they are free."""
        self._threads.close()
        self._credentials.close()

    async def _admit(self, address: str | None, username: str) -> Attempt:
        while True:
            try:
                return self._throttle.admit(address, username)
            except ThrottledError as error:
                if not error.under_way:
                    outcome = f"throttled_{error.by.replace(' ', '')}"
                    detail = f"Too many failed logins for this {error.by}; try again later"
                    raise await self._hold(429, outcome, detail, error.seconds) from None
            if self._waiting >= WAITING:
                raise await self._busy()
            self._waiting += 1
            try:
                await self._end.wait()
            finally:
                self._waiting -= 1

    async def _busy(self) -> Problem:
        return await self._hold(503, "busy", "Too many logins at once; try again", 1)

    def _grant(self, attempt: Attempt, account: Account | None, scope: str) -> Grant:
        if account is None:
            self._count("wrong_credentials")
            detail, challenge = "The user name or the password is wrong", {"WWW-Authenticate": "Bearer"}
            raise Problem(401, detail, headers=challenge, members={"error": "invalid_grant"})
        self._throttle.succeeded(attempt)
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
        if self._held < MAX_HELD:
            self._held += 1
            now = monotonic()
            self._next_refusal = max(now + HOLD_SECONDS, self._next_refusal + PACE_SECONDS)
            try:
                await asyncio.sleep(self._next_refusal - now)
            finally:
                self._held -= 1
        return Problem(status, detail, headers={"Retry-After": str(retry_after)})
