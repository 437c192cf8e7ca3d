"""Access tokens: JSON web tokens, signed here and checked without the database."""

import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import jwt

from service.auth.revocations import Revocations
from service.http.problems import Problem
from service.settings import Settings, SettingsError

ALGORITHM: Final = "HS256"
MAX_BYTES: Final = 4096
"""Longest Authorization header; ours are about 400 bytes."""
MAX_REMEMBERED: Final = 4096
"""Verified tokens that are remembered, about 1 KiB each."""
CLOCK_SKEW_SECONDS: Final = 10
"""How far the clocks of two machines that share a key may be apart. None of it is added to a token's life."""

_LAST_SECOND: Final = 2**40
_CLAIMS: Final = ("iss", "aud", "exp", "iat", "jti", "sub", "scope", "rev")
_WRONG_CLAIMS: Final = {
    jwt.InvalidIssuerError: "iss",
    jwt.InvalidAudienceError: "aud",
    jwt.InvalidIssuedAtError: "iat",
    jwt.ImmatureSignatureError: "iat",
    jwt.exceptions.InvalidJTIError: "jti",
    jwt.exceptions.InvalidSubjectError: "sub",
}

Count = Callable[[str], None]
"""Is told what became of a login or of a token that was refused."""


def count_nothing(outcome: str) -> None:
    """Stand in where nobody counts."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a verified token speaks for, and how long."""

    username: str
    scopes: frozenset[str]
    revision: int
    issued: float
    expiry: float
    """Seconds since 1970."""
    deadline: float
    """The end by the monotonic clock, in seconds."""

    def counts(self) -> bool:
        """Tell whether the token counts now, by the clock and by the time that passed since it was verified."""
        earliest = self.issued - CLOCK_SKEW_SECONDS
        return earliest <= time.time() < self.expiry and time.monotonic() < self.deadline


