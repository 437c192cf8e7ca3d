"""GET /docs: a page to read and try out the API, which loads nothing from other sites."""

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
    """Redirect / to /docs."""
    return RedirectResponse("docs")


def _page(name: str) -> Callable[[], Response]:
    return lambda: FileResponse(_FOLDER / name, headers={"Content-Security-Policy": _POLICY})


for _path, _name in {"/docs": "docs.html", "/docs/docs.js": "docs.js", "/docs/docs.css": "docs.css"}.items():
    router.add_api_route(_path, _page(_name))
