"""Outcomes sent to several workers at once."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from service.contract import Label
from service.feedback import ContradictionError, Outcome, Prediction, store_outcomes
from service.users.accounts import Accounts
from service.users.database import Database


def predicted() -> Prediction:
    return Prediction(os.urandom(16), int(time.time()), b"v" * 16, "late")


def store_at_once(database_url: str, connect: Callable[[str], Database], *outcomes: Label) -> list[bool | str]:
    prediction = predicted()
    start = threading.Barrier(len(outcomes))

    def store_one(outcome: Label) -> bool | str:
        database = connect(database_url)
        start.wait()
        try:
            return bool(store_outcomes(database, [Outcome(prediction, outcome)]))
        except ContradictionError as error:
            return f"{error.stored[0]} stays"

    with ThreadPoolExecutor(len(outcomes)) as threads:
        return list(threads.map(store_one, outcomes))


def test_an_outcome_sent_to_two_workers_at_once_is_new_once(
    accounts: Accounts, database_url: str, connect: Callable[[str], Database]
) -> None:
    accounts.prepare()
    for _ in range(5):
        assert sorted(map(str, store_at_once(database_url, connect, "late", "late"))) == ["False", "True"]


def test_of_two_outcomes_sent_at_once_one_stays(
    accounts: Accounts, database_url: str, connect: Callable[[str], Database]
) -> None:
    accounts.prepare()
    kept, refused = sorted(map(str, store_at_once(database_url, connect, "late", "on time")), key=len)
    assert kept == "True"
    assert refused in {'"late" stays', '"on time" stays'}


def test_batches_of_the_same_predictions_in_different_orders_do_not_wait_for_each_other_for_ever(
    accounts: Accounts, database_url: str, connect: Callable[[str], Database]
) -> None:
    accounts.prepare()
    outcomes = [Outcome(predicted(), "late") for _ in range(1000)]
    start = threading.Barrier(4)

    def store_one(number: int) -> int:
        ordered = outcomes if number % 2 else outcomes[::-1]
        database = connect(database_url)
        start.wait()
        return len(store_outcomes(database, ordered))

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(store_one, range(4))) == len(outcomes)
