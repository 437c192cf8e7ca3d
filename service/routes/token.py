"""POST /token: exchange a name and a password for a token (OAuth2, RFC 6749 section 4.3)."""

from collections import Counter
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import UNSET, Meta, UnsetType

from service.auth.access import access_of
from service.auth.logins import Token
from service.http.problems import FieldError, Problem
from service.routes.bodies import describe, read_small_body
from service.routes.errors import BODY, errors
from service.users.rules import lookup_name

_MAX_FIELDS: Final = 32
_FORM: Final = "application/x-www-form-urlencoded"
_SECRET: Final = Meta(min_length=1, extra_json_schema={"format": "password"})

router = APIRouter(tags=["users"])


class Login(msgspec.Struct):
    """The form of a login."""

    username: Annotated[str, Meta(min_length=1)]
    password: Annotated[str, _SECRET]
    grant_type: Literal["password"] = "password"
    scope: Annotated[str, Meta(description="Scopes, separated by spaces; empty for all")] = ""
    client_id: Annotated[str | UnsetType, Meta(description="Ignored")] = UNSET
    client_secret: Annotated[str | UnsetType, Meta(description="Ignored")] = UNSET


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
    granted = await access_of(request).logins.log_in(form["username"], form["password"], form.get("scope", ""), address)
    request.state.user = lookup_name(form["username"])
    response.headers["Cache-Control"] = "no-store"
    return granted


def _parse(body: bytes) -> dict[str, str]:
    """Return the fields of the form. Raises Problem (422) if a field is missing, empty, repeated or not UTF-8.

    Errors have the codes of RFC 6749 section 5.2, which OAuth2 clients know, and never show a value.
    """
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        detail = f"The body is not {_FORM} in UTF-8 with at most {_MAX_FIELDS} fields"
        raise Problem(422, detail, members={"error": "invalid_request"}) from None
    form, counts = dict(pairs), Counter(name for name, _ in pairs)
    errors = [FieldError("one value", "several", field=name) for name, count in counts.items() if count > 1]
    errors += [FieldError("a text", "nothing", field=name) for name in ("username", "password") if not form.get(name)]
    code = "invalid_request"
    if form.get("grant_type") not in {None, "", "password"}:
        errors.append(FieldError("password", "another grant type", field="grant_type"))
        code = "unsupported_grant_type"
    if errors:
        detail = "The body is not a form of the OAuth2 password grant"
        raise Problem(422, detail, errors=errors, members={"error": code})
    return form
