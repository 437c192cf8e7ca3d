"""The errors that a user is meant to read."""

from typing import ClassVar


class UserError(Exception):
    """A mistake in the user's input, told in one line: what is wrong, where, and what to do.

    With several arguments it is several mistakes, each in a line of its own. Anything else that
    escapes a stage is a defect of this project and keeps its traceback.
    """

    status: ClassVar[int] = 1
    """The exit status of the process."""

    def __str__(self) -> str:
        """Return the lines."""
        return "\n".join(map(str, self.args))


class RefusedError(UserError):
    """Nothing is wrong, but a check refuses the model: says which one, and how to override it."""

    status: ClassVar[int] = 3


class NotComparableError(Exception):
    """The champion cannot be compared with the candidate on these rows; the text says why."""
