"""The throttle: who is slowed down, who isn't, and for how long."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.auth import logins as module
from service.auth.logins import Throttle, ThrottledError, network

HOME = "192.0.2.1"
NAMES = [(HOME, f"user{number}") for number in range(20)]
BOTNET = [(f"198.51.100.{number}", "anna") for number in range(20)]


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(attempts=5, window=60.0, clock=clock)


def fail(throttle: Throttle, *attempts: tuple[str, str]) -> None:
    for address, username in attempts:
        throttle.check(address, username)
        throttle.count_failure(address, username)


def test_a_user_at_one_address_has_five_attempts_and_then_one_in_twelve_seconds(
    throttle: Throttle, clock: Clock
) -> None:
    fail(throttle, *[(HOME, "anna")] * 5)
    for _ in range(100):  # a refused attempt doesn't prolong the wait
        with pytest.raises(ThrottledError, match="user name") as caught:
            throttle.check(HOME, "anna")

    assert caught.value.seconds == 12
    clock.now += 12
    throttle.check(HOME, "anna")


@pytest.mark.parametrize(
    ("attempts", "address", "username", "by"),
    [(NAMES, HOME, "another", "address"), (BOTNET, "198.51.100.99", "anna", "user name")],
)
def test_many_names_from_one_address_and_many_addresses_for_one_name_are_slowed_down(
    throttle: Throttle, attempts: list[tuple[str, str]], address: str, username: str, by: str
) -> None:
    fail(throttle, *attempts)

    with pytest.raises(ThrottledError, match=by):
        throttle.check(address, username)
    throttle.check("203.0.113.1", "bob")


@pytest.mark.parametrize("attempts", [NAMES, BOTNET])
def test_neither_a_botnet_nor_a_neighbour_locks_a_known_user_out(
    throttle: Throttle, attempts: list[tuple[str, str]]
) -> None:
    throttle.trust(HOME, "anna")
    fail(throttle, *attempts)

    throttle.check(HOME, "anna")


def test_a_login_clears_the_users_own_failures_and_no_others(throttle: Throttle) -> None:
    fail(throttle, *[(HOME, "anna")] * 4)
    throttle.trust(HOME, "anna")
    fail(throttle, *[(HOME, "anna")] * 5)
    for victim in NAMES[:16]:
        throttle.trust(HOME, "mallory")
        fail(throttle, victim)

    with pytest.raises(ThrottledError, match="address"):
        throttle.check(HOME, "another")


def test_each_worker_takes_its_share_of_the_limit(clock: Clock) -> None:
    shared = Throttle(attempts=5, window=60.0, workers=2, clock=clock)
    fail(shared, *[(HOME, "anna")] * 3)

    with pytest.raises(ThrottledError):
        shared.check(HOME, "anna")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, throttle: Throttle) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 50)
    for number in range(500):
        throttle.trust(f"10.0.{number // 256}.{number % 256}", f"user{number}")
        fail(throttle, (f"10.1.{number // 256}.{number % 256}", f"user{number}"))

    assert (len(throttle._forgiven_at), len(throttle._trusted)) == (50, 50)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unix", "unix"),
        (None, "unknown"),
    ],
)
def test_an_address_counts_with_its_ipv6_network(address: str | None, expected: str) -> None:
    assert network(address) == expected


@given(
    attempts=st.integers(1, 50),
    window=st.floats(1, 3600),
    pauses=st.lists(st.floats(0, 100), min_size=1, max_size=60),
)
def test_no_user_gets_more_than_the_attempts_and_the_refill(attempts: int, window: float, pauses: list[float]) -> None:
    clock, admitted = Clock(), 0
    throttle = Throttle(attempts, window, clock=clock)
    for pause in pauses:
        clock.now += pause
        with contextlib.suppress(ThrottledError):
            fail(throttle, (HOME, "anna"))
            admitted += 1

    assert admitted <= attempts + sum(pauses) * attempts / window + 1
