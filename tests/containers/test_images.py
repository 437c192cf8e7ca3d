"""What is in the images, and what must not be."""

import re

import pytest

from tests.containers.conftest import System

pytestmark = [pytest.mark.compose, pytest.mark.slow, pytest.mark.xdist_group("compose"), pytest.mark.timeout(600)]
each_image = pytest.mark.parametrize("image", ["service", "proxy", "trainer", "mlflow", "init"])


def find(system: System, image: str, *expression: str) -> list[str]:
    """Search an image's files as root; return the paths."""
    run = ["docker", "run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "find"]
    name = f"reproducible-ml-test/{image}"
    return system.project.ok(*run, name, "/", "-xdev", *expression).splitlines()


@each_image
def test_no_program_is_setuid_and_no_folder_is_writable_for_all(system: System, image: str) -> None:
    assert find(system, image, "-type", "f", "-perm", "/6000") == []
    assert find(system, image, "-perm", "-0002", "!", "-perm", "-1000", "!", "-type", "l", "!", "-type", "c") == []


@each_image
def test_no_installer_is_left(system: System, image: str) -> None:
    left = [word for name in ("pip", "pip-*", "uv", "ensurepip", ".cache") for word in ("-o", "-name", name)]
    assert find(system, image, "-type", "d", "(", *left[1:], ")") == []
    assert find(system, image, "-path", "/var/lib/apt/lists/*") == []


@pytest.mark.parametrize("image", ["service", "proxy", "mlflow", "init"])
def test_only_the_code_that_runs_is_copied_from_the_checkout(system: System, image: str) -> None:
    names = ["(", "-name", ".git", "-o", "-name", ".env*", "-o", "-name", "*.md", "-o", "-name", "params.yaml", ")"]
    assert find(system, image, *names, "!", "-path", "/venv/*", "!", "-path", "/usr/*") == []


def test_the_service_image_has_the_locked_packages_and_no_tools(system: System) -> None:
    listing = (
        "import importlib.metadata as m, re; "
        "print(*sorted(re.sub('[-_.]+', '-', d.name).lower() + '==' + d.version for d in m.distributions()))"
    )
    installed = set(system.ok("exec", "-T", "api", "python", "-c", listing).split())
    locks = [system.project.path / f"requirements/{name}.txt" for name in ("service", "postgres", "tracing")]
    text = "\n".join(lock.read_text("utf-8") for lock in locks)
    named = set(re.findall(r"^([a-z0-9.-]+==[^ ]+)", text, re.MULTILINE))
    programs = [word for name in ("gcc", "cc", "make", "git", "curl") for word in ("-o", "-name", name)]

    assert installed <= named
    assert {name.split("==")[0] for name in named - installed} <= {"colorama", "tzdata", "httpx2-jsfetch"}, (
        "for Windows, or a browser"
    )
    assert set(system.ok("exec", "-T", "api", "ls", "/app").split()) == {"deploy", "service"}
    assert find(system, "service", "-type", "d", "-name", "tests", "!", "-path", "/usr/*") == []
    assert find(system, "service", "-path", "*/bin/*", "(", *programs[1:], ")") == []


@each_image
def test_no_secret_of_the_checkout_is_in_an_image(system: System, image: str) -> None:
    search = f"grep -rl {system.planted} /src /app /workspace 2>/dev/null; ls -a /src /app 2>/dev/null | grep -x .env"
    run = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "sh", f"reproducible-ml-test/{image}"]

    assert system.project.run(*run, "-c", search).stdout == ""
    assert system.planted not in system.project.ok("docker", "history", "--no-trunc", f"reproducible-ml-test/{image}")
