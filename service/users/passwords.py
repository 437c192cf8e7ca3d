"""Hash and verify passwords with Argon2id and the parameters in the settings."""

import logging
import secrets

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from service.settings import Settings
from service.users.rules import AccountError, encode

_log = logging.getLogger(__name__)


class Passwords:
    """Hashes and verifies passwords.

    For an unknown user, verify against `decoy`: it takes as long as a user's hash, so the response time doesn't
    show whether the user exists.
    """

    def __init__(self, settings: Settings) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=settings.argon2_time_cost,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
            type=argon2.Type.ID,
        )
        self.decoy = self._hasher.hash(secrets.token_bytes(32))

    def hash(self, password: str) -> str:
        """Return the hash of a password. Raises AccountError if it is too long or not valid Unicode."""
        return self._hasher.hash(encode(password))

    def verify(self, stored: str, password: str) -> bool:
        """Return whether the password matches the hash; a wrong one takes as long as a right one."""
        try:
            return self._hasher.verify(stored, encode(password))
        except VerifyMismatchError:
            return False
        except AccountError:  # too long or not valid Unicode, so nobody has it
            return self.verify(self.decoy, "")
        except (InvalidHashError, VerificationError):
            _log.warning("a stored password hash cannot be read; set a new password for that user")
            return False

    def is_outdated(self, stored: str) -> bool:
        """Return whether a hash was made with other parameters than those in the settings."""
        return self._hasher.check_needs_rehash(stored)
