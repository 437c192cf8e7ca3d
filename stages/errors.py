"""Errors for the user to read."""

from typing import ClassVar


class UserError(Exception):
    """A mistake in the user's input in one line: what is wrong, where, and what to do.

    Each argument is one mistake and gets its own line. Any other exception that a stage
    raises is a defect of this project and keeps its traceback.
    """

    status: ClassVar[int] = 1
    """The exit status of the process."""

    def __str__(self) -> str:
        """Return the lines."""
        return "\n".join(map(str, self.args))


class RefusedError(UserError):
    """A check refuses the model; the text names the check and how to override it."""

    status: ClassVar[int] = 3


class NotComparableError(Exception):
    """The champion and the candidate cannot be compared on these rows; the text says why."""
