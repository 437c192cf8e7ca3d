"""Workers of the service without a model: users, tokens, and one path that asks for a scope."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import httpx
from fastapi import FastAPI, Request, Response, Security

from service.auth.access import Access, authenticate
from service.auth.watch import read_snapshot
from service.http.problems import Problem
from service.routes import admin, sign_in
from service.settings import Settings
from service.users.database import Database

PASSWORD = "correct horse"
RIGHT = {"username": "anna", "password": PASSWORD}
WRONG = {"username": "anna", "password": "wrong horse"}


def make_app(access: Access, settings: Settings) -> FastAPI:
    """Return an app with the routes under test and one that asks for the scope `predict`."""
    app = FastAPI()
    app.state.access, app.state.settings = access, settings
    for router in (admin.router, sign_in.router):
        app.include_router(router)

    @app.exception_handler(Problem)
    async def answer(_: Request, problem: Problem) -> Response:
        return problem.response()

    @app.get("/whoami", dependencies=[Security(authenticate, scopes=["predict"])])
    async def whoami(request: Request) -> str:
        return str(request.state.user)

    return app


class Worker(httpx.AsyncClient):
    """A client of one worker, which lets a test look behind the API."""

    access: Access
    database: Database
    """What the worker should know."""


@contextlib.asynccontextmanager
async def serving(settings: Settings, count: Callable[[str], None] | None = None) -> AsyncIterator[Worker]:
    """Return a client of one worker."""
    access = Access(settings, count or (lambda _: None))
    await access.start()
    try:
        transport = httpx.ASGITransport(make_app(access, settings), client=("192.0.2.1", 4711))
        async with Worker(transport=transport, base_url="http://test") as client:
            client.access, client.database = access, Database(settings.database_url.get_secret_value())
            with contextlib.closing(client.database):
                yield client
    finally:
        await access.stop()


async def log_in(client: Worker, **form: str) -> httpx.Response:
    return await client.post("/token", data={**RIGHT, **form})


async def whoami(client: Worker, token: str) -> int:
    return (await client.get("/whoami", headers={"Authorization": f"Bearer {token}"})).status_code


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for something that happens in the background, at most as long as the issue allows."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for stands in the database
            await asyncio.sleep(0.01)


def is_up_to_date(client: Worker) -> bool:
    return read_snapshot(client.database, client.access.watch.known) is None
