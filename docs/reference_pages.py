"""Make the reference pages of the site from the code, so that they can't be out of date.

`make docs` runs it. The pages of the API and of the metrics come from the release in service (`RELEASES`).
"""

import contextlib
import io
import os
import re
import runpy
import secrets
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

from fastapi.testclient import TestClient
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from monitoring.alerts import alerts
from monitoring.timing import LIMITS, PRODUCTION
from service.app import create_app
from service.release import ReleaseError
from service.settings import Settings

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
COMMANDS: Final = {
    "Pipeline": [f"stages.{name}" for name in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]],
    "Commands": [
        "stages.predict",
        *(f"stages.commands.{path.stem}" for path in sorted((ROOT / "stages/commands").glob("[a-z]*.py"))),
    ],
    "Service": ["service.serve", "service.users", "service.users key", "service.lineage"],
}  # fmt: skip

PIPELINE_VARIABLES: Final = (
    ("`MLFLOW_TRACKING_URI`", "`sqlite:///mlflow.db`", "Where runs and the registry are: a file or a server."),
    ("`RELEASES`", "`models/releases`", "The folder of releases."),
    ("`DASK_SCHEDULER_ADDRESS`", "none", "A Dask scheduler whose workers share the work (docs/how-to/cluster.md)."),
    (
        "`WORKERS`",
        "`1`",
        "Processes of this machine for `export` and `evaluate` (docs/explanation/larger-than-memory.md).",
    ),
    ("`AWS_ENDPOINT_URL` and AWS's others", "none", "Credentials and server of `s3://` (docs/how-to/storage.md)."),
)


