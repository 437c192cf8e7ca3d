"""What an ONNX file asks of the machine, read before ONNX Runtime acts on it.

The file is read as protobuf wire format, without building anything: an artifact may name
files to load, operators of other libraries, graphs within graphs, or sizes that no machine
has. Only what the pipeline exports is let through: a flat graph of the operators listed
here, with all weights inside the file and a bounded number of values per row.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

import math
import re
from dataclasses import dataclass, field

from service import wire

_BROADCASTING = frozenset({"Add", "Div", "IsNaN", "Mul", "Sigmoid", "Softmax", "Sub", "Where"})
OPERATORS = frozenset(
    {
        *(("", name) for name in _BROADCASTING),
        ("", "Cast"),
        ("", "Concat"),
        ("", "Gather"),
        ("", "Identity"),
        ("", "MatMul"),
        ("", "ReduceSum"),
        ("ai.onnx.ml", "TreeEnsemble"),
        ("ai.onnx.ml", "TreeEnsembleRegressor"),
    }
)
"""Domain and name of each operator that may occur."""

MAX_VALUES = 1_000_000
"""Values per row that any step of the graph may give, and the largest integer attribute."""
MAX_NODES = 10_000

# Runs of one repeated field of an attribute (floats, ints, names of a tree's comparisons), passed over at once.
# Pieces of a run, so that other threads get their turn in between.
_RUNS = re.compile(
    rb"(?:\x3d[\x00-\xff]{4}){1,20000}+"
    rb"|(?:\x40[\x80-\xff]{0,9}[\x00-\x7f]){1,20000}+"
    rb"|(?:\x4a(?:\x04LEAF|\x0aBRANCH_LEQ)){1,20000}+"
)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A constant: how many elements, in how many rows of how many."""

    name: str
    elements: int
    rows: int

    @property
    def columns(self) -> int:
        return self.elements // max(self.rows, 1)


class RefusedGraph(Exception):  # noqa: N818  # said to the reader: why the graph is refused
    """The file is not ONNX, or asks for something that is not let through."""


@dataclass(slots=True)
class _Attribute:
    name: str = ""
    integer: int | None = None
    count: int = 0
    """Elements, as far as they were counted."""


@dataclass(slots=True)
class _Node:
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    operator: str = ""
    domain: str = ""
    attributes: dict[str, _Attribute] = field(default_factory=dict)


def check(content: bytes) -> None:
    """Read the whole file. Raises RefusedGraph with the reason."""
    try:
        _check_model(content)
    except (IndexError, UnicodeDecodeError, wire.WireError) as error:
        raise RefusedGraph("it is not ONNX, or it is cut off") from error


def metadata(content: bytes) -> dict[str, str]:
    """Give the texts that the file carries beside the graph, of a file that was checked."""
    entries = (dict(wire.fields(content, *span)) for span in wire.inside(content, (0, len(content)), 14))
    return {wire.text(content, entry[1]): wire.text(content, entry[2]) for entry in entries}


def _check_model(content: bytes) -> None:
    graphs = []
    for number, value in wire.fields(content, 0, len(content)):
        match number:
            case 7:
                graphs.append(wire.span(value))
            case 20 | 25:
                raise RefusedGraph("it brings functions or training steps of its own")
            case 1 | 2 | 3 | 4 | 5 | 6 | 8 | 14:
                pass
            case _:
                raise RefusedGraph("it is not ONNX")
    if len(graphs) != 1:
        raise RefusedGraph("it is not ONNX: there is no graph" if not graphs else "it holds several graphs")
    _check_graph(content, *graphs[0])


def _check_graph(content: bytes, start: int, end: int) -> None:
    graph = _Graph()
    nodes: list[_Node] = []
    for number, value in wire.fields(content, start, end):
        match number:
            case 1:
                nodes.append(_node(content, *wire.span(value)))
            case 5:
                tensor = _tensor(content, *wire.span(value))
                graph.constants[tensor.name] = tensor
                graph.sizes[tensor.name] = tensor.elements
            case 11:
                name, size = _input(content, *wire.span(value))
                graph.sizes.setdefault(name, size)
            case 12:
                _input(content, *wire.span(value))
            case 2 | 10 | 13 | 16:
                pass
            case _:
                raise RefusedGraph(f"its graph has a part that is not let through (field {number})")
    if len(nodes) > MAX_NODES:
        raise RefusedGraph(f"its graph has {len(nodes)} steps; {MAX_NODES} are let through")
    for node in nodes:
        graph.follow(node)


