"""The training rows raise no drift alert, whatever kinds of features they have; rows that differ do."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from monitoring.timing import PRODUCTION
from service.contract import BooleanFeature
from tests.monitoring.programs import program
from tests.monitoring.world import Prometheus, make_model, prometheus
from tests.service.processes import running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("no_drift"), pytest.mark.timeout(240)]

ROWS = 24_000
AT_ONCE = 8_000
TIMING = replace(PRODUCTION, scrape="1s", evaluation="1s", daily_evaluation="1s", later="3s")
"""Production's windows, but Prometheus scrapes often and alerts are pending for a shorter time."""
DRIFTED = 'ALERTS{alertname=~"FeatureDrift|UnseenValues|MissingValues",alertstate="firing"}'


def _missing(values: object, share: float, rng: np.random.Generator) -> pd.Series:
    return pd.Series(values).mask(rng.random(ROWS) < share)


def _categories(number: int, rng: np.random.Generator) -> list[str]:
    """Return names, of which a few are frequent and most are rare."""
    weights = 1 / np.arange(1, number + 1)
    return [f"name {each}" for each in rng.choice(number, ROWS, p=weights / weights.sum())]


def _table() -> pd.DataFrame:
    """Return a table with a column of each kind."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame(
        {
            "number": rng.normal(size=ROWS),
            "ties": rng.normal(size=ROWS).round(1),
            "nearly constant": np.where(rng.random(ROWS) < 0.97, 5.0, rng.uniform(0, 10, ROWS)),
            "nearly maximal": np.where(rng.random(ROWS) < 0.97, 5.0, rng.uniform(0, 5, ROWS)),
            "small integer": rng.integers(0, 4, ROWS),
            "large integer": rng.integers(0, 2**40, ROWS),
            "boolean": rng.random(ROWS) < 0.4,
            "date": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**8, ROWS), unit="s"),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 60, ROWS), unit="D"),
            "3 categories": _categories(3, rng),
            "200 categories": _categories(200, rng),
            "5000 categories": _categories(5000, rng),
            "5000 equal": [f"name {each}" for each in rng.integers(0, 5000, ROWS)],
            "20 % missing": _missing(rng.normal(size=ROWS), 0.2, rng),
            "50 % missing": _missing(_categories(200, rng), 0.5, rng),
            "70 % missing": _missing(
                pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, ROWS), unit="D"), 0.7, rng
            ),
            "80 % missing": _missing(rng.random(ROWS) < 0.5, 0.8, rng).astype("boolean"),
            "90 % missing": _missing(_categories(5000, rng), 0.9, rng),
        }
    )
    # The target hardly depends on the columns, so the model fits its training rows better than any others.
    table["y"] = np.where(table["number"] + rng.normal(size=ROWS) * 3 > 0, "late", "on_time")
    return table


def _shift(rows: pd.DataFrame) -> pd.DataFrame:
    """Change every column, if possible within training's range."""
    rng = np.random.default_rng(6)
    shifted = rows.copy()
    for name in ("number", "ties", "large integer", "20 % missing"):
        shifted[name] = rows[name].median()
    shifted[["nearly constant", "nearly maximal"]] = 3.0
    shifted["small integer"] = 2
    shifted["boolean"], shifted["80 % missing"] = True, True
    shifted["date"], shifted["day"] = rows["date"].min(), rows["day"].min()
    shifted["70 % missing"] = rows["70 % missing"].dropna().median()
    shifted["3 categories"] = "name 2"
    for name in ("200 categories", "50 % missing", "90 % missing"):
        shifted[name] = "name 7"
    for name in ("5000 categories", "5000 equal"):
        shifted[name] = [f"new {each}" for each in rng.integers(0, 5000, len(rows))]
    return shifted


@dataclass(frozen=True)
class Watched:
    """A service and a Prometheus that scrapes it."""

    client: httpx.Client
    prometheus: Prometheus
    rows: pd.DataFrame

    def send(self, rows: pd.DataFrame) -> None:
        """Send rows as CSV, and wait until the rules have counted them all and alerts could fire."""
        before = self.prometheus.value("score:rows:sum1h") or 0
        for start in range(0, len(rows), AT_ONCE):
            piece = rows.iloc[start : start + AT_ONCE].to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S")
            answer = self.client.post("/predict", content=piece, headers={"Content-Type": "text/csv"})
            assert answer.status_code == 200, answer.text
        judged = f"score:rows:sum24h == {before + len(rows)} and on () (time() - timestamp(score:psi:24h) < 2)"
        wait_for(lambda: self.prometheus.value(judged) is not None, "the rules", 30)


@pytest.fixture(scope="module")
def watched(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Return a service whose model has all kinds of features, and its training rows."""
    program("prometheus")
    folder = tmp_path_factory.mktemp("no_drift")
    artifact, contract, rows = make_model(folder / "root", root, _table())
    booleans = [feature.name for feature in contract.features if isinstance(feature, BooleanFeature)]
    rows = rows[[feature.name for feature in contract.features]].astype(dict.fromkeys(booleans, "boolean"))
    with running(artifact) as service, prometheus(folder / "prometheus", service.port, timing=TIMING) as seen:
        client = httpx.Client(base_url=service.client.base_url, headers=service.client.headers, trust_env=False)
        with client:
            client.timeout = httpx.Timeout(60)
            yield Watched(client, seen, rows)


def _values(watched: Watched, expr: str) -> dict[str, float]:
    return {each["metric"].get("feature", ""): float(each["value"][1]) for each in watched.prometheus.query(expr)}


def test_the_training_rows_fire_nothing_and_a_shift_of_each_column_fires(watched: Watched) -> None:
    watched.send(watched.rows)
    wait_for(lambda: watched.prometheus.query("count_over_time(score:psi:24h[5m]) > 6") != [], "evaluations", 30)
    for window in ("1h", "24h"):
        found = _values(watched, f"feature:psi:{window}") | _values(watched, f"score:psi:{window}")
        assert found.keys() == {*watched.rows.columns, ""}
        assert max(found.values()) < 0.02, found
    assert watched.prometheus.query("ALERTS") == []  # neither pending nor firing

    watched.send(pd.concat([_shift(watched.rows)] * 2))
    columns = {*watched.rows.columns}
    wait_for(lambda: _values(watched, DRIFTED).keys() == columns, "an alert of each column", 30)
