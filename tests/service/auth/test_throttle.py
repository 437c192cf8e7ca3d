"""The throttle: who is slowed down, who isn't, and for how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.auth import throttle as module
from service.auth.throttle import Bucket, Throttle, ThrottledError, network


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


def fail(throttle: Throttle, times: int, address: str = "192.0.2.1", username: str = "anna") -> None:
    for _ in range(times):
        throttle.admit(address, username)


def test_a_user_at_one_address_has_as_many_attempts_as_set(throttle: Throttle) -> None:
    fail(throttle, 5)

    with pytest.raises(ThrottledError, match="user name"):
        throttle.admit("192.0.2.1", "anna")


def test_the_error_tells_after_how_many_seconds_the_next_attempt_is_admitted(throttle: Throttle, clock: Clock) -> None:
    fail(throttle, 5)
    with pytest.raises(ThrottledError) as caught:
        throttle.admit("192.0.2.1", "anna")

    assert caught.value.seconds == 12
    clock.now += 12
    throttle.admit("192.0.2.1", "anna")


def test_a_refused_attempt_does_not_prolong_the_wait(throttle: Throttle, clock: Clock) -> None:
    fail(throttle, 5)
    for _ in range(100):
        with pytest.raises(ThrottledError):
            throttle.admit("192.0.2.1", "anna")

    clock.now += 12
    throttle.admit("192.0.2.1", "anna")


def test_an_address_that_tries_many_names_is_slowed_down(throttle: Throttle) -> None:
    for number in range(20):
        throttle.admit("192.0.2.1", f"user{number}")

    with pytest.raises(ThrottledError, match="address"):
        throttle.admit("192.0.2.1", "user20")


def test_another_address_is_not_slowed_down_with_it(throttle: Throttle) -> None:
    fail(throttle, 5)

    throttle.admit("192.0.2.2", "bob")


def test_many_addresses_that_try_one_name_are_slowed_down(throttle: Throttle) -> None:
    for number in range(20):
        throttle.admit(f"198.51.100.{number}", "anna")

    with pytest.raises(ThrottledError, match="user name"):
        throttle.admit("198.51.100.99", "anna")


def test_a_botnet_does_not_lock_a_user_out_of_a_known_address(throttle: Throttle) -> None:
    throttle.succeeded(throttle.admit("192.0.2.1", "anna"))
    for number in range(20):
        throttle.admit(f"198.51.100.{number}", "anna")

    throttle.admit("192.0.2.1", "anna")


def test_a_neighbour_behind_the_same_router_does_not_lock_a_known_user_out(throttle: Throttle) -> None:
    throttle.succeeded(throttle.admit("192.0.2.1", "anna"))
    for number in range(20):
        throttle.admit("192.0.2.1", f"user{number}")

    throttle.admit("192.0.2.1", "anna")


def test_a_known_user_is_slowed_down_at_the_known_address_too(throttle: Throttle) -> None:
    throttle.succeeded(throttle.admit("192.0.2.1", "anna"))
    fail(throttle, 5)

    with pytest.raises(ThrottledError, match="user name"):
        throttle.admit("192.0.2.1", "anna")


def test_a_login_clears_the_users_own_failures(throttle: Throttle) -> None:
    fail(throttle, 4)
    throttle.succeeded(throttle.admit("192.0.2.1", "anna"))

    fail(throttle, 5)


def test_logins_to_an_own_account_do_not_clear_the_way_for_guessing_others(throttle: Throttle) -> None:
    for number in range(20):
        throttle.succeeded(throttle.admit("192.0.2.1", "mallory"))
        throttle.admit("192.0.2.1", f"victim{number}")

    with pytest.raises(ThrottledError, match="address"):
        throttle.admit("192.0.2.1", "victim20")


def test_a_cancelled_attempt_is_not_counted(throttle: Throttle) -> None:
    for _ in range(100):
        throttle.cancelled(throttle.admit("192.0.2.1", "anna"))

    throttle.admit("192.0.2.1", "anna")


def test_attempts_that_run_at_once_all_count(throttle: Throttle) -> None:
    running = [throttle.admit("192.0.2.1", "anna") for _ in range(5)]

    with pytest.raises(ThrottledError):
        throttle.admit("192.0.2.1", "anna")
    throttle.cancelled(running[0])
    throttle.admit("192.0.2.1", "anna")


def test_each_worker_takes_its_share_of_the_limit(clock: Clock) -> None:
    shared = Throttle(attempts=5, window=60.0, workers=2, clock=clock)
    fail(shared, 3)

    with pytest.raises(ThrottledError):
        shared.admit("192.0.2.1", "anna")


def test_memory_is_bounded_whatever_is_tried(monkeypatch: pytest.MonkeyPatch, throttle: Throttle) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 50)
    for number in range(500):
        throttle.succeeded(throttle.admit(f"10.0.{number // 256}.{number % 256}", f"user{number}"))
        throttle.admit(f"10.1.{number // 256}.{number % 256}", f"user{number}")

    buckets = (throttle._pairs, throttle._addresses, throttle._usernames)
    assert [len(bucket._full_at) for bucket in buckets] == [50, 50, 50]
    assert len(throttle._trusted) == 50


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
def test_an_address_stands_for_what_one_customer_holds(address: str | None, expected: str) -> None:
    assert network(address) == expected


@given(
    burst=st.integers(1, 50),
    window=st.floats(1, 3600),
    pauses=st.lists(st.floats(0, 100), min_size=1, max_size=60),
)
def test_no_key_gets_more_than_its_burst_and_the_refill(burst: int, window: float, pauses: list[float]) -> None:
    clock, admitted = Clock(), 0
    bucket = Bucket(burst, window, clock)
    for pause in pauses:
        clock.now += pause
        if bucket.wait("key") == 0:
            bucket.take("key")
            admitted += 1

    assert admitted <= burst + sum(pauses) * burst / window + 1
