"""Create everything that authenticates requests in one worker, with its connection to the users database."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Annotated, Final, TypeVar

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer, SecurityScopes

from service.auth.callers import Callers
from service.auth.logins import Logins
from service.auth.single_sign_on import IdentityProvider
from service.auth.tokens import Count, Tokens
from service.auth.watch import Watch
from service.feedback.store import FeedbackStore
from service.http.problems import Problem
from service.settings import Settings
from service.threads import BusyError, Threads
from service.users.accounts import Accounts
from service.users.database import Database, DatabaseDownError
from service.users.passwords import Passwords

T = TypeVar("T")
_log = logging.getLogger(__name__)

TOKEN: Final = OAuth2PasswordBearer(
    "token", scheme_name="token", scopes={"predict": "Predict", "admin": "Administer users"}, auto_error=False
)
API_KEY: Final = APIKeyHeader(name="X-API-Key", scheme_name="api_key", auto_error=False)
"""Both are only for the OpenAPI document; `authenticate` reads the credential itself."""


class Access:
    """Accounts, tokens, API keys, single sign-on and feedback of one worker.

    The constructor opens no connection, `start` does. It raises DatabaseUrlError for an unusable DATABASE_URL.
    """

    def __init__(self, settings: Settings, count: Count = lambda _: None) -> None:
        self._settings = settings
        self._database = Database(settings.database_url.get_secret_value())
        self.accounts = Accounts(self._database, Passwords(settings))
        self.feedback = FeedbackStore(self._database)
        self.tokens = Tokens(settings)
        self.count = count
        self.provider = IdentityProvider(settings, settings.oidc_issuer, count) if settings.oidc_issuer else None
        self.watch = Watch(self._database, self._prepare)
        self.callers = Callers(self.tokens, self.watch, self.provider, count)
        self.logins = Logins(settings, self.accounts, self.tokens, count)
        self.administration = Threads(count=1, waiting=8)
        # SQLite allows one writer at a time. A queue answers callers in order; waiting for its lock would not.
        self.feedback_writer = Threads(count=1, waiting=1024)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Migrate the database, add the first admin, and start to poll the database and the identity provider.

        If the database doesn't answer, the service starts anyway and the watch tries again. Raises AccountError
        if the first admin's name or password breaks a rule.
        """
        await self.watch.refresh()
        self._tasks = [asyncio.create_task(each.run()) for each in (self.watch, self.provider) if each]

    async def stop(self) -> None:
        """Stop the tasks and threads, after a last attempt to store which API keys were used."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(DatabaseDownError, TimeoutError, BusyError):
            await self.watch.record_use()
        jobs = (self.logins, self.watch, self.administration, self.feedback_writer)
        await asyncio.gather(*(each.close() for each in jobs))
        self._database.close()

    def _prepare(self) -> None:
        name, password = self._settings.admin_username, self._settings.admin_password
        if self.accounts.prepare(name, password.get_secret_value() if password else None):
            _log.info("the first admin %s was added", name)


async def run_in_turn(threads: Threads, function: Callable[[], T], seconds: float) -> T:
    """Run a function that uses the users database. Raises Problem: 429 if the queue is full, 503 if it is down."""
    try:
        return await threads.run(function, seconds)
    except BusyError:
        raise Problem(429, "Too many requests are waiting; try again", headers={"Retry-After": "2"}) from None
    except (DatabaseDownError, TimeoutError) as error:
        _log.warning("the users database failed: %s", str(error) or type(error).__name__)  # not for the caller
        raise Problem(503, "The users database doesn't answer", headers={"Retry-After": "2"}) from None


async def authenticate(
    request: Request,
    scopes: SecurityScopes,
    _token: Annotated[str | None, Security(TOKEN)],
    _key: Annotated[str | None, Security(API_KEY)],
) -> None:
    """Store in `request.state` who sent the request. Raises Problem unless its credential has the scope."""
    headers = dict(request.scope["headers"])
    request.state.user = (await access_of(request).callers.authenticate(headers, *scopes.scopes)).name


def access_of(request: Request) -> Access:
    """Return the `Access` of the request's app."""
    access: Access = request.app.state.access
    return access
