"""Read the columns of the encoded matrix that expressions use, each of them once."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper

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
        self._doubles: dict[int, str] = {}
        self._pieces: dict[tuple[int, ...], str] = {}

    def single(self, column: str) -> str:
        """Return a column as float32."""
        place = self._places[column]
        return self._singles.setdefault(place, f"single_{place}")

    def double(self, column: str) -> str:
        """Return a column as double."""
        place = self._places[column]
        return self._doubles.setdefault(place, f"double_{place}")

    def pieces(self, feature: DateFeature) -> str:
        """Return the `PIECES` of a date as float32, shape (rows, 3)."""
        places = tuple(self._places[f"{feature.name}.{piece}"] for piece in PIECES)
        return self._pieces.setdefault(places, f"pieces_{places[0]}")

    @property
    def used(self) -> list[str]:
        """The columns that were asked for, in the matrix's order."""
        places = {*self._singles, *self._doubles, *(place for places in self._pieces for place in places)}
        return [self._columns[place] for place in sorted(places)]

    def read(self, graph: Graph) -> list[NodeProto]:
        """Return the nodes that read the columns; they come before all others. Their indices become constants."""
        nodes = [_gather(graph, [place], name) for place, name in self._singles.items()]
        nodes += [_gather(graph, list(places), name) for places, name in self._pieces.items()]
        if self._doubles:
            # One cast for all: on one row, each node costs about 0.3 µs, whatever it does.
            outputs = list(self._doubles.values())
            whole = outputs[0] if len(outputs) == 1 else "doubles"
            nodes.append(_gather(graph, list(self._doubles), "as_singles"))
            nodes.append(_node("Cast", ["as_singles"], [whole], to=TensorProto.DOUBLE))
            if len(outputs) > 1:
                nodes.append(_node("Split", ["doubles"], outputs, axis=1, num_outputs=len(outputs)))
        return nodes


def _gather(graph: Graph, places: list[int], output: str) -> NodeProto:
    indices: npt.NDArray[np.int64] = np.array(places, dtype=np.int64)
    return _node("Gather", [MATRIX, graph.constant(indices)], [output], axis=1)


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs, outputs, name=f"{kind}_{outputs[0]}", **attributes)
