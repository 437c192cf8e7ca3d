"""float32 numbers as the shortest decimals that say them."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_FEW: Final = 16
_LARGE: Final = 1e6
"""From here on float32 may need fewer digits than its whole part has."""
_MOST_DECIMALS: Final = 10


def shortest(values: npt.NDArray[np.float32]) -> list[Any]:
    """Give `values` as (nested) lists of floats that print in the fewest digits from which float32 comes back.

    0.1 as float32 would print as 0.10000000149011612; this gives 0.1.
    """
    if values.size <= _FEW:
        flat = [float(str(value)) for value in values.ravel()]
        return (
            flat
            if values.ndim == 1
            else [flat[at : at + values.shape[1]] for at in range(0, len(flat), values.shape[1])]
        )
    exact = values.ravel()
    found = exact.astype(np.float64)
    large = np.flatnonzero(np.abs(found) >= _LARGE)
    todo = np.flatnonzero(np.abs(found) < _LARGE)
    # Below 1, float32 tells all decimals of 6 digits apart, so that fewer need no trial of their own.
    for decimals in range(6 if np.abs(found).max() < 1 else 0, _MOST_DECIMALS + 1):
        scale = 10.0**decimals
        tried = np.rint(found[todo] * scale) / scale
        right = tried.astype(np.float32) == exact[todo]
        found[todo[right]] = tried[right]
        todo = todo[~right]
        if not todo.size:
            break
    for rest in (todo, large):
        found[rest] = [float(str(value)) for value in exact[rest]]
    nested: list[Any] = found.reshape(values.shape).tolist()  # type: ignore[assignment]  # no shape is ()
    return nested
