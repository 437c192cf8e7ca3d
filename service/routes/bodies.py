"""Small bodies of requests about users: read with a limit, and described from the form that they are decoded to."""

from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request

from service.http.exchange import media_type, read_body
from service.http.problems import Problem

MAX_BYTES: Final = 8192
JSON: Final = "application/json"

Form = TypeVar("Form", bound=msgspec.Struct)


async def read_small_body(request: Request, kind: str) -> bytes:
    """Read a body of this media type; Problem for another one, or one that is too large or too slow.

    FastAPI would read any number of bytes, before it authenticates anybody.
    """
    headers = dict(request.scope["headers"])
    if media_type(headers) != kind.encode():
        raise Problem(415, f"Content-Type must be {kind}")
    return await read_body(request.receive, headers, MAX_BYTES)


async def read_struct(request: Request, form: type[Form]) -> Form:
    """Read a JSON body of this form; Problem as `read_small_body`, 400 for no JSON, 422 for another form."""
    body = await read_small_body(request, JSON)
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.ValidationError as error:
        raise Problem(422, str(error)) from None  # names the place and the types, not the value
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}", title="Not JSON") from None


def describe(form: type[msgspec.Struct], kind: str = JSON) -> dict[str, Any]:
    """Return OpenAPI's description of a request body."""
    _, schemas = msgspec.json.schema_components([form])
    return {"requestBody": {"required": True, "content": {kind: {"schema": schemas[form.__name__]}}}}
