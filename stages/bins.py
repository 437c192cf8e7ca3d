"""Quantile bins of numbers, in which the service counts values to detect drift."""

from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 10

Numbers = npt.NDArray[np.floating[Any]]


def find_edges(values: Numbers) -> Numbers:
    """Return the inner edges of about equally full bins; a value that would fill a bin gets its own."""
    quantiles = np.quantile(values, np.arange(1, BINS) / BINS, method="lower")
    frequent, times = np.unique(quantiles, return_counts=True)
    below = [part.max() for value in frequent[times > 1] if (part := values[values < value]).size]
    edges = np.unique(np.concatenate([quantiles, below]).astype(values.dtype))
    inner: Numbers = edges[edges < values.max()]
    return inner


def shares(edges: Numbers, values: Numbers) -> tuple[float, ...]:
    """Return the share of all `values`, NaN included, in each bin; a value equal to an edge is in the bin below."""
    places = np.searchsorted(edges, values[~np.isnan(values)], side="left")
    counts = np.bincount(places, minlength=len(edges) + 1)
    return tuple(round(float(count) / len(values), 12) for count in counts)
