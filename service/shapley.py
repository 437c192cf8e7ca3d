"""Explain predictions: how much each feature of a row contributes to its score.

A contribution is the feature's Shapley value in the game whose value of some features is the mean score of the
background rows with these features taken from the row: the interventional SHAP value (Lundberg and Lee 2017).
docs/how-to/explanations.md describes the method, its error and its cost.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import lru_cache, partial
from hashlib import shake_256
from math import comb, prod
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from service.contract import BACKGROUND_KEY, Label
from service.encoding import Matrix
from service.model import Model

_EXACT_FEATURES: Final = 10
"""A model with at most this many features is explained exactly: 1,024 scores for each background row."""
_SCORES: Final = 320
"""About how many scores each background row of any other model takes."""
_STANDARD_ERRORS: Final = 4.0
_CELLS: Final = 250_000
"""Most cells of rows that are scored at once, 1 MB."""

Floats = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
Choose = Callable[[Indices, Indices], Masks]
"""Returns which features come from the explained row, shape (mixtures, features), in some mixtures of it and background
rows. The first array has the index of each one's background row, the second the mixture's number."""


class NoBackgroundError(Exception):
    """The model's file has no background rows."""


class Explanation(NamedTuple):
    """What the features contribute to the score of a row."""

    base_value: float
    """Mean score of the background rows; base value and contributions add up to the row's score."""
    contributions: Floats
    """One for each feature of the contract."""
    error: float
    """Four standard errors of the least certain contribution; 0 if all are exact."""


def to_text(background: Matrix) -> str:
    """Return background rows as text for the ONNX file's metadata: float32, little-endian, Base64."""
    return b64encode(background.astype("<f4").tobytes()).decode("ascii")


