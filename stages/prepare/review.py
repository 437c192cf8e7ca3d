"""Findings that a person should check before trusting the metrics, for the log, schema.json and the card."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pandas as pd

from service.contract import CategoryFeature, Contract, DateFeature, Feature, NumberFeature
from stages.prepare import leakage, row_hash
from stages.prepare.rare import group_spellings
from stages.schema import Split

_SHIFTED = 0.05
"""A feature is reported if at least this share of its test values is outside the training range or categories."""
_FEWEST_BEYOND = 5
_FEW_DIFFERENT = 0.5
"""Equal rows are reported if the number of different rows is below this share of all rows."""
_FAR = 0.25
"""The share of test rows is reported if it differs from split.test_size by more than this part of it."""
_MOST = 15


def review(
    labels: pd.Series | None, train: pd.DataFrame, test: pd.DataFrame, contract: Contract, split: Split
) -> tuple[str, ...]:
    """Return the findings, one sentence each.

    `labels` are the classes in the table, None for a regression; `train` and `test` are the prepared rows.
    """
    return (
        *(() if labels is None else _spellings(labels)),
        *_share(split),
        *_duplicates(train, test, contract, split),
        *_first(_leaks(train, contract), "features that predict the target almost perfectly"),
        *_first(_beyond(test, contract), "features with test values outside the training range or categories"),
    )


def _first(sentences: Iterator[str], what: str) -> Iterator[str]:
    yield from islice(sentences, _MOST)
    more = sum(1 for _ in sentences)
    if more:
        yield f"{more:,} more {what}"


def _spellings(labels: pd.Series) -> Iterator[str]:
    counts = labels.value_counts()
    for names in group_spellings(counts.index):
        shown = ", ".join(f"{str(name)!r:.60} ({counts[name]:,} rows)" for name in names)
        yield f"classes that differ only by case or blanks: {shown}; if they are one class, use one spelling"


def _share(split: Split) -> Iterator[str]:
    asked, reached = split.test_size or 0.0, split.share or 0.0
    if abs(reached - asked) > _FAR * asked:
        by = {
            "time": "rows of one moment stay together",
            "group": "groups stay whole",
            "random": "a hash decides about each row, and equal rows stay together",
        }
        yield f"{reached:.1%} of the rows are test rows, but split.test_size is {asked:.1%}: {by[split.method]}"


def _duplicates(train: pd.DataFrame, test: pd.DataFrame, contract: Contract, split: Split) -> Iterator[str]:
    names = [feature.name for feature in contract.features]
    ours, theirs = (row_hash.rows(part[names]) for part in (test, train))
    same = np.isin(ours, theirs)
    if not same.any():
        different, rows = len(np.unique(np.concatenate([ours, theirs]))), len(ours) + len(theirs)
        if split.method == "random" and split.column is None and different < _FEW_DIFFERENT * rows:
            yield (
                f"{rows:,} rows have only {different:,} combinations of features, and equal rows stay together, so "
                "no test row has features seen in training; if equal rows are separate observations, name a "
                "column that identifies them in split.key"
            )
        return
    targets = (row_hash.cells(part[contract.target]) for part in (test, train))
    whole = np.isin(ours + next(targets), theirs + next(targets))
    yield (
        f"{same.sum():,} test rows ({same.mean():.1%}) have the features of a training row, and "
        f"{whole.sum():,} of them its target too; if they are copies, the metrics are too good: remove them, "
        "or name a column that they share in split.key or split.group_column"
    )


def _leaks(train: pd.DataFrame, contract: Contract) -> Iterator[str]:
    what = "area under the curve" if contract.classes else "r²"
    for name, value in leakage.find(train, contract):
        remedy = "take it out of features" if name in contract.derived else "add it to data.ignore"
        yield (
            f"{str(name)!r:.60} predicts the target almost perfectly ({what} {value:.4f} on training rows); if it is "
            f"known only after the outcome, {remedy}"
        )


def _beyond(test: pd.DataFrame, contract: Contract) -> Iterator[str]:
    for feature in contract.features:
        share = _share_beyond(feature, test[feature.name])
        if share >= _SHIFTED and share * len(test) >= _FEWEST_BEYOND:
            yield f"{feature.name!r:.60}: {share:.1%} of the test rows are outside the training range or categories"


def _share_beyond(feature: Feature, values: pd.Series) -> float:
    match feature:
        case NumberFeature():
            numbers = values.to_numpy(np.float32)
            outside = (numbers < np.float32(feature.minimum)) | (numbers > np.float32(feature.maximum))
        case DateFeature() if "days" in feature.parts:
            dates = values.to_numpy("datetime64[us]")
            outside = (dates < np.datetime64(feature.minimum)) | (dates > np.datetime64(feature.maximum))
        case CategoryFeature():
            outside = (values.notna() & ~values.isin(feature.categories)).to_numpy()
        case _:
            return 0.0
    return float(outside.mean())
