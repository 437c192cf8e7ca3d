"""Convert the tensors of the Open Inference Protocol to rows."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from service.contract import Contract, Feature
from service.http.problems import FieldError, Problem
from service.inputs.explain import COMPUTED, check_count, clip

_NUMBERS: Final = {
    "FP16": "f2", "FP32": "f4", "FP64": "f8", "INT8": "i1", "INT16": "i2", "INT32": "i4", "INT64": "i8",
    "UINT8": "u1", "UINT16": "u2", "UINT32": "u4", "UINT64": "u8",
}  # fmt: skip
DATATYPES: Final = {"number": "FP64", "boolean": "BOOL", "category": "BYTES", "date": "BYTES"}
"""The datatype of each type of feature in the model's metadata. For a number, requests may use any numeric one."""


class Tensor(msgspec.Struct):
    """An input tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: Any = None


def to_instances(contract: Contract, tensors: Sequence[Tensor], limit: int) -> list[dict[str, Any]]:
    """Convert one tensor per feature to instances, whose values aren't checked yet; skip those of ignored columns.

    Raises Problem: 413 for more than `limit` rows, 422 for tensors that aren't in the contract or whose shape isn't
    [n] or [n, 1].
    """
    known = {feature.name: feature for feature in contract.features}
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        if tensor.name in contract.ignored:
            continue
        if tensor.name not in known or tensor.name in columns:
            wanted = COMPUTED if tensor.name in contract.derived else "each feature of the model once"
            raise _refusal(tensor, wanted, tensor.name)
        _check_datatype(tensor, known[tensor.name])
        columns[tensor.name] = _values(tensor, limit)
    if len({len(column) for column in columns.values()}) > 1:
        raise Problem(422, "The tensors differ in their number of rows", title="Shapes do not match")
    found = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    check_count(len(found), limit)
    return found


def _refusal(tensor: Tensor, expected: str, got: str, row: int | None = None) -> Problem:
    name = clip(tensor.name)
    error = FieldError(field=name, expected=expected, got=clip(got), instance=row)
    return Problem(422, f"The input tensor {name!r} does not fit", title="Tensor", errors=[error])


def _check_datatype(tensor: Tensor, feature: Feature) -> None:
    wanted = DATATYPES[feature.type]
    if tensor.datatype != wanted and not (feature.type == "number" and tensor.datatype in _NUMBERS):
        expected = "one of " + ", ".join(_NUMBERS) if feature.type == "number" else wanted
        raise _refusal(tensor, f"the datatype {expected}", tensor.datatype)


def _values(tensor: Tensor, limit: int) -> list[Any]:
    """Return a tensor's values. NaN means a missing value, because tensors have no null."""
    if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ([], [1]):
        raise _refusal(tensor, "a shape of [n] or [n, 1]", str(tensor.shape))
    data, rows = tensor.data, tensor.shape[0]
    if not isinstance(data, list):
        raise _refusal(tensor, "data as a JSON array", "none")
    if len(data) != rows:
        raise _refusal(tensor, f"data of {rows} values", f"{len(data)} values")
    check_count(rows, limit)
    if all(isinstance(each, list) and len(each) == 1 for each in data):
        data = [each[0] for each in data]
    values = [None if value != value else value for value in data]  # noqa: PLR0124  # only NaN differs from itself
    if tensor.datatype in _NUMBERS:
        _check_range(tensor, values)
    return values


def _check_range(tensor: Tensor, values: list[Any]) -> None:
    """Raise Problem for a number outside the datatype's range. Values that aren't numbers are refused later."""
    kind = np.dtype(_NUMBERS[tensor.datatype])
    whole = kind.kind in "iu"
    limits: Any = np.iinfo(kind) if whole else np.finfo(kind)
    low, high = (int(limits.min), int(limits.max)) if whole else (float(limits.min), float(limits.max))
    for row, value in enumerate(values):
        if type(value) in (int, float) and not (low <= value <= high and (not whole or value == int(value))):
            raise _refusal(tensor, f"a number of the datatype {tensor.datatype}", str(value), row)
