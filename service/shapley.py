"""Explain predictions: how much each feature of a row contributes to its score.

A contribution is the feature's Shapley value in the game whose value of some features is the mean score of the
background rows with these features taken from the row: the interventional SHAP value (Lundberg and Lee 2017).
docs/explanations.md describes the method, its error and its cost.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import lru_cache
from hashlib import shake_256
from math import comb
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from service.contract import BACKGROUND_KEY
from service.encoding import Matrix
from service.model import Model

_EXACT_FEATURES: Final = 10
"""A model with at most this many features is explained exactly: 1,024 scores for each background row."""
_SCORES: Final = 320
"""About how many scores each background row of any other model takes."""
_STANDARD_ERRORS: Final = 4.0
_CELLS: Final = 1_000_000
"""Most cells of rows that are scored at once, 4 MB."""

Floats = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]
Values = Callable[[Masks], Floats]
"""Returns the value of each coalition. A mask, shape (coalitions, players), is true for the players in it."""


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
        self._owners = np.repeat(np.arange(len(sizes)), sizes)  # the feature of each column
        self._starts = np.cumsum([0, *sizes[:-1]])
        # Even in a larger model, a background row that differs in few features needs no samples.
        self._exact = _EXACT_FEATURES if len(sizes) <= _EXACT_FEATURES else _SCORES.bit_length() - 1
        self._background = np.frombuffer(b64decode(text), "<f4").astype(np.float32).reshape(-1, len(self._owners))
        self._base = self._scores(self._background)

    def explain(self, row: Matrix, scores: npt.NDArray[Any]) -> Explanation:
        """Explain an encoded row, shape (columns,), with the scores that the model gave it.

        The explained score is the probability of the positive class (binary) or of the most probable class
        (multiclass), or the value. Samples depend only on the row, so the same row has the same explanation.
        """
        contract = self._model.contract
        place = contract.classes.index(contract.positive) if contract.task == "binary" else int(scores.argmax())
        base, score = self._base[:, place], float(scores[place])
        total, variance = np.zeros((2, len(self._starts)))
        for number, (other, start) in enumerate(zip(self._background, base.tolist(), strict=True)):
            differs = (row != other) & ~(np.isnan(row) & np.isnan(other))
            players = np.flatnonzero(np.logical_or.reduceat(differs, self._starts))
            values = self._game(row, other, players, place)
            if len(players) <= self._exact:
                total[players] += _solve(values, start, score, len(players))
            else:
                seed = b"%d:" % number + row.tobytes()
                found, squares = _sample(values, start, score, len(players), seed)
                total[players] += found
                variance[players] += squares
        error = _STANDARD_ERRORS * float(np.sqrt(variance.max())) / len(base)
        return Explanation(float(base.mean()), total / len(base), error)

    def _game(self, row: Matrix, other: Matrix, players: npt.NDArray[np.intp], place: int) -> Values:
        """Return the function that scores `other` with the features of a coalition taken from `row`."""
        columns = np.flatnonzero(np.isin(self._owners, players))
        player = np.searchsorted(players, self._owners[columns])
        at_once = max(1, _CELLS // len(row))

        def values(masks: Masks) -> Floats:
            found = np.empty(len(masks))
            for first in range(0, len(masks), at_once):
                part = masks[first : first + at_once]
                mixed = np.tile(other, (len(part), 1))
                mixed[:, columns] = np.where(part[:, player], row[columns], other[columns])
                found[first : first + at_once] = self._scores(mixed)[:, place]
            return found

        return values

    def _scores(self, matrix: Matrix) -> Floats:
        return self._model.scores(matrix).reshape(len(matrix), -1).astype(np.float64)


def _solve(values: Values, start: float, end: float, players: int) -> Floats:
    """Return the Shapley values, from the values of all coalitions; the empty one has `start`, the full one `end`."""
    if not players:
        return np.empty(0)
    masks, weights = _coalitions(players)
    found: Floats = weights @ np.concatenate([[start], values(masks[1:-1]), [end]])
    return found


@lru_cache(_EXACT_FEATURES)
def _coalitions(players: int) -> tuple[Masks, Floats]:
    """Return all coalitions, the empty one first and the full one last, and their weights in each Shapley value."""
    masks = (np.arange(2**players)[:, None] >> np.arange(players)) % 2 == 1
    size = masks.sum(axis=1, keepdims=True)
    weight = np.array([1 / (players * comb(players - 1, others)) for others in range(players)])
    return masks, np.where(masks, weight[size - 1], -weight[size % players]).T


def _sample(values: Values, start: float, end: float, players: int, seed: bytes) -> tuple[Floats, Floats]:
    """Return estimated Shapley values and their variances, from random orders of the players.

    In each order the players join one by one, and each brings the change in value (Castro, Gómez and Tejada 2009).
    Each order is also used backwards (antithetic pairs: Mitchell et al. 2022), which makes the estimate exact if at
    most two players interact.
    """
    pairs = max(2, _SCORES // (2 * (players - 1)))
    keys = np.frombuffer(shake_256(seed).digest(4 * pairs * players), "<u4").reshape(pairs, players)
    ranks = keys.argsort(axis=1).argsort(axis=1)
    steps = np.arange(1, players)[:, None]
    masks = np.stack([ranks[:, None] < steps, ranks[:, None] >= players - steps], axis=1)
    path = np.empty((pairs, 2, players + 1))
    path[..., 0], path[..., -1] = start, end
    path[..., 1:-1] = values(masks.reshape(-1, players)).reshape(pairs, 2, players - 1)
    changes = np.diff(path, axis=2)  # by position in the order
    found = np.take_along_axis((changes[:, 0] + changes[:, 1, ::-1]) / 2, ranks, axis=1)
    return found.mean(axis=0), found.var(axis=0, ddof=1) / pairs
