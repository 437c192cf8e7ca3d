"""The registry's aliases follow the releases, after a kill at the next command."""

import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from stages.commands import history
from stages.errors import RefusedError, UserError
from stages.releases import aliases as _aliases
from stages.runs import tracking
from tests.stages.commands.conftest import Workspace

pytestmark = [
    pytest.mark.xdist_group("aliases"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:::mlflow"),
]


def register(registry: MlflowClient, md5: str) -> None:
    run = registry.create_run(tracking.connect("mine")).info.run_id
    registry.create_model_version("mine", f"runs:/{run}/model", run_id=run, tags={tracking.ONNX_MD5: md5})


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with the registered model `mine`, which has no version."""
    made = tmp_path_factory.mktemp("store") / "mlflow.db"
    client = MlflowClient(f"sqlite:///{made}")
    client.create_experiment("mine", artifact_location=made.parent.as_uri())
    client.create_registered_model("mine")
    return made


@pytest.fixture(scope="module")
def released(template: Workspace, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace to copy, with two registered and released models."""
    folder = tmp_path_factory.mktemp("released")
    shutil.copytree(template.root, folder, symlinks=True, dirs_exist_ok=True)
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", "")
        made = Workspace(folder, template.params)
        for column in (2, 0):
            register(MlflowClient(f"sqlite:///{folder}/mlflow.db"), made.write(column))
            made.promote()
    return folder


@pytest.fixture
def two(workspace: Workspace, released: Path) -> Workspace:
    """Return a workspace with two registered and released models."""
    shutil.rmtree(workspace.root / ".git")
    shutil.copytree(released, workspace.root, symlinks=True, dirs_exist_ok=True)
    return workspace


@pytest.fixture
def registry(two: Workspace) -> MlflowClient:
    tracking.connect("mine")
    return MlflowClient()


def aliases(registry: MlflowClient) -> dict[str, str]:
    return {alias: str(version) for alias, version in registry.get_registered_model("mine").aliases.items()}


def kept(registry: MlflowClient) -> int:
    return len([key for key in registry.get_registered_model("mine").tags if key.startswith("alias.moved.")])


def test_champion_and_previous_follow_each_release(two: Workspace, registry: MlflowClient) -> None:
    assert aliases(registry) == {"champion": "2", "previous": "1"}
    assert [each.registry.version for each in two.history() if each.registry] == [1, 2]
    two.rollback()
    assert aliases(registry) == {"champion": "1", "previous": "2"}


def test_the_models_description_tells_the_releases_in_words(two: Workspace, registry: MlflowClient) -> None:
    two.rollback(reason="callers complain")

    history = registry.get_registered_model("mine").description.partition("## History\n\n")[2].splitlines()

    assert [line.partition("UTC: ")[2].partition(":")[0] for line in history] == [
        "version 1 in service instead of version 2",
        "version 2 in service instead of version 1",
        "version 1 in service",
    ]
    assert "callers complain" in history[0]


def test_the_registered_version_is_tagged_with_the_outcome(two: Workspace, registry: MlflowClient) -> None:
    register(registry, two.write(5))
    with pytest.raises(RefusedError):
        two.promote()
    tags = [registry.get_model_version("mine", number).tags for number in ("2", "3")]

    assert [each["promotion"] for each in tags] == ["released", "refused"]
    assert "roc_auc 0.8750 against 0.9000" in tags[1]["promotion.reason"]


@pytest.mark.parametrize("command", ["promote", "rollback", "history"])
def test_the_next_command_moves_an_alias_that_a_kill_left_behind(
    two: Workspace, registry: MlflowClient, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_aliases, "align", lambda _: None)  # as if killed right after the release
        two.rollback()
    assert aliases(registry)["champion"] == "2"
    two.write(2)  # the model in service
    match command:
        case "promote":
            two.promote()
        case "rollback":
            two.rollback(to="1")
        case _:
            history.main(None)

    assert aliases(registry) == {"champion": "1", "previous": "2"}


def test_a_kill_before_the_move_was_noted_is_not_taken_for_a_move_by_hand(
    two: Workspace, registry: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_aliases, "align", lambda _: None)
        two.rollback()
    registry.set_registered_model_alias("mine", "champion", "1")
    before = kept(registry)
    history.main(None)

    assert kept(registry) == before + 2  # champion and previous
    assert "by hand" not in caplog.text


def test_a_move_by_hand_is_reported_kept_and_undone(
    two: Workspace, registry: MlflowClient, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.set_registered_model_alias("mine", "champion", "1")
    with caplog.at_level("INFO", logger="stages"):
        history.main(None)

    assert "somebody moved the alias champion of mine from 2 to 1 by hand" in caplog.text
    assert aliases(registry)["champion"] == "2"
    assert "alias champion 2 -> 1: moved by hand" in capsys.readouterr().out


def test_a_model_without_a_version_has_no_alias_until_it_is_registered(two: Workspace, registry: MlflowClient) -> None:
    md5 = two.write(1)
    two.promote("champion", reason="a test")
    assert "champion" not in aliases(registry)
    register(registry, md5)
    history.main(None)

    assert aliases(registry)["champion"] == "3"


@pytest.fixture
def shared(
    empty_store: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> MlflowClient:
    """Return a registry that is not this clone's own."""
    copy = shutil.copy(empty_store, tmp_path_factory.mktemp("shared"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copy}")
    tracking.connect("mine")
    return MlflowClient()


@pytest.mark.parametrize("explicit", [True, False])
def test_a_shared_registry_follows_only_a_clone_whose_folder_is_set(
    workspace: Workspace,
    shared: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    explicit: bool,
) -> None:
    if explicit:
        monkeypatch.setenv("RELEASES", str(workspace.releases))
    register(shared, workspace.write(0))
    with caplog.at_level("INFO", logger="stages"):
        workspace.promote()

    assert aliases(shared) == ({"champion": "1"} if explicit else {})
    assert ("set RELEASES in the one clone that moves them" in caplog.text) != explicit
    assert workspace.served().registry


@pytest.fixture
def silent(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a registry that does not answer."""
    workspace.promote()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("RELEASES", str(workspace.releases))


def test_a_registry_that_does_not_answer_prevents_no_release(
    workspace: Workspace, silent: None, caplog: pytest.LogCaptureFixture
) -> None:
    workspace.write(1)
    with caplog.at_level("INFO", logger="stages"):
        workspace.promote()

    assert len(workspace.history()) == 2
    assert workspace.served().registry is None
    assert "the next command moves them" in caplog.text


def test_a_first_release_waits_for_a_registry_that_may_have_a_champion(workspace: Workspace, silent: None) -> None:
    shutil.rmtree(workspace.releases)

    with pytest.raises(UserError, match="it does not answer"):
        workspace.promote()


def test_without_a_store_none_is_made(workspace: Workspace) -> None:
    workspace.promote()

    assert not Path("mlflow.db").exists()


def test_the_history_says_who_and_why(
    two: Workspace, registry: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    two.rollback(reason="callers complain")
    history.main(None)
    lines = capsys.readouterr().out.splitlines()

    assert len([line for line in lines if "  release " in line]) == 3
    assert any("rollback, by Test: back to release 1-" in line and "callers complain" in line for line in lines)
    assert any("alias champion 2 -> 1: back to release 1-" in line for line in lines)


def test_the_history_of_a_day_names_what_was_in_service(two: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    history.main(f"{two.history()[0].at:%Y-%m-%d}")
    out = capsys.readouterr().out

    assert f'"releases": ["1-{two.history()[0].onnx_md5[:8]}", "2-' in out
    assert '"champion": ["1", "2"]' in out
