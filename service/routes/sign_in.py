"""Sign in by a password (POST /token) or by single sign-on (GET /login, GET /callback, POST /logout).

`/token` exchanges a name and a password for a token (OAuth2, RFC 6749 section 4.3). After single sign-on the browser
gets our own token in a cookie that scripts can't read and other sites can't use. The browser sends it with requests
from pages of this service, so they need no code for tokens.
"""

from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from service.auth.access import SESSION_COOKIE, Access, access_of
from service.auth.logins import Token
from service.auth.single_sign_on import IdentityProvider
from service.auth.tokens import SIGN_IN_SECONDS, TokenError
from service.http.exchange import read_small_body, validate
from service.http.problems import Problem
from service.routes.openapi import BODY, errors, request_body
from service.users.rules import lookup_name

_MAX_FIELDS: Final = 32
_FORM: Final = "application/x-www-form-urlencoded"
_STATE_COOKIE: Final = "sign_in"
"""The cookie with the state of a sign-in, while the browser is at the identity provider."""
_ERRORS: Final = {
    400: "The answer doesn't belong to a sign-in of this browser",
    404: "Single sign-on is not set up",
    503: "The identity provider doesn't answer",
}

router = APIRouter(tags=["sign-in"])


class Login(BaseModel):
    """The form of a login."""

    username: Annotated[str, Field(min_length=1)]
    password: Annotated[str, Field(min_length=1, json_schema_extra={"format": "password"})]
    grant_type: Literal["password"] = "password"
    scope: Annotated[str, Field(description="Scopes, separated by spaces; empty for all")] = ""


@router.post(
    "/token",
    openapi_extra=request_body(Login, _FORM),
    responses=errors(*BODY, 401, 503, also={400: "The user does not have a scope", 429: "Too many failed logins"}),
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


@router.get("/login", status_code=302, responses=errors(also=_ERRORS))
async def login(request: Request) -> Response:
    """Begin single sign-on: redirect the browser to the identity provider."""
    access, provider = _require_single_sign_on(request)
    redirect_uri = request.app.state.settings.oidc_redirect_uri or str(request.base_url) + "callback"
    request.scope["session"] = {}
    response = await provider.begin(request, redirect_uri)
    state, options = access.tokens.seal(request.session), _cookie_options(request, SIGN_IN_SECONDS)
    response.set_cookie(_STATE_COOKIE, state, samesite="lax", **options)  # so that the provider's redirect sends it
    return response


@router.get("/callback", status_code=302, responses=errors(401, 403, also=_ERRORS))
async def callback(request: Request) -> Response:
    """Complete single sign-on when the identity provider redirects the browser back."""
    access, provider = _require_single_sign_on(request)
    try:
        request.scope["session"] = access.tokens.unseal(request.cookies.get(_STATE_COOKIE, ""))
    except TokenError:
        raise Problem(400, "The sign-in took too long or began elsewhere; open /login") from None
    if request.query_params.get("iss", provider.issuer) != provider.issuer:
        raise Problem(400, "The answer doesn't come from the identity provider; open /login")
    try:
        name, scopes = provider.identify(await provider.finish(request))
    except TokenError as error:
        access.count(f"token_{error.reason}")
        raise
    if not scopes:
        access.count("insufficient_scope")
        raise Problem(403, "Your account has no access to this service; ask whoever runs it")
    access.count("granted")
    request.state.user = name
    token, seconds = access.tokens.issue(name, scopes, provider=provider.issuer)
    response = RedirectResponse("./", 302)
    response.set_cookie(SESSION_COOKIE, token, samesite="strict", **_cookie_options(request, seconds))
    response.delete_cookie(_STATE_COOKIE, path="")
    return response


@router.post("/logout", status_code=204, responses=errors())
async def logout() -> Response:
    """Sign out: delete the cookie."""
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, path="")
    return response


def _require_single_sign_on(request: Request) -> tuple[Access, IdentityProvider]:
    access = access_of(request)
    if access.provider is None:
        raise Problem(404, "Single sign-on is not set up; get a token from POST /token with a password")
    return access, access.provider


def _cookie_options(request: Request, seconds: int) -> dict[str, Any]:
    """Return the options of a cookie that scripts can't read. With no path, it is for the folder of the request."""
    return {"max_age": seconds, "path": None, "secure": request.url.scheme == "https", "httponly": True}
