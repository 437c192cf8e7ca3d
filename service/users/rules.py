"""Rules for names, passwords and scopes, the same for the command line and the API."""

import unicodedata
from collections.abc import Iterable
from typing import Final

SCOPES: Final = ("predict", "admin")
MAX_NAME: Final = 64
"""Longest name of a user or key, in characters."""
MAX_BYTES: Final = 1024
"""Longest password, in UTF-8 bytes; nobody types more, and hashing it would cost the server."""
MIN_PASSWORD: Final = 8
"""Shortest password, in characters: NIST SP 800-63B's minimum."""


class AccountError(ValueError):
    """The request breaks a rule; one line that says which and what to do."""


class UnknownUserError(AccountError):
    """There is no user of that name."""


class UserExistsError(AccountError):
    """There is a user of that name already."""


class LastAdminError(AccountError):
    """Without this user nobody could administer the others."""


def normalise(username: str) -> str:
    """Return the one spelling of a name: NFKC, case folded; AccountError for an impossible one."""
    name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username[: 4 * MAX_NAME]).casefold())
    if not name or len(username) > 4 * MAX_NAME or len(name) > MAX_NAME:
        length = max(len(username), len(name))  # folding turns one ß into two letters
        raise AccountError(f"a user name has 1 to {MAX_NAME} characters, not {length}")
    if not name.isprintable() or any(character.isspace() for character in name):
        raise AccountError("a user name has no spaces, control or invisible characters")
    return name


def lookup_name(username: str) -> str:
    """Return the spelling to look up; an impossible name becomes the empty one, which no user has."""
    try:
        return normalise(username)
    except AccountError:
        return ""


def check_password(password: str, username: str) -> None:
    """Raise AccountError for a password against the rules."""
    if len(password) < MIN_PASSWORD:
        raise AccountError(f"a password has at least {MIN_PASSWORD} characters, not {len(password)}")
    encode(password)
    if password.casefold() == username or len(set(password)) == 1:
        raise AccountError("a password is neither the user name nor one repeated character")


def encode(password: str) -> bytes:
    """Return the bytes to hash. Raises AccountError for a password that is too long or not encodable.

    Keyboards compose accented letters differently; NFC makes them one, as RFC 8265 asks for passwords.
    """
    try:
        encoded = unicodedata.normalize("NFC", password[: MAX_BYTES + 1]).encode()
    except UnicodeEncodeError:
        encoded = None
    if encoded is None or max(len(password), len(encoded)) > MAX_BYTES:
        raise AccountError(f"a password has at most {MAX_BYTES} bytes of valid Unicode text")
    return encoded


def check_scopes(scopes: Iterable[str]) -> str:
    """Return the scopes as they are stored, each once; AccountError for an unknown one or none."""
    asked = set(scopes)
    if not asked or not asked.issubset(SCOPES):
        raise AccountError(f"scopes are {' and '.join(SCOPES)}, not {' '.join(sorted(asked)) or 'none'}")
    return " ".join(scope for scope in SCOPES if scope in asked)
