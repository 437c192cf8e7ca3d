"""/v2: the Open Inference Protocol, version 2, with tensors as JSON.

https://kserve.github.io/website/latest/modelserving/data_plane/v2_protocol/
"""

import asyncio
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Request, Response, Security

from service.auth.access import authenticate
from service.feedback import PredictionIds
from service.http.exchange import media_type, read_body
from service.http.problems import Problem
from service.inputs.explain import Invalid, check_extent, clip, read_json
from service.inputs.tensors import DATATYPES, Tensor, to_instances
from service.routes.openapi import BODY, errors
from service.routes.predict import SCOPE
from service.scoring.serving import Scored, Served, Serving, warning

_OBJECTS: Final = 10_000
"""How many objects, arrays and values a request may have besides the rows: tensors, shapes, parameters."""
_IDS: Final = "prediction_ids"
"""The output that the response has only if the request names it in `outputs` or sets this parameter to true."""
_COVER: Final = ("intervals", "sets")
_MISSING: Final = errors(also={404: "No such model or version", 422: "The path does not fit"})
router = APIRouter(prefix="/v2", tags=["open inference protocol"])


class Output(msgspec.Struct):
    """An output that the request asks for."""

    name: str


class Parameters(msgspec.Struct):
    """What a request asks for beside predictions; other parameters are ignored."""

    coverage: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    """The level of the output `intervals`, shape [n, 2], or `sets`, true for the classes in them."""
    prediction_ids: bool = False


class Inference(msgspec.Struct):
    """A request for predictions. Clients may send null for optional members."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Output] | None = None
    parameters: Parameters | None = None


@router.get("", responses=errors())
async def server() -> dict[str, Any]:
    """Return the name, version and extensions of the server."""
    return {"name": "reproducible-ml", "version": "2", "extensions": []}


@router.get("/health/live", responses=errors())
async def live() -> dict[str, bool]:
    """Return 200 while the process answers."""
    return {"live": True}


@router.get("/health/ready", responses=errors())
async def ready() -> dict[str, bool]:
    """Return 200: the model is loaded before the service answers."""
    return {"ready": True}


@router.get("/models/{name}", responses=_MISSING)
@router.get("/models/{name}/versions/{version}", responses=_MISSING)
async def metadata(request: Request, name: str, version: str | None = None) -> dict[str, Any]:
    """Describe the model's tensors; -1 means the number of rows."""
    served = _find_model(request, name, version)
    inputs = [
        {"name": feature.name, "datatype": DATATYPES[feature.type], "shape": [-1]}
        for feature in served.contract.features
    ]
    outputs: list[dict[str, Any]] = [{"name": "predictions", "datatype": _label_type(served), "shape": [-1]}]
    if served.class_names:
        outputs.append({"name": "probabilities", "datatype": "FP32", "shape": [-1, len(served.class_names)]})
    return {
        "name": name,
        "versions": [served.version],
        "platform": "onnx_onnxruntime",
        "inputs": inputs,
        "outputs": outputs,
        "parameters": {
            "classes": served.class_names,
            "outputs_on_request": [_IDS, *([_COVER[bool(served.class_names)]] if served.model.coverage else [])],
        },
    }


@router.get("/models/{name}/ready", responses=_MISSING)
@router.get("/models/{name}/versions/{version}/ready", responses=_MISSING)
async def model_ready(request: Request, name: str, version: str | None = None) -> dict[str, Any]:
    """Return 200 if the service has this model."""
    _find_model(request, name, version)
    return {"name": name, "ready": True}


_INFER: Final[dict[str, Any]] = {
    "dependencies": [Security(authenticate, scopes=[SCOPE])],
    "responses": errors(*BODY, 401, 403, 503, also={404: "No such model or version"}),
    "openapi_extra": {
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    },
}


