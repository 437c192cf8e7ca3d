"""Check passwords and issue tokens, with limits so that logins don't slow down predictions."""

import asyncio
import ipaddress
import math
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, Field

from service.auth.tokens import Count, Tokens
from service.http.problems import Problem
from service.settings import Settings
from service.threads import BusyError, Threads
from service.users.accounts import Accounts
from service.users.database import Account, DatabaseDownError
from service.users.rules import lookup_name

T = TypeVar("T")

WAITING: Final = 32
"""Most logins of one worker that wait for a free thread. A hash takes 20 ms, or 150 ms if predictions need the core,
so the last one waits 1 to 5 seconds."""
ANSWER_SECONDS: Final = 10.0
REFUSAL_DELAY_SECONDS: Final = 1.0
"""How long to wait before a login is refused because of a limit. A refusal is cheap, but without the delay fifty
clients that try again at once would keep the event loop busy."""

MAX_KEYS: Final = 10_000
"""Most limits and most trusted users in memory, about 200 bytes each."""


class ThrottledError(Exception):
    """Too many failed logins; `by` is "address" or "user name", `seconds` the time to wait before the next attempt."""

    def __init__(self, by: str, seconds: float) -> None:
        super().__init__(f"too many failed logins for this {by}")
        self.by = by
        self.seconds = math.ceil(seconds)


class Throttle:
    """Limits failed logins to `attempts` in `window` seconds per user and address, and to four times that per user.

    The larger limit also applies per address. At the limit, one attempt is allowed every `window / attempts` seconds (a
    leaky bucket). After a right password, only the limit of this user at this address applies, so an attacker elsewhere
    can't lock the user out. Each of several workers allows its part of `attempts`.
    """

    def __init__(
        self, attempts: int, window: float, workers: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = window / max(1, math.ceil(attempts / workers))
        self._window = window
        self._clock = clock
        self._forgiven_at: dict[str, float] = {}
        """The time of `clock` at which no failure counts any more, by the key of the limit; the newest key is last."""
        self._trusted: dict[str, float] = {}
        """Addresses and users with a right password; the newest is last."""

    def check(self, address: str, username: str) -> None:
        """Raise ThrottledError if there were too many failures at this address or for this user."""
        for by, key, interval in self._limits(address, username):
            seconds = self._forgiven_at.get(key, 0.0) + interval - self._window - self._clock()
            if seconds > 0:
                raise ThrottledError(by, seconds)

    def count_failure(self, address: str, username: str) -> None:
        """Count a wrong password for each limit that applies."""
        for _, key, interval in self._limits(address, username):
            forgiven_at = max(self._forgiven_at.get(key, 0.0), self._clock())
            put_newest(self._forgiven_at, key, forgiven_at + interval, MAX_KEYS)

    def trust(self, address: str, username: str) -> None:
        """Forget the failures of this user at this address, after a right password, and apply only the pair's limit."""
        pair = f"{address} {username}"
        self._forgiven_at.pop(pair, None)
        put_newest(self._trusted, pair, self._clock(), MAX_KEYS)

    def _limits(self, address: str, username: str) -> Iterator[tuple[str, str, float]]:
        """Yield what each limit is for, its key, and the seconds after which one failure no longer counts."""
        pair = f"{address} {username}"
        if pair not in self._trusted:
            yield "address", address, self._interval / 4
            yield "user name", f" {username}", self._interval / 4
        yield "user name", pair, self._interval


def put_newest(values: dict[Any, T], key: Any, value: T, most: int) -> None:
    """Store a value as the newest, and delete the oldest ones of more than `most`."""
    values.pop(key, None)
    while len(values) >= most:
        del values[next(iter(values))]
    values[key] = value


def network(address: str | None) -> str:
    """Return the addresses that one customer usually has: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))


class Token(BaseModel):
    """The answer to a login."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # the type's name
    expires_in: Annotated[int, Field(description="Lifetime of the token in seconds")]
    scope: Annotated[str, Field(description="Scopes of the token, separated by spaces")]


class Logins:
    """Issues tokens for passwords.

    Separate threads check passwords, `login_concurrency` at a time, and a limited number of logins wait for them.
    The throttle comes first, so that most attempts of an attacker don't need a hash.
    """

    def __init__(self, settings: Settings, accounts: Accounts, tokens: Tokens, count: Count) -> None:
        self._accounts = accounts
        self._tokens = tokens
        self._count = count
        self._throttle = Throttle(settings.login_attempts, settings.login_window_seconds, settings.workers)
        self.threads = Threads(settings.login_concurrency, WAITING)

    async def log_in(self, username: str, password: str, scope: str, address: str | None) -> Token:
        """Issue a token with the scopes in `scope`, separated by spaces, or with all of the user's if it is empty.

        Raises Problem: 400 for a scope that the user doesn't have, 401 for a wrong name or password, 429 after too many
        of them, 503 if the database is down or too many logins wait.
        """
        place = network(address)
        try:
            self._throttle.check(place, lookup_name(username))
            account = await self.threads.run(lambda: self._check(place, username, password), ANSWER_SECONDS)
        except ThrottledError as error:
            detail, outcome = f"Too many failed logins for this {error.by}", f"throttled_{error.by.replace(' ', '')}"
            raise await self._refuse_later(429, outcome, f"{detail}; try again later", error.seconds) from None
        except BusyError:
            raise await self._refuse_later(503, "busy", "Too many logins at once; try again", 1) from None
        except (DatabaseDownError, TimeoutError):
            self._count("database_down")
            raise Problem(503, "The users database doesn't answer", headers={"Retry-After": "2"}) from None
        return self._grant(account, scope)

    def _check(self, place: str, username: str, password: str) -> Account | None:
        """Check the password, in a thread. Check the throttle again: others may have failed while this login waited."""
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

    async def _refuse_later(self, status: int, outcome: str, detail: str, retry_after: int) -> Problem:
        self._count(outcome)
        await asyncio.sleep(REFUSAL_DELAY_SECONDS)
        return Problem(status, detail, headers={"Retry-After": str(retry_after)})
