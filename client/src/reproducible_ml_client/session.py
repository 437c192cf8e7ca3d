"""Send requests: sign in, renew tokens, try again after failures that pass."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import httpx

from reproducible_ml_client.errors import CredentialError, ServiceError, UnavailableError, error_of

LONGEST_WAIT = 60.0
"""Seconds. If the service asks for a longer pause, the request fails at once."""
_LONGEST_BACKOFF = 30.0
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_BROKEN_OFF = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)


class Credential(Protocol):
    """Gives the token that a request needs."""

    def token(self, session: "Session") -> str:
        """Return a valid token."""

    def renew(self, refused: str) -> bool:
        """Forget a token that the service refused; return whether another one can be had."""


class Fixed:
    """A token or API key that stays as it is."""

    def __init__(self, token: str) -> None:
        self._token = token

    def token(self, session: "Session") -> str:  # noqa: ARG002  # it needs no request
        """Return the token."""
        return self._token

    def renew(self, refused: str) -> bool:  # noqa: ARG002  # there is no other one
        """Return False."""
        return False


class Supplied:
    """Tokens of a function of yours, such as one that asks your identity provider; called again after a 401."""

    def __init__(self, supply: Callable[[], str]) -> None:
        self._supply = supply
        self._token = ""

    def token(self, session: "Session") -> str:  # noqa: ARG002  # the function makes its own requests
        """Return the last token, or ask for the first one."""
        self._token = self._token or self._supply()
        return self._token

    def renew(self, refused: str) -> bool:
        """Forget the token."""
        if self._token == refused:
            self._token = ""
        return True


class Password:
    """Tokens of POST /token, renewed a little before they expire, and after a 401."""

    def __init__(self, username: str, password: str) -> None:
        self._form = {"username": username, "password": password}
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def token(self, session: "Session") -> str:
        """Return a token that doesn't expire within the next moments."""
        with self._lock:
            if not self._token or time.monotonic() >= self._until:
                asked = time.monotonic()
                answer = session.send("POST", "/token", data=self._form, signed=False)
                self._token = str(answer["access_token"])
                seconds = float(answer["expires_in"])
                self._until = asked + seconds - min(30.0, seconds / 10)
            return self._token

    def renew(self, refused: str) -> bool:
        """Forget the token, unless another thread has renewed it."""
        with self._lock:
            if self._token == refused:
                self._token = ""
        return True


class Session:
    """Requests to one service with one credential; threads may share it."""

    def __init__(self, url: str, credential: Credential, http: httpx.Client, retries: int, backoff: float) -> None:
        self._url = url
        self._credential = credential
        self._http = http
        self._retries = retries
        self._backoff = backoff

    def send(self, method: str, path: str, *, signed: bool = True, **request: Any) -> Any:
        """Return the JSON of the answer. Raises ServiceError."""
        attempt, renewed = 0, False
        while True:
            token = self._credential.token(self) if signed else ""
            try:
                return self._send_once(method, path, token, request)
            except CredentialError as error:
                if not signed or renewed or error.status != httpx.codes.UNAUTHORIZED:
                    raise
                renewed = self._credential.renew(token)
                if not renewed:
                    raise
            except UnavailableError as error:
                pause = self._pause(attempt, error.retry_after)
                if pause is None:
                    raise
                attempt += 1
                time.sleep(pause)

    def _pause(self, attempt: int, asked: float | None) -> float | None:
        """Return how long to wait before the next attempt, or None if there should be none.

        Exponential backoff with full jitter, so that many clients don't come back at the same moment; not before the
        service's Retry-After.
        """
        if attempt >= self._retries or (asked or 0.0) > LONGEST_WAIT:
            return None
        jitter = random.uniform(0.0, min(_LONGEST_BACKOFF, self._backoff * 2**attempt))  # noqa: S311  # not secret
        return (asked or 0.0) + jitter

    def _send_once(self, method: str, path: str, token: str, request: Mapping[str, Any]) -> Any:
        headers = {**request.get("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        try:
            response = self._http.request(method, self._url + path, **{**request, "headers": headers})
        except (*_NOT_SENT, *_BROKEN_OFF) as error:
            raise UnavailableError(f"{self._url} doesn't answer: {str(error) or type(error).__name__}") from error
        except httpx.TimeoutException as error:
            raise ServiceError(f"{self._url} took too long; raise the client's timeout, or send fewer rows") from error
        if not response.is_success:
            raise error_of(response, _retry_after(response))
        try:
            return response.json()
        except ValueError:
            raise ServiceError(f"{response.url} answers something else than JSON; is it the service's URL?") from None


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds of Retry-After, which is a number or a date (RFC 9110)."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
