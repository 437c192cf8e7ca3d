"""A running service whose clock is set: forward by a year, back by hours, while callers and files go on."""

import json
import shutil
import struct
import subprocess
import sys
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.service.artifacts import Root, onnx_bytes, written
from tests.service.processes import BODY, Service, running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clock")]

HOUR, YEAR = 3600.0, 365 * 86_400.0
TIMES = 12
"""Requests on connections of their own, so many that either worker gets some."""
CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile double *offset;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("CLOCK_OFFSET"), O_RDONLY);
    offset = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    close(file);
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    long answer = syscall(SYS_clock_gettime, clock, now);
    if (!answer && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += (time_t)*offset;
    return answer;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    int answer = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec, now->tv_usec = precise.tv_nsec / 1000;
    return answer;
}
time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}
"""
"""The system's clock with so many seconds added as stand in a file; its monotonic clocks stay as they are."""

SetClock = Callable[[float], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the clock in it."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("a clock that can be set is compiled, which needs Linux and `cc`")
    made = tmp_path_factory.mktemp("clock")
    (made / "clock.c").write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made / "clock.so", made / "clock.c"], check=True)
    (made / "offset").write_bytes(struct.pack("d", 0.0))
    return made


@pytest.fixture(scope="module")
def root(folder: Path) -> Root:
    return written(folder / "served")


@pytest.fixture(scope="module")
def whole(folder: Path, root: Root) -> Iterator[Service]:
    """Return a service with two workers that use that clock."""
    changes = {"LD_PRELOAD": str(folder / "clock.so"), "CLOCK_OFFSET": str(folder / "offset"), "WORKERS": "2"}
    with running(root, **changes) as made:
        yield made


@pytest.fixture
def set_clock(folder: Path) -> Iterator[SetClock]:
    """Return a function that changes the service's clock by some seconds; it is right again after the test."""

    def set_(seconds: float) -> None:
        with (folder / "offset").open("r+b") as file:
            file.write(struct.pack("d", seconds))

    yield set_
    set_(0.0)


@pytest.fixture
def service(whole: Service, set_clock: SetClock) -> Service:
    """Return the service with its admin signed in by the right clock, and known to both workers."""
    whole.sign_in()
    assert statuses(whole) == {200}
    return whole


def statuses(service: Service) -> set[int]:
    return {service.client.post("/predict", json=BODY).status_code for _ in range(TIMES)}


def claims(service: Service) -> dict[str, float]:
    payload = service.client.headers["Authorization"].split(".")[1]
    found: dict[str, float] = json.loads(urlsafe_b64decode(payload + "=="))
    return found


def lines(service: Service) -> list[dict[str, float]]:
    return [line for line in map(json.loads, service.output().splitlines()) if "duration_ms" in line]


@pytest.mark.parametrize("seconds", [YEAR, -3 * HOUR])
def test_the_service_goes_by_the_clock_that_is_set(service: Service, set_clock: SetClock, seconds: float) -> None:
    set_clock(seconds)
    service.sign_in()

    assert claims(service)["iat"] == pytest.approx(time.time() + seconds, abs=60)


@pytest.mark.parametrize("seconds", [YEAR, 2 * HOUR, -3 * HOUR])
def test_tokens_of_another_time_count_in_no_worker(service: Service, set_clock: SetClock, seconds: float) -> None:
    set_clock(seconds)

    assert statuses(service) == {401}


@pytest.mark.parametrize("seconds", [YEAR, -3 * HOUR])
def test_new_tokens_count_at_once(service: Service, set_clock: SetClock, seconds: float) -> None:
    set_clock(seconds)
    service.sign_in()

    assert statuses(service) == {200}


def test_a_clock_put_right_by_seconds_ends_no_token(service: Service, set_clock: SetClock) -> None:
    for seconds in (5.0, -5.0):
        set_clock(seconds)

        assert statuses(service) == {200}


@pytest.mark.parametrize("seconds", [YEAR, -3 * HOUR])
def test_a_new_model_is_served_within_seconds(
    service: Service, root: Root, set_clock: SetClock, seconds: float
) -> None:
    set_clock(seconds)
    service.sign_in()
    version = root.write(onnx_bytes(lean=1.0 if seconds > 0 else 2.0))

    wait_for(lambda: {service.version() for _ in range(TIMES)} == {version}, "the new model", seconds=5)


@pytest.mark.parametrize("seconds", [YEAR, -3 * HOUR])
def test_a_user_who_is_disabled_is_shut_out_within_seconds(
    service: Service, set_clock: SetClock, seconds: float
) -> None:
    user = {"username": f"user{abs(seconds):.0f}", "password": "battery staple"}
    assert service.client.post("/admin/users", json=user).status_code == 201
    set_clock(seconds)
    service.sign_in()
    token = service.client.post("/token", data=user).json()["access_token"]
    as_admin = service.client.headers["Authorization"]
    service.client.headers["Authorization"] = f"Bearer {token}"
    assert statuses(service) == {200}

    disable = f"/admin/users/{user['username']}/disable"
    assert service.client.post(disable, headers={"Authorization": as_admin}).status_code == 204
    wait_for(lambda: statuses(service) == {401}, "the end of the token", seconds=5)


@pytest.mark.parametrize("seconds", [YEAR, -3 * HOUR])
def test_a_guesser_waits_no_longer_than_the_window(service: Service, set_clock: SetClock, seconds: float) -> None:
    wrong = {"username": f"guessed{abs(seconds):.0f}", "password": "wrong horse"}

    def guess() -> str | None:
        return next(
            (answer.headers["Retry-After"] for answer in (service.client.post("/token", data=wrong) for _ in range(30))
             if answer.status_code == 429),
            None,
        )  # fmt: skip

    assert guess() is not None
    set_clock(seconds)
    assert 1 <= int(guess() or 0) <= 60


def test_no_request_took_less_than_nothing_or_longer_than_it_did(service: Service, set_clock: SetClock) -> None:
    for seconds in (YEAR, -3 * HOUR, 0.0):
        set_clock(seconds)
        service.sign_in()
        assert statuses(service) == {200}
    wait_for(lambda: len(lines(service)) > 3 * TIMES, "the access log")

    assert all(0 <= line["duration_ms"] < 20_000 for line in lines(service))
    assert 0 < service.metric("http_request_duration_seconds_sum") < 600


def test_no_worker_ended_meanwhile(service: Service) -> None:
    assert service.metric("service_worker_restarts_total") == 0
