"""Logins: from a name and a password to a token, at a pace that the rest of the service doesn't feel."""

import asyncio
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
        self._held = 0
        self._next_refusal = 0.0

    async def token(self, username: str, password: str, scope: str, address: str | None) -> tuple[str, int]:
        """Give a token and its life in seconds.

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
        except BusyError:
            self._throttle.cancelled(attempt)
            raise await self._hold(503, "busy", "Too many logins at once; try again", 1) from None
        except (DatabaseDownError, TimeoutError):
            self._throttle.cancelled(attempt)
            self._count("database_down")
            raise Problem(503, "The users database gives no answer", headers={"Retry-After": "2"}) from None
        return self._grant(attempt, account, scope)

    def close(self) -> None:
        """End the threads once they are free."""
        self._threads.close()
        self._credentials.close()

    async def _admit(self, address: str | None, username: str) -> Attempt:
        try:
            return self._throttle.admit(address, username)
        except ThrottledError as error:
            outcome = f"throttled_{error.by.replace(' ', '')}"
            raise await self._hold(
                429, outcome, f"Too many failed logins for this {error.by}; try again later", error.seconds
            ) from None

    def _grant(self, attempt: Attempt, account: Account | None, scope: str) -> tuple[str, int]:
        if account is None:
            self._count("wrong_credentials")
            raise Problem(401, "The user name or the password is wrong", headers={"WWW-Authenticate": "Bearer"})
        self._throttle.succeeded(attempt)
        asked = frozenset(scope.split()) or account.scopes
        if not asked <= account.scopes:
            self._count("invalid_scope")
            raise Problem(400, f"Scopes of this user are {' '.join(sorted(account.scopes))}; ask for those or for none")
        self._count("granted")
        return self._tokens.issue(account.username, asked, account.revision)

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
