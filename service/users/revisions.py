"""The users' revisions, as each worker asks for them at its start and every two seconds."""

from service.users.bare_reader import open_reader
from service.users.database_url import DatabaseDownError, PostgresqlServer, SqliteFile
from service.users.migrations import NEWEST

_VERSION = "SELECT version_num FROM alembic_version"
_SOME_USER = "SELECT 1 FROM users LIMIT 1"
_NEWEST = "SELECT value FROM revision"
# SQLite writes nothing where a value stays the same.
_WRITE = "UPDATE revision SET value = value + 1 RETURNING value"
_WRITE_FEEDBACK = """INSERT INTO feedback (id, version, predicted, actual, predicted_at, received_at)
    VALUES ('write check', '', '', '', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP) RETURNING id"""
_CURRENT = "SELECT username, revision FROM users WHERE NOT disabled"


class UserRevisions:
    """Reads revisions from the users database.

    Every method may wait for it, so none belongs on the event loop; one thread at a time may ask.
    """

    def __init__(self, location: SqliteFile | PostgresqlServer) -> None:
        self._reader = open_reader(location)

    def are_ready(self) -> bool:
        """Tell whether there is neither anything to migrate nor a first admin to add."""
        try:
            with self._reader.asking() as ask:
                return ask(_VERSION) == [(NEWEST,)] and bool(ask(_SOME_USER))
        except DatabaseDownError:  # whoever prepares it will meet the reason again, and tell it
            return False

    def changes(self, since: int) -> tuple[int, dict[str, int]] | None:
        """Give the newest revision and that of each user who isn't disabled; None if it is still `since`.

        Raises DatabaseDownError.
        """
        with self._reader.asking() as ask:
            newest = next((value for (value,) in ask(_NEWEST)), None)
            ask(_SOME_USER)  # a table that is gone is told now, not at the next login
            return None if newest in {None, since} else (newest, dict(ask(_CURRENT)))

    def check_writes(self) -> None:
        """Write to both tables that change and roll back.

        Raises DatabaseDownError if that fails: the disk is full or read-only, or a table is missing.
        """
        with self._reader.asking() as ask:
            ask(_WRITE)
            ask(_WRITE_FEEDBACK)

    def close(self) -> None:
        """Close the connection, if one stands open."""
        self._reader.close()
