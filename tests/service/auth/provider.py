"""An identity provider on loopback, made of authlib's server side, whose keys and answers a test may change."""

import base64
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import jwt
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import AuthorizationCodeMixin, UserInfo
from authlib.oidc.core.grants import OpenIDCode
from flask import Flask, jsonify, request
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server

CLIENT = {"client_id": "predictions", "secret": "a secret of the client"}


class _Client:
    client_id = CLIENT["client_id"]

    def __init__(self, redirect_uri: str) -> None:
        self._redirect_uri = redirect_uri

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return self._redirect_uri

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, uri: str) -> bool:
        return uri == self._redirect_uri

    def check_client_secret(self, secret: str) -> bool:
        return secret == CLIENT["secret"]

    def check_endpoint_auth_method(self, method: str, _: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, kind: str) -> bool:
        return kind == "code"

    def check_grant_type(self, kind: str) -> bool:
        return kind == "authorization_code"


class _Code(SimpleNamespace, AuthorizationCodeMixin):  # type: ignore[misc]  # authlib has no types
    """A code, with the fields that the grant stores."""

    def get_redirect_uri(self) -> str:
        return str(self.redirect_uri)

    def get_scope(self) -> str:
        return str(self.scope)

    def get_nonce(self) -> str:
        return str(self.nonce)

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class Provider:
    """A provider with one client and one person, who always agrees.

    `claims` are the person's; `changes` are made to each ID token before it is signed.
    """

    def __init__(self, redirect_uri: str = "http://test/callback") -> None:
        self.redirect_uri = redirect_uri
        self.claims: dict[str, Any] = {"sub": "24400320", "preferred_username": "anna", "groups": ["staff"]}
        self.changes: dict[str, Any] = {}
        self.algorithm: str | None = None
        """Signs ID tokens with this algorithm, and the public key if it needs a secret; None for RS256."""
        self.fetches = 0
        """How often the keys were fetched."""
        self.rotate()
        self._server = make_server("127.0.0.1", 0, _app(self), threaded=True)
        self.port = self._server.server_port
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])
        self._thread.start()

    def rotate(self) -> None:
        """Sign with a new key from now on, and publish that alone."""
        self.key = RSAKey.generate_key(2048, auto_kid=True)

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def sign(self, header: dict[str, Any] | None = None, key: Any = None, **changes: Any) -> str:
        """Sign an access token of a program, but for the changes, with PyJWT; None takes a claim out."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT["client_id"],
            "sub": "robot",
            "iat": now,
            "exp": now + 300,
            "groups": ["staff"],
        } | changes
        head = {"alg": "RS256", "kid": self.key.kid} | (header or {})
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(kept, self.key.as_pem(private=True) if key is None else key, head["alg"], head)


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class _OpenIDCode(OpenIDCode):  # type: ignore[misc]  # authlib has no types
    provider: Provider

    def exists_nonce(self, *_: Any) -> bool:
        return False

    def resolve_client_private_key(self, _: Any) -> RSAKey:
        return self.provider.key

    def get_client_claims(self, _: Any) -> dict[str, Any]:
        return {"iss": self.provider.issuer}

    def encode_id_token(self, token: Any, asked: Any) -> str:
        encoded: str = super().encode_id_token(token, asked)
        if self.provider.algorithm is None:
            return encoded
        head = json.dumps({"alg": self.provider.algorithm, "kid": self.provider.key.kid}).encode()
        signing = f"{base64url(head)}.{encoded.split('.')[1]}"
        algorithm = jwt.get_algorithm_by_name(self.provider.algorithm)
        public = self.provider.key.as_pem(private=False) if self.provider.algorithm != "none" else None
        return f"{signing}.{base64url(algorithm.sign(signing.encode(), public))}"

    def generate_user_info(self, *_: Any) -> UserInfo:
        return UserInfo(**self.provider.claims | self.provider.changes)


def _app(provider: Provider) -> Flask:
    app, codes = Flask("provider"), dict[str, _Code]()
    person = SimpleNamespace(get_user_id=lambda: "24400320")

    class Grant(grants.AuthorizationCodeGrant):  # type: ignore[misc]  # authlib has no types
        def save_authorization_code(self, code: str, asked: Any) -> None:
            names = ("code_challenge", "code_challenge_method", "nonce", "redirect_uri", "scope")
            codes[code] = _Code(code=code, **{name: asked.payload.data.get(name) for name in names})

        def query_authorization_code(self, code: str, _: Any) -> _Code | None:
            return codes.get(code)

        def delete_authorization_code(self, code: _Code) -> None:
            del codes[code.code]

        def authenticate_user(self, _: Any) -> Any:
            return person

    server = AuthorizationServer(app, lambda _: _Client(provider.redirect_uri), lambda *_: None)
    extension = _OpenIDCode(require_nonce=True)
    extension.provider = provider
    server.register_grant(Grant, [CodeChallenge(required=True), extension])

    @app.get("/.well-known/openid-configuration")
    def discovery() -> Any:
        paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        addresses = {name: f"{request.host_url}{path}" for name, path in paths.items()}
        supported = {
            "scopes_supported": ["openid", "groups"],
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        }
        return jsonify({"issuer": provider.issuer, **supported, **addresses})

    @app.get("/keys")
    def keys() -> Any:
        provider.fetches += 1
        return jsonify(KeySet([provider.key]).as_dict(private=False))

    @app.get("/authorize")
    def authorize() -> Any:
        return server.create_authorization_response(grant_user=person, grant=server.get_consent_grant(person))

    @app.post("/token")
    def token() -> Any:
        return server.create_token_response()

    return app


@contextmanager
def providing() -> Iterator[Provider]:
    """Return a running provider."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    provider = Provider()
    try:
        yield provider
    finally:
        provider.stop()
