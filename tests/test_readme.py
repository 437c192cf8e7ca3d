"""README.md and README.fr.md: links that lead somewhere, the same commands in both, badges that are true."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
READMES = ["README.md", "README.fr.md"]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands_of(name: str) -> list[str]:
    """Return the lines of all console blocks, without comments."""
    blocks = re.findall(r"```console\n(.*?)```", text_of(name), re.DOTALL)
    return [line.partition(" #")[0].rstrip() for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("name", READMES)
def test_it_has_at_most_120_lines(name: str) -> None:
    assert len(text_of(name).splitlines()) <= 120


@pytest.mark.parametrize("name", READMES)
def test_its_links_lead_to_files_and_sections(name: str) -> None:
    for path, _, anchor in (link.partition("#") for link in re.findall(r"\]\((?!http)([^)]+)\)", text_of(name))):
        if path.startswith("../../actions/"):  # the state of a workflow, on the host of the repository
            assert (ROOT / ".github/workflows" / path.split("/")[4]).exists()
            continue
        assert (ROOT / path).exists(), path
        titles = re.findall(r"^#+ (.*)", text_of(path), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", READMES)
def test_its_targets_of_make_exist(name: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {*re.findall(r"\bmake ([a-z-]+)", text_of(name))} <= {*targets}


def test_the_french_edition_has_the_same_commands_pictures_and_links() -> None:
    english, french = (
        {*re.findall(r"\]\((docs/[^)]+|\.github/workflows/[^)]+)\)", text_of(name).partition("\n## Folders")[0])}
        for name in READMES
    )
    assert commands_of("README.fr.md") == commands_of("README.md")
    assert french == english


def test_the_badges_say_what_the_project_says() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    lowest, above = re.findall(r"3\.(\d+)", project["requires-python"])
    assert f"Python: 3.{lowest} to 3.{int(above) - 1}" in text_of("docs/images/python.svg")
    assert f"licence: {project['license']}" in text_of("docs/images/licence.svg")
