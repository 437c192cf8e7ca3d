"""Names of nested parameters, as DVC writes them."""

from collections.abc import Iterator, Mapping
from typing import Any


def dotted(params: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each parameter with its dotted name, such as ``lightgbm.num_leaves``; an empty mapping is a value."""
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
