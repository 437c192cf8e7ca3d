"""Limits to failed logins, by address and by user name, in bounded memory."""

import ipaddress
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAX_KEYS: Final = 10_000
"""Addresses, names and pairs remembered of each kind, about 200 bytes each."""

Clock = Callable[[], float]


class Bucket:
    """For each key `burst` attempts at once, and then one every `window / burst` seconds.

    A key is one number: the moment at which its bucket would be full again. When there are too many keys the
    one used longest ago is forgotten.
    """

    def __init__(self, burst: int, window: float, clock: Clock = time.monotonic) -> None:
        self._interval = window / burst
        self._window = window
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._under_way: Counter[str] = Counter()

    def wait(self, key: str) -> float:
        """How many seconds the key has to wait for its next attempt; 0 if it may now."""
        full_at = self._full_at.get(key, 0.0)
        return max(0.0, full_at + self._interval - self._window - self._clock())

    def has_under_way(self, key: str) -> bool:
        """Tell whether an attempt has begun and not ended."""
        return key in self._under_way

    def take(self, key: str) -> None:
        """Count an attempt, which begins."""
        self._under_way[key] += 1
        full_at = max(self._full_at.pop(key, 0.0), self._clock())
        while len(self._full_at) >= MAX_KEYS:
            del self._full_at[next(iter(self._full_at))]
        self._full_at[key] = full_at + self._interval

    def end(self, key: str) -> None:
        """Note that an attempt has ended, whatever came of it."""
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]

    def give_back(self, key: str) -> None:
        """Undo one attempt."""
        if key in self._full_at:
            self._full_at[key] -= self._interval

    def reset(self, key: str) -> None:
        """Forget the key's attempts."""
        self._full_at.pop(key, None)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login that is under way."""

    address: str
    username: str
    trusted: bool
    """Whether the user has logged in from this address before."""

    @property
    def pair(self) -> str:
        """The key of this user at this address."""
        return f"{self.address} {self.username}"


class ThrottledError(Exception):
    """Too many failed logins; `by` says of whom, `seconds` when to try again.

    While others are `under_way` it is too early to say so: those that succeed will not have counted.
    """

    def __init__(self, by: str, seconds: float, *, under_way: bool = False) -> None:
        super().__init__(f"too many failed logins for this {by}")
        self.by = by
        self.seconds = math.ceil(seconds)
        self.under_way = under_way


class Throttle:
    """Lets a login be tried, or says how long to wait.

    Three limits hold. An address gets four times `attempts`, whatever the names, so that many people behind
    one router have room. A user at one address gets `attempts`. A user gets four times `attempts` from all
    addresses together, which is what stops a botnet. A user who has logged in from an address before is held
    there by the second limit alone, so that neither strangers elsewhere nor a neighbour behind the same router
    locks the user out.

    An attempt counts when it begins, since many may run at once, and is given back when it succeeds: logging in
    to an account of one's own doesn't clear the way for guessing another's.

    The counts live in one worker, and none of them is written to the database, which an attacker would
    otherwise keep busy. With several workers each takes its share of the limit.
    """

    def __init__(self, attempts: int, window: float, workers: int = 1, clock: Clock = time.monotonic) -> None:
        share = max(1, math.ceil(attempts / workers))
        self._pairs = Bucket(share, window, clock)
        self._addresses = Bucket(4 * share, window, clock)
        self._usernames = Bucket(4 * share, window, clock)
        self._trusted: dict[str, None] = {}

    def admit(self, address: str | None, username: str) -> Attempt:
        """Count an attempt; raises ThrottledError, without counting, when there were too many."""
        place = network(address)
        attempt = Attempt(place, username, trusted=f"{place} {username}" in self._trusted)
        limits = self._limits(attempt)
        for by, bucket, key in limits:
            seconds = bucket.wait(key)
            if seconds > 0:
                raise ThrottledError(by, seconds, under_way=bucket.has_under_way(key))
        for _, bucket, key in limits:
            bucket.take(key)
        return attempt

    def ended(self, attempt: Attempt) -> None:
        """Note that an attempt is no longer under way; one that neither succeeded nor was cancelled has failed."""
        for _, bucket, key in self._limits(attempt):
            bucket.end(key)

    def succeeded(self, attempt: Attempt) -> None:
        """Trust the user at this address from now on."""
        self.cancelled(attempt)
        self._pairs.reset(attempt.pair)
        self._trusted.pop(attempt.pair, None)
        while len(self._trusted) >= MAX_KEYS:
            del self._trusted[next(iter(self._trusted))]
        self._trusted[attempt.pair] = None

    def cancelled(self, attempt: Attempt) -> None:
        """Give back an attempt that came to no end, for want of a database or of time."""
        for _, bucket, key in self._limits(attempt):
            bucket.give_back(key)

    def _limits(self, attempt: Attempt) -> list[tuple[str, Bucket, str]]:
        """Give who is limited, by which bucket, under which key."""
        of_pair = ("user name", self._pairs, attempt.pair)
        if attempt.trusted:
            return [of_pair]
        of_address = ("address", self._addresses, attempt.address)
        return [of_address, of_pair, ("user name", self._usernames, attempt.username)]


def network(address: str | None) -> str:
    """Give what one customer holds: an IPv4 address, or the first 64 bits of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
