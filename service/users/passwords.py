"""Password hashes: Argon2id, its parameters chosen by the operator."""

import logging
import secrets
import unicodedata
from base64 import b64encode
from typing import Protocol

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

MAX_BYTES = 1024
"""Longest password, in UTF-8 bytes; nobody types more, and hashing it would cost the server."""

_log = logging.getLogger(__name__)


class Argon2Settings(Protocol):
    """The settings that hashing needs."""

    @property
    def argon2_time_cost(self) -> int:
        """Number of passes over the memory."""

    @property
    def argon2_memory_kib(self) -> int:
        """Memory of one hash, in KiB."""

    @property
    def argon2_parallelism(self) -> int:
        """Number of lanes, each a thread of its own while a hash is computed."""


class Passwords:
    """Hashes and verifies passwords.

    A verification against `decoy` costs what one of a real user costs, so that the time of an answer
    doesn't tell whether the user exists.
    """

    def __init__(self, settings: Argon2Settings) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=settings.argon2_time_cost,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
            type=argon2.Type.ID,
        )
        self.decoy = _unmatched(settings)

    def hash(self, password: str) -> str:
        """Hash a password; ValueError for one that `encode` refuses."""
        encoded = encode(password)
        if encoded is None:
            raise ValueError(f"a password has at most {MAX_BYTES} bytes of valid Unicode text")
        return self._hasher.hash(encoded)

    def verify(self, stored: str, password: str) -> bool:
        """Whether the password is the one that `stored` was made from; a wrong one takes as long as a right one."""
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
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)


def _unmatched(settings: Argon2Settings) -> str:
    """Give the text of a hash that no password has, drawn and not computed, which would cost each start a hash."""
    cost = f"m={settings.argon2_memory_kib},t={settings.argon2_time_cost},p={settings.argon2_parallelism}"
    salt, digest = (
        b64encode(secrets.token_bytes(size)).decode().rstrip("=")
        for size in (argon2.DEFAULT_RANDOM_SALT_LENGTH, argon2.DEFAULT_HASH_LENGTH)
    )
    return f"$argon2id$v=19${cost}${salt}${digest}"


def encode(password: str) -> bytes | None:
    """Give the bytes that are hashed, or None for a password too long or not encodable.

    Keyboards compose accented letters differently; NFC makes them one, as RFC 8265 asks for passwords.
    """
    if len(password) > MAX_BYTES:
        return None
    try:
        encoded = unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        return None
    return encoded if len(encoded) <= MAX_BYTES else None
