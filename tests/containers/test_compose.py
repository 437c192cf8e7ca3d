"""The whole system on a real Docker engine: start, predict, retrain, kill, move."""

import json
import os
import signal
from typing import Any

import pytest

from tests.containers.conftest import PORTS, System, Traffic, until

pytestmark = [pytest.mark.compose, pytest.mark.slow, pytest.mark.xdist_group("compose"), pytest.mark.timeout(600)]

SERVERS = ("proxy", "api", "mlflow", "postgres", "prometheus", "alertmanager", "grafana", "s3")
PAGES = {
    "HTTPS_PORT": "/docs",
    "MLFLOW_PORT": "/",
    "PROMETHEUS_PORT": "/-/ready",
    "GRAFANA_PORT": "/api/health",
    "ALERTMANAGER_PORT": "/-/ready",
}
PROMOTE = ("python", "-m", "stages.commands.promote")
COUNTED = 'http_requests_total{handler="/predict"}'
PREDICTED = f"sum({COUNTED})"


@pytest.fixture(scope="module")
def token(system: System) -> dict[str, str]:
    return system.log_in()


@pytest.mark.parametrize("port", PORTS)
def test_every_address_answers(system: System, port: str) -> None:
    assert system.ask(port, "GET", PAGES[port])[0] == 200


def test_the_api_is_reached_only_through_the_proxy(system: System) -> None:
    published = [name for name in SERVERS if system.inspect(name)["HostConfig"]["PortBindings"]]

    assert published == ["proxy", "mlflow", "prometheus", "alertmanager", "grafana"]
    assert system.ask("HTTPS_PORT", "GET", "/metrics")[0] == 404
    assert system.ask("HTTP_PORT", "GET", "/docs")[0] == 308
    assert "server 10.201.90." in system.ok("exec", "-T", "proxy", "sh", "-c", "cat /tmp/nginx/*.conf")
    assert system.ok("logs", "proxy").count("made a self-signed certificate for localhost") == 1


def test_replicas_take_turns_and_one_that_dies_fails_no_request(system: System, token: dict[str, str]) -> None:
    with Traffic(system, token).running() as traffic:
        system.ok("up", "--detach", "--no-deps", "--wait", "--scale", "api=2", "api")
        until(lambda: system.query(f"count(sum by (instance) ({COUNTED}) > 0)") == 2, "predictions by both")
        system.project.ok("docker", "kill", "reproducible-ml-test-api-2")
        seen = traffic.answered
        until(lambda: traffic.answered > seen + 50, "predictions by the other one")
        system.ok("up", "--detach", "--no-deps", "--wait", "--scale", "api=1", "api")

    assert not traffic.failures


def test_a_prediction_is_counted_in_prometheus(system: System, token: dict[str, str]) -> None:
    system.version(token)
    until(lambda: system.query(PREDICTED) > 0, "the prediction in Prometheus")
    until(lambda: system.query('count(release_info{job="api"})') > 0, "the release in Prometheus")


def test_the_model_in_service_is_champion_in_mlflow(system: System, token: dict[str, str]) -> None:
    path = "/api/2.0/mlflow/registered-models/alias?name=flights&alias=champion"
    status, answer = system.ask("MLFLOW_PORT", "GET", path)

    assert status == 200, answer
    tags = {tag["key"]: tag["value"] for tag in answer["model_version"]["tags"]}
    assert tags["dvc.onnx_md5"] == system.version(token)


@pytest.mark.parametrize(("host", "status"), [("mlflow:5000", 200), ("localhost:5000", 200), ("evil.example", 403)])
def test_mlflow_answers_only_to_its_own_host_names(system: System, host: str, status: int) -> None:
    path = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert system.ask("MLFLOW_PORT", "GET", path, Host=host)[0] == status


def test_every_dashboard_of_the_repository_is_provisioned(system: System) -> None:
    files = (system.project.path / "monitoring/grafana/dashboards").glob("*.json")
    found = system.ask("GRAFANA_PORT", "GET", "/api/search", Authorization="Basic YWRtaW46YWRtaW4=")[1]

    assert {json.loads(path.read_text("utf-8"))["uid"] for path in files} <= {each["uid"] for each in found}


def test_no_secret_is_visible_from_outside(system: System) -> None:
    secrets = [system.secret(name) for name in ("secret_key", "admin_password", "database_url")]
    shown = system.ok("logs") + system.ok("config")
    for service in (*SERVERS, "trainer", "init"):
        shown += json.dumps(system.inspect(service))

    assert all(len(secret) > 30 for secret in secrets)
    assert not [secret for secret in secrets if secret in shown]


def test_make_up_ends_with_the_last_line_of_the_trainer(system: System, token: dict[str, str]) -> None:
    before = system.version(token)
    params = system.project.path / "params.yaml"
    good = params.read_text("utf-8")
    system.project.set(n_estimators=0)
    done = system.project.run("make", "up", COMPOSE_PROFILES="s3", timeout=400)
    params.write_text(good, "utf-8")

    assert done.returncode
    assert "failed with status 255, see above; release " in done.stdout
    assert f"-{before[:8]} is in service" in done.stdout
    assert "the API still serves what it served before" in done.stderr
    assert system.version(token) == before


