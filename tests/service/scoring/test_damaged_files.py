"""A model file whose bytes were changed is refused."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import model
from service.model import ArtifactError
from service.release import ReleaseError
from service.scoring import artifact
from tests.service.artifacts import Root, onnx_bytes, written


@given(content=st.binary(max_size=300))
def test_random_bytes_are_refused_without_a_crash(content: bytes) -> None:
    with pytest.raises(ArtifactError):
        model.from_bytes(content, "model.onnx")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return written(tmp_path_factory.mktemp("damaged"))


@given(place=st.integers(0, len(onnx_bytes()) - 1), change=st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_one_changed_byte_is_enough(root: Root, place: int, change: int) -> None:
    content = bytearray(onnx_bytes())
    content[place] ^= change
    root.model.write_bytes(content)

    with pytest.raises(ReleaseError, match="its MD5 is"):
        artifact.load(root.settings())
