"""The errors that a user is meant to read."""


class UserError(Exception):
    """A mistake in the user's input, told in one line: what is wrong, where, and what to do.

    Anything else that escapes a stage is a defect of this project and keeps its traceback.
    """


class NotComparableError(Exception):
    """The champion cannot be compared with the candidate on these rows; the text says why."""
