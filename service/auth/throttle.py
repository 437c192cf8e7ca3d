"""Limits to failed logins, by address and by user name, in bounded memory."""

import ipaddress
import math
import time
from collections.abc import Callable
from typing import Final

MAX_KEYS: Final = 10_000
"""Addresses, names and pairs remembered of each kind, about 200 bytes each."""

Clock = Callable[[], float]


class ThrottledError(Exception):
    """Too many failed logins; `by` says of whom, `seconds` when to try again."""

    def __init__(self, by: str, seconds: float) -> None:
        super().__init__(f"too many failed logins for this {by}")
        self.by = by
        self.seconds = math.ceil(seconds)


class Bucket:
    """Allows each key `burst` failures at once, and then one every `window / burst` seconds.

    A key is one number: the moment at which its bucket is full again. When there are too many keys, the
    one used longest ago is forgotten.
    """

    def __init__(self, burst: int, window: float, clock: Clock) -> None:
        self._interval = window / burst
        self._window = window
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def wait(self, key: str) -> float:
        """Return how many seconds the key has to wait for its next attempt; 0 if it may now."""
        return max(0.0, self._full_at.get(key, 0.0) + self._interval - self._window - self._clock())

    def take(self, key: str) -> None:
        """Count a failure."""
        full_at = max(self._full_at.pop(key, 0.0), self._clock())
        while len(self._full_at) >= MAX_KEYS:
            del self._full_at[next(iter(self._full_at))]
        self._full_at[key] = full_at + self._interval

    def reset(self, key: str) -> None:
        """Forget the key's failures."""
        self._full_at.pop(key, None)


class Throttle:
    """Lets a login be tried, or says how long to wait.

    Three limits hold. An address gets four times `attempts`, whatever the names, so that many people behind
    one router have room. A user at one address gets `attempts`. A user gets four times `attempts` from all
    addresses together, which stops a botnet. Only the second limit holds for a user who has logged in from
    that address before, so that neither strangers elsewhere nor a neighbour behind the same router locks the
    user out. Only failures count.

    The counts live in one worker, and none is written to the database, which an attacker would otherwise
    keep busy. With several workers each takes its share of the limit.
    """

    def __init__(self, attempts: int, window: float, workers: int = 1, clock: Clock = time.monotonic) -> None:
        share = max(1, math.ceil(attempts / workers))
        self._pairs = Bucket(share, window, clock)
        self._addresses = Bucket(4 * share, window, clock)
        self._usernames = Bucket(4 * share, window, clock)
        self._trusted: dict[str, None] = {}

    def check(self, address: str, username: str) -> None:
        """Raise ThrottledError after too many failures."""
        for by, bucket, key in self._limits(address, username):
            seconds = bucket.wait(key)
            if seconds > 0:
                raise ThrottledError(by, seconds)

    def count_failure(self, address: str, username: str) -> None:
        """Count a wrong password."""
        for _, bucket, key in self._limits(address, username):
            bucket.take(key)

    def trust(self, address: str, username: str) -> None:
        """Trust the user at this address from now on, after a right password."""
        pair = f"{address} {username}"
        self._pairs.reset(pair)
        self._trusted.pop(pair, None)
        while len(self._trusted) >= MAX_KEYS:
            del self._trusted[next(iter(self._trusted))]
        self._trusted[pair] = None

    def _limits(self, address: str, username: str) -> list[tuple[str, Bucket, str]]:
        """Return who is limited, by which bucket, under which key."""
        pair = f"{address} {username}"
        of_pair = ("user name", self._pairs, pair)
        if pair in self._trusted:
            return [of_pair]
        return [("address", self._addresses, address), of_pair, ("user name", self._usernames, username)]


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
