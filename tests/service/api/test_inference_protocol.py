"""The Open Inference Protocol: by hand in this process, and by its reference client over a socket."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

Start = Callable[..., Any]
DATATYPES = {"number": "FP64", "boolean": "BOOL", "category": "BYTES", "date": "BYTES"}


def tensors(service: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "name": feature.name,
            "shape": [len(rows)],
            "datatype": DATATYPES[feature.type],
            "data": [row.get(feature.name) for row in rows],
        }
        for feature in service.artifact.contract.features
    ]


def infer(service: Any, request: Any, name: str = "shop") -> Any:
    return service.client.post(f"/v2/models/{name}/infer", content=json.dumps(request), headers=service.headers)


def bearer(token: str) -> dict[str, str]:
    """Return new headers for each call, because the client changes them."""
    return {"Authorization": f"Bearer {token}"}


def test_the_server_and_its_model_are_live_and_ready(service: Any) -> None:
    version = service.artifact.model.version
    paths = ["/health/live", "/health/ready", "/models/shop/ready", f"/models/shop/versions/{version}/ready"]
    assert [service.client.get(f"/v2{path}").status_code for path in paths] == [200] * 4


def test_metadata_names_a_tensor_for_each_feature(service: Any) -> None:
    metadata = service.client.get("/v2/models/shop").json()
    assert (metadata["name"], metadata["versions"]) == ("shop", [service.artifact.model.version])
    assert metadata["inputs"][0] == {"name": "size", "datatype": "FP64", "shape": [-1]}
    assert metadata["outputs"][1] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]}


@pytest.mark.parametrize("path", ["/v2/models/other", "/v2/models/shop/versions/1", "/v2/models/other/ready"])
def test_another_model_or_version_is_not_found(service: Any, path: str) -> None:
    answer = service.client.get(path)
    assert (answer.status_code, answer.json()["error"]) == (404, answer.json()["detail"])


@pytest.mark.parametrize(
    ("target", "datatype"), [("binary", "BYTES"), ("boolean", "BOOL"), ("multiclass", "INT64"), ("regression", "FP32")]
)
def test_tensors_are_answered_as_instances_are(start: Start, target: str, datatype: str) -> None:
    service = start(target)
    rows = [service.example, service.changed(size=-1.0, **{"a b": None})]
    answer = infer(service, {"id": "7", "inputs": tensors(service, rows)}).json()
    alone = service.predict(*rows).json()
    first, *more = answer["outputs"]
    assert (answer["id"], answer["model_version"]) == ("7", service.artifact.model.version)
    assert first == {"name": "predictions", "shape": [2], "datatype": datatype, "data": alone["predictions"]}
    if more:
        assert more[0]["data"] == [value for row in alone["probabilities"] for value in row.values()]


def test_a_column_may_be_nested_and_its_missing_values_nan_or_left_out(service: Any) -> None:
    rows = [service.changed(**{"a b": None, "shop": None})]
    usual = infer(service, {"inputs": tensors(service, rows)}).json()
    nested = [
        each | {"shape": [1, 1], "data": [each["data"] if each["name"] != "a b" else [float("nan")]]}
        for each in tensors(service, rows)
        if each["name"] != "shop"
    ]
    assert infer(service, {"inputs": nested}).json() == usual


def test_a_tensor_of_the_target_is_ignored(service: Any) -> None:
    inputs = tensors(service, [service.example])
    target = {"name": "y", "shape": [3], "datatype": "INT8", "data": "no array"}
    assert infer(service, {"inputs": [target, *inputs]}).json() == infer(service, {"inputs": inputs}).json()


@pytest.mark.parametrize(
    ("place", "change", "expected"),
    [
        (0, {"name": "other"}, "each feature of the model once"),
        (0, {"datatype": "BYTES"}, "the datatype one of FP16"),
        (3, {"datatype": "FP32"}, "the datatype BYTES"),
        (0, {"shape": [1, 2]}, "a shape of [n] or [n, 1]"),
        (0, {"shape": [2]}, "data of 2 values"),
        (0, {"data": None}, "data as a JSON array"),
        (0, {"data": ["x"]}, "a finite number"),
        (0, {"data": [1e39]}, "a finite number"),
        (0, {"datatype": "BF16"}, "the datatype one of FP16"),
        (0, {"datatype": "INT8", "data": [300]}, "a number of the datatype INT8"),
        (0, {"datatype": "UINT8", "data": [-1]}, "a number of the datatype UINT8"),
        (0, {"datatype": "INT64", "data": [0.5]}, "a number of the datatype INT64"),
        (0, {"datatype": "INT64", "data": [2**63]}, "a number of the datatype INT64"),
        (0, {"datatype": "FP16", "data": [1e6]}, "a number of the datatype FP16"),
        (0, {"datatype": "FP32", "data": [1e39]}, "a number of the datatype FP32"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(service: Any, place: int, change: Any, expected: str) -> None:
    inputs = tensors(service, [service.example])
    name = service.artifact.contract.features[place].name
    inputs = [each | change if each["name"] == name else each for each in inputs]
    answer = infer(service, {"inputs": inputs})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["expected"].startswith(expected)


def test_values_beyond_those_of_training_are_named_in_a_parameter(service: Any) -> None:
    rows = [service.example, service.changed(size=1e6, kind="three")]
    answer = infer(service, {"inputs": tensors(service, rows)}).json()
    assert json.loads(answer["parameters"]["warnings"]) == service.predict(*rows).json()["warnings"]
    assert "parameters" not in infer(service, {"inputs": tensors(service, rows[:1])}).json()


def test_a_parameter_that_is_neither_true_nor_false_is_refused(service: Any) -> None:
    answer = infer(service, {"inputs": tensors(service, [service.example]), "parameters": {"prediction_ids": "false"}})
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith("Expected `bool`, got `str` - at `$.parameters.prediction_ids`")


@pytest.mark.parametrize(
    "request_", [[], {}, {"inputs": {}}, {"inputs": []}, {"inputs": [1]}, {"inputs": [{"name": 1}]}]
)
def test_what_is_not_of_the_protocol_is_refused(service: Any, request_: Any) -> None:
    assert infer(service, request_).status_code == 422


@pytest.mark.parametrize("member", [{"id": "\ud800"}, {"outputs": [{"name": "\ud800"}]}])
def test_half_a_character_is_refused(service: Any, member: dict[str, Any]) -> None:
    assert infer(service, {"inputs": tensors(service, [service.example]), **member}).status_code == 422


def test_tensors_as_binary_data_are_refused(service: Any) -> None:
    headers = service.headers | {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "2"}
    answer = service.client.post("/v2/models/shop/infer", content=b"{}12345678", headers=headers)
    assert (answer.status_code, "the service accepts tensors as JSON" in answer.json()["error"]) == (415, True)


# As the clients' own code wrote them for these two rows, of the model in the fixture `service`.
ROWS = [
    {"size": 0.5, "a b": 1.0, "shop": "é", "kind": "one", "flag": True, "when": "2020-05-05"},
    {"size": -1.5, "a b": 2.0, "shop": "x|y", "kind": "two", "flag": False, "when": "2020-06-06T12:00:00"},
]
MLSERVER = (  # 1.7.1: mlserver.codecs.PandasCodec.encode_request(frame).model_dump_json()
    '{"id":null,"parameters":{"content_type":"pd"},"inputs":['
    '{"name":"size","shape":[2,1],"datatype":"FP32","parameters":null,"data":[0.5,-1.5]},'
    '{"name":"a b","shape":[2,1],"datatype":"FP64","parameters":null,"data":[1.0,2.0]},'
    '{"name":"shop","shape":[2,1],"datatype":"BYTES","parameters":{"content_type":"str"},"data":["é","x|y"]},'
    '{"name":"kind","shape":[2,1],"datatype":"BYTES","parameters":{"content_type":"str"},"data":["one","two"]},'
    '{"name":"flag","shape":[2,1],"datatype":"BOOL","parameters":null,"data":[true,false]},'
    '{"name":"when","shape":[2,1],"datatype":"BYTES","parameters":{"content_type":"str"},'
    '"data":["2020-05-05","2020-06-06T12:00:00"]}],"outputs":null}'
)


def test_what_mlserver_s_codecs_write_is_answered(service: Any) -> None:
    answer = service.client.post("/v2/models/shop/infer", content=MLSERVER, headers=service.headers)
    assert answer.json()["outputs"][0]["data"] == service.predict(*ROWS).json()["predictions"]


def test_inference_needs_a_token(service: Any) -> None:
    assert service.client.post("/v2/models/shop/infer", content="{}").status_code == 401


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [True, False])
def test_the_reference_client_works_with_tensors_as_json(live: Any, score: Any, outputs: bool) -> None:
    address, token, artifact = live
    columns = {
        "size": ("FP32", np.array([0.5, -1.5, 0.25], dtype=np.float32)),
        "a b": ("FP64", np.array([1.0, np.nan, 3.0])),
        "shop": ("BYTES", np.array(["é", "", "x|y"], dtype=object)),
        "kind": ("BYTES", np.array(["one", "two", "one"], dtype=object)),
        "flag": ("BOOL", np.array([True, False, True])),
        "when": ("BYTES", np.array(["2020-05-05", "", "2020-06-06T12:00:00"], dtype=object)),
    }
    inputs = []
    for name, (datatype, column) in columns.items():
        tensor = triton.InferInput(name, [3], datatype)
        tensor.set_data_from_numpy(column, binary_data=False)
        inputs.append(tensor)
    wanted = [triton.InferRequestedOutput("probabilities", binary_data=False)] if outputs else None
    with triton.InferenceServerClient(address) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("shop")  # noqa: PT018
        metadata = client.get_model_metadata("shop")
        answer = client.infer("shop", inputs, headers=bearer(token), outputs=wanted)
    rows = [{name: _plain(column[row]) for name, (_, column) in columns.items()} for row in range(3)]
    assert metadata["versions"] == [artifact.model.version]
    np.testing.assert_array_equal(answer.as_numpy("probabilities"), score(artifact, rows))
    if not outputs:
        labels = [*answer.as_numpy("predictions")]
        assert labels == artifact.model.labels(score(artifact, rows), 0.5)


@pytest.mark.slow
def test_the_reference_client_shows_errors(live: Any) -> None:
    address, token, _ = live
    tensor = triton.InferInput("size", [1], "FP32")
    tensor.set_data_from_numpy(np.array([1.0], dtype=np.float32), binary_data=False)
    with triton.InferenceServerClient(address) as client, pytest.raises(triton.InferenceServerException, match="2 err"):
        client.infer("shop", [tensor], headers=bearer(token))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value or None
    return None if np.isnan(value) else value.item()