@router.post("/models/{name}/infer", **_INFER)
@router.post("/models/{name}/versions/{version}/infer", **_INFER)
async def infer(request: Request, name: str, version: str | None = None) -> Response:
    """Predict from one tensor of shape [n] or [n, 1] per feature; nullable features are optional.

    The parameter `warnings` of the response lists values that training didn't have, as JSON text.
    """
    headers = dict(request.headers.raw)
    served = _find_model(request, name, version)
    request.state.version = served.version
    if media_type(headers) not in {b"application/json", b""}:
        raise Problem(
            415, "Content-Type must be application/json; the service accepts tensors as JSON, not as binary data"
        )
    state = request.app.state
    body = await read_body(request.receive, headers, state.settings.max_body_bytes)
    limit = state.settings.max_instances
    try:
        scored, answer = await asyncio.to_thread(_compute, served, state.prediction_ids, body, limit)
    except Invalid as problem:
        served.instruments.count_errors(problem.kinds)
        raise
    served.count(scored)
    request.state.instances = len(scored.numbers)
    served.instruments.count_request(len(scored.numbers))
    return Response(answer, media_type="application/json")


def _find_model(request: Request, name: str, version: str | None) -> Served:
    """Return the model in service. Raises Problem (404) if it has another name or version."""
    serving: Serving = request.app.state.serving
    served = serving.current
    if name != served.artifact.release.name or version not in (None, served.version):
        raise Problem(404, f"The model in service is {served.artifact.release.name}, version {served.version}")
    return served


def _compute(served: Served, ids: PredictionIds, body: bytes, limit: int) -> tuple[Scored, bytes]:
    """Parse the body, score its rows, and return the results and the response body."""
    wanted = _parse(body, limit * len(served.contract.features))
    instances = to_instances(served.contract, wanted.inputs, limit)
    scored = served.score(served.reader.read_instances(instances))
    served.check(scored, lambda: instances)
    return scored, _answer(served, ids, wanted, scored)


def _parse(body: bytes, values: int) -> Inference:
    check_extent(body, values + _OBJECTS, values + _OBJECTS)
    document = read_json(body)
    try:
        wanted = msgspec.convert(document, Inference)
        (wanted.id or "").encode()  # the response repeats it
    except msgspec.ValidationError as error:
        raise Problem(
            422, f"The request doesn't follow the protocol: {error}", title="Not an inference request"
        ) from None
    except UnicodeEncodeError:
        raise Problem(422, "The id isn't valid Unicode: it has an unpaired surrogate (\\ud800 to \\udfff)") from None
    return wanted


def _label_type(served: Served) -> str:
    if not served.contract.classes:
        return "FP32"
    return {bool: "BOOL", int: "INT64", str: "BYTES"}[type(served.contract.classes[0])]


def _answer(served: Served, ids: PredictionIds, wanted: Inference, scored: Scored) -> bytes:
    """Return the response body with the outputs that the request names, or all.

    Prediction ids are in it only if the request asks for them. Raises Problem (422) for an unknown output.
    """
    rows, classes = len(scored.numbers), served.class_names
    named = {output.name for output in wanted.outputs or ()}
    outputs: dict[str, tuple[str, list[int], Any]] = {
        "predictions": (_label_type(served), [rows], scored.labels if classes else scored.values)
    }
    if classes:
        outputs["probabilities"] = "FP32", [rows, len(classes)], [value for row in scored.values for value in row]
    parameters = wanted.parameters or Parameters()
    if _IDS in named or parameters.prediction_ids:
        outputs[_IDS] = "BYTES", [rows], ids.make_all(served, scored)
    if parameters.coverage is not None:
        ((name, found),) = served.cover(parameters.coverage)(scored).items()
        labels = served.contract.classes
        data = (
            [label in each for each in map(set, found) for label in labels]
            if labels
            else [end for each in found for end in each]
        )
        outputs[name] = "BOOL" if labels else "FP64", [rows, len(labels) or 2], data
    unknown = named - outputs.keys()
    if unknown:
        raise Problem(422, f"There is no output {clip(min(unknown))!r}", title="No such output")
    document: dict[str, Any] = {
        "model_name": served.artifact.release.name,
        "model_version": served.version,
        "outputs": [
            {"name": name, "shape": shape, "datatype": kind, "data": data}
            for name, (kind, shape, data) in outputs.items()
            if not named or name in {*named, _IDS, *_COVER}
        ],
    }
    if wanted.id is not None:
        document["id"] = wanted.id
    if scored.outside:  # the protocol allows only text, numbers and booleans as parameters
        warnings = [warning(each) for each in scored.outside]
        document["parameters"] = {"warnings": msgspec.json.encode(warnings).decode()}
    return msgspec.json.encode(document)
