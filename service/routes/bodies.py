"""Read small request bodies as Pydantic models."""

from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request
from pydantic import BaseModel, ValidationError

from service.http.exchange import media_type, read_body
from service.http.problems import FieldError, Problem

MAX_BYTES: Final = 8192
JSON: Final = "application/json"

Form = TypeVar("Form", bound=BaseModel)


async def read_small_body(request: Request, kind: str) -> bytes:
    """Read a body of the media type `kind`.

    Raises Problem: 415 for another media type, 413 for more than MAX_BYTES, 408 if it is too slow. FastAPI would read
    any number of bytes, and before it authenticates.
    """
    headers = dict(request.scope["headers"])
    if media_type(headers) != kind.encode():
        raise Problem(415, f"Content-Type must be {kind}")
    return await read_body(request.receive, headers, MAX_BYTES)


async def read_form(request: Request, form: type[Form]) -> Form:
    """Read a small JSON body as a `form`. Raises Problem as `read_small_body`, `decode` and `validate`."""
    return validate(form, decode(await read_small_body(request, JSON)))


def decode(text: bytes, name: str = "The body", kind: str = "JSON") -> Any:
    """Parse JSON. Raises Problem (400) with the name of the text and the expected kind."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"{name} is not {kind}: {error}", title=f"Not {kind}") from None


def validate(form: type[Form], document: Any) -> Form:
    """Return a document as a `form`. Raises Problem (422) with each wrong field, but not its value."""
    try:
        return form.model_validate(document)
    except ValidationError as error:
        found = {str(each["loc"][0]) if each["loc"] else None: each for each in error.errors(include_url=False)}
        errors = [
            FieldError(each["msg"], "nothing" if each["type"] == "missing" else "something else", field=field)
            for field, each in found.items()
        ]
        detail = "; ".join(f"{each.field or 'the body'}: {each.expected}" for each in errors)
        raise Problem(422, f"The request is not valid: {detail}", errors=errors) from None
