"""``python -m service.lineage ID``: print the release, commit, data and outcome behind a prediction.

The id contains the model's MD5. The releases of that model have its parameters and metrics, the MD5s of model and
data, the Git commit, the registered version and its run. The validation report comes from the commit, if this clone
has it. The actual outcome comes from the users database, if feedback was sent.

Example: python -m service.lineage ID
"""

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from service import release
from service.feedback import Prediction, PredictionIdError, PredictionIds
from service.release import Release, ReleaseError
from service.settings import ROOT, Settings, SettingsError
from service.users.database import FEEDBACK, Database, DatabaseDownError, DatabaseUrlError

_VALIDATION: Final = "metrics/validation.json"
_RELEASE_FIELDS: Final = {"verdict", "reason", "overrides", "by", "at", "revision", "dirty", "registry"}
"""The fields that may differ between releases of one model."""


class LineageError(Exception):
    """The model of a prediction was never released. The message is one line with the reason and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the lineage as JSON; after a user's mistake print one line on stderr and return 1."""
    parser = argparse.ArgumentParser(
        prog="python -m service.lineage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("id", help="an id from POST /predict?ids=true")
    text = parser.parse_args(arguments).id
    try:
        settings = Settings.load()
        found = find_lineage(PredictionIds(settings).read_expired(text), settings, ROOT)
    except (LineageError, PredictionIdError, ReleaseError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  # a command line talks to people
        return 1
    print(json.dumps(found, indent=2, ensure_ascii=False))  # noqa: T201
    return 0


def find_lineage(prediction: Prediction, settings: Settings, repository: Path) -> dict[str, Any]:
    """Return the lineage of a prediction.

    Raises LineageError if its model was never released, ReleaseError if the history can't be read.
    """
    version = prediction.version.hex()
    history = release.read_history(settings.releases)
    releases = {folder: each for folder, each in history.items() if each.onnx_md5 == version}
    if not releases:
        raise LineageError(
            f"{settings.releases}: no release has the model {version}; if it was served before there were releases, "
            f"`git log --all -S{version} -- dvc.lock` finds its commit"
        )
    # Releases of one model may have different metrics. A prediction's time is in whole seconds.
    before = [each for each in releases.values() if int(each.at.timestamp()) <= prediction.at]
    served = before[-1] if before else next(iter(releases.values()))
    commit = _describe_commit(repository, served)
    return {
        "prediction": {
            "id": prediction.key,
            "at": datetime.fromtimestamp(prediction.at, UTC).isoformat(),
            "predicted": prediction.predicted,
            "score": prediction.score,
            "actual": _read_actual(prediction, settings),
        },
        **served.model_dump(mode="json", exclude=_RELEASE_FIELDS | {"format"}),
        "commit": commit,
        "validation": _read_validation(repository, served) if commit else None,
        "releases": [
            {"folder": folder, **each.model_dump(mode="json", include=_RELEASE_FIELDS)}
            for folder, each in releases.items()
        ],
    }


def _git(repository: Path, *arguments: str) -> str | None:
    """Return what Git prints, or None if it doesn't know the revision or isn't installed."""
    command = ["git", "-C", str(repository), *arguments]  # from PATH, as in the user's shell
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _describe_commit(repository: Path, found: Release) -> dict[str, Any] | None:
    """Return the commit at which the model was trained; only its id if this clone doesn't have it."""
    if found.revision is None:
        return None
    shown = _git(repository, "show", "-s", "--format=%an%n%aI%n%s", f"{found.revision}^{{commit}}")
    if shown is None:
        return {"id": found.revision}
    author, when, subject = shown.split("\n")[:3]
    return {"id": found.revision, "author": author, "at": when, "subject": subject}


def _read_validation(repository: Path, found: Release) -> Any:
    """Return the commit's validation report, or None if the model was trained with uncommitted changes."""
    text = None if found.dirty else _git(repository, "show", f"{found.revision}:./{_VALIDATION}")
    with contextlib.suppress(ValueError):
        return json.loads(text or "")
    return None


def _read_actual(prediction: Prediction, settings: Settings) -> Any:
    try:
        with (
            contextlib.closing(Database(settings.database_url.get_secret_value())) as database,
            database.reading() as session,
        ):
            text = session.scalar(select(FEEDBACK.c.actual).where(FEEDBACK.c.id == prediction.key))
    except (DatabaseDownError, DatabaseUrlError) as error:
        print(f"warning: can't read the actual outcome from the users database: {error}", file=sys.stderr)  # noqa: T201
        return None
    return None if text is None else json.loads(text)


if __name__ == "__main__":
    sys.exit(main())
