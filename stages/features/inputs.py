"""Read the columns of the encoded matrix that expressions use, each of them once."""

from typing import Final

import numpy as np
from onnx import NodeProto, helper

from service.contract import Contract, DateFeature
from service.encoding import DatePart
from stages.nodes import Graph

MATRIX: Final = "X"
"""The graph's input: encoded rows, float32."""
PIECES: Final[tuple[DatePart, ...]] = ("date", "second", "microsecond")
"""The parts that together are a date; each is a whole number, which float32 has exactly."""


class Inputs:
    """The columns of `MATRIX` that a graph reads."""

    def __init__(self, contract: Contract) -> None:
        self.features = {feature.name: feature for feature in contract.features}
        self._columns = contract.columns
        self._places = {column: place for place, column in enumerate(contract.columns)}
        self._singles: dict[int, str] = {}
        self._pieces: dict[tuple[int, ...], str] = {}

    def column(self, name: str) -> str:
        """Return the tensor of a column, float32."""
        place = self._places[name]
        return self._singles.setdefault(place, f"column_{place}")

    def pieces(self, feature: DateFeature) -> str:
        """Return the tensor of a date's `PIECES`, float32 of shape (rows, 3)."""
        places = tuple(self._places[f"{feature.name}.{piece}"] for piece in PIECES)
        return self._pieces.setdefault(places, f"date_{places[0]}")

    @property
    def used(self) -> list[str]:
        """The columns that were asked for, in the matrix's order."""
        places = {*self._singles, *(place for places in self._pieces for place in places)}
        return [self._columns[place] for place in sorted(places)]

    def read(self, graph: Graph) -> list[NodeProto]:
        """Return the nodes that read the columns, which come before all others; add their indices to `graph`.

        One Gather for each takes no longer than one for all and a Split, whose outputs are allocated one by one.
        """
        wanted = [*self._pieces.items(), *(((place,), name) for place, name in self._singles.items())]
        return [_gather(graph, places, name) for places, name in wanted]


def _gather(graph: Graph, places: tuple[int, ...], output: str) -> NodeProto:
    indices = graph.constant(np.array(places, dtype=np.int64))
    return helper.make_node("Gather", [MATRIX, indices], [output], name=output, axis=1)
