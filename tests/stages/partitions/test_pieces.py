"""Pieces give the same results in order, wherever they are computed, and survive a worker that is killed."""

import operator
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.errors import UserError
from stages.partitions.executors import Spread
from stages.partitions.pieces import map_pieces

EVERYWHERE = [Spread(), Spread(threads=2), Spread(workers=2)]


def process_of(shared: object, piece: object) -> int:
    return os.getpid()


def identity(shared: object, piece: object) -> int:
    return id(shared)


def end_once(marker: Path, piece: int) -> int:
    """Kill the worker at the first piece that is more than 3."""
    if piece > 3:
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            return -piece
        os.kill(os.getpid(), signal.SIGKILL)
    return -piece


def end_always(shared: object, piece: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("spread", EVERYWHERE)
def test_results_come_in_the_order_of_the_pieces(spread: Spread) -> None:
    assert list(map_pieces(operator.add, 100, range(30), spread)) == list(range(100, 130))


def test_only_a_few_pieces_are_read_ahead() -> None:
    read = 0

    def pieces() -> Iterator[int]:
        nonlocal read
        for number in range(1000):
            read += 1
            yield number

    results = map_pieces(operator.add, 0, pieces(), Spread(threads=2))

    assert next(results) == 0
    assert read <= 5
    results.close()  # type: ignore[attr-defined]


def test_workers_are_other_processes_and_get_the_shared_value_once() -> None:
    assert os.getpid() not in set(map_pieces(process_of, 0, range(4), Spread(workers=2)))
    assert len(set(map_pieces(identity, ["large"], range(8), Spread(workers=2)))) <= 2


@pytest.mark.parametrize("spread", EVERYWHERE)
def test_the_first_piece_with_an_error_decides(spread: Spread) -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_pieces(operator.floordiv, 1, [1, 2, 0, "text"], spread))


def test_the_pieces_of_a_killed_worker_run_again(tmp_path: Path) -> None:
    found = list(map_pieces(end_once, tmp_path / "killed", range(12), Spread(workers=2)))

    assert (tmp_path / "killed").exists()
    assert found == [-number for number in range(12)]


def test_workers_that_always_end_stop_the_command_in_one_line() -> None:
    with pytest.raises(UserError, match="worker processes end before their work is done"):
        list(map_pieces(end_always, 0, range(3), Spread(workers=2)))


def test_the_environment_says_where_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", "3")
    assert Spread.of_environment(threads=2) == Spread(3, None, 2)

    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:8786")
    assert Spread.of_environment().scheduler == "tcp://127.0.0.1:8786"


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5"])
def test_a_number_of_workers_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("WORKERS", text)

    with pytest.raises(UserError, match=rf"^WORKERS: got '{text}'; expected a whole number above 0"):
        Spread.of_environment()
