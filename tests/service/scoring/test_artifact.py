"""Only the bytes that the current release names are loaded, and ONNX Runtime refuses what it cannot run from memory."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.contract import CONTRACT_VERSION
from service.model import ArtifactError
from service.release import MODEL_FILE, RELEASE_FILE, ReleaseError
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
    with pytest.raises((ArtifactError, ReleaseError)) as caught:
        artifact.load(root.settings(**changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_current_release_is_loaded_with_its_record(root: Root) -> None:
    loaded = artifact.load(root.settings())

    assert (loaded.release.name, loaded.threshold, loaded.release.data_md5) == ("flights", 0.4, "d" * 32)
    assert (loaded.folder, loaded.model.version) == (root.current.name, md5_of(onnx_bytes()))


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


def external(location: str) -> TensorProto:
    """Return a weight that is kept in another file."""
    made = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[1, 2], data_location=TensorProto.EXTERNAL)
    made.external_data.add(key="location", value=location)
    return made


def weighted(weights: TensorProto) -> bytes:
    return with_contract(graph([helper.make_node("Mul", ["X", "weights"], ["probabilities"])], [weights]))


@pytest.mark.parametrize("where", ["{folder}/weights.bin", "weights.bin", "../{name}/weights.bin"])
def test_weights_in_other_files_are_refused(
    root: Root, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.ones(2, np.float32).tobytes())
    root.write(weighted(numpy_helper.from_array(np.ones((1, 2), np.float32), "weights")))
    artifact.load(root.settings())  # the same weights inside the file are fine

    root.write(weighted(external(where.format(folder=tmp_path, name=tmp_path.name))))

    assert "ONNX Runtime refuses it" in refusal(root)


@pytest.mark.parametrize("domain", ["", "com.example"])
def test_an_operator_that_onnx_runtime_does_not_know_is_refused(root: Root, domain: str) -> None:
    unknown = helper.make_node("Anything", ["X"], ["probabilities"], domain=domain)
    made = graph([unknown])
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    root.write(with_contract(made))

    assert "Anything" in refusal(root)


OTHERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "ONNX Runtime refuses it"),
    "text": (lambda: b"not a model at all", "ONNX Runtime refuses it"),
    "cut off": (lambda: onnx_bytes()[:-9], "ONNX Runtime refuses it"),
    "a pickle": (lambda: pickle.dumps({"model": 1}), "ONNX Runtime refuses it"),
    "no contract": (lambda: graph([stump()]).SerializeToString(), "has no contract"),
    "a broken contract": (lambda: with_contract(graph([stump()]), '{"version": 1}'), "contract is invalid: task"),
    "a newer contract": (
        lambda: with_contract(graph([stump()]), json.dumps({"version": CONTRACT_VERSION + 1})),
        f"has version {CONTRACT_VERSION + 1}, this service supports {CONTRACT_VERSION}",
    ),
    "other columns": (
        lambda: with_contract(graph([stump()]), contract(columns=3).model_dump_json()),
        "does not fit the graph",
    ),
    "other classes": (
        lambda: with_contract(graph([stump()]), contract(classes=("no", "yes", "?")).model_dump_json()),
        "3 classes, but the graph returns",
    ),
    "other input": (
        lambda: with_contract(graph([helper.make_node("Identity", ["Z"], ["Y"])])),
        "ONNX Runtime refuses it",
    ),
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
