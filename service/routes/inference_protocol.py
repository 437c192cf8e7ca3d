"""The Open Inference Protocol, version 2, over the model in service: /v2/..."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from service.auth.access import authenticate
from service.http.exchange import media_type, read_body
from service.http.problems import Problem
from service.inputs import explain, extent, tensors
from service.inputs.explain import Findings, Invalid
from service.inputs.tensors import Inference, Output, Tensor
from service.routes.predict import SCOPE
from service.scoring.serving import Scored, Served, Serving, warning

_HEADER_LENGTH: Final = "inference-header-content-length"
_MEDIA: Final = (b"application/json", b"application/octet-stream", b"application/vnd.sagemaker-triton.binary+json", b"")
_OBJECTS: Final = 10_000
"""Objects and arrays of a request beside the values: tensors, shapes, parameters."""
_IDS: Final = "prediction_ids"
"""Output that is given to who names it, or says so in the request's parameters."""
_SURROGATE: Final = re.compile(rb"\\u[dD]")
_ENCODER: Final = msgspec.json.Encoder()
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": text}
    for status, text in {
        400: "The body is not of the protocol",
        401: "No token, or one that does not count",
        403: "The token lacks the scope",
        404: "No such model or version",
        408: "The body was too slow",
        413: "The body or the number of rows is too large",
        415: "The body is of a kind that is not taken",
        422: "The tensors do not fit the model's contract",
        503: "The service cannot check tokens yet",
    }.items()
}
_MISSING: Final[dict[int | str, dict[str, Any]]] = {404: _ERRORS[404]}
_BODY: Final[dict[str, Any]] = {
    "security": [{"token": ["predict"]}],
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
}

router = APIRouter(prefix="/v2", tags=["open inference protocol"])


@router.get("")
async def server() -> dict[str, Any]:
    """Tell what the server is."""
    return {"name": "reproducible-ml", "version": "2", "extensions": ["binary_tensor_data"]}


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """Answer as long as the process does."""
    return {"live": True}


@router.get("/health/ready")
async def ready() -> dict[str, bool]:
    """Answer once the model is loaded, as it is before anything is answered."""
    return {"ready": True}


