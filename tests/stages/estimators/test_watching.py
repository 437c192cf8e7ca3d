"""A long fit shows how many rounds are done."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stages.estimators import fitting
from stages.params.params import Params
from stages.prepare.__main__ import prepare
from stages.progress import timed


@pytest.mark.parametrize("target", ["class", "a number far from zero"])
@pytest.mark.parametrize("model", ["hist_gradient_boosting", "lightgbm"])
def test_a_fit_shows_its_rounds(
    params: Callable[..., Params], caplog: pytest.LogCaptureFixture, model: str, target: str
) -> None:
    caplog.set_level("INFO", "stages")
    wanted = params(model=model, n_estimators=150)
    X = np.random.default_rng(0).normal(size=(2_000, 4))
    y = 1e6 + X[:, 0] if "number" in target else np.where(X[:, 0] > 0, "yes", "no")
    rows, _, schema = prepare(pd.DataFrame(X, columns=list("abcd")).assign(y=y), wanted)

    with timed("fitting", every=0.01):
        fitting.fit(rows, schema.contract, wanted)

    lines = (re.match(r"fitting: \d+%, (\d+) rounds?, .* left", line) for line in caplog.messages)
    counts = [int(line[1]) for line in lines if line]
    assert counts
    assert counts == sorted(counts)
    assert counts[-1] <= 150
