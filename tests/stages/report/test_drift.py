"""Drift in the report is what the service would count for the same rows."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from service.inputs.layout import Layout
from service.instruments.bins import Bins
from stages.params.params import Params
from stages.prepare.__main__ import prepare
from stages.report.drift import FLOOR, drift


def test_the_index_is_the_one_of_the_services_counts(hard_table: pd.DataFrame, params: Callable[..., Params]) -> None:
    _, rows, schema = prepare(hard_table.drop(columns="when"), params())
    contract = schema.contract
    bins = Bins(contract, Layout(contract))
    places = bins.places(contract.encode(rows))
    first = 0
    for feature, counted, row in zip(contract.features, bins.features, places, strict=True):
        live = np.bincount(row - first, minlength=len(counted.names)) / len(rows)
        first += len(counted.names)
        live, reference = np.maximum(live, FLOOR), np.maximum(counted.shares, FLOOR)
        expected = ((live - reference) * np.log(live / reference)).sum()
        assert drift(contract, rows)[feature.name] == pytest.approx(expected), feature.name
