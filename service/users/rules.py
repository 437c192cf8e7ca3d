"""Rules for names, passwords and scopes, the same for the command line and the API."""

import unicodedata
from typing import Final

SCOPES: Final = ("predict", "admin")
MAX_NAME: Final = 64
"""Longest name of a user or key, in characters."""
MAX_BYTES: Final = 1024
"""Longest password, in UTF-8 bytes; nobody types more, and hashing a longer one would take too long."""
MIN_PASSWORD: Final = 8
"""Shortest password, in characters: NIST SP 800-63B's minimum."""


class AccountError(ValueError):
    """The request breaks a rule. The message is one line with the rule and what to do."""


class UnknownUserError(AccountError):
    """No user has that name."""


class UserExistsError(AccountError):
    """A user already has that name."""


class LastAdminError(AccountError):
    """The user is the last admin who isn't disabled."""


def normalise(username: str) -> str:
    """Return the name as it is stored: in NFKC, case folded. Raises AccountError if it breaks a rule."""
    name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username[: 4 * MAX_NAME]).casefold())
    if not name or len(username) > 4 * MAX_NAME or len(name) > MAX_NAME:
        length = max(len(username), len(name))  # folding turns one ß into two letters
        raise AccountError(f"a user name has 1 to {MAX_NAME} characters, not {length}")
    if not name.isprintable() or any(character.isspace() for character in name):
        raise AccountError("a user name has no spaces, control or invisible characters")
    return name


def lookup_name(username: str) -> str:
    """Return the name to look up: as `normalise`, or empty for a name against the rules, which no user can have."""
    try:
        return normalise(username)
    except AccountError:
        return ""


def check_password(password: str, username: str) -> None:
    """Raise AccountError for a password against the rules; `username` is normalised."""
    if len(password) < MIN_PASSWORD:
        raise AccountError(f"a password has at least {MIN_PASSWORD} characters, not {len(password)}")
    encode(password)
    if password.casefold() == username or len(set(password)) == 1:
        raise AccountError("a password is neither the user name nor one repeated character")


def encode(password: str) -> bytes:
    """Return the bytes to hash. Raises AccountError for a password that is too long or not valid Unicode.

    Keyboards encode accented letters differently; NFC makes them equal, as RFC 8265 requires for passwords.
    """
    try:
        encoded = unicodedata.normalize("NFC", password[: MAX_BYTES + 1]).encode()
    except UnicodeEncodeError:
        encoded = None
    if encoded is None or max(len(password), len(encoded)) > MAX_BYTES:
        raise AccountError(f"a password has at most {MAX_BYTES} bytes of valid Unicode text")
    return encoded
