"""The registry's versions as text for Prometheus."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stages._exposition import Version, text

NEW = Version("2", "b" * 32, 1_700_000_000.5, champion=True, rows=700, metrics={"roc_auc": 0.8, "fit_seconds": 2.5})
OLD = Version(
    "1", "a" * 32, 1_600_000_000.0, champion=False, rows=None, metrics={"roc_auc": 0.7, "baseline_roc_auc": 0.5}
)


@pytest.fixture
def samples() -> dict[tuple[str, ...], float]:
    """Give the values by name and labels' values."""
    families = text_string_to_metric_families(text('fl"ights', [NEW, OLD]))
    return {(each.name, *sorted(each.labels.values())): each.value for family in families for each in family.samples}


def test_each_version_has_its_metrics_but_no_baseline(samples: dict[tuple[str, ...], float]) -> None:
    metric = {key[1:]: value for key, value in samples.items() if key[0] == "registered_model_metric"}
    assert sorted(metric.values()) == [0.7, 0.8, 2.5]
    assert metric["2", "b" * 32, 'fl"ights', "roc_auc"] == 0.8


def test_time_champion_and_rows_are_told(samples: dict[tuple[str, ...], float]) -> None:
    old, new = ("1", "a" * 32, 'fl"ights'), ("2", "b" * 32, 'fl"ights')
    assert samples["registered_model_created_timestamp_seconds", *new] == 1_700_000_000.5
    assert (samples["registered_model_champion", *new], samples["registered_model_champion", *old]) == (1, 0)
    assert samples["registered_model_training_rows", *new] == 700
    assert ("registered_model_training_rows", *old) not in samples


def test_the_run_of_each_version_is_told() -> None:
    version = Version("2", "b" * 32, 1.0, champion=True, rows=None, run_id="f" * 32)
    families = text_string_to_metric_families(text("flights", [version]))
    (info,) = (sample for family in families for sample in family.samples if sample.name == "registered_model_info")
    assert info.labels == {"name": "flights", "number": "2", "version": "b" * 32, "run_id": "f" * 32}
