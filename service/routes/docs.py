"""GET /docs: the API's description to read and to try out, from this service alone."""

from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, RedirectResponse

_FOLDER: Final = Path(__file__).parent.parent / "pages"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)


@router.get("/")
def root() -> Response:
    """Lead whoever opens the bare address in a browser to the page."""
    return RedirectResponse("docs")


@router.get("/docs")
def docs() -> Response:
    """Give the page."""
    return HTMLResponse(_read("docs.html"), headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/docs.js")
def script() -> Response:
    """Give what makes the page work."""
    return Response(_read("docs.js"), media_type="text/javascript")


@router.get("/docs/docs.css")
def style() -> Response:
    """Give what makes the page readable."""
    return Response(_read("docs.css"), media_type="text/css")


@cache
def _read(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()
