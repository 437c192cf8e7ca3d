"""The pages for people, / and /docs, and the history of releases that the page / shows.

The pages load nothing from other sites and have no inline scripts or styles. Their URLs are relative, so that they
work behind a path prefix.
"""

import csv
import logging
import mimetypes
from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request, Response, Security
from pydantic import BaseModel, Field

from service import release
from service.auth.access import authenticate
from service.routes.openapi import errors

_FOLDER: Final = Path(__file__).parent.parent / "pages"
_FILES: Final = frozenset(path.name for path in _FOLDER.iterdir())
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}
_SHOWN_RELEASES: Final = 50
_SHOWN_SLICES: Final = 10
_ERROR: Final = "mean_absolute_error"

router = APIRouter()
_log = logging.getLogger(__name__)


class Slice(BaseModel):
    """Test rows on which the model is significantly worse than on all test rows."""

    column: str
    value: str
    rows: int
    metric: str
    score: float
    low: float
    high: float


class Released(BaseModel):
    """A release: which model, who released it when and why, and how well the model does."""

    release: str = Field(description="The name of its folder")
    name: str
    version: str = Field(description="MD5 of the model")
    at: datetime
    by: str
    verdict: str
    reason: str
    overrides: list[str] = Field(description="The checks that the user overrode")
    training_rows: int | None
    metrics: dict[str, Any]
    worst_slices: list[Slice] | None = Field(None, description="The worst first; null if it isn't known")


@router.get(
    "/releases",
    responses=errors(401, 403, 503),
    tags=["model"],
    dependencies=[Security(authenticate, scopes=["predict"])],
)
def releases(request: Request) -> list[Released]:
    """List the releases, the one in service first: who released which model when and why."""
    return [*_read_all(request.app.state.settings.releases)]


def _read_all(releases: Path) -> Iterator[Released]:
    """Return the newest releases, the newest first; log those that can't be read."""
    for folder in reversed(release.find_released(releases)[-_SHOWN_RELEASES:]):
        try:
            yield _describe(folder)
        except release.ReleaseError as error:
            _log.warning("GET /releases leaves out %s", error)


def _describe(folder: Path) -> Released:
    found = release.load(folder)
    return Released(
        **found.model_dump(include=set(Released.model_fields)),
        release=folder.name,
        version=found.onnx_md5,
        worst_slices=_read_worst(folder / release.SLICES_FILE),
    )


def _read_worst(path: Path) -> list[Slice] | None:
    """Return the slices that `evaluate` found to be significantly worse; of slices with the same rows the first.

    Return None if there is no such file, or if it is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
        metric = lines[0][3]
        different = {tuple(line[2:]): line for line in reversed(lines) if line[8] == "True"}
        found = [
            Slice(column=column, value=value, rows=int(rows), metric=metric, score=score, low=low, high=high)
            for column, value, rows, *(score, low, high) in (line[:6] for line in different.values())
        ]
    except FileNotFoundError:
        return None
    except (OSError, IndexError, ValueError, csv.Error) as error:
        _log.warning("GET /releases leaves out the slices in %s: %s", path, error)
        return None
    return sorted(found, key=attrgetter("score"), reverse=metric == _ERROR)[:_SHOWN_SLICES]


@router.get("/", include_in_schema=False)
def page() -> Response:
    """Return the page for people who don't write code."""
    return _file("index.html")


@router.get("/docs", include_in_schema=False)
def docs() -> Response:
    """Return the page that describes the API."""
    return _file("docs.html")


@router.get("/page/{name}", include_in_schema=False)
def page_file(name: str) -> Response:
    """Return a script, a style sheet or an icon of the pages."""
    if name not in _FILES:
        raise HTTPException(404)
    return _file(name)


def _file(name: str) -> Response:
    return Response((_FOLDER / name).read_bytes(), headers=_HEADERS, media_type=mimetypes.guess_type(name)[0])
