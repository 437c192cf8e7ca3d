"""Many callers of POST /feedback at once, on either engine."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.service.artifacts import written
from tests.service.processes import BODY, Service, running

pytestmark = pytest.mark.slow

CALLERS = 32
TIMES = 2


def _call(service: Service, ids: list[str], start: threading.Barrier) -> list[int]:
    """Send feedback repeatedly on one connection; return the statuses."""
    with httpx.Client(
        base_url=service.client.base_url, headers=service.client.headers, trust_env=False, timeout=60
    ) as client:
        start.wait()
        truths = [{"prediction_id": each, "actual": "yes"} for each in ids]
        return [client.post("/feedback", json=truth).status_code for truth in truths]


def test_callers_at_once_wait_for_each_other_and_all_are_answered(database_url: str, tmp_path: Path) -> None:
    with running(written(tmp_path), WORKERS="2", DATABASE_URL=database_url) as service:
        rows = BODY["instances"] * CALLERS * TIMES
        ids = service.client.post("/predict?ids=true", json={"instances": rows}).json()["prediction_ids"]
        start = threading.Barrier(CALLERS)
        with ThreadPoolExecutor(CALLERS) as threads:
            shares = [ids[number::CALLERS] for number in range(CALLERS)]
            statuses = [each for one in threads.map(lambda share: _call(service, share, start), shares) for each in one]

        assert statuses == [200] * CALLERS * TIMES
        assert service.metric("feedback_rows_total") == CALLERS * TIMES
