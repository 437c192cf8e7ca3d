"""Findings that a person should check before trusting the metrics, for the log, schema.json and the card."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd

from service.contract import CategoryFeature, Contract, DateFeature, Feature, NumberFeature
from stages import row_hash
from stages.prepare import leakage
from stages.prepare.derived import Derivation
from stages.prepare.rare import group_spellings
from stages.row_hash import Hashes
from stages.schema import Split
from stages.stored import Table, batches

_SHIFTED = 0.05
"""A feature is reported if at least this share of its test values is outside the training range or categories."""
_FEWEST_BEYOND = 5
_FEW_DIFFERENT = 0.5
"""Equal rows are reported if the number of different rows is below this share of all rows."""
_FAR = 0.25
"""The share of test rows is reported if it differs from split.test_size by more than this part of it."""
_MOST = 15


def review(classes: pd.Series | None, train: Table, test: Table, contract: Contract, split: Split) -> tuple[str, ...]:
    """Return the findings, one sentence each.

    `classes` are the rows of each class in the table, None for a regression; `train` and `test` are the prepared rows.
    Raises UserError if a derived feature has no value in any training row.
    """
    derivation = Derivation(contract)
    names = [*(feature.name for feature in contract.features), *contract.derived]
    sample, seen = _read_train(train, derivation, names, contract.target)
    features = (*contract.features, *derivation.features())
    beyond, new = _read_test(test, derivation, features, contract.target)
    return (
        *derivation.notes(),
        *(() if classes is None else _spellings(classes)),
        *_share(split),
        *_duplicates(new, seen, split),
        *_first(_leaks(sample, names, contract), "features that predict the target almost perfectly"),
        *_first(_beyond(beyond, len(test)), "features with test values outside the training range or categories"),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """Hashes of prepared rows, by which equal rows are found."""

    features: Hashes
    whole: Hashes
    """With the target."""

    @classmethod
    def of(cls, rows: int) -> "_Seen":
        """Return hashes for so many rows, to be filled in."""
        return cls(np.empty(rows, dtype=np.uint64), np.empty(rows, dtype=np.uint64))

    def fill(self, start: int, rows: pd.DataFrame, names: list[str], target: str) -> None:
        """Hash a batch of rows, before which there are `start` others."""
        stop = start + len(rows)
        self.features[start:stop] = row_hash.rows(rows[names])
        self.whole[start:stop] = self.features[start:stop] + row_hash.cells(rows[target])


def _read_train(train: Table, derivation: Derivation, names: list[str], target: str) -> tuple[pd.DataFrame, _Seen]:
    """Return the rows in which leakage is sought, and the hashes of all rows."""
    chosen = leakage.choose(len(train))
    ordered, start = np.sort(chosen), 0
    sample, seen = [], _Seen.of(len(train))
    for batch in batches(train):
        rows = derivation.add_to(batch)
        derivation.learn(rows)
        seen.fill(start, rows, names, target)
        first, last = np.searchsorted(ordered, (start, start + len(rows)))
        sample.append(rows.iloc[ordered[first:last] - start])
        start += len(rows)
    return pd.concat(sample, ignore_index=True).iloc[np.searchsorted(ordered, chosen)], seen


def _read_test(
    test: Table, derivation: Derivation, features: Sequence[Feature], target: str
) -> tuple[dict[str, int], _Seen]:
    """Return how many values of each feature are beyond those of training, and the hashes of all rows."""
    beyond, seen, start = Counter[str](), _Seen.of(len(test)), 0
    for batch in batches(test):
        rows = derivation.add_to(batch)
        seen.fill(start, rows, [each.name for each in features], target)
        beyond.update({each.name: _count_beyond(each, rows[each.name]) for each in features})
        start += len(rows)
    return beyond, seen


def _first(sentences: Iterator[str], what: str) -> Iterator[str]:
    yield from islice(sentences, _MOST)
    more = sum(1 for _ in sentences)
    if more:
        yield f"{more:,} more {what}"


def _spellings(counts: pd.Series) -> Iterator[str]:
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


def _duplicates(test: _Seen, train: _Seen, split: Split) -> Iterator[str]:
    same = _count_common(test.features, train.features)
    rows = len(test.features) + len(train.features)
    if not same:
        if split.method != "random" or split.column is not None:
            return
        different = row_hash.count_different(test.features) + row_hash.count_different(train.features)
        if different < _FEW_DIFFERENT * rows:
            yield (
                f"{rows:,} rows have only {different:,} combinations of features, and equal rows stay together, so "
                "no test row has features seen in training; if equal rows are separate observations, name a "
                "column that identifies them in split.key"
            )
        return
    yield (
        f"{same:,} test rows ({same / len(test.features):.1%}) have the features of a training row, and "
        f"{_count_common(test.whole, train.whole):,} of them its target too; if they are copies, the metrics are too "
        "good: remove them, or name a column that they share in split.key or split.group_column"
    )


def _count_common(ours: Hashes, theirs: Hashes) -> int:
    """Return how many of our hashes are among theirs; both are sorted in place, which takes no memory."""
    ours.sort()
    theirs.sort()
    places = np.minimum(np.searchsorted(theirs, ours), len(theirs) - 1)
    return int(np.count_nonzero(theirs[places] == ours))


def _leaks(sample: pd.DataFrame, names: list[str], contract: Contract) -> Iterator[str]:
    what = "area under the curve" if contract.classes else "r²"
    for name, value in leakage.find(sample, names, contract):
        remedy = "take it out of features" if name in contract.derived else "add it to data.ignore"
        yield (
            f"{str(name)!r:.60} predicts the target almost perfectly ({what} {value:.4f} on training rows); if it is "
            f"known only after the outcome, {remedy}"
        )


def _beyond(counts: dict[str, int], rows: int) -> Iterator[str]:
    for name, count in counts.items():
        if count / rows >= _SHIFTED and count >= _FEWEST_BEYOND:
            yield f"{name!r:.60}: {count / rows:.1%} of the test rows are outside the training range or categories"


def _count_beyond(feature: Feature, values: pd.Series) -> int:
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
            return 0
    return int(np.count_nonzero(outside))
