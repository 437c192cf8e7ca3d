"""GET /docs: the API's description to read and to try out, from this service alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, RedirectResponse

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


def _page(name: str) -> Callable[[], Response]:
    return lambda: FileResponse(_FOLDER / name, headers={"Content-Security-Policy": _POLICY})


for _path, _name in {"/docs": "docs.html", "/docs/docs.js": "docs.js", "/docs/docs.css": "docs.css"}.items():
    router.add_api_route(_path, _page(_name))
