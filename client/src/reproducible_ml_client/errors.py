"""What the service refuses (RFC 9457), as exceptions."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import httpx
import numpy as np
import pandas as pd

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong value."""

    expected: str
    got: str
    instance: int | None = None
    """Position of the row in what you sent, from 0."""
    field: str | None = None
    label: Hashable = None
    """The row's label in the index of your DataFrame."""

    def __str__(self) -> str:
        row = None if self.instance is None else f"row {self.instance}"
        if row and self.label is not None and self.label != self.instance:
            row += f" (index {self.label!r})"
        where = ", ".join(filter(None, [row, self.field]))
        return f"{where}: expected {self.expected}, got {self.got}".removeprefix(": ")


class ServiceError(Exception):
    """The service refused a request. The attributes are those of its answer.

    Attributes
    ----------
    status : int or None
        HTTP status; None if there was no answer.
    title, detail : str
        What is wrong, in general and here.
    errors : tuple of FieldError
        The wrong values; the service shows the first 20 of a request.
    error_count : int
        How many there are.
    request_id : str or None
        Find the request in the service's log by this id.
    retry_after : float or None
        Seconds after which the service asks you to try again.
    """

    def __init__(  # noqa: PLR0913  # the members of a problem document
        self,
        detail: str,
        *,
        status: int | None = None,
        title: str = "",
        errors: tuple[FieldError, ...] = (),
        error_count: int = 0,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.detail = detail
        self.status = status
        self.title = title
        self.errors = errors
        self.error_count = error_count or len(errors)
        self.request_id = request_id
        self.retry_after = retry_after
        super().__init__(detail)

    def __str__(self) -> str:
        lines = [f"{self.status}: {self.detail}" if self.status else self.detail, *map(str, self.errors[:_SHOWN])]
        more = self.error_count - _SHOWN
        return "\n  ".join([*lines, f"and {more:,} more"] if more > 0 else lines)

    def locate(self, start: int, index: pd.Index) -> None:
        """Number the rows as in the whole table, of which the request had those from `start` on."""
        self.errors = tuple(
            each
            if each.instance is None
            else replace(each, instance=start + each.instance, label=_plain(index[start + each.instance]))
            for each in self.errors
        )


def _plain(label: Hashable) -> Hashable:
    """Return a label without its NumPy type, which messages would show."""
    return label.item() if isinstance(label, np.generic) else label


class CredentialError(ServiceError):
    """The credential is missing, wrong or expired (401), or it lacks the scope (403)."""


class InvalidError(ServiceError):
    """Values break the model's contract (422); `errors` says which."""


class TooLargeError(ServiceError):
    """A single row is too large for the service (413)."""


class UnavailableError(ServiceError):
    """The service doesn't answer, or had no time for this request (429, 502, 503) at each attempt."""


_KINDS: dict[int, type[ServiceError]] = {
    401: CredentialError,
    403: CredentialError,
    413: TooLargeError,
    422: InvalidError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
}


def error_of(response: httpx.Response, retry_after: float | None) -> ServiceError:
    """Return the exception for a response with an error; a proxy's page needn't be a problem document."""
    document = _read(response)
    kind = _KINDS.get(response.status_code, ServiceError)
    return kind(
        str(document.get("detail") or f"{response.reason_phrase} from {response.url}"),
        status=response.status_code,
        title=str(document.get("title") or response.reason_phrase),
        errors=tuple(
            FieldError(each["expected"], each["got"], each.get("instance"), each.get("field"))
            for each in document.get("errors", ())
        ),
        error_count=int(document.get("error_count", 0)),
        request_id=response.headers.get("X-Request-ID"),
        retry_after=retry_after,
    )


def _read(response: httpx.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