class Explainer:
    """Explains the scores of one model.

    The constructor raises NoBackgroundError if the model's file has no background rows.
    """

    def __init__(self, model: Model) -> None:
        text = model.session.get_modelmeta().custom_metadata_map.get(BACKGROUND_KEY)
        if not text:
            raise NoBackgroundError
        sizes = [len(feature.columns) for feature in model.contract.features]
        self._model = model
        self._starts = np.cumsum([0, *sizes[:-1]])
        self._owners = np.repeat(np.arange(len(sizes)), sizes)  # the feature of each column
        # Even in a larger model, a background row that differs in few features needs no samples.
        self._exact = _EXACT_FEATURES if len(sizes) <= _EXACT_FEATURES else _SCORES.bit_length() - 1
        self._background = np.frombuffer(b64decode(text), "<f4").astype(np.float32).reshape(-1, len(self._owners))
        self._base = self._scores(self._background)

    @property
    def scores_per_row(self) -> int:
        """How many scores the explanation of a row takes at most."""
        features = len(self._starts)
        each = 2**features if features <= _EXACT_FEATURES else max(_SCORES, 4 * (features - 1))
        return len(self._background) * each

    def explain(self, row: Matrix, scores: npt.NDArray[Any], label: Label | None) -> Explanation:
        """Explain an encoded row, shape (columns,), with its scores, shape (classes or 1,), and its predicted class.

        The explained score is the probability of the positive class (binary) or of the predicted class (multiclass),
        or the value. Samples depend only on the row, so the same row has the same explanation.
        """
        contract = self._model.contract
        explained = contract.positive if contract.task == "binary" else label
        place = contract.classes.index(explained) if explained is not None else 0
        # Float32 is sent in the fewest digits that it needs: contributions add up to what is sent.
        base, score = self._base[:, place], float(str(scores[place]))
        columns = (row != self._background) & ~(np.isnan(row) & np.isnan(self._background))
        differs = np.logical_or.reduceat(columns, self._starts, axis=1)
        players = differs.sum(axis=1)
        total, variance = np.zeros((2, len(self._starts)))
        for count in np.unique(players[players > 0]).tolist():
            same = np.flatnonzero(players == count)
            game = _Game(differs[same], count, base[same], score)
            values = partial(self._mix, row, self._background[same], place)
            if count <= self._exact:
                total += game.solve(values)
            else:
                found, squares = game.sample(values, b"%d:" % count + row.tobytes())
                total, variance = total + found, variance + squares
        error = _STANDARD_ERRORS * float(np.sqrt(variance.max()))
        return Explanation(float(base.mean()), total / len(base), error / len(base))

    def _mix(self, row: Matrix, others: Matrix, place: int, size: int, choose: Choose) -> Floats:
        """Return the scores of `size` mixtures of `row` and each of `others`, shape (others, size).

        They are scored many at a time: NumPy and ONNX Runtime let other threads run only while they are at work.
        """
        found = np.empty(len(others) * size)
        at_once = max(1, _CELLS // len(row))
        for first in range(0, len(found), at_once):
            other, number = np.divmod(np.arange(first, min(first + at_once, len(found))), size)
            masks = choose(other, number).take(self._owners, axis=1)
            found[first : first + at_once] = self._scores(np.where(masks, row, others.take(other, axis=0)))[:, place]
        return found.reshape(len(others), size)

    def _scores(self, matrix: Matrix) -> Floats:
        return self._model.scores(matrix).reshape(len(matrix), -1).astype(np.float64)


class _Game(NamedTuple):
    """Background rows that differ from the explained row in the same number of features, the players."""

    differs: Masks
    """Shape (background rows, features)."""
    players: int
    start: Floats
    """The scores of the background rows, when no player has joined."""
    end: float
    """The score of the explained row, when all have joined."""

    def solve(self, values: Callable[[int, Choose], Floats]) -> Floats:
        """Return each feature's Shapley values, added up over the background rows, from all coalitions."""
        position = np.where(self.differs, self.differs.cumsum(axis=1) - 1, self.players)  # of the player's bit
        found = values(2**self.players, lambda other, coalition: (coalition[:, None] >> position[other]) % 2 == 1)
        found[:, 0], found[:, -1] = self.start, self.end
        by_player = np.append(found @ _weights(self.players), np.zeros((len(found), 1)), axis=1)
        total: Floats = np.take_along_axis(by_player, position, axis=1).sum(axis=0)
        return total

    def sample(self, values: Callable[[int, Choose], Floats], seed: bytes) -> tuple[Floats, Floats]:
        """Return estimates of the same and their variances, from random orders of the players.

        In each order the players join one by one, and each brings a change of the score (Castro, Gómez and Tejada
        2009). Each order is also used backwards (antithetic pairs: Mitchell et al. 2022), which makes the estimate
        exact if at most two features interact.
        """
        steps = self.players - 1
        shape = len(self.start), max(2, _SCORES // (2 * steps)), self.differs.shape[1]
        keys = np.frombuffer(shake_256(seed).digest(4 * prod(shape)), "<u4").reshape(shape)
        # Other features come last: it makes no difference whose value they have.
        ranks = np.where(self.differs[:, None], keys, np.uint64(2**32)).argsort(axis=2).argsort(axis=2)
        both = np.stack([ranks, steps - ranks], axis=2).reshape(len(ranks), -1, shape[2])

        def join(other: Indices, number: Indices) -> Masks:
            order, step = np.divmod(number, steps)
            return both[other, order] <= step[:, None]

        path = np.empty((*shape[:2], 2, self.players + 1))
        path[..., 0], path[..., -1] = self.start[:, None, None], self.end
        path[..., 1:-1] = values(2 * shape[1] * steps, join).reshape(*shape[:2], 2, steps)
        changes = np.diff(path, axis=3)  # by the order in which the players join
        mean = (changes[:, :, 0] + changes[:, :, 1, ::-1]) / 2
        found = np.take_along_axis(mean, np.minimum(ranks, steps), axis=2) * self.differs[:, None]
        return found.mean(axis=1).sum(axis=0), (found.var(axis=1, ddof=1) / shape[1]).sum(axis=0)


@lru_cache(_EXACT_FEATURES)
def _weights(players: int) -> Floats:
    """Return the weight of each coalition in each player's Shapley value, shape (2^players, players)."""
    masks = (np.arange(2**players)[:, None] >> np.arange(players)) % 2 == 1
    size = masks.sum(axis=1, keepdims=True)
    weight = np.array([1 / (players * comb(players - 1, others)) for others in range(players)])
    weights: Floats = np.where(masks, weight[size - 1], -weight[size % players])
    return weights