@dataclass(slots=True)
class _Graph:
    """Values per row of every tensor, followed from the input to the output."""

    constants: dict[str, _Tensor] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    cubes: set[str] = field(default_factory=set)
    """Tensors of three dimensions: rows looked up in a table, to be summed before anything else."""

    def follow(self, node: _Node) -> None:
        """Bound the output of a step. Raises RefusedGraph if that is too large or cannot be told."""
        unknown = [name for name in node.inputs if name not in self.sizes]
        if unknown or not node.inputs:
            raise RefusedGraph(f"{node.operator} takes {unknown} that no step before it gives")
        if node.operator != "ReduceSum" and self.cubes.intersection(node.inputs):
            raise RefusedGraph(f"{node.operator} takes rows of a table that are not summed")
        size = self._size(node)
        if size > MAX_VALUES:
            raise RefusedGraph(f"{node.operator} gives {size} values per row; {MAX_VALUES} are let through")
        self.sizes |= dict.fromkeys(node.outputs, size)

    def _size(self, node: _Node) -> int:
        inputs = [self.sizes[name] for name in node.inputs]
        match node.operator:
            case "Concat":
                return sum(inputs)
            case "Gather":
                return self._gathered(node)
            case "MatMul":
                return self._constant(node, 1).columns
            case "TreeEnsemble" | "TreeEnsembleRegressor":
                targets = node.attributes.get("n_targets")
                return (targets.integer if targets else None) or 1
            case name if name in _BROADCASTING and any(self._rows(each) > 1 for each in node.inputs):
                raise RefusedGraph(f"{name} takes a constant of several rows")
            case _:
                return max(inputs)

    def _gathered(self, node: _Node) -> int:
        axis = node.attributes.get("axis")
        if axis is not None and axis.integer == 1:
            return self._constant(node, 1).elements
        table = self._constant(node, 0)
        self.cubes.update(node.outputs)
        return self.sizes[node.inputs[1]] * table.columns

    def _constant(self, node: _Node, place: int) -> _Tensor:
        name = node.inputs[place] if place < len(node.inputs) else ""
        if name not in self.constants:
            raise RefusedGraph(f"{node.operator} takes something else than a constant")
        return self.constants[name]

    def _rows(self, name: str) -> int:
        return self.constants[name].rows if name in self.constants else 1


def _node(content: bytes, start: int, end: int) -> _Node:
    node = _Node()
    for number, value in wire.fields(content, start, end):
        match number:
            case 1:
                node.inputs.append(wire.text(content, value))
            case 2:
                node.outputs.append(wire.text(content, value))
            case 4:
                node.operator = wire.text(content, value)
            case 5:
                attribute = _attribute(content, *wire.span(value))
                node.attributes[attribute.name] = attribute
            case 7:
                node.domain = wire.text(content, value)
            case 3 | 6 | 9:
                pass
            case _:
                raise RefusedGraph(f"a step has a part that is not let through (field {number})")
    domain = node.domain if node.domain != "ai.onnx" else ""
    if (domain, node.operator) not in OPERATORS:
        raise RefusedGraph(f"it uses the operator {node.domain or 'ai.onnx'}.{node.operator}, which is not let through")
    return node


def _attribute(content: bytes, start: int, end: int) -> _Attribute:
    attribute = _Attribute()
    while start < end:
        run = _RUNS.match(content, start, end)
        if run:
            attribute.count += run.end() - start  # at least as many bytes as elements
            start = run.end()
            continue
        number, value, start = wire.field_at(content, start, end)
        match number:
            case 1:
                attribute.name = wire.text(content, value)
            case 3:
                attribute.integer = wire.integer(value)
            case 5:
                _tensor(content, *wire.span(value))
            case 9:
                attribute.count += 1
            case 2 | 4 | 7 | 8 | 13 | 20:
                pass
            case _:
                raise RefusedGraph(f"the attribute {attribute.name!r} holds a graph or another part not let through")
    if attribute.integer is not None and not -MAX_VALUES <= attribute.integer <= MAX_VALUES:
        raise RefusedGraph(f"the attribute {attribute.name!r} is {attribute.integer}; {MAX_VALUES} is let through")
    return attribute


def _tensor(content: bytes, start: int, end: int) -> _Tensor:
    name, dims = "", list[int]()
    for number, value in wire.fields(content, start, end):
        match number:
            case 1:
                dims += wire.integers(content, value)
            case 8:
                name = wire.text(content, value)
            case 13 | 14:
                raise RefusedGraph("it keeps weights in other files")
    # An element of the smallest type that is let through takes a byte (four bits occur in quantised models alone).
    elements = abs(math.prod(dims))
    if elements > end - start:
        raise RefusedGraph(f"the tensor {name!r} says it has {elements} elements in {end - start} bytes")
    if len(dims) > 2:  # noqa: PLR2004
        raise RefusedGraph(f"the tensor {name!r} has {len(dims)} dimensions; two are let through")
    return _Tensor(name, elements, dims[0] if len(dims) == 2 else 1)  # noqa: PLR2004


def _input(content: bytes, start: int, end: int) -> tuple[str, int]:
    """Name and values per row: the product of the dimensions that are fixed."""
    parts = dict(wire.fields(content, start, end))
    size = 1
    for shape in wire.inside(content, wire.span(parts.get(2, 0)), 1, 2):
        for dim in wire.inside(content, shape, 1):
            size *= max(1, wire.integer(dict(wire.fields(content, *dim)).get(1, 1)))
    if size > MAX_VALUES:
        raise RefusedGraph(f"an input or output has {size} values per row; {MAX_VALUES} are let through")
    return wire.text(content, parts.get(1, 0)), size
