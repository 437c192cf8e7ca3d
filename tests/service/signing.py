"""Tokens as callers send them; signed with PyJWT, not with the library that checks them."""

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import jwt
import pytest

from service.auth.access import Access, Caller
from service.http.problems import Problem

SECRET = "a-secret-for-tests-of-32-bytes-or-more"


def bearer(token: str) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + token.encode()}


def thumbprint(secret: str = SECRET) -> str:
    key = json.dumps({"k": encoded(secret.encode()), "kty": "oct"}, separators=(",", ":"))
    return encoded(sha256(key.encode()).digest())


def encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def signed(header: dict[str, Any] | None = None, secret: str = SECRET, **changes: Any) -> dict[bytes, bytes]:
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
    head = {"alg": "HS256", "kid": thumbprint(secret)} | (header or {})
    content = [json.dumps(each).encode() for each in (head, {k: v for k, v in claims.items() if v is not None})]
    signing = ".".join(map(encoded, content)).encode()
    algorithm = jwt.get_algorithm_by_name(head["alg"])
    return bearer((signing + b"." + encoded(algorithm.sign(signing, secret.encode())).encode()).decode())


def authenticated(access: Access, headers: dict[bytes, bytes], scope: str = "predict") -> Caller:
    return asyncio.run(access.callers.authenticate(headers, scope))


def refused(access: Access, headers: dict[bytes, bytes], scope: str = "predict") -> Problem:
    with pytest.raises(Problem) as caught:
        authenticated(access, headers, scope)
    return caught.value
