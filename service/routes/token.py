"""POST /token: exchange a name and a password for a token (OAuth2, RFC 6749 section 4.3)."""

from typing import Annotated, Final, Literal
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from service.auth.access import access_of
from service.auth.logins import Token
from service.http.problems import Problem
from service.routes.bodies import describe, read_small_body, validate
from service.routes.errors import BODY, errors
from service.users.rules import lookup_name

_MAX_FIELDS: Final = 32
_FORM: Final = "application/x-www-form-urlencoded"

router = APIRouter(tags=["users"])


class Login(BaseModel):
    """The form of a login."""

    username: Annotated[str, Field(min_length=1)]
    password: Annotated[str, Field(min_length=1, json_schema_extra={"format": "password"})]
    grant_type: Literal["password"] = "password"
    scope: Annotated[str, Field(description="Scopes, separated by spaces; empty for all")] = ""


@router.post(
    "/token",
    openapi_extra=describe(Login, _FORM),
    responses=errors(
        *BODY,
        503,
        also={
            400: "The user does not have a requested scope",
            401: "Wrong name or password",
            429: "Too many failed logins",
        },
    ),
)
async def token(request: Request, response: Response) -> Token:
    """Return a token for a name and a password."""
    form = _parse(await read_small_body(request, _FORM))
    address = request.client.host if request.client else None
    granted = await access_of(request).logins.log_in(form.username, form.password, form.scope, address)
    request.state.user = lookup_name(form.username)
    response.headers["Cache-Control"] = "no-store"
    return granted


def _parse(body: bytes) -> Login:
    """Return the form. Raises Problem (422) if a field is missing, empty, repeated or not UTF-8.

    Errors have the codes of RFC 6749 section 5.2, which OAuth2 clients know, and never show a value.
    """
    try:
        fields = parse_qs(body.decode("ascii"), errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        detail = f"The body is not {_FORM} in UTF-8 with at most {_MAX_FIELDS} fields"
        raise Problem(422, detail, members={"error": "invalid_request"}) from None
    try:  # `Login` refuses a list, which is a repeated field
        return validate(Login, {name: values[0] if len(values) == 1 else values for name, values in fields.items()})
    except Problem as problem:
        is_grant = any(error.field == "grant_type" for error in problem.errors)
        problem.members["error"] = "unsupported_grant_type" if is_grant else "invalid_request"
        raise
