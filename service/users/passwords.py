"""Password hashes: Argon2id, with the operator's parameters."""

import logging
import secrets
import unicodedata
from base64 import b64encode
from typing import Final

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from service.settings import Settings

MAX_BYTES: Final = 1024
"""Longest password, in UTF-8 bytes; nobody types more, and hashing it would cost the server."""

_log = logging.getLogger(__name__)


class Passwords:
    """Hashes and verifies passwords.

    A verification against `decoy` costs as much as one against a user's hash, so that the time of an answer
    doesn't tell whether the user exists.
    """

    def __init__(self, settings: Settings) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=settings.argon2_time_cost,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
            type=argon2.Type.ID,
        )
        # Drawn, since to compute it would cost each start a hash. No password matches it.
        cost = f"m={settings.argon2_memory_kib},t={settings.argon2_time_cost},p={settings.argon2_parallelism}"
        self.decoy = f"$argon2id$v=19${cost}${_random(16)}${_random(32)}"

    def hash(self, password: str) -> str:
        """Hash a password; ValueError for one that `encode` refuses."""
        encoded = encode(password)
        if encoded is None:
            raise ValueError(f"a password has at most {MAX_BYTES} bytes of valid Unicode text")
        return self._hasher.hash(encoded)

    def verify(self, stored: str, password: str) -> bool:
        """Return whether the password matches the hash; a wrong one takes as long as a right one."""
        encoded = encode(password)
        try:
            self._hasher.verify(stored if encoded is not None else self.decoy, encoded or b"")
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError):
            _log.warning("a stored password hash cannot be read; set that user's password anew")
            return False
        return encoded is not None

    def is_outdated(self, stored: str) -> bool:
        """Return whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)


def encode(password: str) -> bytes | None:
    """Return the bytes to hash, or None for a password too long or not encodable.

    Keyboards compose accented letters differently; NFC makes them one, as RFC 8265 asks for passwords.
    """
    if len(password) > MAX_BYTES:
        return None
    try:
        encoded = unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        return None
    return encoded if len(encoded) <= MAX_BYTES else None


def _random(size: int) -> str:
    return b64encode(secrets.token_bytes(size)).decode().rstrip("=")