@router.get("/models/{name}", responses=_MISSING)
@router.get("/models/{name}/versions/{version}", responses=_MISSING)
async def metadata(request: Request, name: str, version: str | None = None) -> dict[str, Any]:
    """Describe the model's tensors; -1 stands for the number of rows."""
    served = _served(request, name, version)
    inputs = [
        {"name": feature.name, "datatype": tensors.datatype(feature), "shape": [-1]}
        for feature in served.contract.features
    ]
    outputs: list[dict[str, Any]] = [{"name": "predictions", "datatype": _label_type(served), "shape": [-1]}]
    if served.class_names:
        classes = len(served.class_names)
        outputs.append({"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]})
    return {
        "name": name,
        "versions": [served.version],
        "platform": "onnx_onnxruntime",
        "inputs": inputs,
        "outputs": outputs,
        "parameters": {"classes": served.class_names, "outputs_on_request": [_IDS]},
    }


@router.get("/models/{name}/ready", responses=_MISSING)
@router.get("/models/{name}/versions/{version}/ready", responses=_MISSING)
async def model_ready(request: Request, name: str, version: str | None = None) -> dict[str, Any]:
    """Tell that the model answers."""
    _served(request, name, version)
    return {"name": name, "ready": True}


@router.post("/models/{name}/infer", openapi_extra=_BODY, responses=_ERRORS)
@router.post("/models/{name}/versions/{version}/infer", openapi_extra=_BODY, responses=_ERRORS)
async def infer(request: Request, name: str, version: str | None = None) -> Response:
    """Predict from one tensor of shape [n] or [n, 1] per feature; those that may be missing may be left out.

    Values beyond those of training are answered and named in the answer's parameter `warnings`, a text of JSON.
    """
    await authenticate(request, SCOPE)
    headers = dict(request.headers.raw)
    served = _served(request, name, version)
    request.state.version = served.version
    if media_type(headers) not in _MEDIA:
        raise Problem(415, "Content-Type must be application/json, or application/octet-stream with binary tensors")
    settings = request.app.state.settings
    body = await read_body(request.receive, headers, settings.max_body_bytes)
    length = request.headers.get(_HEADER_LENGTH)
    try:
        wanted, scored = await asyncio.to_thread(_compute, served, body, length, settings.max_instances)
    except Invalid as problem:
        served.instruments.count_errors(problem.kinds)
        raise
    served.count(scored)
    request.state.instances = len(scored.numbers)
    served.instruments.count_request(len(scored.numbers))
    ids = await request.app.state.prediction_ids.name_aside(served, scored) if _wants_ids(wanted) else None
    return _answer(served, wanted, scored, ids)


def _compute(served: Served, body: bytes, header_length: str | None, limit: int) -> tuple[Inference, Scored]:
    wanted, binary = _parse(body, header_length, limit * len(served.contract.features))
    return wanted, _score(served, tensors.instances(served.contract, wanted, binary, limit))


def _wants_ids(wanted: Inference) -> bool:
    return wanted.parameters.get(_IDS) is True or any(output.name == _IDS for output in wanted.outputs or ())


def _served(request: Request, name: str, version: str | None) -> Served:
    serving: Serving = request.app.state.serving
    served = serving.current
    if name != served.artifact.name or version not in (None, served.version):
        raise Problem(404, f"The model in service is {served.artifact.name}, version {served.version}")
    return served


def _parse(body: bytes, header_length: str | None, values: int) -> tuple[Inference, bytes]:
    length = len(body)
    if header_length is not None:
        # Python refuses to read thousands of digits as a number; a length within a body has a dozen at most.
        length = int(header_length) if header_length.isdecimal() and len(header_length) < 20 else -1  # noqa: PLR2004
        if not 0 <= length <= len(body):
            raise Problem(400, "Inference-Header-Content-Length is no length within the body")
    extent.check(body[:length], objects=values + _OBJECTS, values=2 * (values + _OBJECTS))
    document = _said(explain.read_json(body[:length]))
    if _SURROGATE.search(body, 0, length):
        _refuse_half_characters(document)
    try:
        wanted = msgspec.convert(document, Inference)
    except msgspec.ValidationError as error:
        raise Problem(422, f"The request is not of the protocol: {error}", title="Not an inference request") from None
    for name in (_IDS, "binary_data_output"):
        if type(wanted.parameters.get(name, False)) is not bool:
            raise Problem(422, f"The parameter {name} is true or false", title="Not an inference request")
    return wanted, body[length:]


def _refuse_half_characters(document: Any) -> None:
    """Raise Problem for texts with one half of a surrogate pair, which no answer could repeat."""
    try:
        json.dumps(document, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        detail = "A text of the request has half a character (one of \\ud800 to \\udfff alone)"
        raise Problem(422, detail, title="Half a character") from None


def _said(document: Any) -> Any:
    """Leave out members that are null, as clients write those that they have nothing to say of."""
    if not isinstance(document, dict):
        return document
    said = {name: value for name, value in document.items() if value is not None}
    for name in ("inputs", "outputs"):
        if isinstance(said.get(name), list):
            said[name] = [_said(each) for each in said[name]]
    return said


def _score(served: Served, instances: list[dict[str, Any]]) -> Scored:
    rows = served.reader.read_instances(instances, Findings())
    scored = served.score(rows.numbers)
    served.check(rows, scored)
    return scored


def _label_type(served: Served) -> str:
    if not served.contract.classes:
        return "FP32"
    return {bool: "BOOL", int: "INT64", str: "BYTES"}[type(served.contract.classes[0])]


def _answer(served: Served, wanted: Inference, scored: Scored, ids: list[str] | None) -> Response:
    outputs, binary = [], []
    by_name = {output.name: output for output in wanted.outputs or ()}
    default = bool(wanted.parameters.get("binary_data_output"))
    given = list(_outputs(served, scored))
    if ids is not None:
        given.append((Tensor(_IDS, [len(ids)], "BYTES"), ids))
        if wanted.outputs:  # asked for by the parameter, beside those that are named
            by_name.setdefault(_IDS, Output(_IDS))
    for tensor, values in given:
        output = by_name.pop(tensor.name, None) if wanted.outputs else Output(tensor.name)
        if output is None:
            continue
        if output.parameters.get("binary_data", default):
            content = _packed(tensor.datatype, values)
            tensor.parameters = {"binary_data_size": len(content)}
            binary.append(content)
        else:
            tensor.data = values
        outputs.append(tensor)
    if by_name:
        raise Problem(422, f"There is no output {next(iter(by_name))[:80]!r}", title="No such output")
    document: dict[str, Any] = {
        "model_name": served.artifact.name,
        "model_version": served.version,
        "outputs": outputs,
    }
    if wanted.id is not None:
        document["id"] = wanted.id
    if scored.outside:  # a parameter is a text, a number or a boolean
        warnings = [warning(each) for each in scored.outside]
        document["parameters"] = {"warnings": _ENCODER.encode(warnings).decode()}
    header = _ENCODER.encode(document)
    if not binary:
        return Response(header, media_type="application/json")
    lengths = {"Inference-Header-Content-Length": str(len(header))}
    return Response(b"".join([header, *binary]), headers=lengths, media_type="application/octet-stream")


def _outputs(served: Served, scored: Scored) -> Iterator[tuple[Tensor, list[Any]]]:
    rows = len(scored.numbers)
    values = list(scored.labels) if served.class_names else scored.values
    yield Tensor("predictions", [rows], _label_type(served)), values
    if served.class_names:
        flat = [value for row in scored.values for value in row]
        yield Tensor("probabilities", [rows, len(served.class_names)], "FP32"), flat


def _packed(datatype: str, values: list[Any]) -> bytes:
    return tensors.texts_to_bytes(values) if datatype == "BYTES" else tensors.numbers_to_bytes(datatype, values)
