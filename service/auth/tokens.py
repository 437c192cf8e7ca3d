"""Sign and verify our own access tokens: JSON web tokens, which need no database to verify."""

import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import msgspec
from joserfc import errors, jwt
from joserfc.jwk import KeySet, OctKey

from service.http.problems import Problem
from service.settings import Settings

ALGORITHM: Final = "HS256"
CLOCK_SKEW_SECONDS: Final = 10
"""How far the clocks of two machines that share a key may differ. It doesn't extend the lifetime of a token."""
SIGN_IN_SECONDS: Final = 600
"""How long a person may take to sign in at the identity provider."""
_SIGN_IN: Final = "sign-in"

Count = Callable[[str], None]
"""Counts one login or refused token, by its outcome."""


class Claims(msgspec.Struct):
    """The claims of a token, except issuer and audience."""

    sub: Annotated[str, msgspec.Meta(min_length=1)]
    scope: str
    iat: int | float
    exp: int | float
    jti: str
    rev: int | None = None
    """The user's revision when the token was issued; None after single sign-on."""
    idp: str | None = None
    """After single sign-on: the issuer URL of the identity provider."""


class TokenError(Problem):
    """A token is missing or not valid: 401 with the challenge of RFC 6750. `reason` is a label of the metric."""

    def __init__(self, reason: str, detail: str) -> None:
        challenge = "Bearer"
        if reason != "missing":
            challenge += f' error="invalid_token", error_description="{detail}"'
        super().__init__(401, detail, headers={"WWW-Authenticate": challenge})
        self.reason = reason


class Tokens:
    """Issues tokens signed with SECRET_KEY, and accepts tokens signed with it or with SECRET_KEY_PREVIOUS."""

    def __init__(self, settings: Settings) -> None:
        found = [each for each in (settings.secret_key, settings.secret_key_previous) if each is not None]
        self._keys = KeySet([_key(each.get_secret_value()) for each in found])
        self._lifetime = settings.token_lifetime_seconds
        self._named = {"iss": settings.token_issuer, "aud": settings.token_audience}
        self._sign_in = {"iss": settings.token_issuer, "aud": _SIGN_IN}

    def issue(
        self, name: str, scopes: Iterable[str], revision: int | None = None, provider: str | None = None
    ) -> tuple[str, int]:
        """Return a token and its lifetime in seconds.

        Pass the user's `revision`, or after single sign-on the issuer URL of the `provider`.
        """
        claims = {
            "sub": name,
            "scope": " ".join(sorted(scopes)),
            "jti": secrets.token_urlsafe(16),
            **({"rev": revision} if revision is not None else {"idp": provider}),
        }
        return self._sign({**self._named, **claims}, self._lifetime), self._lifetime

    def verify(self, token: str) -> Claims:
        """Return the claims of a token. Raises TokenError if it isn't valid."""
        with convert_errors("this service"):
            return msgspec.convert(self._decode(token, self._named), Claims)

    def seal(self, content: dict[str, Any]) -> str:
        """Sign the content of the cookie that the browser keeps while its user signs in at the identity provider."""
        return self._sign({**self._sign_in, **content}, SIGN_IN_SECONDS)

    def unseal(self, text: str) -> dict[str, Any]:
        """Return what `seal` signed. Raises TokenError if it is changed or too old."""
        with convert_errors("this service"):
            return self._decode(text, self._sign_in)

    def _decode(self, token: str, named: dict[str, str]) -> dict[str, Any]:
        claims = jwt.decode(token, self._keys, [ALGORITHM]).claims
        values: dict[str, Any] = {name: {"essential": True, "value": value} for name, value in named.items()}
        times: Any = {"exp": {"essential": True}, "iat": {"essential": True}}
        jwt.JWTClaimsRegistry(leeway=CLOCK_SKEW_SECONDS, **times, **values).validate(claims)
        return claims

    def _sign(self, claims: dict[str, Any], lifetime: int) -> str:
        now, key = int(time.time()), self._keys.keys[0]
        return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, {**claims, "iat": now, "exp": now + lifetime}, key)


@contextmanager
def convert_errors(signer: str) -> Iterator[None]:
    """Convert errors of joserfc and msgspec about a token to TokenError."""
    try:
        yield
    except errors.ExpiredTokenError:
        raise TokenError("expired", "The token is expired; ask for a new one") from None
    except errors.ClaimError as error:
        raise TokenError("claims", f"The token's claim {error.claim} is missing or not from {signer}") from None
    except msgspec.ValidationError:
        raise TokenError("claims", f"The token's claims aren't what {signer} issues") from None
    except (errors.BadSignatureError, errors.InvalidKeyIdError):
        raise TokenError("signature", f"The token wasn't signed by {signer}") from None
    except (errors.JoseError, ValueError, TypeError, RecursionError):
        raise TokenError("malformed", f"The token isn't a JSON web token of {signer}") from None


def _key(secret: str) -> OctKey:
    """Return the secret as a key. Its id in a token's header is the thumbprint (RFC 7638)."""
    return OctKey.import_key({"kty": "oct", "k": urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()})
