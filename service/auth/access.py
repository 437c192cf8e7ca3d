"""Authenticate requests by our own token, an API key or a token of the identity provider."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final, TypeVar

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer, SecurityScopes
from starlette.requests import cookie_parser

from service.auth.logins import Logins, put_newest
from service.auth.single_sign_on import IdentityProvider, issuer_of
from service.auth.tokens import CLOCK_SKEW_SECONDS, Count, TokenError, Tokens
from service.auth.watch import Snapshot, Watch
from service.http.exchange import Headers
from service.http.problems import Problem
from service.settings import Settings
from service.threads import BusyError, Threads
from service.users.accounts import PREFIX, Accounts, digest
from service.users.database import Database, DatabaseDownError
from service.users.passwords import Passwords

T = TypeVar("T")
_log = logging.getLogger(__name__)

TOKEN: Final = OAuth2PasswordBearer(
    "token", scheme_name="token", scopes={"predict": "Predict", "admin": "Administer users"}, auto_error=False
)
API_KEY: Final = APIKeyHeader(name="X-API-Key", scheme_name="api_key", auto_error=False)
"""Both are only for the OpenAPI document; `Callers` reads the credential itself."""

MAX_BYTES: Final = 8192
"""Longest credential, in bytes; our tokens have about 400, those of identity providers up to a few thousand."""
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
            return known.allows(self.revision)
        return self.key_digest is None or self.key_digest in known.keys


class Callers:
    """Authenticates requests.

    A verified credential is cached until it expires or is revoked; checking it again takes two look-ups.
    """

    def __init__(
        self, tokens: Tokens, watch: Watch, provider: IdentityProvider | None, count: Count, cache_size: int
    ) -> None:
        self._tokens = tokens
        self._watch = watch
        self._provider = provider
        self._count = count
        self._cache: dict[bytes | None, Caller] = {}
        self._cache_size = cache_size
        if provider:
            provider.on_new_keys = self._cache.clear

    async def authenticate(self, headers: Headers, scope: str) -> Caller:
        """Return who sent these headers.

        Raises Problem: 401 if the credential is missing or not valid, 403 if it doesn't have the scope, 503 if the
        database or the identity provider doesn't answer, so that the credential can't be checked.
        """
        caller = self._cache.get(headers.get(b"authorization"))
        if caller is None or scope not in caller.scopes or not caller.is_current(self._watch.known):
            try:
                caller = await self._verify(_authorization(headers), scope)
            except TokenError as error:
                self._count(f"token_{error.reason}")
                raise
        if caller.key_digest is not None:
            self._watch.used_keys.add(caller.name.removeprefix("key:"))
        return caller

    async def _verify(self, authorization: bytes, scope: str) -> Caller:
        caller = self._cache.get(authorization)
        if caller is None or not caller.is_current(self._watch.known):
            caller = await self._identify(_credential(authorization))
            if not caller.is_current(self._watch.known):  # not revoked: `_identify` refuses those
                raise TokenError("expired", "The token is expired; ask for a new one")
            put_newest(self._cache, authorization, caller, self._cache_size)
        if scope not in caller.scopes:
            self._count("insufficient_scope")
            challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
            raise Problem(403, f"The token lacks the scope {scope}", headers={"WWW-Authenticate": challenge})
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
        if not self._watch.known.allows(claims.rev):
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


class Access:
    """Accounts, tokens, API keys, single sign-on and feedback of one worker.

    The constructor opens no connection, `start` does. It raises DatabaseUrlError for an unusable DATABASE_URL.
    """

    def __init__(self, settings: Settings, count: Count = lambda _: None) -> None:
        connections = max(1, settings.database_connections // settings.workers)
        self.database = Database(settings.database_url.get_secret_value(), connections)
        self.accounts = Accounts(self.database, Passwords(settings))
        self.tokens = Tokens(settings)
        self.count = count
        self.provider = IdentityProvider(settings, settings.oidc_issuer, count) if settings.oidc_issuer else None
        password = settings.admin_password.get_secret_value() if settings.admin_password else None
        prepare = partial(self.accounts.prepare, settings.admin_username, password)
        self.watch = Watch(self.database, prepare)
        self.callers = Callers(self.tokens, self.watch, self.provider, count, settings.token_cache_size)
        self.logins = Logins(settings, self.accounts, self.tokens, count)
        self.administration = Threads(count=1, waiting=8)
        # SQLite allows one writer at a time. A queue answers callers in order; waiting for its lock would not.
        self.feedback_writer = Threads(count=1, waiting=1024)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Migrate the database, add the first admin, and start to poll the database and the identity provider.

        If the database doesn't answer, the service starts anyway and the watch tries again. Raises AccountError
        if the first admin's name or password breaks a rule.
        """
        await self.watch.refresh()
        self._tasks = [asyncio.create_task(each.run()) for each in (self.watch, self.provider) if each]

    async def stop(self) -> None:
        """Stop the tasks and threads, after a last attempt to store which API keys were used."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(DatabaseDownError, TimeoutError, BusyError):
            await self.watch.record_use(self.administration)  # the watch may be in a query
        threads = (self.logins.threads, self.watch.threads, self.administration, self.feedback_writer)
        await asyncio.gather(*(each.close() for each in threads))
        self.database.close()


async def run_in_turn(threads: Threads, function: Callable[[], T], seconds: float) -> T:
    """Run a function that uses the users database. Raises Problem: 429 if the queue is full, 503 if it is down."""
    try:
        return await threads.run(function, seconds)
    except BusyError:
        raise Problem(429, "Too many requests are waiting; try again", headers={"Retry-After": "2"}) from None
    except (DatabaseDownError, TimeoutError) as error:
        _log.warning("the users database failed: %s", str(error) or type(error).__name__)  # not for the caller
        raise Problem(503, "The users database doesn't answer", headers={"Retry-After": "2"}) from None


async def authenticate(
    request: Request,
    scopes: SecurityScopes,
    _token: Annotated[str | None, Security(TOKEN)],
    _key: Annotated[str | None, Security(API_KEY)],
) -> None:
    """Store in `request.state` who sent the request. Raises Problem unless its credential has the scope."""
    headers = dict(request.scope["headers"])
    request.state.user = (await access_of(request).callers.authenticate(headers, *scopes.scopes)).name


def access_of(request: Request) -> Access:
    """Return the `Access` of the request's app."""
    access: Access = request.app.state.access
    return access
