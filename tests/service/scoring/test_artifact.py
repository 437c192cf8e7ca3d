"""Only what the current release names is loaded, and of that only what the pipeline could have exported."""

import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from service import release
from service.contract import CONTRACT_VERSION
from service.model import ArtifactError
from service.release import MODEL_FILE, RELEASE_FILE
from service.scoring import artifact
from tests.service.artifacts import (
    Root,
    contract,
    graph,
    md5_of,
    metrics_json,
    onnx_bytes,
    stump,
    with_contract,
    written,
)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return written(tmp_path)


def refusal(root: Root, **changes: int) -> str:
    with pytest.raises(ArtifactError) as caught:
        artifact.load(root.settings(**changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_current_release_is_loaded_with_what_it_says(root: Root) -> None:
    loaded = artifact.load(root.settings())

    assert (loaded.name, loaded.threshold, loaded.data_md5) == ("flights", 0.4, "d" * 32)
    assert (loaded.folder, loaded.version) == (root.current.name, md5_of(onnx_bytes()))
    assert loaded.params == {"n_estimators": 10}
    assert loaded.metrics == {"roc_auc": 0.7, "threshold": 0.4}


def test_without_a_release_it_says_how_to_make_one(tmp_path: Path) -> None:
    root = Root(tmp_path)

    assert refusal(root).endswith(
        "current: nothing has been released yet; run `make promote` to release the workspace's model, "
        "or `make repro` to train one and release it"
    )


def test_the_threshold_is_a_half_where_the_metrics_name_none(root: Root) -> None:
    root.write(onnx_bytes(), metrics_json(roc_auc=0.7))

    assert artifact.load(root.settings()).threshold == 0.5


@pytest.mark.parametrize("threshold", [1.5, -0.1, "0.5", None])
def test_a_threshold_that_is_no_probability_is_refused(root: Root, threshold: object) -> None:
    root.write(onnx_bytes(), metrics_json(threshold=threshold))

    assert "threshold is" in refusal(root)


def test_a_loaded_model_is_taken_again_when_only_the_release_changed(root: Root) -> None:
    known = artifact.load(root.settings()).model
    root.write(onnx_bytes(), metrics_json(threshold=0.9))

    assert artifact.load(root.settings(), known).model is known


@pytest.mark.parametrize("name", [MODEL_FILE, RELEASE_FILE])
def test_a_missing_file_is_named(root: Root, name: str) -> None:
    path = root.current / name
    path.unlink()

    assert refusal(root).startswith(f"{path}: is missing; run `make promote`")


def test_a_release_whose_folder_is_gone_is_named(root: Root) -> None:
    folder = root.current
    shutil.rmtree(folder)

    assert refusal(root).startswith(f"{folder / RELEASE_FILE}: is missing")


def test_bytes_that_the_release_does_not_name_are_refused_with_both_sums(root: Root) -> None:
    root.model.write_bytes(b"{}")

    assert refusal(root).startswith(
        f"{root.model}: its MD5 is 99914b932bd37a50b983c5e7c90ae93b, release.json names {md5_of(onnx_bytes())}; run"
    )


@pytest.mark.parametrize("name", [MODEL_FILE, RELEASE_FILE])
def test_a_pipe_is_refused_and_not_waited_for(root: Root, name: str) -> None:
    path = root.current / name
    path.unlink()
    os.mkfifo(path)

    assert f"{path}: is not a regular file" in refusal(root)


def test_a_release_that_loses_its_model_while_it_is_read_gives_way_to_the_next(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, read = root.model, release.read_file

    def overtaken(path: Path, limit: int) -> bytes:
        if path == old:
            root.write(onnx_bytes(lean=1.0))
            old.unlink()
        return read(path, limit)

    monkeypatch.setattr(release, "read_file", overtaken)

    assert artifact.load(root.settings()).version == md5_of(onnx_bytes(lean=1.0))


def test_a_file_over_the_limit_is_refused_unread(root: Root) -> None:
    assert "MAX_ARTIFACT_BYTES allows 100" in refusal(root, max_artifact_bytes=100)


def tensor(*shape: int) -> TensorProto:
    return numpy_helper.from_array(np.ones(shape, np.float32), "weights")


def external() -> TensorProto:
    made = tensor(2)
    made.ClearField("raw_data")
    made.data_location = TensorProto.EXTERNAL
    made.external_data.add(key="location", value="/etc/passwd")
    return made


def pretending() -> TensorProto:
    made = tensor(2)
    made.dims[0] = 2**31
    return made


def doubling() -> list[onnx.NodeProto]:
    chain = ["X", *(f"v{step}" for step in range(40))]
    return [helper.make_node("Concat", [a, a], [b], axis=1) for a, b in itertools.pairwise(chain)]


def many_targets() -> onnx.NodeProto:
    return helper.make_node("TreeEnsemble", ["X"], ["wide"], domain="ai.onnx.ml", n_targets=2**31)


def branch() -> onnx.NodeProto:
    inner = helper.make_graph([], "inner", [], [])
    return helper.make_node("If", ["X"], ["branched"], then_branch=inner, else_branch=inner)


def hidden_branch() -> onnx.NodeProto:
    return helper.make_node("Identity", ["X"], ["same"], body=helper.make_graph([], "inner", [], []))


def foreign() -> onnx.NodeProto:
    return helper.make_node("Anything", ["X"], ["made"], domain="com.example")


def expanding() -> onnx.NodeProto:
    return helper.make_node("Expand", ["X", "weights"], ["large"])


def looked_up() -> list[onnx.NodeProto]:
    """Give rows of a table for each row, multiplied before they are summed."""
    return [
        helper.make_node("Gather", ["weights", "X"], ["cube"], axis=0),
        helper.make_node("Mul", ["cube", "cube"], ["large"]),
    ]


HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "weights in other files": (lambda: graph([stump()], [external()]), "keeps weights in other files"),
    "operators of others": (lambda: graph([foreign(), stump()]), "com.example.Anything, which is not let through"),
    "operators that grow": (lambda: graph([expanding(), stump()], [tensor(2)]), "Expand, which is not let through"),
    "a graph within the graph": (lambda: graph([branch(), stump()]), "holds a graph"),
    "a graph in any attribute": (lambda: graph([hidden_branch(), stump()]), "holds a graph"),
    "doubling 40 times": (lambda: graph([*doubling(), stump()]), "Concat gives 1048576 values per row"),
    "2 GB of targets": (lambda: graph([many_targets(), stump()]), "'n_targets' is 2147483648"),
    "2 GB of weights in 8 bytes": (lambda: graph([stump()], [pretending()]), "says it has 2147483648 elements"),
    "a constant of rows": (
        lambda: graph([helper.make_node("Add", ["X", "weights"], ["large"]), stump()], [tensor(9, 1)]),
        "Add takes a constant of several rows",
    ),
    "a constant of three dimensions": (lambda: graph([stump()], [tensor(9, 1, 1)]), "has 3 dimensions"),
    "a product of computed values": (
        lambda: graph([helper.make_node("MatMul", ["X", "X"], ["large"]), stump()]),
        "MatMul takes something else than a constant",
    ),
    "rows of a table": (lambda: graph([*looked_up(), stump()], [tensor(9, 2)]), "rows of a table that are not summed"),
    "a wide input": (lambda: graph([stump()], columns=2**31), "has 2147483648 values per row"),
}


@pytest.mark.parametrize(("make", "expected"), HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_file_is_refused_even_if_the_release_names_it(
    root: Root, make: Callable[[], onnx.ModelProto], expected: str
) -> None:
    root.write(with_contract(make()))

    assert expected in refusal(root)


def test_a_function_of_the_file_s_own_is_refused(root: Root) -> None:
    hostile = graph([stump()])
    hostile.functions.add(name="f", domain="ai.onnx.ml")
    root.write(with_contract(hostile))

    assert "functions" in refusal(root)


OTHERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "there is no graph"),
    "text": (lambda: b"not a model at all", "it is not ONNX"),
    "cut off": (lambda: onnx_bytes()[:-9], "cut off"),
    "a pickle": (lambda: pickle.dumps({"model": 1}), "is a pickle"),
    "no contract": (lambda: graph([stump()]).SerializeToString(), "carries no contract"),
    "a broken contract": (lambda: with_contract(graph([stump()]), '{"version": 1}'), "contract does not hold: task"),
    "a newer contract": (
        lambda: with_contract(graph([stump()]), json.dumps({"version": CONTRACT_VERSION + 1})),
        f"has version {CONTRACT_VERSION + 1}, this service knows {CONTRACT_VERSION}",
    ),
    "other columns": (
        lambda: with_contract(graph([stump()]), contract(columns=3).model_dump_json()),
        "does not fit the graph",
    ),
    "other classes": (
        lambda: with_contract(graph([stump()]), contract(classes=("no", "yes", "?")).model_dump_json()),
        "3 classes, but the graph gives",
    ),
    "other input": (lambda: with_contract(graph([helper.make_node("Identity", ["Z"], ["Y"])])), "no step before it"),
}


@pytest.mark.parametrize(("make", "expected"), OTHERS.values(), ids=list(OTHERS))
def test_a_file_that_is_no_artifact_is_refused(root: Root, make: Callable[[], bytes], expected: str) -> None:
    root.write(make())

    assert expected in refusal(root)


def test_a_model_is_loaded_and_run_without_a_word_to_the_makers_of_its_runtime(tmp_path: Path) -> None:
    """What ONNX Runtime would report it keeps below the home directory first."""
    root, home = written(tmp_path / "root"), tmp_path / "home"
    home.mkdir()
    program = f"from pathlib import Path; from service import model; model.load(Path({str(root.model)!r}))"
    environment = {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[3])}

    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert list(home.rglob("*")) == []
