"""Values that are collected first get into the same buckets."""

from prometheus_client import CollectorRegistry

from service.instruments.families import Histogram


def test_values_observed_together_count_as_one_by_one() -> None:
    registry, values = CollectorRegistry(), [0.0, 0.5, 1.0, 1.0001, 2.0, 7.0]
    one_by_one, together = (Histogram(name, "Values.", buckets=(1.0, 2.0), registry=registry) for name in "ab")

    for value in values:
        one_by_one.observe(value)
    together.observe_all(values)

    first, second = (
        [(each.labels, each.value) for each in family.samples if not each.name.endswith("_created")]
        for family in registry.collect()
    )
    assert first == second