def main() -> None:
    """Write the pages into docs/reference/. Exits with status 1 if nothing has been released."""
    try:
        client = TestClient(create_app(Settings.load(secret_key=secrets.token_hex(32))))
    except ReleaseError as error:
        raise SystemExit(f"docs: error: the pages of the API and of the metrics need a release; {error}") from None
    pages = {
        "parameters": _parameters(), "environment": _environment(), "commands": _commands(), "api": _api(client),
        "metrics": _metrics(client), "alerts": _alerts(), "files": _files(),
    }  # fmt: skip
    for name, lines in pages.items():
        (HERE / f"reference/{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(*header: str, rows: Iterable[Iterable[object]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"
    yield ""


def _cell(value: object) -> str:
    """Return the text of a cell; a page of the docs that it names becomes a link."""
    text = str(value).replace("|", r"\|").replace("\n", " ")
    return re.sub(r"docs/([a-z-]+/([a-z-]+)\.md)", r"[\2](../\1)", text)


# --- parameters


def _parameters() -> Iterator[str]:
    yield "# Parameters"
    yield ""
    yield "What `params.yaml` may say, with the values of the demo. `dvc exp run -S data.task=regression` changes one"
    yield "for an experiment."
    yield ""
    params = YAML().load(ROOT / "params.yaml")
    single = [name for name, value in params.items() if not isinstance(value, CommentedMap) or not value.ca.items]
    yield "## Top level"
    yield ""
    yield from _table("parameter", "here", "meaning", rows=(_parameter(params, name) for name in single))
    for name in params:
        if name not in single:
            yield f"## {name}"
            yield ""
            rows = (_parameter(params[name], inner, f"{name}.") for inner in params[name])
            yield from _table("parameter", "here", "meaning", rows=rows)


def _parameter(group: CommentedMap, name: str, prefix: str = "") -> tuple[str, str, str]:
    comment = next((part.value for part in group.ca.items.get(name, ()) if part), "")
    value = "null" if group[name] is None else str(group[name])
    return f"`{prefix}{name}`", f"`{value}`" if value else "empty", comment.partition("\n")[0].strip("# ")


# --- environment


def _environment() -> Iterator[str]:
    yield "# Environment"
    yield ""
    yield "## The service"
    yield ""
    yield "Environment variables, or lines of `.env`, which the first start writes. A name with `_FILE` (for secrets)"
    yield "names a file that has the value. Durations are in seconds, sizes in bytes."
    yield ""
    rows = ((f"`{name.upper()}`", _default(field), field.description) for name, field in Settings.model_fields.items())
    yield from _table("variable", "default", "meaning", rows=rows)
    yield "## The pipeline"
    yield ""
    yield from _table("variable", "default", "meaning", rows=PIPELINE_VARIABLES)
    yield "Only `RELEASES` and, for `make push` and `make pull`, AWS's variables are also read from `.env`."
    yield "`.env.example` lists the variables of S3 and of Compose."


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    shown = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return "none" if shown in (None, "", {}) else f"`{str(shown).replace(f'{ROOT}/', '')}`"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- commands


def _commands() -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "## make"
    yield ""
    yield from _block(subprocess.check_output(["make", "--no-print-directory", "help"], cwd=ROOT, text=True))  # noqa: S607
    for title, modules in COMMANDS.items():
        yield f"## {title}"
        yield ""
        for module in modules:
            yield f"### python -m {module}"
            yield ""
            yield from _block(_help(*module.split()))


def _help(module: str, *arguments: str) -> str:
    """Return what `python -m` prints, but in this process: a second of imports for each command would add up."""
    shown = io.StringIO()
    with (
        contextlib.redirect_stdout(shown),
        contextlib.suppress(SystemExit),
        mock.patch.object(sys, "argv", [module, *arguments, "--help"]),
        mock.patch.dict(os.environ, COLUMNS="100", NO_COLOR="1"),
        warnings.catch_warnings(action="ignore", category=RuntimeWarning),  # another command has imported the module
    ):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    return shown.getvalue()


def _block(text: str) -> Iterator[str]:
    yield from ("```text", text.rstrip(), "```", "")


# --- API


def _api(client: TestClient) -> Iterator[str]:
    document = client.app.openapi()  # type: ignore[attr-defined]  # a FastAPI
    yield "# API"
    yield ""
    yield "What `/docs` shows for the model in service, here for the one of the demo. Errors are problem details"
    yield "(RFC 9457): JSON with `title`, `status`, `detail` and, for each wrong field, an entry in `errors`."
    yield ""
    operations = [(path, method, each) for path, found in document["paths"].items() for method, each in found.items()]
    for tag in (each["name"] for each in document["tags"]):
        yield f"## {_sentence(tag)}"
        yield ""
        for path, method, each in operations:
            if each["tags"][0] == tag:
                yield from _operation(path, method.upper(), each)


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### {method} {path}"
    yield ""
    yield _outside_html(f"{operation['summary']}. {operation['description']}".strip())
    yield ""
    rows = [
        (f"`{each['name']}`", each["in"], _outside_html(each.get("description") or each["schema"].get("title", "")))
        for each in operation.get("parameters", ())
    ]
    if rows:
        yield from _table("parameter", "in", "meaning", rows=rows)
    answers = operation["responses"].items()
    rows = [
        (status, _outside_html(each["description"]), ", ".join(each.get("content", ()))) for status, each in answers
    ]
    yield from _table("status", "meaning", "media types", rows=rows)


def _outside_html(text: str) -> str:
    return text.replace("<", "&lt;")


# --- metrics and alerts


def _metrics(client: TestClient) -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "What `GET /metrics` of the service shows, in Prometheus' text format."
    yield "[Monitoring](../how-to/monitoring.md) tells how drift is computed from them."
    yield ""
    text = client.get("/metrics").text
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    rows = []
    for name, meaning in re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE):
        found = re.search(rf"^{name}(?:_bucket)?{{(.*?)}} ", text, re.MULTILINE)
        labels = re.findall(r'(\w+)="', found[1]) if found else []
        rows.append((f"`{name}`", types[name], ", ".join(f"`{label}`" for label in labels if label != "le"), meaning))
    yield from _table("name", "type", "labels", "meaning", rows=rows)


def _alerts() -> Iterator[str]:
    yield "# Alerts"
    yield ""
    yield "Each alert has a section in the [runbook](runbook.md). *critical*: act at once; *warning*: act on the next"
    yield "working day. `monitoring/timing.py` has the limits and windows."
    yield ""
    rows = (
        (
            f"[{each.name}](runbook.md#{each.name.lower()})",
            each.severity,
            each.pending,
            f"`{' '.join(each.expr.split())}`",
        )
        for each in alerts(PRODUCTION, LIMITS)
    )
    yield from _table("alert", "severity", "after", "condition", rows=rows)


# --- files


def _files() -> Iterator[str]:
    yield "# Files"
    yield ""
    yield "What each stage of `dvc.yaml` writes. DVC keeps them in its cache, Git those with *Git*."
    yield ""
    rows = []
    for name, stage in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].items():
        for key in ("outs", "metrics", "plots"):
            for out in stage.get(key, ()):
                path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
                keeper = "Git" if options.get("cache") is False and _in_git(path) else "DVC"
                rows.append(
                    (
                        f"`{path}`",
                        name,
                        stage["desc"],
                        keeper if options.get("cache", True) or keeper == "Git" else "neither",
                    )
                )
    yield from _table("file", "stage", "what the stage does", "kept by", rows=rows)


def _in_git(path: str) -> bool:
    done = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False)  # noqa: S607
    return done.returncode == 1


if __name__ == "__main__":
    main()
