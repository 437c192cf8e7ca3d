"""Workers of the service without a model: users, tokens, and one path that asks for a scope."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response

from service.auth.access import Access, access_of
from service.http.problems import MEDIA_TYPE, Problem
from service.routes import admin, token
from service.settings import Settings
from service.users.database_url import parse
from service.users.revisions import UserRevisions

PASSWORD = "correct horse"
RIGHT = {"username": "anna", "password": PASSWORD}
WRONG = {"username": "anna", "password": "wrong horse"}


def make_app(access: Access) -> FastAPI:
    """Give an app with the routes under test and one that asks for the scope `predict`."""
    app = FastAPI()
    app.state.access = access
    app.include_router(token.router)

    app.include_router(admin.router)

    @app.exception_handler(Problem)
    async def tell(_: Request, problem: Problem) -> Response:
        return Response(problem.body(), problem.status, problem.headers, MEDIA_TYPE)

    @app.get("/whoami")
    async def whoami(request: Request) -> str:
        header = request.headers.get("authorization")
        return access_of(request).tokens.authenticate(header.encode() if header else None, "predict").username

    return app


class Worker(httpx.AsyncClient):
    """A client of one worker, which lets a test look behind the API."""

    def __init__(self, access: Access, database_url: str, **options: Any) -> None:
        super().__init__(**options)
        self.access = access
        self.revisions = UserRevisions(parse(database_url))
        """What the worker should know; its own connection is its thread's alone."""


@contextlib.asynccontextmanager
async def serving(settings: Settings, count: Callable[[str], None] | None = None) -> AsyncIterator[Worker]:
    """Give a client of one worker."""
    access = Access(settings, count or (lambda _: None))
    await access.start()
    try:
        transport = httpx.ASGITransport(make_app(access), client=("192.0.2.1", 4711))
        url = settings.database_url.get_secret_value()
        async with Worker(access, url, transport=transport, base_url="http://test") as client:
            with contextlib.closing(client.revisions):
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
    return client.revisions.changes(client.access.revocations.newest) is None