class Tokens:
    """Gives tokens and checks them.

    A verified token is remembered until it expires or is revoked; checking it again is one look-up. The
    remembered ones go by two clocks. One that is set back prolongs none of them, and one that is set either
    way ends them in each worker alike, whether it has seen them or not.
    Making one raises SettingsError for a secret that PyJWT takes for a key of another kind.
    """

    def __init__(self, settings: Settings, revocations: Revocations, count: Count = count_nothing) -> None:
        secret, previous = settings.secret_key.get_secret_value(), settings.secret_key_previous
        old = [previous.get_secret_value()] if previous else []
        self._secret, self._kid = secret, thumbprint(secret)
        self._secrets = {thumbprint(each): each for each in [*old, secret]}
        _check_kind("SECRET_KEY", secret)
        for each in old:
            _check_kind("SECRET_KEY_PREVIOUS", each)
        self._lifetime = settings.token_lifetime_seconds
        self._issuer, self._audience = settings.token_issuer, settings.token_audience
        self._revocations = revocations
        self._count = count
        self._remembered: dict[bytes | None, Principal] = {}
        revocations.on_update(self._forget)

    def issue(self, username: str, scopes: Iterable[str], revision: int | None = None) -> tuple[str, int]:
        """Give a token and its life in seconds.

        `revision` is the user's, as the database has it. Without one the token counts until the next change
        of any user.
        """
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": username,
            "scope": " ".join(sorted(scopes)),
            "iat": now,
            "exp": now + self._lifetime,
            "jti": secrets.token_urlsafe(16),
            "rev": self._revocations.newest + 1 if revision is None else revision,
        }
        return jwt.encode(claims, self._secret, ALGORITHM, {"kid": self._kid}), self._lifetime

    def authenticate(self, authorization: bytes | None, scope: str) -> Principal:
        """Give who sent this Authorization header, if their token has the scope.

        Neither waits nor reads anything. Raises Problem: 401 for no token or one that doesn't count, 403 for
        one without the scope, 503 before the database was read for the first time.
        """
        principal = self._remembered.get(authorization)
        if principal is not None and scope in principal.scopes and principal.counts():
            return principal
        return self._verify(authorization, scope)

    def _verify(self, authorization: bytes | None, scope: str) -> Principal:
        if authorization is None:
            raise self._refusal("missing", "Send the header `Authorization: Bearer TOKEN` with a token of POST /token")
        if not self._revocations.known:
            self._count("unready")
            detail = "The users database hasn't answered since the start"
            raise Problem(503, detail, headers={"Retry-After": "2"})
        principal = self._principal(self._decode(self._text(authorization)))
        if not self._revocations.allow(principal.username, principal.revision):
            raise self._refusal("revoked", "The token was revoked; ask for a new one")
        self._remember(authorization, principal)
        if scope not in principal.scopes:
            self._count("insufficient_scope")
            challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
            raise Problem(403, f"The token lacks the scope {scope}", headers={"WWW-Authenticate": challenge})
        return principal

    def _text(self, authorization: bytes) -> bytes:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not token or b" " in token:
            raise self._refusal("malformed", "The Authorization header isn't of the form `Bearer TOKEN`")
        if len(authorization) > MAX_BYTES:
            raise self._refusal("malformed", f"The token is longer than {MAX_BYTES} bytes")
        return token

    def _decode(self, token: bytes) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._find_secret(token),
                algorithms=[ALGORITHM],
                options={"require": list(_CLAIMS)},
                issuer=self._issuer,
                audience=self._audience,
                leeway=CLOCK_SKEW_SECONDS,
            )
        except jwt.ExpiredSignatureError:
            raise self._refusal("expired", "The token is expired; ask for a new one") from None
        except jwt.MissingRequiredClaimError as error:
            raise self._refusal("claims", f"The token lacks the claim {error.claim}") from None
        except tuple(_WRONG_CLAIMS) as error:
            detail = f"The token's claim {_WRONG_CLAIMS[type(error)]} isn't what this service gives"
            raise self._refusal("claims", detail) from None
        except jwt.InvalidSignatureError:
            raise self._refusal("signature", "The token wasn't signed by this service") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise self._refusal("malformed", "The token is no JSON web token of this service") from None
        return claims

    def _find_secret(self, token: bytes) -> str:
        secret = self._secrets.get(jwt.get_unverified_header(token).get("kid", ""))
        if secret is None:
            raise jwt.InvalidSignatureError
        return secret

    def _principal(self, claims: dict[str, Any]) -> Principal:
        scope, revision, issued, expiry = (claims[name] for name in ("scope", "rev", "iat", "exp"))
        # PyJWT takes texts of digits for moments.
        are_moments = isinstance(issued, int | float) and isinstance(expiry, int | float)
        well_typed = isinstance(scope, str) and type(revision) is int and are_moments
        if not well_typed or expiry > _LAST_SECOND:
            raise self._refusal("claims", "The token's claims aren't what this service gives")
        left = expiry - time.time()
        if left <= 0:
            raise self._refusal("expired", "The token is expired; ask for a new one")
        deadline = time.monotonic() + left
        return Principal(claims["sub"], frozenset(scope.split()), revision, issued, expiry, deadline)

    def _remember(self, authorization: bytes, principal: Principal) -> None:
        self._remembered.pop(authorization, None)
        while len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[authorization] = principal

    def _forget(self) -> None:
        """Drop the tokens that were revoked, and those that expired."""
        allow = self._revocations.allow
        self._remembered = {
            token: principal
            for token, principal in self._remembered.items()
            if principal.counts() and allow(principal.username, principal.revision)
        }

    def _refusal(self, reason: str, detail: str) -> Problem:
        self._count(f"token_{reason}")
        challenge = "Bearer" if reason == "missing" else f'Bearer error="invalid_token", error_description="{detail}"'
        return Problem(401, detail, headers={"WWW-Authenticate": challenge})


def _check_kind(name: str, secret: str) -> None:
    try:
        jwt.encode({}, secret, ALGORITHM)
    except jwt.InvalidKeyError:
        hint = "draw one with `openssl rand -hex 32`"
        raise SettingsError(f"{name} is a key in PEM, SSH's or JSON's form, not random text; {hint}") from None


def thumbprint(secret: str) -> str:
    """Name a secret by its thumbprint (RFC 7638), so that a token says which one signed it."""
    key = {"k": _base64(secret.encode()), "kty": "oct"}
    return _base64(sha256(json.dumps(key, separators=(",", ":")).encode()).digest())


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
