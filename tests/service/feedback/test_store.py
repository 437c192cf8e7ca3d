"""Truths told to several workers at once."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from service.contract import Label
from service.feedback.counts import ContradictionError
from service.feedback.prediction_ids import Prediction
from service.feedback.store import FeedbackStore
from service.users.accounts import Accounts
from service.users.database import Database


def tell_at_once(database_url: str, connect: Callable[[str], Database], *truths: Label) -> list[bool | str]:
    prediction = Prediction(os.urandom(16), int(time.time()), b"v" * 16, "late")
    start = threading.Barrier(len(truths))

    def tell(truth: Label) -> bool | str:
        store = FeedbackStore(connect(database_url))
        start.wait()
        try:
            return store.keep(prediction, truth)
        except ContradictionError as error:
            return str(error)

    with ThreadPoolExecutor(len(truths)) as threads:
        return list(threads.map(tell, truths))


def test_a_truth_told_to_two_workers_at_once_is_new_to_one(
    accounts: Accounts, database_url: str, connect: Callable[[str], Database]
) -> None:
    accounts.migrate()
    for _ in range(5):
        assert sorted(map(str, tell_at_once(database_url, connect, "late", "late"))) == ["False", "True"]


def test_of_two_truths_told_at_once_one_stays(
    accounts: Accounts, database_url: str, connect: Callable[[str], Database]
) -> None:
    accounts.migrate()
    kept, refused = sorted(map(str, tell_at_once(database_url, connect, "late", "on time")), key=len)
    assert kept == "True"
    assert "came for this prediction before" in refused
