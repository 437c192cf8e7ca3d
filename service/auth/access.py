"""Who may do what: the users database, the logins, the tokens and the watch over them, put together."""

import asyncio
import contextlib
import logging
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from service.auth.logins import Logins
from service.auth.revocations import Revocations, Watch
from service.auth.tokens import Count, Tokens, count_nothing
from service.settings import Settings
from service.threads import Threads
from service.users import database_url
from service.users.credentials import Credentials
from service.users.passwords import Passwords
from service.users.revisions import UserRevisions
from service.users.rules import AccountError

if TYPE_CHECKING:
    from starlette.requests import Request

    from service.feedback.store import FeedbackStore
    from service.users.accounts import Accounts
    from service.users.database import Database

_log = logging.getLogger(__name__)


class Access:
    """Everything about users in one worker.

    Making one opens no connection; `start` does. Raises DatabaseUrlError for a DATABASE_URL that can't be used.
    """

    def __init__(self, settings: Settings, count: Count = count_nothing) -> None:
        self._settings = settings
        self._passwords = Passwords(settings)
        self._url = settings.database_url.get_secret_value()
        self._database: Database | None = None
        self._making = Lock()
        location = database_url.parse(self._url)
        self.revisions = UserRevisions(location)
        self.revocations = Revocations()
        self.tokens = Tokens(settings, self.revocations, count)
        self.logins = Logins(settings, Credentials(location, self._passwords, self._renew), self.tokens, count)
        self.administration = Threads("admin", count=1, waiting=8)
        # SQLite takes one writer at a time: callers wait here, in turn, rather than for its lock, by chance.
        self.feedback_writer = Threads("feedback", count=1, waiting=1024)
        self.watch = Watch(self.revisions, self.revocations, self._prepare)
        self._watching: asyncio.Task[None] | None = None

    @property
    def database(self) -> "Database":
        """The users database, reached by SQLAlchemy, which is imported now if it wasn't."""
        from service.users.database import Database  # noqa: PLC0415  # most workers never need it (service.users.bare_reader)

        with self._making:
            if self._database is None:
                self._database = Database(self._url)
            return self._database

    @cached_property
    def accounts(self) -> "Accounts":
        """The users."""
        from service.users.accounts import Accounts  # noqa: PLC0415

        return Accounts(self.database, self._passwords)

    @cached_property
    def feedback(self) -> "FeedbackStore":
        """What turned out to be true of predictions."""
        from service.feedback.store import FeedbackStore  # noqa: PLC0415

        return FeedbackStore(self.database)

    async def start(self) -> None:
        """Bring the database up to date, add the first admin, and begin to watch it.

        A database that doesn't answer is no reason not to start; the watch tries on. Raises AccountError when
        the first admin's name or password breaks a rule.
        """
        await self.watch.refresh()
        self._watching = asyncio.create_task(self.watch.run(), name="revocations")

    async def stop(self) -> None:
        """End the watch and the threads."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        for threads in (self.logins, self.watch, self.administration, self.feedback_writer):
            await asyncio.to_thread(threads.close)
        if self._database is not None:
            self._database.close()

    def _renew(self, username: str, stored: str, password: str) -> None:
        self.accounts.renew(username, stored, password)

    def _prepare(self) -> None:
        name, password = self._settings.admin_username, self._settings.admin_password
        if bool(name) != bool(password):
            raise AccountError("set both ADMIN_USERNAME and ADMIN_PASSWORD, or neither")
        if self.revisions.are_ready():
            return
        try:
            added = self.accounts.prepare(name or "", password.get_secret_value() if password else "")
        except AccountError as error:
            raise AccountError(f"ADMIN_USERNAME or ADMIN_PASSWORD: {error}") from None
        if added:
            _log.info("the first admin %s was added", name)


def authenticate(request: "Request", scope: str) -> None:
    """Note who sent the request. Raises Problem unless a token with the scope came with it."""
    headers = dict(request.scope["headers"])  # as /predict reads them: of two, both take the last
    principal = access_of(request).tokens.authenticate(headers.get(b"authorization"), scope)
    request.state.user = principal.username


def access_of(request: "Request") -> Access:
    """Give what `create_app` put together for the app that got the request."""
    access: Access = request.app.state.access
    return access
