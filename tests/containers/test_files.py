"""What the Compose file, the Dockerfile and .dockerignore say, read without an engine."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "docker-compose.yml").read_text("utf-8"))
RUN = sorted(name for name in COMPOSE["services"] if name != "after-training")
each_service = pytest.mark.parametrize("service", [COMPOSE["services"][name] for name in RUN], ids=RUN)


@each_service
def test_a_service_has_no_more_rights_than_it_needs(service: dict[str, Any]) -> None:
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"]


@each_service
def test_a_service_has_limits(service: dict[str, Any]) -> None:
    if "extends" in service:
        file, name = service["extends"]["file"], service["extends"]["service"]
        service = YAML(typ="safe", pure=True).load((ROOT / file).read_text("utf-8"))["services"][name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}


@each_service
def test_ports_open_where_it_was_asked_for_alone(service: dict[str, Any]) -> None:
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in service.get("ports", []))


@each_service
def test_an_image_of_others_has_its_version(service: dict[str, Any]) -> None:
    assert "build" in service or "extends" in service or re.search(r":v?\d+\.\d+", service["image"])


def test_every_volume_that_is_used_is_named() -> None:
    mounts = [mount for service in COMPOSE["services"].values() for mount in service.get("volumes", [])]
    sources = {mount["source"] if isinstance(mount, dict) else mount.split(":")[0] for mount in mounts}
    assert {source for source in sources if not source.startswith("./")} == set(COMPOSE["volumes"])


def test_the_network_of_the_database_leads_nowhere() -> None:
    assert COMPOSE["networks"]["back"] == {"internal": True}
    assert COMPOSE["services"]["postgres"]["networks"] == ["back"]


def test_the_image_gets_all_that_git_tracks() -> None:
    left_out = ["git", "ls-files", "--cached", "--ignored", "--exclude-from=.dockerignore"]
    assert subprocess.run(left_out, cwd=ROOT, capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.parametrize("name", [".env", ".dvc/config.local", ".git/config", ".git/logs", ".git/FETCH_HEAD"])
def test_what_may_hold_a_secret_stays_outside(name: str) -> None:
    assert name in (ROOT / ".dockerignore").read_text("utf-8").splitlines()


def test_the_dockerfile_needs_no_frontend_from_elsewhere() -> None:
    assert "syntax=" not in (ROOT / "Dockerfile").read_text("utf-8")


def test_every_lock_is_installed_with_its_hashes() -> None:
    installs = re.findall(r"pip .*install .*", (ROOT / "Dockerfile").read_text("utf-8"))
    assert len(installs) == 2
    assert all("--require-hashes" in line and "--no-deps" in line for line in installs)
