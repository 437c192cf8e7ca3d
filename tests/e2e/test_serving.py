"""The service with real releases under load: promote and rollback change the model in service, DVC and Git never do."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from mlflow.entities import Run

from service import model
from tests.e2e.conftest import Project
from tests.e2e.traffic import Answer, Traffic, predicted
from tests.service.artifacts import Root
from tests.service.processes import Service, running, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("serving"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]

SWAPPED_SECONDS = 5.0
WORKERS = 2
RELEASES = "models/releases"
RELOAD_SECONDS = 0.2
"""As the services of the tests have it."""
RELOADED = 'model_reloads_total{outcome="reloaded"}'
REFUSED = 'model_reloads_total{outcome="refused"}'


@dataclass
class Served:
    """A project with two committed models, its service, and traffic."""

    project: Project
    service: Service
    revisions: list[str]
    versions: dict[str, Answer]
    """The predictions of each model that was ever in service."""
    traffic: Traffic

    def version(self) -> str:
        """Return the version of the release in service, and record its predictions."""
        version, answer = predicted(self.project.path / RELEASES / "current/model.onnx")
        self.versions[version] = answer
        return version

    def change(self, *command: str) -> None:
        """Change the release; check that every worker serves it within 5 s, and nothing else afterwards."""
        before = self.service.metric(RELOADED)
        self.project.ok("python", "-m", *command)
        version = self.version()
        wait_for(lambda: self.service.metric(RELOADED) == before + WORKERS, "reloading", SWAPPED_SECONDS)
        since = time.monotonic()
        wait_for(lambda: self.traffic.newest.get(version, 0.0) > since + 0.5, "an answer")
        assert [each for each, at in self.traffic.newest.items() if at > since] == [version]
        assert self.aliases()["champion"] == self.registered(version)

    def registered(self, version: str) -> str:
        """The number of a model's version in the registry."""
        (found,) = self.project.client.search_model_versions(f"tags.`dvc.onnx_md5` = '{version}'")
        return str(found.version)

    def aliases(self) -> dict[str, str]:
        """The registry's aliases."""
        found = self.project.client.get_registered_model("flights").aliases
        return {alias: str(version) for alias, version in found.items()}

    def run(self, experiment: str, **params: str) -> Run:
        """Return the one run of a DVC experiment, or of `dvc repro` ("-"), with these parameters."""
        found = [run for run in self.project.runs() if run.data.tags["DVC_EXP_NAME"] == experiment]
        (run,) = [run for run in found if params.items() <= run.data.params.items()]
        return run

    def state(self) -> tuple[object, ...]:
        """What may change only by promote and rollback."""
        info = self.service.client.get("/model-info").json()
        return info["version"], (self.project.path / RELEASES / "current").readlink(), self.aliases()


@pytest.fixture(scope="module")
def served(trained: Callable[[], Project], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = trained()
    revisions = made.ok("git", "log", "--format=%H", "--reverse").split()[1:]
    made.ok("python", "-m", "stages.commands.promote")
    # The service's log grows there while DVC and Git stash what is not ignored.
    (made.path / ".git/info/exclude").write_text("/log-*\n", encoding="utf-8")
    own = tmp_path_factory.mktemp("own")
    with running(Root(made.path), WORKERS=str(WORKERS), DATABASE_URL=f"sqlite:///{own}/users.db") as service:
        traffic = Traffic(service)
        found = Served(made, service, revisions, {}, traffic)
        found.version()
        traffic.start()
        try:
            yield found
        finally:
            traffic.stop()


def post(served: Served, content: str, kind: str) -> Any:
    return served.service.client.post("/predict", content=content, headers={"Content-Type": kind})


ROW = {"a": 0.5, "b": 0.5, "c": "x"}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/json", json.dumps({"instances": [ROW, ROW | {"a": 99.0, "c": "w"}]})),
        ("text/csv", "a,b,c\n0.5,0.5,x\n99.0,0.5,w\n"),
        ("application/x-ndjson", f"{json.dumps(ROW)}\n{json.dumps(ROW | {'a': 99.0, 'c': 'w'})}\n"),
    ],
)
def test_what_the_parameter_strict_forbids_is_refused(served: Served, kind: str, content: str) -> None:
    answer = post(served, content, kind)

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [(error["instance"], error["field"]) for error in answer.json()["errors"]] == [(1, "a"), (1, "c")]
    assert all(error["got"].strip('"') in ("99.0", "w") and error["expected"] for error in answer.json()["errors"])


def test_what_the_parameter_strict_forbids_is_refused_in_tensors(served: Served) -> None:
    inputs = [
        {"name": "a", "datatype": "FP64", "shape": [1], "data": [99.0]},
        {"name": "b", "datatype": "FP64", "shape": [1], "data": [0.5]},
        {"name": "c", "datatype": "BYTES", "shape": [1], "data": ["w"]},
    ]
    answer = served.service.client.post("/v2/models/flights/infer", json={"inputs": inputs})

    assert [error["field"] for error in answer.json()["errors"]] == ["a", "c"]


def test_what_the_parameter_strict_does_not_name_is_answered_with_a_warning(served: Served) -> None:
    answer = post(served, json.dumps({"instances": [ROW | {"b": 99.0}]}), "application/json").json()

    assert answer["warnings"] == [{"instance": 0, "field": "b", "kind": "out_of_range"}]


def check_that_nothing_changes(served: Served, command: str) -> None:
    before = served.state()
    served.project.ok(*command.split())
    time.sleep(2 * RELOAD_SECONDS)  # the service would have looked

    assert served.state() == before