def test_make_up_ends_with_the_addresses(system: System) -> None:
    done = system.project.run("make", "up", COMPOSE_PROFILES="s3", timeout=400)

    assert done.returncode == 0, done.stdout + done.stderr
    assert not [port for port in PORTS if f"://127.0.0.1:{system.ports[port]}/" not in done.stdout]


def test_a_new_model_comes_into_service_while_requests_run(system: System, token: dict[str, str]) -> None:
    before = system.version(token)
    with Traffic(system, token).running() as traffic:
        done = system.train("dvc", "exp", "run", "-S", "n_estimators=7")
        assert done.returncode == 0, done.stdout
        assert system.version(token) == before, "an experiment changed the model in service"
        done = system.train(*PROMOTE, "--override-champion", "--reason", "a test")
        assert done.returncode == 0, done.stdout
        until(lambda: traffic.versions[-1] != before, "the new model")

    assert not traffic.failures
    assert list(dict.fromkeys(traffic.versions)) == [before, system.version(token)]


def test_a_new_version_replaces_the_container_while_requests_run(system: System, token: dict[str, str]) -> None:
    before = system.inspect("api")["Id"]
    with Traffic(system, token).running() as traffic:
        done = system.project.run("make", "roll", timeout=400)

    assert done.returncode == 0, done.stdout + done.stderr
    assert system.inspect("api")["Id"] != before
    assert not traffic.failures


def test_the_trainer_uses_two_workers_of_the_profile_cluster_and_nobody_else_reaches_them(system: System) -> None:
    system.ok("--profile", "cluster", "up", "--detach", "--wait", "--scale", "worker=2", "scheduler", "worker")
    connect = "import socket; socket.create_connection(('scheduler', 8786), 4)"
    done = system.train("dvc", "exp", "run", "--temp", "-S", "model=random_forest", "-S", "n_estimators=8")
    listed = system.ok("logs", "--no-log-prefix", "scheduler")
    stranger = system.compose("exec", "-T", "api", "python", "-c", connect)
    system.ok("--profile", "cluster", "rm", "--stop", "--force", "scheduler", "worker")

    assert done.returncode == 0, done.stdout
    assert "trees are fitted by the workers of the Dask cluster at tcp://scheduler:8786" in done.stdout
    assert listed.count("Register worker") == 2
    assert stranger.returncode


@pytest.mark.parametrize("service", SERVERS)
def test_a_killed_container_comes_back_and_nothing_else_stops(
    system: System, token: dict[str, str], service: str
) -> None:
    before = system.inspect(service)
    with Traffic(system, token).running() as traffic:
        until(lambda: traffic.answered, "the first answer")
        os.kill(before["State"]["Pid"], signal.SIGKILL)
        until(lambda: system.inspect(service)["RestartCount"] > before["RestartCount"], f"a restart of {service}")
        until(lambda: system.is_healthy(service), f"{service} in health again")
        seen = traffic.answered
        until(lambda: traffic.answered > seen, "an answer after that")

    assert service in {"api", "proxy"} or not traffic.failures
    assert system.log_in()


def test_down_and_up_lose_nothing(system: System, token: dict[str, str]) -> None:
    system.ok("exec", "-T", "grafana", "sh", "-c", "echo kept > /var/lib/grafana/kept")
    system.ok("exec", "-T", "api", "sh", "-c", "echo 'correct horse' | python -m service.users add anna")
    until(lambda: system.query(PREDICTED) > 0, "a prediction in Prometheus")

    def facts() -> dict[str, Any]:
        runs = {"experiment_ids": [str(number) for number in range(10)], "max_results": 100}
        _, found = system.ask("MLFLOW_PORT", "POST", "/api/2.0/mlflow/runs/search", runs)
        return {
            "model": system.version(token),
            "users": system.ok("exec", "-T", "api", "python", "-m", "service.users", "list"),
            "runs": sorted(run["info"]["run_id"] for run in found["runs"]),
            "grafana": system.ok("exec", "-T", "grafana", "cat", "/var/lib/grafana/kept"),
            "predictions": system.query(f"max_over_time({PREDICTED}[1h:15s])") > 0,
        }

    before = facts()
    system.ok("down")
    system.ok("up", "--wait")

    assert all(before.values())
    assert facts() == before


def test_a_fresh_volume_gets_its_model_from_the_s3_store(system: System, token: dict[str, str]) -> None:
    served = system.version(token)
    pushed = system.train("dvc", "push")
    assert pushed.returncode == 0, pushed.stdout
    # What you commit after a training: dvc.lock and the results in Git.
    changes = "git add --all && git diff --cached --binary HEAD"
    patch = system.ok("run", "--rm", "-T", "--entrypoint", "sh", "trainer", "-c", changes)
    (system.project.path.parent / "result.patch").write_text(patch, encoding="utf-8")
    system.project.ok("git", "apply", "../result.patch")
    system.project.commit("Train")

    system.ok("build", "trainer")
    system.ok("rm", "--force", "--stop", "trainer", "api")
    for volume in ("workspace", "artifact"):
        system.project.ok("docker", "volume", "rm", f"reproducible-ml-test_{volume}")
    pulled = system.train("dvc", "pull")
    assert pulled.returncode == 0, pulled.stdout
    promoted = system.train(*PROMOTE)
    assert promoted.returncode == 0, promoted.stdout
    system.ok("up", "--wait", "--no-deps", "api", "proxy")

    assert system.version(token) == served
