"""Tensors of the Open Inference Protocol, as JSON numbers and texts or as bytes behind the JSON.

The protocol: https://kserve.github.io/website/latest/modelserving/data_plane/v2_protocol/, its binary
extension: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from service.contract import Contract, Feature
from service.http.problems import FieldError, Problem
from service.inputs.explain import check_number
from service.inputs.readers import NotANumber

NUMBERS: Final = {
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
}  # fmt: skip
_MOST_ROWS: Final = 2**31 - 1
"""Beyond, Python may refuse to write the size of such a tensor."""
_LENGTH: Final = struct.Struct("<I")
_DATATYPES: Final = {"number": "FP64", "boolean": "BOOL", "category": "BYTES", "date": "BYTES"}


class Tensor(msgspec.Struct, omit_defaults=True):
    """A tensor of a request or an answer."""

    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] = {}


class Output(msgspec.Struct):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class Inference(msgspec.Struct):
    """A request's JSON."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Output] | None = None
    parameters: dict[str, Any] = {}


def datatype(feature: Feature) -> str:
    """Give the datatype that the model's metadata names for a feature; any other of its kind is taken too."""
    return _DATATYPES[feature.type]


def instances(contract: Contract, request: Inference, binary: bytes, limit: int) -> list[dict[str, Any]]:
    """Turn one tensor per feature into rows, to be checked as any others.

    Parameters
    ----------
    binary
        What stands behind the JSON, for the tensors that say `binary_data_size`, in their order.

    Raises Problem: 413 for more than `limit` rows, 422 for tensors that are not the contract's, or whose shape is
    not [n] or [n, 1].
    """
    known = {feature.name: feature for feature in contract.features}
    columns: dict[str, list[Any]] = {}
    at = 0
    for tensor in request.inputs:
        feature = known.get(tensor.name)
        if feature is None or tensor.name in columns:
            raise _refusal(tensor, "each feature of the model once", tensor.name)
        _check_datatype(tensor, feature)
        rows = _rows(tensor)
        if rows:
            check_number(rows, limit)
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            values = _in_range(tensor, _flat(tensor, rows))
        elif tensor.data is not None:
            raise _refusal(tensor, "data or binary_data_size", "both")
        else:
            if type(size) is not int or not 0 <= size <= len(binary) - at:
                raise _refusal(tensor, "binary_data_size within the body", str(size))
            values = _unpack(tensor, rows, binary[at : at + size])
            at += size
        columns[tensor.name] = [_value(value) for value in values]
    if at != len(binary):
        raise Problem(422, f"{len(binary) - at} bytes behind the JSON belong to no tensor", title="Bytes left over")
    if len({len(column) for column in columns.values()}) > 1:
        raise Problem(422, "The tensors differ in their number of rows", title="Shapes do not match")
    found = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    check_number(len(found), limit)
    return found


def _refusal(tensor: Tensor, expected: str, got: str, row: int | None = None) -> Problem:
    error = FieldError(field=tensor.name[:80], expected=expected, got=got[:80], instance=row)
    return Problem(422, f"The input tensor {tensor.name[:80]!r} does not fit", title="Tensor", errors=[error])


def _rows(tensor: Tensor) -> int:
    shape = tensor.shape
    if len(shape) not in (1, 2) or not 0 <= shape[0] <= _MOST_ROWS or shape[1:] not in ([], [1]):
        raise _refusal(tensor, "a shape of [n] or [n, 1]", str(shape))
    return shape[0]


def _flat(tensor: Tensor, rows: int) -> list[Any]:
    data = tensor.data
    if isinstance(data, list) and len(data) == rows and all(isinstance(each, list) and len(each) == 1 for each in data):
        data = [each[0] for each in data]
    if not isinstance(data, list) or len(data) != rows:
        raise _refusal(tensor, f"data of {rows} values", f"{len(data)} values" if isinstance(data, list) else "none")
    return data


def _unpack(tensor: Tensor, rows: int, content: bytes) -> list[Any]:
    kind = {**NUMBERS, "BOOL": "?"}.get(tensor.datatype)
    if kind is not None:
        if len(content) != rows * np.dtype(kind).itemsize:
            raise _refusal(tensor, f"{rows * np.dtype(kind).itemsize} bytes", f"{len(content)} bytes")
        numbers: list[Any] = np.frombuffer(content, dtype=kind).tolist()
        return numbers
    values, at = [], 0
    try:
        while at < len(content):
            (length,) = _LENGTH.unpack_from(content, at)
            at += 4 + length
            if at > len(content):
                raise _refusal(tensor, "texts with their lengths", "a length beyond the end")
            values.append(content[at - length : at].decode())
            if len(values) > rows:
                break
    except (struct.error, UnicodeDecodeError) as error:
        raise _refusal(tensor, "texts in UTF-8 with their lengths", str(error)) from None
    if len(values) != rows:
        raise _refusal(tensor, f"{rows} texts", f"{len(values)} or more texts")
    return values


def _check_datatype(tensor: Tensor, feature: Feature) -> None:
    wanted = _DATATYPES[feature.type]
    if tensor.datatype != wanted and not (feature.type == "number" and tensor.datatype in NUMBERS):
        expected = "one of " + ", ".join(NUMBERS) if feature.type == "number" else wanted
        raise _refusal(tensor, f"the datatype {expected}", tensor.datatype)


def _in_range(tensor: Tensor, values: list[Any]) -> list[Any]:
    """Give numbers of JSON as the tensor's datatype has them. What is no number is found wrong later."""
    if tensor.datatype not in NUMBERS:
        return values
    kind = np.dtype(NUMBERS[tensor.datatype])
    whole = kind.kind in "iu"
    limits: Any = np.iinfo(kind) if whole else np.finfo(kind)
    low, high = (int(limits.min), int(limits.max)) if whole else (float(limits.min), float(limits.max))
    for row, value in enumerate(values):
        if type(value) in (int, float) and not (low <= value <= high and (not whole or value == int(value))):
            raise _refusal(tensor, f"a number of the datatype {tensor.datatype}", str(value), row)
    if tensor.datatype == "FP16":  # 0.1 is 0.0999755859375 then, as if it had come as bytes
        return [float(kind.type(value)) if type(value) in (int, float) else value for value in values]
    return values


def _value(value: Any) -> Any:
    """Tensors know no null: NaN stands for a missing value, beside the texts that do so everywhere."""
    if isinstance(value, NotANumber):
        return None if value.text == "NaN" else value
    return None if isinstance(value, float) and np.isnan(value) else value


def texts_to_bytes(texts: Sequence[str]) -> bytes:
    """Give each text's length and its UTF-8, one after another."""
    encoded = [text.encode() for text in texts]
    return b"".join(part for each in encoded for part in (_LENGTH.pack(len(each)), each))


def numbers_to_bytes(kind: str, values: npt.ArrayLike) -> bytes:
    """Give values little-endian in the datatype `kind`."""
    return np.asarray(values, dtype={**NUMBERS, "BOOL": "?"}[kind]).tobytes()
