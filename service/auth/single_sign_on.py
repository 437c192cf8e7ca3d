"""Single sign-on by OpenID Connect: people sign in at an identity provider, and programs send its tokens."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response
from joserfc import jws, jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError, MissingClaimError
from joserfc.jwk import KeySet

from service.auth.tokens import Count, TokenError, convert_errors
from service.http.problems import Problem
from service.settings import Settings

if TYPE_CHECKING:
    from authlib.integrations.starlette_client import StarletteOAuth2App

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""Only signatures by a private key. Tokens that are unsigned, or signed with a shared secret, are refused."""
CLOCK_SKEW_SECONDS: Final = 30
"""How far the provider's clock may differ from ours."""
TIMEOUT_SECONDS: Final = 5.0
REFRESH_SECONDS = 600.0
"""How often to fetch the provider's keys; a key that it withdraws is accepted at most this long."""
PAUSE_SECONDS = 10.0
"""Shortest time between two fetches; an unknown key causes an early one."""
_MAX_NAME: Final = 64

_log = logging.getLogger(__name__)


class IdentityProvider:
    """The provider that OIDC_ISSUER names, with its endpoints and keys in a cache.

    While it is down, tokens signed by a cached key are still accepted.
    """

    def __init__(self, settings: Settings, issuer: str, count: Count = lambda _: None) -> None:
        self.issuer = issuer
        self._count = count
        self.on_new_keys: Callable[[], None] = lambda: None
        """This object calls it when the provider's keys change."""
        self._settings = settings
        self._app: StarletteOAuth2App | None = None
        self._keys: KeySet | None = None
        self._turn = asyncio.Lock()
        self._tried = float("-inf")
        self.failure: str | None = "not reached yet"
        """Why the provider is down; None if it answered the last time."""

    async def run(self) -> None:
        """Fetch the keys regularly until cancelled: sooner again if the provider is down."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS if self.failure is None else PAUSE_SECONDS)

    async def refresh(self) -> None:
        """Fetch endpoints and keys, unless the last try is less than PAUSE_SECONDS ago. Store errors in `failure`."""
        from httpx2 import HTTPError, InvalidURL  # noqa: PLC0415  # only single sign-on needs it

        async with self._turn:
            if monotonic() - self._tried < PAUSE_SECONDS:
                return
            try:
                await self._fetch()
            except (HTTPError, InvalidURL, JoseError, KeyError, RuntimeError, TypeError, ValueError) as error:
                self._fail(f"{type(error).__name__}: {error}")
            finally:
                self._tried = monotonic()

    async def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a program's token.

        Raises TokenError if the token isn't valid, Problem (503) if the provider is down and its key is unknown.
        """
        with convert_errors("the identity provider"):
            try:
                claims = self._decode(token)
            except (BadSignatureError, InvalidKeyIdError) as error:  # perhaps the key is new
                await self.refresh()
                if self._keys is None or (self.failure and isinstance(error, InvalidKeyIdError)):
                    raise self._down() from None
                claims = self._decode(token)
            expected: Any = {"essential": True}
            jwt.JWTClaimsRegistry(
                leeway=CLOCK_SKEW_SECONDS,
                **self._issued_for(self._settings.oidc_audience or self._settings.oidc_client_id),
                **dict.fromkeys(("sub", "exp", "iat"), expected),
            ).validate(claims)
        return claims

    def identify(self, claims: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
        """Return a person's or program's name for the log, and the scopes that the claims give."""
        names = (claims.get(each) for each in ("preferred_username", "email", "client_id"))
        name = next((each for each in names if isinstance(each, str) and each), str(claims["sub"]))
        shown = "".join(each for each in name if each.isprintable() and not each.isspace())[:_MAX_NAME]
        scopes = {scope for scope, rule in self._settings.oidc_scopes.items() if not rule or _matches(claims, rule)}
        return f"sso:{shown}", frozenset(scopes)

    async def begin(self, request: Request, redirect_uri: str) -> Response:
        """Redirect a browser to the provider, and store the state in `request.session`. Raises Problem (503)."""
        app = await self._ready()
        wanted = {"profile", "email", *(claim for rule in self._settings.oidc_scopes.values() for claim in rule)}
        # The scope that asks for a claim often has the same name.
        known = wanted.intersection(app.server_metadata.get("scopes_supported", ("profile", "email")))
        response: Response = await app.authorize_redirect(
            request, redirect_uri, scope=" ".join(["openid", *sorted(known)])
        )
        return response

    async def finish(self, request: Request) -> dict[str, Any]:
        """Return the claims of a person whom the provider redirected back; `request.session` is the one of `begin`.

        Raises Problem (400) for the answer to another sign-in, TokenError if the provider refuses or its token isn't
        valid, Problem (503) if it is down.
        """
        from authlib.integrations.base_client import MismatchingStateError, OAuthError  # noqa: PLC0415
        from httpx2 import HTTPError  # noqa: PLC0415

        app = await self._ready()
        options = self._issued_for(self._settings.oidc_client_id)
        with convert_errors("the identity provider"):
            try:
                answer = await app.authorize_access_token(request, claims_options=options, leeway=CLOCK_SKEW_SECONDS)
            except MismatchingStateError:
                raise Problem(400, "The answer doesn't belong to this browser's sign-in; open /login") from None
            except OAuthError as error:
                _log.warning("the identity provider refused a sign-in: %s", error)
                raise TokenError("sign_in", "The identity provider refused the sign-in; start again") from None
            except HTTPError as error:
                self._fail(f"{type(error).__name__}: {error}")
                raise self._down() from None
            if "userinfo" not in answer:
                raise MissingClaimError("id_token")
            return dict(answer["userinfo"])

    def _issued_for(self, audience: str) -> dict[str, Any]:
        return {"iss": {"essential": True, "value": self.issuer}, "aud": {"essential": True, "value": audience}}

    def _decode(self, token: str) -> dict[str, Any]:
        if self._keys is None:
            raise InvalidKeyIdError
        registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        return jwt.decode(token, self._keys, registry=registry).claims

    async def _ready(self) -> "StarletteOAuth2App":
        if self.failure is not None:
            await self.refresh()
        if self.failure is not None or self._app is None:
            raise self._down()
        return self._app

    async def _fetch(self) -> None:
        app = self._make_app()
        metadata = await app.load_server_metadata()
        if metadata["issuer"] != self.issuer:
            raise ValueError(f"{self.issuer} describes another issuer, {metadata['issuer']!r}")
        metadata["id_token_signing_alg_values_supported"] = ALGORITHMS  # authlib accepts what stands here
        fetched = KeySet.import_key_set(await app.fetch_jwk_set())
        methods = metadata.get("token_endpoint_auth_methods_supported")
        if app.client_secret and methods and "client_secret_basic" not in methods:
            app.client_kwargs["token_endpoint_auth_method"] = "client_secret_post"  # noqa: S105  # a method's name
        self._app = app
        if self._keys is None or fetched.as_dict() != self._keys.as_dict():
            self._keys = fetched
            self.on_new_keys()
        if self.failure is not None:
            self.failure = None
            _log.info("the identity provider %s answers", self.issuer)

    def _make_app(self) -> "StarletteOAuth2App":
        from authlib.integrations import starlette_client  # noqa: PLC0415

        secret = self._settings.oidc_client_secret
        return starlette_client.StarletteOAuth2App(
            starlette_client.StarletteIntegration("oidc"),
            client_id=self._settings.oidc_client_id,
            client_secret=secret.get_secret_value() if secret else None,
            server_metadata_url=f"{self.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={"code_challenge_method": "S256", "timeout": TIMEOUT_SECONDS},
        )

    def _fail(self, reason: str) -> None:
        if self.failure != reason:
            self.failure = reason
            _log.warning("the identity provider %s is down: %s", self.issuer, reason)

    def _down(self) -> Problem:
        self._count("provider_down")
        return Problem(503, "The identity provider doesn't answer; passwords still work", headers={"Retry-After": "10"})


def issuer_of(token: str) -> str | None:
    """Return the `iss` of a token that isn't verified yet, or None if it has none."""
    try:
        issuer = json.loads(jws.extract_compact(token.encode()).payload)["iss"]
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return issuer if isinstance(issuer, str) else None


def _matches(claims: Mapping[str, Any], rule: Mapping[str, Sequence[str | bool]]) -> bool:
    return any(value in _values(claims, claim) for claim, values in rule.items() for value in values)


def _values(claims: Mapping[str, Any], name: str) -> list[Any]:
    """Return a claim's values; a dot in the name selects a member of an object, as in ``realm_access.roles``."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    if name in {"scope", "scp"} and isinstance(found, str):
        return found.split()
    return found if isinstance(found, list) else [found]
