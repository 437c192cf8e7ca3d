"""Single sign-on for people: GET /login, GET /callback, POST /logout.

After the sign-in the browser gets our own token in a cookie that scripts can't read and other sites can't use. The
browser sends it with requests from pages of this service such as /docs, so they need no code for tokens.
"""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service.auth.access import Access, access_of
from service.auth.callers import SESSION_COOKIE
from service.auth.single_sign_on import IdentityProvider
from service.auth.tokens import SIGN_IN_SECONDS, TokenError
from service.http.problems import Problem
from service.routes.errors import errors

_STATE_COOKIE: Final = "sign_in"
"""The cookie with the state of a sign-in, while the browser is at the identity provider."""
_ERRORS: Final = {404: "Single sign-on is not set up", 503: "The identity provider doesn't answer"}

router = APIRouter(tags=["users"])


@router.get("/login", status_code=302, responses=errors(also=_ERRORS))
async def login(request: Request) -> Response:
    """Redirect the browser to the identity provider."""
    access, provider = _require_single_sign_on(request)
    redirect_uri = request.app.state.settings.oidc_redirect_uri or str(request.base_url) + "callback"
    url, pending = await provider.begin(redirect_uri)
    response = RedirectResponse(url, 302)
    options = _cookie_options(request, SIGN_IN_SECONDS)
    response.set_cookie(
        _STATE_COOKIE, access.tokens.seal(pending), samesite="lax", **options
    )  # lax, so that the provider's redirect sends it
    return response


@router.get(
    "/callback",
    status_code=302,
    responses=errors(
        also={
            **_ERRORS,
            400: "The answer doesn't belong to a sign-in of this browser",
            401: "The identity provider refused, or its token is not valid",
            403: "The account has no scope of this service",
        }
    ),
)
async def callback(request: Request) -> Response:
    """Complete the sign-in when the identity provider redirects the browser back."""
    access, provider = _require_single_sign_on(request)
    try:
        pending = access.tokens.unseal(request.cookies.get(_STATE_COOKIE, ""))
    except TokenError:
        raise Problem(400, "The sign-in took too long or began elsewhere; open /login") from None
    query = request.query_params
    if query.get("state") != pending["state"] or query.get("iss", provider.issuer) != provider.issuer:
        raise Problem(400, "The answer doesn't belong to this browser's sign-in; open /login")
    if "code" not in query:
        raise Problem(401, "The identity provider refused the sign-in; open /login to try again")
    try:
        name, scopes = provider.identify(await provider.finish(query["code"], pending))
    except TokenError as error:
        access.count(f"token_{error.reason}")
        raise
    if not scopes:
        access.count("insufficient_scope")
        raise Problem(403, "Your account has no access to this service; ask whoever runs it")
    access.count("granted")
    request.state.user = name
    token, seconds = access.tokens.issue(name, scopes, provider=provider.issuer)
    response = RedirectResponse("docs", 302)
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
