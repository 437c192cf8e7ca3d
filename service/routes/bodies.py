"""Read small request bodies, and describe them for the OpenAPI document."""

from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request

from service.http.exchange import media_type, read_body
from service.http.problems import Problem

MAX_BYTES: Final = 8192
JSON: Final = "application/json"

Form = TypeVar("Form", bound=msgspec.Struct)


async def read_small_body(request: Request, kind: str) -> bytes:
    """Read a body of the media type `kind`.

    Raises Problem: 415 for another media type, 413 for more than MAX_BYTES, 408 if it is too slow. FastAPI would read
    any number of bytes, and before it authenticates.
    """
    headers = dict(request.scope["headers"])
    if media_type(headers) != kind.encode():
        raise Problem(415, f"Content-Type must be {kind}")
    return await read_body(request.receive, headers, MAX_BYTES)


async def read_struct(request: Request, form: type[Form]) -> Form:
    """Read a JSON body as a `form`. Raises Problem as `read_small_body`, 400 for no JSON, 422 for another form."""
    body = await read_small_body(request, JSON)
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.ValidationError as error:
        raise Problem(422, str(error)) from None  # it has the field and the types, but not the value
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}", title="Not JSON") from None


def describe(form: type[msgspec.Struct], kind: str = JSON) -> dict[str, Any]:
    """Return the OpenAPI object of a request body of this form."""
    _, schemas = msgspec.json.schema_components([form])
    return {"requestBody": {"required": True, "content": {kind: {"schema": schemas[form.__name__]}}}}