def test_the_same_model_in_another_experiment_in_a_temporary_copy_has_its_own_run(served: Served) -> None:
    check_that_nothing_changes(served, "dvc exp run --temp -n lenient -S register.tolerance=0.9 register")
    run, committed = served.run("lenient"), served.run("-", n_estimators="9")

    assert run.data.tags["dvc.md5"] == committed.data.tags["dvc.md5"]
    assert run.data.metrics["roc_auc"] == committed.data.metrics["roc_auc"]
    assert run.info.run_name == "lenient"


def test_an_experiment_in_the_workspace_has_one_run(served: Served) -> None:
    check_that_nothing_changes(served, "dvc exp run -n lucky -S n_estimators=7 register")
    run, project = served.run("lucky"), served.project
    lock = (project.path / "dvc.lock").read_text(encoding="utf-8")

    assert run.data.params["n_estimators"] == "7"
    assert run.data.tags["git.revision"] == served.revisions[-1]
    assert run.data.tags["dvc.md5"] in lock
    assert run.data.tags["dvc.data_md5"] in lock
    assert "n_estimators" in project.ok("dvc", "params", "diff", "HEAD")
    assert "roc_auc" in project.ok("dvc", "metrics", "diff", "HEAD")


def test_a_failed_experiment_says_what_restores_the_workspace(served: Served) -> None:
    project, before = served.project, served.state()
    project.ok("git", "checkout", "--quiet", "--force", "main")
    project.ok("dvc", "checkout", "--quiet", "--force")
    status = project.ok("dvc", "status")
    done = project.run("dvc", "exp", "run", "-S", "n_estimators=0")
    changed = project.ok("git", "status", "--short")
    project.ok("sh", "-c", done.stderr.partition("in the workspace; `")[2].partition("`")[0])

    assert (done.returncode != 0, bool(changed)) == (True, True)
    assert not project.ok("git", "status", "--short")
    assert project.ok("dvc", "status") == status
    assert served.state() == before


@pytest.mark.parametrize(
    "command",
    [
        "dvc exp apply lucky",
        "git checkout --quiet --force HEAD~1",
        "dvc checkout --force",
        "git checkout --quiet --force main",
        "dvc repro export",
    ],
)
def test_what_dvc_and_git_do_changes_nothing_that_is_served(served: Served, command: str) -> None:
    check_that_nothing_changes(served, command)


def test_an_experiment_is_promoted_by_its_name(served: Served) -> None:
    served.change("stages.commands.promote", "--rev", "lucky")


def test_a_commit_is_promoted(served: Served) -> None:
    served.change("stages.commands.promote", "--rev", served.revisions[0])


def test_a_version_of_the_registry_is_promoted(served: Served) -> None:
    served.change("stages.commands.promote", "--version", "2")


def test_a_rollback_goes_into_service(served: Served) -> None:
    before = served.aliases()
    served.change("stages.commands.rollback", "--reason", "callers complain")

    assert served.aliases() == {"champion": before["previous"], "previous": before["champion"]}


def test_an_experiment_that_the_gate_refuses_cannot_be_promoted(served: Served) -> None:
    before = served.state()
    served.project.set(register={"min_gain": 0.9})
    done = served.project.run("python", "-m", "stages.commands.promote", "--rev", "lenient")
    served.project.ok("git", "checkout", "--quiet", "params.yaml")

    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "does not beat the baseline" in done.stderr
    assert served.state() == before


def test_an_alias_moved_by_hand_is_reported_and_moved_back(served: Served) -> None:
    version, before = served.aliases()["champion"], served.state()
    served.project.client.set_registered_model_alias("flights", "champion", served.aliases()["previous"])
    done = served.project.run("python", "-m", "stages.commands.history")

    assert f"somebody moved the alias champion of flights from {version} to" in done.stderr
    assert "moved by hand" in done.stdout
    assert served.state() == before


def test_a_reader_that_ends_early_is_no_error(served: Served) -> None:
    history = "python -m stages.commands.history | head -0; exit ${PIPESTATUS[0]}"
    done = served.project.run("bash", "-c", history)

    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_dvc_gc_deletes_no_release(served: Served) -> None:
    version = served.version()
    served.project.ok("dvc", "gc", "--workspace", "--force")
    files = served.project.path.glob(f"{RELEASES}/[0-9]*/model.onnx")

    assert version in {model.load(path).version for path in files}
    assert len({path.parent for path in served.project.path.glob(f"{RELEASES}/[0-9]*/model.onnx")}) == 3


def test_every_worker_refuses_a_damaged_release_and_keeps_the_old_one(served: Served) -> None:
    version, before = served.version(), served.service.metric(REFUSED)
    path = served.project.path / RELEASES / "current/model.onnx"
    good = path.read_bytes()
    Root(served.project.path).replace(path, b"damaged")

    wait_for(lambda: served.service.metric(REFUSED) == before + WORKERS, "the refusal")
    assert served.service.client.get("/model-info").json()["version"] == version
    assert served.service.metric("model_files_refused") == 1
    Root(served.project.path).replace(path, good)
    wait_for(lambda: served.service.metric("model_files_refused") == 0, "the return")


def test_no_request_failed_and_each_answer_is_that_of_the_version_it_names(served: Served) -> None:
    served.traffic.stop()

    assert served.traffic.failed == []
    assert served.traffic.answers == {version: {answer} for version, answer in served.versions.items()}
