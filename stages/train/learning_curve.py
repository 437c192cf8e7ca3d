"""What a sample costs: the score of models that are fitted on parts of it, on the same held-out rows."""

import numpy as np

from service.contract import Contract
from stages.estimators import folds
from stages.estimators.sample import Sample
from stages.estimators.splitting import folds as split_folds
from stages.params.params import Params
from stages.params.sample_use import Point, SampleUse
from stages.schema import Split
from stages.scores.gate import main_metric
from stages.scores.intervals import paired_interval
from stages.scores.metrics import main_score
from stages.scores.units import units_of

SHARES = (0.1, 0.3, 1.0)
_PARTS = 5
"""About one fifth of the rows is held out, split as the test rows were."""
_DIGITS = 10


def describe_sample(sample: Sample, contract: Contract, split: Split, params: Params) -> SampleUse:
    """Return how many rows are used, and unless that is all, the scores of models fitted on `SHARES` of the sample.

    The rows of a share are those that a sample of this size would have. A share without two classes has no score.
    """
    use = SampleUse(rows=len(sample.rows), of=sample.of, metric=main_metric(contract.task))
    wanted = _PARTS - 1 if split.method == "time" else _PARTS
    parts = [] if sample.is_all else list(split_folds(sample.rows, contract, split, wanted, params.random_state))
    if not parts:
        return use
    fitted, held_out = parts[-1]
    about, points, outcomes = (contract, split, params), [], []
    for share in SHARES:
        chosen = np.intersect1d(fitted, sample.first(share))
        if len(chosen) < 2 or (contract.classes and sample.rows[contract.target].iloc[chosen].nunique() == 1):  # noqa: PLR2004
            continue
        found = folds.predict_fold(sample.rows, (chosen, held_out), *about, size=len(sample.rows))
        score = main_score(found)
        if score is not None:
            points.append(Point(share=share, rows=len(chosen), score=round(score, _DIGITS)))
            outcomes.append(found)
    gain = (np.nan, np.nan)
    if len(outcomes) > 1:
        units = units_of(split, sample.rows.iloc[held_out])
        gain = paired_interval(outcomes[-1], outcomes[-2], units, params.random_state)
    known = np.isfinite(gain).all()
    return use.model_copy(
        update={
            "held_out": len(held_out),
            "curve": tuple(points),
            "gain_low": round(float(gain[0]), _DIGITS) if known else None,
            "gain_high": round(float(gain[1]), _DIGITS) if known else None,
        }
    )
