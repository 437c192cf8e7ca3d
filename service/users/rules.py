"""What a user is and which names, passwords and scopes are taken: the rules, wherever users come from."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from service.users.passwords import encode

SCOPES = ("predict", "admin")
MAX_NAME = 64
"""Longest user name, in characters."""
MIN_PASSWORD = 8
"""Shortest password, in characters: NIST SP 800-63B's floor."""


class AccountError(ValueError):
    """What was asked breaks a rule; one line that says which and what to do."""


class UnknownUserError(AccountError):
    """There is no user of that name."""


class UserExistsError(AccountError):
    """There is a user of that name already."""


class LastAdminError(AccountError):
    """Without this user nobody could administer the others."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the world may see one: no password, no hash.

    `revision` is the one that tokens given now must carry.
    """

    username: str
    scopes: frozenset[str]
    disabled: bool
    created_at: datetime
    revision: int


def normalise(username: str) -> str:
    """Give the one spelling of a user name: NFKC, case folded; AccountError for one that can't be."""
    name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username[: 4 * MAX_NAME]).casefold())
    if not name or len(username) > 4 * MAX_NAME or len(name) > MAX_NAME:
        many = max(len(username), len(name))  # folding makes two of an ß
        raise AccountError(f"a user name has 1 to {MAX_NAME} characters, not {many}")
    if not name.isprintable() or any(character.isspace() for character in name):
        raise AccountError("a user name has no spaces, control or invisible characters")
    return name


def check_password(password: str, username: str) -> None:
    """Raise AccountError for a password against the rules."""
    if len(password) < MIN_PASSWORD:
        raise AccountError(f"a password has at least {MIN_PASSWORD} characters, not {len(password)}")
    if encode(password) is None:
        raise AccountError("a password has at most 1024 bytes of valid Unicode text")
    if password.casefold() == username or len(set(password)) == 1:
        raise AccountError("a password is neither the user name nor one character over and over")


def check_scopes(scopes: Iterable[str]) -> list[str]:
    """Give the scopes in their order, each once; AccountError for an unknown one or none."""
    asked = set(scopes)
    if not asked or not asked.issubset(SCOPES):
        raise AccountError(f"scopes are {' and '.join(SCOPES)}, not {' '.join(sorted(asked)) or 'none'}")
    return [scope for scope in SCOPES if scope in asked]


def lookup_name(username: str) -> str:
    """Give the spelling to look up; a name that cannot be becomes the empty one, which is no user's."""
    try:
        return normalise(username)
    except AccountError:
        return ""
