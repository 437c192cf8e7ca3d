"""Who may do what: the users database, the logins, the tokens and the watch over them, put together."""

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING

from service.accounts import AccountError, Accounts
from service.database import Database
from service.logins import Logins
from service.passwords import Passwords
from service.revocations import Revocations, Watch
from service.settings import Settings
from service.threads import Threads
from service.tokens import Count, Tokens, count_nothing

if TYPE_CHECKING:
    from starlette.requests import Request

_log = logging.getLogger(__name__)


class Access:
    """Everything about users in one worker.

    Making one opens no connection; `start` does. Raises DatabaseUrlError for a DATABASE_URL that can't be used.
    """

    def __init__(self, settings: Settings, count: Count = count_nothing) -> None:
        self._settings = settings
        self.database = Database(settings.database_url.get_secret_value())
        self.accounts = Accounts(self.database, Passwords(settings))
        self.revocations = Revocations()
        self.tokens = Tokens(settings, self.revocations, count)
        self.logins = Logins(settings, self.accounts, self.tokens, count)
        self.administration = Threads("admin", count=1, waiting=8)
        self.watch = Watch(self.accounts, self.revocations, self._prepare)
        self._watching: asyncio.Task[None] | None = None

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
        for threads in (self.logins, self.watch, self.administration):
            await asyncio.to_thread(threads.close)
        self.database.close()

    def _prepare(self) -> None:
        name, password = self._settings.admin_username, self._settings.admin_password
        if bool(name) != bool(password):
            raise AccountError("set both ADMIN_USERNAME and ADMIN_PASSWORD, or neither")
        add = partial(self.accounts.prepare, name or "", password.get_secret_value() if password else "")
        try:
            added = add()
        except AccountError as error:
            raise AccountError(f"ADMIN_USERNAME or ADMIN_PASSWORD: {error}") from None
        if added:
            _log.info("the first admin %s was added", name)


def access_of(request: "Request") -> Access:
    """Give what `create_app` put together for the app that got the request."""
    access: Access = request.app.state.access
    return access
