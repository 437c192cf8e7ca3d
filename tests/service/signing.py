"""Tokens as callers send them: the service's own, and such as others would sign."""

import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from service.auth.tokens import Tokens
from service.http.problems import Problem

SECRET = "a-secret-for-tests-of-32-bytes-or-more"


def bearer(token: str) -> bytes:
    return b"Bearer " + token.encode()


def signed(header: dict[str, Any] | None = None, secret: str = SECRET, **changes: Any) -> bytes:
    """Sign claims like the service's own, but for the changes; None takes a claim out."""
    now = int(time.time())
    claims = {
        "iss": "reproducible-ml",
        "aud": "reproducible-ml",
        "sub": "anna",
        "scope": "predict",
        "iat": now,
        "exp": now + 60,
        "jti": "a",
        "rev": 5,
    } | changes
    key = OctKey.import_key(secret)
    kept = {name: value for name, value in claims.items() if value is not None}
    head = {"alg": "HS256", "kid": key.thumbprint()} | (header or {})
    return bearer(jwt.encode(head, kept, key, algorithms=["HS256", "HS512"]))


def refused(tokens: Tokens, authorization: bytes | None, scope: str = "predict") -> Problem:
    with pytest.raises(Problem) as caught:
        tokens.authenticate(authorization, scope)
    return caught.value
