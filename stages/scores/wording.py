"""Metrics as people read them."""

from collections.abc import Mapping
from typing import Any


def with_interval(metrics: Mapping[str, Any], name: str) -> str:
    """Return a metric to four digits with its interval, such as ``0.6909 (0.6652 to 0.7155 over 121 days)``."""
    if name not in metrics:
        return "unknown"
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    if low is None or high is None:
        return f"{metrics[name]:.4f}"
    over = f" over {metrics['interval_units']:,} {metrics['interval_unit']}s" if "interval_unit" in metrics else ""
    return f"{metrics[name]:.4f} ({low:.4f} to {high:.4f}{over})"
