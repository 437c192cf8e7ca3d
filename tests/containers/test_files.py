"""The Compose file, the Dockerfile and .dockerignore, checked without a Docker engine."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "docker-compose.yml").read_text("utf-8"))
RUN = sorted(name for name in COMPOSE["services"] if name != "after-training")
PIPELINE = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
SILENT = {
    "grafana": {
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
        "GF_PLUGINS_PLUGIN_ADMIN_ENABLED": "false",
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        "GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED": "true",
        "GF_SECURITY_DISABLE_GRAVATAR": "true",
        "GF_SNAPSHOTS_EXTERNAL_ENABLED": "false",
    },
    "s3": {"-master.telemetry": "false"},
    "mlflow": PIPELINE,
    "trainer": PIPELINE,
}
"""What turns telemetry off in each. The API does so for ONNX Runtime itself (`service/model.py`); nginx, PostgreSQL,
Prometheus, Alertmanager and Jaeger have none."""
each_service = pytest.mark.parametrize("service", [COMPOSE["services"][name] for name in RUN], ids=RUN)


def extended(service: dict[str, Any]) -> dict[str, Any]:
    """Return a service, with the parts that it extends from another file."""
    if "extends" not in service:
        return service
    loaded = YAML(typ="safe", pure=True).load((ROOT / service["extends"]["file"]).read_text("utf-8"))
    found: dict[str, Any] = loaded["services"][service["extends"]["service"]]
    return found | service


def target(name: str) -> str:
    """Return the lines of the Dockerfile for a target, with those of the targets that it builds on."""
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)[1:]
    found = next((stage for stage in stages if stage.splitlines()[0].endswith(f" AS {name}")), "")
    return target(found.split()[0]) + found if found else ""


@each_service
def test_a_service_has_limits_a_health_check_and_no_needless_rights(service: dict[str, Any]) -> None:
    service = extended(service)
    built = "HEALTHCHECK" in target(service["build"]["target"]) if "build" in service else False

    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in service.get("ports", []))
    assert built or "test" in service.get("healthcheck", {}) or service["restart"] in {"no", "on-failure:2"}
    assert "build" in service or re.search(r":v?\d+\.\d+", service["image"]), "an image of others has its version"


def test_every_mounted_volume_is_declared() -> None:
    mounts = [mount for service in COMPOSE["services"].values() for mount in service.get("volumes", [])]
    sources = {mount["source"] if isinstance(mount, dict) else mount.rpartition(":/")[0] for mount in mounts}
    named = {re.sub(r"\$\{\w+:-(\w+)\}", r"\1", source).split(":")[0] for source in sources}
    assert {source for source in named if not source.startswith("./")} == set(COMPOSE["volumes"])


def test_the_proxy_is_the_only_way_to_the_api_and_nothing_leads_to_the_database() -> None:
    services = COMPOSE["services"]

    assert "ports" not in services["api"]
    assert [name for name in services if "edge" in services[name].get("networks", ())] == ["api", "proxy"]
    assert set(services["api"]["networks"]) & set(services["proxy"]["networks"]) == {"edge"}
    assert (
        services["api"]["environment"]["FORWARDED_ALLOW_IPS"]
        == COMPOSE["networks"]["edge"]["ipam"]["config"][0]["subnet"]
    )
    assert COMPOSE["networks"]["back"] == {"internal": True}
    assert services["postgres"]["networks"] == ["back"]


def test_only_the_trainer_and_the_cluster_itself_reach_scheduler_and_workers() -> None:
    services = COMPOSE["services"]
    inside = [name for name in services if "cluster" in services[name].get("networks", ())]

    assert inside == ["trainer", "scheduler", "worker"]
    assert services["scheduler"]["networks"] == ["cluster"]
    assert services["scheduler"]["environment"] == {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s"}
    assert COMPOSE["networks"]["cluster"] == {"internal": True}
    assert not [name for name in ("scheduler", "worker") if "ports" in services[name]]


def test_the_image_gets_every_tracked_file() -> None:
    left_out = ["git", "ls-files", "--cached", "--ignored", "--exclude-from=.dockerignore"]
    assert subprocess.run(left_out, cwd=ROOT, capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.parametrize("name", [".env", "backup", ".dvc/config.local", ".git/config", ".git/logs", ".git/FETCH_HEAD"])
def test_files_that_may_contain_a_secret_stay_out_of_the_image(name: str) -> None:
    assert name in (ROOT / ".dockerignore").read_text("utf-8").splitlines()


def test_every_lock_file_is_installed_with_hashes() -> None:
    installs = re.findall(r"pip .*install .*", (ROOT / "Dockerfile").read_text("utf-8"))
    assert len(installs) == 2
    assert all("--require-hashes" in line and "--no-deps" in line for line in installs)


@pytest.mark.parametrize("service", SILENT)
def test_no_container_sends_usage_reports(service: str) -> None:
    asked = COMPOSE["services"][service]
    settings = dict(re.findall(r"(\w+)=(\S+)", target(asked["build"]["target"]))) if "build" in asked else {}
    settings |= asked.get("environment", {})
    settings |= dict(option.split("=", 1) for option in asked.get("command", ()) if "=" in option)

    assert settings | SILENT[service] == settings


def test_every_third_party_image_was_checked_for_telemetry() -> None:
    others = {name for name, service in COMPOSE["services"].items() if "build" not in service}
    assert others == {"grafana", "s3", "postgres", "prometheus", "alertmanager", "tracing", "after-training"}


def test_dependabot_checks_every_file_that_names_an_image() -> None:
    named = subprocess.run(
        ["git", "grep", "--files-with-matches", "-E", "^ +image: [a-z/]+:", "--", "*.yml", ":!.github"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    updates = YAML(typ="safe", pure=True).load((ROOT / ".github/dependabot.yml").read_text("utf-8"))["updates"]
    folders = next(each["directories"] for each in updates if each["package-ecosystem"] == "docker-compose")

    assert {f"/{path.rpartition('/')[0]}" for path in named} == set(folders)
