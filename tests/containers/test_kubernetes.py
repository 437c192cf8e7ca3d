"""The resources of `kubectl apply -k`, checked against the schemas of Kubernetes."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from service.settings import Settings
from tests.containers.conftest import load_script

OPERATOR = "monitoring.coreos.com/v1"
"""Resources of the Prometheus operator, which are not in Kubernetes' own schemas."""
KNOWN = {"path", "port", "interval", "scrapeTimeout"}
"""Fields of an endpoint, from the operator's schema of August 2026."""
VERSION = "1.32"
Resource = dict[str, Any]


@pytest.fixture(scope="session")
def kubernetes(root: Path) -> Path:
    return root / "deploy/kubernetes"


@pytest.fixture(scope="session", params=["local", "production", "cluster"])
def rendered(request: pytest.FixtureRequest, kubernetes: Path) -> list[Resource]:
    """Return the resources of an overlay."""
    program = next((each for each in (["kustomize", "build"], ["kubectl", "kustomize"]) if shutil.which(each[0])), None)
    if program is None:
        pytest.skip("NEITHER kustomize NOR kubectl IS INSTALLED: the overlays were not rendered")
    overlay = str(kubernetes / "overlays" / request.param)
    done = subprocess.run([*program, overlay], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(YAML(typ="safe", pure=True).load_all(done.stdout))


def find(resources: list[Resource], kind: str, name: str = "api") -> Resource:
    (found,) = (each for each in resources if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def pods(resources: list[Resource]) -> Iterator[Resource]:
    return (each["spec"]["template"]["spec"] for each in resources if each["kind"] in {"Deployment", "Job"})


def containers(pod: Resource) -> list[Resource]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def test_every_resource_fits_the_schema_of_its_kind(rendered: list[Resource]) -> None:
    schemas = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate IS NOT INSTALLED: no schema was checked"
    )
    for resource in rendered:
        if resource["apiVersion"] != OPERATOR:
            schemas.validate(resource, VERSION, strict=True)


def test_a_container_has_limits_a_tagged_image_and_no_needless_rights(rendered: list[Resource]) -> None:
    for pod in pods(rendered):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            assert container["resources"]["requests"]["memory"]
            assert container["resources"]["limits"]["memory"]
            assert ":" in container["image"]


def test_selectors_find_the_pods(rendered: list[Resource]) -> None:
    labels = find(rendered, "Deployment")["spec"]["template"]["metadata"]["labels"]
    wanted = [find(rendered, "Service")["spec"]["selector"]]
    wanted += [
        find(rendered, kind)["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")
    ]

    assert all(each.items() <= labels.items() for each in wanted)


def test_every_mounted_volume_exists(rendered: list[Resource]) -> None:
    claims = {each["metadata"]["name"] for each in rendered if each["kind"] == "PersistentVolumeClaim"}
    for pod in pods(rendered):
        used = {mount["name"] for each in containers(pod) for mount in each["volumeMounts"]}
        claimed = [each["persistentVolumeClaim"] for each in pod["volumes"] if "persistentVolumeClaim" in each]
        assert used == {volume["name"] for volume in pod["volumes"]}
        assert {each["claimName"] for each in claimed} <= claims


def test_the_api_migrates_before_it_starts_and_drains_before_it_stops(rendered: list[Resource]) -> None:
    pod = find(rendered, "Deployment")["spec"]["template"]["spec"]
    api = pod["containers"][0]

    assert pod["initContainers"][0]["command"] == ["python", "-m", "service.users", "migrate"]
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(api)
    assert api["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]


def test_a_pod_has_time_to_answer_its_requests_and_where_there_are_several_none_is_missing(
    rendered: list[Resource],
) -> None:
    deployment = find(rendered, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    drain = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])

    assert pod["terminationGracePeriodSeconds"] > drain + Settings.model_fields["shutdown_seconds"].default
    if any(each["kind"] == "HorizontalPodAutoscaler" for each in rendered):
        assert deployment["strategy"] == {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_the_most_replicas_have_no_more_connections_than_postgresql(rendered: list[Resource]) -> None:
    for scaler in (each for each in rendered if each["kind"] == "HorizontalPodAutoscaler"):
        bounds, settings = scaler["spec"], find(rendered, "ConfigMap")["data"]
        rolling_out = bounds["maxReplicas"] + 1
        migrating = 1

        assert 2 <= bounds["minReplicas"] <= bounds["maxReplicas"]
        assert rolling_out * int(settings["DATABASE_CONNECTIONS"]) + migrating <= 100 - 3, "its defaults"


def test_only_the_training_and_the_cluster_itself_reach_scheduler_and_workers(rendered: list[Resource]) -> None:
    names = [each["metadata"]["name"] for each in rendered if each["kind"] == "Deployment"]
    for name in {"scheduler", "worker"}.intersection(names):
        (rule,) = find(rendered, "NetworkPolicy", name)["spec"]["ingress"]
        (allowed,) = rule["from"][0]["podSelector"]["matchExpressions"]
        port = find(rendered, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["ports"][0]

        assert set(allowed["values"]) <= {"training", "scheduler", "worker"}
        assert rule["ports"] == [{"port": port["name"]}]


def test_the_training_uses_the_scheduler_of_its_cluster(rendered: list[Resource]) -> None:
    for service in (each for each in rendered if each["metadata"]["name"] == "scheduler" and each["kind"] == "Service"):
        (port,) = service["spec"]["ports"]
        address = find(rendered, "ConfigMap", "training")["data"]["DASK_SCHEDULER_ADDRESS"]
        scheduler = find(rendered, "Deployment", "scheduler")["spec"]["template"]["spec"]["containers"][0]
        allowed = [rule for rule in find(rendered, "NetworkPolicy", "training")["spec"]["egress"] if "to" in rule]

        assert address == f"tcp://scheduler:{port['port']}"
        assert {"name": "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "value": "10s"} in scheduler["env"]
        assert allowed[0]["to"][0]["podSelector"]["matchLabels"].items() >= service["spec"]["selector"].items()


def test_an_ingress_routes_to_the_api_but_not_to_its_metrics(rendered: list[Resource]) -> None:
    for ingress in (each for each in rendered if each["kind"] == "Ingress"):
        (rule,) = ingress["spec"]["rules"]
        leads = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}

        assert leads == {"/": "api", "/metrics": "nobody"}
        assert "selector" not in find(rendered, "Service", "nobody")["spec"], "no pod answers"
        assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
        assert find(rendered, "NetworkPolicy")["spec"]["ingress"][0]["from"], "only some namespaces reach the API"


def test_the_operator_finds_the_port_that_it_scrapes(rendered: list[Resource]) -> None:
    for monitor in (each for each in rendered if each["kind"] == "ServiceMonitor"):
        service = find(rendered, "Service")
        endpoints = monitor["spec"]["endpoints"]

        assert {each["port"] for each in endpoints} <= {port["name"] for port in service["spec"]["ports"]}
        assert all(set(each) <= KNOWN for each in endpoints)
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "api"


def test_the_operator_gets_the_rules_of_the_repository(root: Path, kubernetes: Path) -> None:
    module = load_script(kubernetes / "rules.py")
    written = YAML(typ="safe", pure=True).load(module.TARGET.read_text("utf-8"))

    assert written == module.resource(root / "monitoring/prometheus/rules"), "run python deploy/kubernetes/rules.py"
