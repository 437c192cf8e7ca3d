"""A new release goes into service while the old one answers; a bad one does not."""

import asyncio
import errno
import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from service.instruments.registry import Instruments
from service.release import CURRENT, MODEL_FILE, RELEASE_FILE
from service.scoring import artifact, reload
from service.scoring.artifact import Artifact
from service.scoring.serving import Serving
from tests.service.artifacts import Root, metrics_json, onnx_bytes, written
from tests.service.processes import Load, Service, running, wait_for


@dataclass
class Current:
    artifact: Artifact


@dataclass
class FakeServing:
    """Holds an artifact without warming it up."""

    current: Current
    swaps: int = 0

    def swap(self, new: Artifact) -> None:
        self.current = Current(new)
        self.swaps += 1


@dataclass
class FakeEvents:
    """Keeps what became of releases."""

    outcomes: list[str] = field(default_factory=list)

    def count_reload(self, outcome: str) -> None:
        self.outcomes.append(outcome)

    def set_refused(self, *, is_refused: bool) -> None:
        """Do nothing: the end-to-end tests see the gauge."""


@dataclass
class Watched:
    """A watch of a root, and what became of its releases."""

    root: Root
    events: FakeEvents = field(default_factory=FakeEvents)

    def __post_init__(self) -> None:
        settings = self.root.settings()
        self.serving = FakeServing(Current(artifact.load(settings)))
        self.watch = reload.Reloader(settings, cast("Serving", self.serving), cast("Any", self.events))

    def check(self, times: int = 1) -> None:
        async def checks() -> None:
            for _ in range(times):
                await self.watch.check()

        asyncio.run(checks())

    @property
    def version(self) -> str:
        return self.serving.current.artifact.model.version


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    root = Root(tmp_path)
    root.write(onnx_bytes())
    return Watched(root)


def test_a_new_release_goes_into_service(watched: Watched) -> None:
    version = watched.root.write(onnx_bytes(lean=1.0))

    watched.check()

    assert watched.version == version
    assert watched.events.outcomes == ["reloaded"]


def test_a_replaced_model_leaves_memory_without_the_collector(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.write(onnx_bytes())
    serving = Serving(artifact.load(root.settings()), Instruments(root.settings()))
    before = weakref.ref(serving.current.model.session)
    root.write(onnx_bytes(lean=1.0))
    gc.disable()  # at work, what was there at the start is exempt from it

    try:
        serving.swap(artifact.load(root.settings()))
    finally:
        gc.enable()

    assert before() is None


def test_files_that_did_not_change_are_not_read_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.check()
    monkeypatch.setattr(artifact, "load", lambda *_: pytest.fail("read again"))

    watched.check(2)

    assert watched.serving.swaps == 0


def test_a_new_release_of_the_same_model_keeps_the_model(watched: Watched) -> None:
    model = watched.serving.current.artifact.model
    watched.root.write(onnx_bytes(), metrics_json(threshold=0.9))

    watched.check()

    assert watched.serving.current.artifact.model is model
    assert watched.serving.current.artifact.threshold == 0.9


def damage(root: Root) -> None:
    root.replace(root.model, b"damaged")


def hostile(root: Root) -> None:
    root.write(b"\x80 a pickle that the release names")


def half_written(root: Root) -> None:
    (root.current / RELEASE_FILE).write_text('{"format": 1,')


def no_model(root: Root) -> None:
    root.model.unlink()


def leads_nowhere(root: Root) -> None:
    root.promote(root.releases / "9-00000000")


def taken_back(root: Root) -> None:
    (root.releases / CURRENT).unlink()


@pytest.mark.parametrize("harm", [damage, hostile, half_written, no_model, leads_nowhere, taken_back])
def test_a_bad_release_is_refused_once_in_one_line_and_the_old_one_serves_on(
    watched: Watched, harm: Callable[[Root], None], caplog: pytest.LogCaptureFixture
) -> None:
    version = watched.version
    watched.check()
    harm(watched.root)

    watched.check(5)

    assert watched.events.outcomes == ["refused"]
    assert "\n" not in caplog.messages[-1]
    assert watched.version == version


def test_after_a_bad_release_a_good_one_goes_into_service(watched: Watched) -> None:
    damage(watched.root)
    watched.check(3)
    version = watched.root.write(onnx_bytes(lean=2.0))

    watched.check()

    assert watched.version == version


def test_a_release_that_cannot_be_loaded_is_refused_and_the_watch_continues(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: Artifact) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(watched.serving, "swap", full_disk)
        watched.root.write(onnx_bytes(lean=1.0))
        watched.check(3)
    version = watched.root.write(onnx_bytes(lean=2.0))
    watched.check()

    assert (watched.events.outcomes, watched.version) == (["refused", "reloaded"], version)


def killed_before_the_rename(root: Root) -> None:
    root.prepare(onnx_bytes(lean=1.0))


def killed_while_writing(root: Root) -> None:
    folder = root.prepare(onnx_bytes(lean=1.0))
    (folder / RELEASE_FILE).write_text("{")
    (folder / MODEL_FILE).unlink()


def killed_before_its_link_was_renamed(root: Root) -> None:
    (root.releases / "beside").symlink_to(root.prepare(onnx_bytes(lean=1.0)).name)


def the_pipeline_runs(root: Root) -> None:
    (root.folder / "dvc.lock").write_text("stages: {}")
    (root.folder / "models/model.onnx").write_bytes(onnx_bytes(lean=1.0))


@pytest.mark.parametrize(
    "act", [killed_before_the_rename, killed_while_writing, killed_before_its_link_was_renamed, the_pipeline_runs]
)
def test_only_a_new_link_changes_the_model_in_service(
    watched: Watched, act: Callable[[Root], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.check()
    monkeypatch.setattr(artifact, "load", lambda *_: pytest.fail("read again"))
    act(watched.root)

    watched.check(3)

    assert (watched.events.outcomes, watched.serving.swaps) == ([], 0)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(written(tmp_path_factory.mktemp("served")), WORKERS="2") as made:
        yield made


@pytest.mark.slow
@pytest.mark.xdist_group("reload")
def test_every_worker_takes_a_new_release_over_within_5_s_and_no_request_fails(service: Service) -> None:
    old, load = service.version(), Load(service)
    before = service.metric('model_reloads_total{outcome="reloaded"}')
    load.start()
    try:
        new = service.root.write(onnx_bytes(lean=1.0))
        wait_for(
            lambda: service.metric('model_reloads_total{outcome="reloaded"}') == before + 2, "reloading", seconds=5
        )
        load.versions.add(service.version())
    finally:
        load.stop()

    assert load.failed == []
    assert load.versions == {old, new}
    assert service.version() == new


@pytest.mark.slow
@pytest.mark.xdist_group("reload")
def test_workers_refuse_a_bad_release_and_serve_the_old_one(service: Service) -> None:
    version = service.version()
    service.root.replace(service.root.model, b"damaged")

    wait_for(lambda: service.metric('model_reloads_total{outcome="refused"}') == 2, "refusing")

    assert service.version() == version
    assert service.output().count("its MD5 is") == 2
