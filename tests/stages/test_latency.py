"""What is measured of the served code path."""

import numpy as np
import pandas as pd

from service.contract import Contract, NumberFeature
from service.model import Model
from stages.register import latency

FEATURE = NumberFeature(name="a", nullable=False, minimum=0, maximum=1, bin_edges=(), bin_shares=(1.0, 0.0))


class Counting(Model):
    """A model without a session that notes how many rows it was asked for."""

    def scores(self, matrix: np.ndarray) -> np.ndarray:
        ASKED.append(len(matrix))
        return matrix[:, 0]


ASKED: list[int] = []


def test_single_rows_and_batches_are_timed_through_the_service() -> None:
    contract = Contract(task="regression", target="y", classes=(), features=(FEATURE,))
    rows = pd.DataFrame({"a": np.linspace(0, 1, 30)})

    found = latency.measure(Counting(contract, "", session=None), rows)

    assert set(ASKED) == {1, 30}
    assert 0 < found["predict_one_row_p50_seconds"] <= found["predict_one_row_p99_seconds"] < 1
    assert found["predict_batch_rows_per_second"] > 30
