"""What `kubectl apply -k` would send, rendered and held against the schemas of Kubernetes."""

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

OVERLAYS = ("local", "production")
OPERATOR = "monitoring.coreos.com/v1"
"""Resources of the Prometheus operator, which Kubernetes' own schemas don't know."""
VERSION = "1.32"
Resource = dict[str, Any]


@pytest.fixture(scope="session")
def kubernetes(root: Path) -> Path:
    return root / "deploy/kubernetes"


@pytest.fixture(scope="session", params=OVERLAYS)
def rendered(request: pytest.FixtureRequest, kubernetes: Path) -> list[Resource]:
    """Give the resources of an overlay."""
    program = next((each for each in (["kustomize", "build"], ["kubectl", "kustomize"]) if shutil.which(each[0])), None)
    if program is None:
        pytest.skip("NEITHER kustomize NOR kubectl IS INSTALLED: the overlays were not rendered")
    done = subprocess.run(
        [*program, str(kubernetes / "overlays" / request.param)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(YAML(typ="safe", pure=True).load_all(done.stdout))


def of_kind(resources: list[Resource], kind: str) -> Resource:
    found: list[Resource] = [each for each in resources if each["kind"] == kind]
    assert len(found) == 1
    return found[0]


def pods(resources: list[Resource]) -> Iterator[Resource]:
    return (each["spec"]["template"]["spec"] for each in resources if each["kind"] in {"Deployment", "Job"})


def containers(resources: list[Resource]) -> Iterator[Resource]:
    return (each for pod in pods(resources) for each in [*pod.get("initContainers", []), *pod["containers"]])


def test_every_resource_fits_the_schema_of_its_kind(rendered: list[Resource]) -> None:
    schemas = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate IS NOT INSTALLED: no schema was checked"
    )
    for resource in rendered:
        if resource["apiVersion"] != OPERATOR:
            schemas.validate(resource, VERSION, strict=True)


def test_no_container_has_more_rights_than_it_needs(rendered: list[Resource]) -> None:
    for pod in pods(rendered):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
    for container in containers(rendered):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }


def test_every_container_says_what_it_needs_and_no_more_memory(rendered: list[Resource]) -> None:
    for container in containers(rendered):
        assert container["resources"]["requests"]["memory"]
        assert container["resources"]["limits"]["memory"]


def test_every_image_has_a_tag_or_a_digest(rendered: list[Resource]) -> None:
    assert all(":" in container["image"] for container in containers(rendered))


def test_what_a_selector_wants_the_pods_are(rendered: list[Resource]) -> None:
    labels = of_kind(rendered, "Deployment")["spec"]["template"]["metadata"]["labels"]
    wanted = [of_kind(rendered, "Service")["spec"]["selector"]]
    wanted += [
        of_kind(rendered, kind)["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")
    ]

    assert all(each.items() <= labels.items() for each in wanted)


def test_the_volumes_that_are_mounted_are_there(rendered: list[Resource]) -> None:
    claims = {each["metadata"]["name"] for each in rendered if each["kind"] == "PersistentVolumeClaim"}
    for pod in pods(rendered):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        used = {
            mount["name"]
            for each in [*pod.get("initContainers", []), *pod["containers"]]
            for mount in each["volumeMounts"]
        }
        claimed = {
            each["persistentVolumeClaim"]["claimName"] for each in volumes.values() if "persistentVolumeClaim" in each
        }
        assert used == set(volumes)
        assert claimed <= claims


def test_the_api_is_migrated_before_it_starts_and_drained_before_it_ends(rendered: list[Resource]) -> None:
    pod = of_kind(rendered, "Deployment")["spec"]["template"]["spec"]
    api = pod["containers"][0]

    assert pod["initContainers"][0]["command"] == ["python", "-m", "service.users", "migrate"]
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(api)
    assert api["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]


def test_the_operator_finds_the_port_that_it_asks(rendered: list[Resource]) -> None:
    for monitor in (each for each in rendered if each["kind"] == "ServiceMonitor"):
        service = of_kind(rendered, "Service")
        asked = {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}

        assert asked <= {port["name"] for port in service["spec"]["ports"]}
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "api"


def test_the_operator_is_told_nothing_that_it_does_not_know(rendered: list[Resource]) -> None:
    """Its schemas are not among those of Kubernetes: the fields in use here were compared with those of August 2026."""
    for each in (each for each in rendered if each["apiVersion"] == OPERATOR):
        spec = each["spec"]
        assert set(spec) <= {"jobLabel", "selector", "endpoints", "groups"}
        for endpoint in spec.get("endpoints", []):
            assert set(endpoint) <= {"port", "path", "interval", "scrapeTimeout"}
        for group in spec.get("groups", []):
            assert set(group) <= {"name", "interval", "rules"}
            for rule in group["rules"]:
                assert set(rule) <= {"alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"}


def test_the_operator_gets_the_rules_of_the_repository(root: Path, kubernetes: Path) -> None:
    spec = importlib.util.spec_from_file_location("rules", kubernetes / "rules.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = YAML(typ="safe", pure=True).load(module.TARGET.read_text("utf-8"))

    assert written == module.resource(root / "monitoring/prometheus/rules"), "run python deploy/kubernetes/rules.py"
