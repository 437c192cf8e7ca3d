"""Authenticate a request by our own token, an API key or a token of the identity provider."""

import math
import time
from dataclasses import dataclass
from typing import Final

from starlette.requests import cookie_parser

from service.auth.single_sign_on import IdentityProvider, issuer_of
from service.auth.tokens import CLOCK_SKEW_SECONDS, Count, TokenError, Tokens
from service.auth.watch import Snapshot, Watch
from service.http.exchange import Headers
from service.http.problems import Problem
from service.users.api_keys import PREFIX, digest

MAX_BYTES: Final = 8192
"""Longest credential, in bytes; our tokens have about 400, those of identity providers up to a few thousand."""
MAX_CACHED: Final = 4096
"""Most verified credentials in the cache, about 1 KiB each."""
SESSION_COOKIE: Final = "session"


@dataclass(slots=True)
class Caller:
    """Who sent a request, with which scopes, and until when the credential is valid."""

    name: str
    """For the log: the user's name, ``key:NAME`` or ``sso:NAME``."""
    scopes: frozenset[str]
    issued: float
    """Seconds since 1970; 0 for API keys and for tokens of the identity provider."""
    expiry: float
    """Seconds since 1970."""
    revision: int | None = None
    """The user's revision in the token; None for other credentials."""
    key_digest: str | None = None
    """The digest of an API key; None for other credentials."""

    def is_current(self, known: Snapshot) -> bool:
        """Return whether the credential is valid now, also if the clock was set since it was verified."""
        if not self.issued - CLOCK_SKEW_SECONDS <= time.time() < self.expiry:
            return False
        if self.revision is not None:
            return known.allows(self.name, self.revision)
        return self.key_digest is None or self.key_digest in known.keys


class Callers:
    """Authenticates requests.

    A verified credential is cached until it expires or is revoked; checking it again takes two look-ups.
    """

    def __init__(self, tokens: Tokens, watch: Watch, provider: IdentityProvider | None, count: Count) -> None:
        self._tokens = tokens
        self._watch = watch
        self._provider = provider
        self._count = count
        self._cache: dict[bytes | None, Caller] = {}
        if provider:
            provider.on_new_keys = self._cache.clear

    async def authenticate(self, headers: Headers, scope: str) -> Caller:
        """Return who sent these headers.

        Raises Problem: 401 if the credential is missing or not valid, 403 if it doesn't have the scope, 503 if the
        database or the identity provider doesn't answer, so that the credential can't be checked.
        """
        caller = self._cache.get(headers.get(b"authorization"))
        if caller is not None and scope in caller.scopes and caller.is_current(self._watch.known):
            return self._note_use(caller)
        try:
            return await self._verify(_authorization(headers), scope)
        except TokenError as error:
            self._count(f"token_{error.reason}")
            raise

    async def _verify(self, authorization: bytes, scope: str) -> Caller:
        caller = self._cache.get(authorization)
        if caller is None or not caller.is_current(self._watch.known):
            caller = await self._identify(_credential(authorization))
            if not caller.is_current(self._watch.known):  # not revoked: `_identify` refuses those
                raise TokenError("expired", "The token is expired; ask for a new one")
            self._store(authorization, caller)
        if scope not in caller.scopes:
            self._count("insufficient_scope")
            challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
            raise Problem(403, f"The token lacks the scope {scope}", headers={"WWW-Authenticate": challenge})
        return self._note_use(caller)

    def _note_use(self, caller: Caller) -> Caller:
        if caller.key_digest is not None:
            self._watch.used_keys.add(caller.name.removeprefix("key:"))
        return caller

    async def _identify(self, credential: str) -> Caller:
        if credential.startswith(PREFIX):
            return await self._identify_key(credential)
        if self._provider and issuer_of(credential) == self._provider.issuer:
            found = await self._provider.verify(credential)
            name, scopes = self._provider.identify(found)
            return Caller(name, scopes, 0.0, found["exp"])
        claims = self._tokens.verify(credential)
        scopes = frozenset(claims.scope.split())
        if claims.rev is None:
            if not self._provider or claims.idp != self._provider.issuer:
                raise TokenError("revoked", "Single sign-on was changed; sign in again")
            return Caller(claims.sub, scopes, claims.iat, claims.exp)
        self._require_database()
        if not self._watch.known.allows(claims.sub, claims.rev):
            raise TokenError("revoked", "The token was revoked; ask for a new one")
        return Caller(claims.sub, scopes, claims.iat, claims.exp, revision=claims.rev)

    async def _identify_key(self, text: str) -> Caller:
        found = digest(text)
        key = self._watch.known.keys.get(found)
        if key is None:
            await self._watch.refresh_early()  # the key may be new
            self._require_database()
            key = self._watch.known.keys.get(found)
        if key is None:
            raise TokenError("key", "There is no such API key; it may have been revoked")
        expiry = key.expires_at.timestamp() if key.expires_at else math.inf
        return Caller(f"key:{key.name}", key.scopes, 0.0, expiry, key_digest=found)

    def _require_database(self) -> None:
        if self._watch.known.revision < 0:
            self._count("unready")
            detail = "The users database hasn't answered since the service started"
            raise Problem(503, detail, headers={"Retry-After": "2"})

    def _store(self, authorization: bytes, caller: Caller) -> None:
        self._cache.pop(authorization, None)
        while len(self._cache) >= MAX_CACHED:
            del self._cache[next(iter(self._cache))]
        self._cache[authorization] = caller


def _authorization(headers: Headers) -> bytes:
    """Return the credential in the form of an Authorization header. Raises TokenError if there is none."""
    authorization = headers.get(b"authorization")
    if authorization is not None:
        return authorization
    credential = headers.get(b"x-api-key")
    # Ignore the cookie if a page of another site caused the request (CSRF).
    if not credential and headers.get(b"sec-fetch-site", b"none") in {b"same-origin", b"none"}:
        cookies = cookie_parser(headers.get(b"cookie", b"").decode("latin-1"))
        credential = cookies.get(SESSION_COOKIE, "").encode()
    if not credential:
        detail = "Send the header `Authorization: Bearer TOKEN` with an API key or a token from POST /token"
        raise TokenError("missing", detail)
    return b"Bearer " + credential


def _credential(authorization: bytes) -> str:
    scheme, _, credential = authorization.partition(b" ")
    if scheme.lower() != b"bearer" or not credential or b" " in credential:
        raise TokenError("malformed", "The Authorization header isn't of the form `Bearer TOKEN`")
    if len(credential) > MAX_BYTES:
        raise TokenError("malformed", f"The token is longer than {MAX_BYTES} bytes")
    return credential.decode("latin-1")
