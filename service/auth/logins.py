"""Logins: a token for a name and a password, at a pace that the rest of the service doesn't feel."""

import asyncio
import ipaddress
import math
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import BaseModel, Field

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


MAX_KEYS: Final = 10_000
"""Failures and trusted users remembered, about 200 bytes each."""


class ThrottledError(Exception):
    """Too many failed logins; `by` says of whom, `seconds` when to try again."""

    def __init__(self, by: str, seconds: float) -> None:
        super().__init__(f"too many failed logins for this {by}")
        self.by = by
        self.seconds = math.ceil(seconds)


class _Limit(NamedTuple):
    by: str
    key: str
    interval: float
    """Seconds until a failure is forgiven."""


class Throttle:
    """Limits failures per user and address, and four times as many per address and per user name.

    After these, one attempt is allowed every `window / attempts` seconds (a leaky bucket). A user at an address where
    the right password came before answers for that pair alone: an attacker can neither lock the user out nor be hidden
    by the user's good logins. Several workers share the limit out.
    """

    def __init__(
        self, attempts: int, window: float, workers: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = window / max(1, math.ceil(attempts / workers))
        self._window = window
        self._clock = clock
        self._forgiven_at: dict[str, float] = {}
        """When all of a key's failures are forgiven; the key used longest ago comes first."""
        self._trusted: dict[str, float] = {}

    def check(self, address: str, username: str) -> None:
        """Raise ThrottledError after too many failures."""
        for limit in self._limits(address, username):
            seconds = self._forgiven_at.get(limit.key, 0.0) + limit.interval - self._window - self._clock()
            if seconds > 0:
                raise ThrottledError(limit.by, seconds)

    def count_failure(self, address: str, username: str) -> None:
        """Count a wrong password."""
        for limit in self._limits(address, username):
            forgiven_at = max(self._forgiven_at.get(limit.key, 0.0), self._clock())
            _put(self._forgiven_at, limit.key, forgiven_at + limit.interval)

    def trust(self, address: str, username: str) -> None:
        """Trust the user at this address from now on, after a right password."""
        pair = f"{address} {username}"
        self._forgiven_at.pop(pair, None)
        _put(self._trusted, pair, self._clock())

    def _limits(self, address: str, username: str) -> Iterator[_Limit]:
        pair = f"{address} {username}"
        if pair not in self._trusted:
            yield _Limit("address", address, self._interval / 4)
            yield _Limit("user name", f" {username}", self._interval / 4)
        yield _Limit("user name", pair, self._interval)


def _put(remembered: dict[str, float], key: str, value: float) -> None:
    """Remember a value as the newest, and forget the oldest ones."""
    remembered.pop(key, None)
    while len(remembered) >= MAX_KEYS:
        del remembered[next(iter(remembered))]
    remembered[key] = value


def network(address: str | None) -> str:
    """Return what one customer has: an IPv4 address, or the first 64 bits of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class Token(BaseModel):
    """The answer to a login."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # the type's name
    expires_in: Annotated[int, Field(description="Lifetime of the token in seconds")]
    scope: Annotated[str, Field(description="Scopes of the token, separated by spaces")]


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
        self._threads = Threads(settings.login_concurrency, WAITING)

    async def log_in(self, username: str, password: str, scope: str, address: str | None) -> Token:
        """Issue a token with the scopes that are asked for, separated by spaces; all of the user's for an empty text.

        Raises Problem: 400 for a scope that the user lacks, 401 for a wrong name or password, 429 after too many of
        them, 503 when the database is down or too many logins wait.
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

    async def close(self) -> None:
        """Let logins under way end."""
        await self._threads.close()

    def _check(self, place: str, username: str, password: str) -> Account | None:
        """Check the password; runs in a thread. The throttle is asked again: others may have failed meanwhile."""
        name = lookup_name(username)
        self._throttle.check(place, name)
        account = self._accounts.check(username, password)
        (self._throttle.trust if account else self._throttle.count_failure)(place, name)
        return account

    def _grant(self, account: Account | None, scope: str) -> Token:
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
        return Token(access_token=token, expires_in=seconds, scope=" ".join(sorted(asked)))

    async def _hold(self, status: int, outcome: str, detail: str, retry_after: int) -> Problem:
        self._count(outcome)
        await asyncio.sleep(HOLD_SECONDS)
        return Problem(status, detail, headers={"Retry-After": str(retry_after)})
