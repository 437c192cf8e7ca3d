"""``python -m service.trace ID``: from a prediction back to all that made it.

The id names the model's MD5; the commit whose `dvc.lock` first named that file holds the
rest: parameters, the training data's MD5, what validation and evaluation said. The entries
in the registry, with their runs, are those that `stages.register` wrote beside the metrics.
The truth, where it came back, stands in the users database.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from service import env_file
from service.feedback.prediction_ids import Prediction, PredictionIdError, PredictionIds
from service.scoring import lock, registered
from service.scoring.lock import Lock
from service.settings import Settings, SettingsError
from service.users.database import Database, Feedback
from service.users.database_url import DatabaseDownError, DatabaseUrlError

_LOCK: Final = "dvc.lock"
_REPORTS: Final = {
    "metrics": "metrics/metrics.json",
    "validation": "metrics/validation.json",
    "registration": "metrics/registration.json",
}


class TraceError(Exception):
    """Nothing can be told; one line that says why and what to do."""


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Print what is known as JSON; a user's mistake becomes one line on stderr and status 1."""
    parser = argparse.ArgumentParser(prog="python -m service.trace", description="Tell where a prediction came from.")
    parser.add_argument("id", help="from POST /predict?ids=true")
    asked = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment(env_file.read(environ))
        prediction = PredictionIds(settings).read_expired(asked.id)
        told = trace(prediction, settings)
    except (PredictionIdError, SettingsError, TraceError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  # a command line talks to people
        return 1
    print(json.dumps(told, indent=2, ensure_ascii=False))  # noqa: T201
    return 0


def trace(prediction: Prediction, settings: Settings) -> dict[str, Any]:
    """Give all that is known of a prediction. Raises TraceError if no commit names its model."""
    version, repository = prediction.version.hex(), settings.lock_path.resolve().parent
    commit = _commit(repository, version)
    read = _lock(repository, commit)
    files = dict(_files(read))
    reports = {name: _report(repository, commit, path) for name, path in _REPORTS.items()}
    registration = reports["registration"]
    if not isinstance(registration, dict) or registration.get("model_md5") not in files.values():
        reports["registration"] = None  # Git does not hold it, and the folder's is another model's
    return {
        "prediction": {
            "id": prediction.key,
            "at": datetime.fromtimestamp(prediction.at, UTC).isoformat(),
            "predicted": prediction.predicted,
            "score": prediction.score,
            "actual": _actual(prediction, settings),
        },
        "model_md5": version,
        "commit": _describe(repository, commit),
        "files": files,
        "params": read.params(),
        **reports,
        "registry": _registry(version, settings),
    }


def _git(repository: Path, *arguments: str) -> str | None:
    """Give what Git says; None if it knows no such thing."""
    command = ["git", "-C", str(repository), *arguments]  # found on PATH, as by whoever typed the command
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", check=False)
    except FileNotFoundError:
        raise TraceError("git is not installed; the history of dvc.lock is needed") from None
    return done.stdout if done.returncode == 0 else None


def _commit(repository: Path, version: str) -> str:
    """Find the first commit whose lock names the model."""
    found = _git(repository, "log", "--all", "--reverse", "--format=%H", f"-S{version}", "--", _LOCK)
    if found is None:
        raise TraceError(f"{repository}: is no Git repository; run this in the project's clone")
    if not found:
        raise TraceError(f"no commit's {_LOCK} names the model {version}; fetch all branches: git fetch --all")
    return found.splitlines()[0]


def _show(repository: Path, commit: str, path: str) -> str | None:
    return _git(repository, "show", f"{commit}:./{path}")


def _describe(repository: Path, commit: str) -> dict[str, str]:
    author, when, subject = (_git(repository, "show", "-s", "--format=%an%n%aI%n%s", commit) or "\n\n").split("\n")[:3]
    return {"id": commit, "author": author, "at": when, "subject": subject}


def _lock(repository: Path, commit: str) -> Lock:
    try:
        return lock.read((_show(repository, commit, _LOCK) or "").encode(errors="surrogateescape"))
    except ValueError:
        raise TraceError(f"commit {commit}: its {_LOCK} is no lock file of DVC") from None


def _files(lock: Lock) -> Iterator[tuple[str, str]]:
    """List files and folders with their MD5."""
    for stage in lock.stages.values():
        for file in [*stage.deps, *stage.outs]:
            if file.md5 and not file.path.endswith(".py"):
                yield file.path, file.md5


def _report(repository: Path, commit: str, path: str) -> Any:
    """Read a report of that commit; one that Git does not hold counts if the folder has it."""
    text = _show(repository, commit, path)
    with contextlib.suppress(OSError, ValueError):
        return json.loads(text if text is not None else (repository / path).read_text(encoding="utf-8"))
    return None


def _registry(version: str, settings: Settings) -> list[dict[str, Any]]:
    """List the registry's entries of the model, as the pipeline last told of them; none where it did not."""
    found = registered.entries(registered.read(settings.registry_path), version)
    return [each | {"created": datetime.fromtimestamp(each["created"], UTC).isoformat()} for each in found]


def _actual(prediction: Prediction, settings: Settings) -> Any:
    try:
        with (
            contextlib.closing(Database(settings.database_url.get_secret_value())) as database,
            database.reading() as session,
        ):
            told = session.scalar(select(Feedback.actual).where(Feedback.id == prediction.key))
    except (DatabaseDownError, DatabaseUrlError) as error:
        print(f"warning: the users database cannot be asked for the truth: {error}", file=sys.stderr)  # noqa: T201
        return None
    return None if told is None else json.loads(told)


if __name__ == "__main__":
    sys.exit(main())
