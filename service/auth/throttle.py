"""Limits to failed logins, by address and by user name, in bounded memory."""

import ipaddress
import math
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

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
