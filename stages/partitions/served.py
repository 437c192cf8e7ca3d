"""A served model that workers make from its bytes, as a session can't be sent."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.model import ArtifactError, Model, from_bytes
from stages.errors import UserError
from stages.files import md5_of
from stages.partitions.executors import Spread
from stages.partitions.pieces import map_pieces
from stages.progress import track
from stages.stored import Table, batches

ROWS_AT_ONCE = 16_384
Scores = npt.NDArray[np.floating[Any]]


class Served:
    """The model of an ONNX file with these bytes."""

    def __init__(self, content: bytes, model: Model | None = None) -> None:
        self.model = model or _load(content)
        self._content = content

    @classmethod
    def of(cls, model: "Model | Served") -> "Served":
        """Return a model as one that stays in this process, unless it is one for workers."""
        return model if isinstance(model, Served) else cls(b"", model)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._content, self.model.version)


def _rebuild(content: bytes, md5: str) -> Served:
    if md5_of(content) != md5:
        raise UserError(f"the model's MD5 is {md5_of(content)}, expected {md5}; run the command again")
    return Served(content)


def _load(content: bytes) -> Model:
    try:
        return from_bytes(content, "the model")
    except ArtifactError as error:
        raise UserError(str(error)) from None


def score(model: Model | Served, rows: Table, spread: Spread | None = None) -> Scores:
    """Return the file's scores of `rows`: probabilities (rows, classes) or values (rows,)."""
    pieces = track(batches(rows, ROWS_AT_ONCE), len(rows), "row", ROWS_AT_ONCE)
    return np.concatenate(list(map_pieces(_score, Served.of(model), pieces, spread or Spread())))


def _score(served: Served, rows: pd.DataFrame) -> Scores:
    return quietly(lambda: served.model.scores(served.model.contract.encode(rows)))


def quietly(predict: Callable[[], Scores]) -> Scores:
    """Return what the function returns, without warnings of scikit-learn's search for infinities.

    It looks for them by a sum, which overflows where numbers near the ends of float32 meet.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return predict()
