"""What training rows tell of the categories of new rows, against new rows drawn."""

import numpy as np
import numpy.typing as npt
import pytest

from stages.prepare import tail as _tail

KEPT = 1000
NEW = 50_000


class Column:
    """Training rows of a column, and which categories are kept."""

    def __init__(self, categories: int, rows: int, power: float) -> None:
        self._rng = np.random.default_rng(1)
        weights = np.arange(1, categories + 1.0) ** -power
        self._weights = weights / weights.sum()
        self.training = self._draw(rows)
        counts = np.bincount(self.training, minlength=categories)
        ranked = np.argsort(-counts, kind="stable")
        self.kept, others = (part[counts[part] > 0] for part in (ranked[:KEPT], ranked[KEPT:]))
        self.new = self._draw(NEW)
        self.tail = _tail.measure(counts[self.kept], counts[others], rows)
        self._is_rare = counts <= self.tail.rare * rows

    def _draw(self, rows: int) -> npt.NDArray[np.int64]:
        return self._rng.choice(len(self._weights), rows, p=self._weights)

    def unseen(self, rows: npt.NDArray[np.int64]) -> float:
        return float((~np.isin(rows, self.kept)).mean())

    def rare_or_unseen(self, rows: npt.NDArray[np.int64]) -> float:
        return float((~np.isin(rows, self.kept) | self._is_rare[rows]).mean())


@pytest.mark.parametrize(
    ("categories", "rows", "power"),
    [(3, 1000, 0), (200, 400, 0), (200, 20_000, 0), (700, 1000, 0), (1000, 5000, 0), (1500, 4000, 0),
     (5000, 20_000, 0), (5000, 50_000, 0), (5000, 20_000, 1), (200, 1000, 1.5)],
)  # fmt: skip
def test_the_unseen_share_of_new_rows_is_known_beforehand(categories: int, rows: int, power: float) -> None:
    column = Column(categories, rows, power)

    assert column.tail.unseen == pytest.approx(column.unseen(column.training))
    assert column.tail.unseen_in_new == pytest.approx(column.unseen(column.new), abs=0.05)


@pytest.mark.parametrize(("categories", "rows"), [(200, 400), (700, 1000), (1500, 4000), (5000, 20_000)])
def test_new_rows_are_among_rare_and_unseen_categories_as_often_as_training_rows(categories: int, rows: int) -> None:
    column = Column(categories, rows, power=0)

    assert column.unseen(column.new) > column.unseen(column.training) + 0.1
    assert column.rare_or_unseen(column.new) == pytest.approx(column.rare_or_unseen(column.training), abs=0.06)


def test_frequent_categories_are_never_rare() -> None:
    tail = _tail.measure(np.array([400, 300, 250]), np.array([], dtype=np.int64), 1000)

    assert tail == _tail.Tail(unseen=0, unseen_in_new=0, rare=0)
