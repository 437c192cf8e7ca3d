"""POST /token: a name and a password for a token (OAuth2, RFC 6749 section 4.3)."""

from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from service.auth.access import access_of
from service.http.exchange import media_type, read_body
from service.http.problems import FieldError, Problem
from service.users.rules import lookup_name

MAX_BODY_BYTES: Final = 8192
_MAX_FIELDS: Final = 32
_FORM: Final = "application/x-www-form-urlencoded"
_FIELDS: Final = ("grant_type", "username", "password", "scope", "client_id", "client_secret")

# The body is read by hand: FastAPI would take any number of megabytes before this code runs, and tell of a
# wrong field by repeating it, password or not.
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            _FORM: {
                "schema": {
                    "type": "object",
                    "required": ["username", "password"],
                    "properties": {
                        "grant_type": {"type": "string", "enum": ["password"]},
                        "username": {"type": "string", "minLength": 1},
                        "password": {"type": "string", "minLength": 1, "format": "password"},
                        "scope": {"type": "string", "description": "Scopes, separated by spaces; empty for all"},
                        "client_id": {"type": "string", "description": "Not looked at"},
                        "client_secret": {"type": "string", "format": "password", "description": "Not looked at"},
                    },
                }
            }
        },
    }
}

Read = TypeVar("Read", bound=msgspec.Struct)

router = APIRouter(tags=["users"])


class Token(BaseModel):
    """What a login gives."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # the type's name
    expires_in: Annotated[int, Field(description="Life of the token in seconds")]
    scope: Annotated[str, Field(description="Scopes of the token, separated by spaces")]


@router.post(
    "/token",
    openapi_extra=_BODY,
    responses={
        400: {"description": "A scope that the user lacks, or a body that broke off"},
        401: {"description": "Wrong name or password"},
        408: {"description": "The body was too slow"},
        413: {"description": "The body is too large"},
        415: {"description": "The body is no form"},
        422: {"description": "A field is missing or wrong"},
        429: {"description": "Too many failed logins"},
        503: {"description": "The users database is down, or too many logins wait"},
    },
)
async def token(request: Request, response: Response) -> Token:
    """Give a token for a name and a password."""
    form = _form(await read_small_body(request, _FORM.encode()))
    address = request.client.host if request.client else None
    grant = await access_of(request).logins.token(form["username"], form["password"], form.get("scope", ""), address)
    request.state.user = lookup_name(form["username"])
    response.headers["Cache-Control"] = "no-store"
    return Token(access_token=grant.token, expires_in=grant.seconds, scope=grant.scope)


async def read_small_body(request: Request, kind: bytes) -> bytes:
    """Read a body of this media type; Problem for another one, or one that is too large or too slow."""
    headers = dict(request.scope["headers"])
    if media_type(headers) != kind:
        raise Problem(415, f"Content-Type must be {kind.decode()}")
    return await read_body(request.receive, headers, MAX_BODY_BYTES)


async def read_struct(request: Request, form: type[Read]) -> Read:
    """Read a JSON body of this form; Problem as `read_small_body`, 400 for no JSON, 422 for another form."""
    body = await read_small_body(request, b"application/json")
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.ValidationError as error:
        raise Problem(422, str(error)) from None  # names the place and the types, not the value
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}", title="Not JSON") from None


def _form(body: bytes) -> dict[str, str]:
    """Give the fields; Problem 422 for what is missing, repeated or no text.

    Errors bear the codes of RFC 6749 section 5.2, by which OAuth2 clients know them.
    """
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        detail = f"The form is not {_FORM} in UTF-8 of at most {_MAX_FIELDS} fields"
        raise Problem(422, detail, members={"error": "invalid_request"}) from None
    form = dict(pairs)
    names = [name for name, _ in pairs]
    errors = [FieldError("one value", "several", field=name) for name in _FIELDS if names.count(name) > 1]
    errors += [FieldError("a text", "nothing", field=name) for name in ("username", "password") if not form.get(name)]
    code = "invalid_request"
    if form.get("grant_type") not in {None, "", "password"}:
        errors.append(FieldError("password", "another grant type", field="grant_type"))
        code = "unsupported_grant_type"
    if errors:
        detail = "The form is not that of the OAuth2 password grant"
        raise Problem(422, detail, errors=errors, members={"error": code})
    return form
