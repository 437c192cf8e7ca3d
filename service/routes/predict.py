"""POST /predict: return a prediction for each row.

This is an ASGI application with its own route: for one row, FastAPI's dependencies and
serialization would take longer than the model (docs/explanation/performance.md).
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.auth.access import Callers
from service.feedback import PredictionIds
from service.http.exchange import ClientGone, Headers, media_type, read_body, respond, validate, wait_until_gone
from service.http.problems import Problem
from service.inputs.explain import Invalid, read_json
from service.inputs.rows import RowReader
from service.routes import openapi
from service.routes.openapi import PredictQuery
from service.scoring.batches import Batches
from service.scoring.serving import Cover, Members, Scored, Served, Serving
from service.settings import Settings
from service.threads import BusyError, Threads

PATH: Final = "/predict"
SCOPE: Final = "predict"
JSON: Final = b"application/json"
_EXPLAIN_SECONDS: Final = 60.0
_WAITING: Final = 8
"""How many requests for explanations wait while another is explained."""
_INLINE_BYTES: Final = 64 * 1024
"""Larger bodies are read and scored in a thread, so that other requests don't wait: about 150 rows, 1 ms."""

Table = Callable[[Served, Receive, Send, PredictionIds | None, Cover | None], Awaitable[int]]
"""Answers a request with a table, with prediction ids if PredictionIds is given; returns the number of rows."""
Tables = Mapping[bytes, Table]
"""The functions by media type."""

Step = Callable[[str, Callable[..., Any]], Callable[..., Any]]
"""Returns the function inside a span with this name, or just the function if tracing is off."""


class Route(APIRoute):
    """The route of POST /predict, for an ASGI application. It compares the path instead of matching a pattern."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(PATH, openapi.predict, methods=["POST"], **openapi.PREDICT)
        self.app = app
        self._found = Match.FULL, {"endpoint": self.endpoint, "path_params": {}, "route": self}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the request is for this route, and what to add to its scope."""
        if scope["path"] == PATH and scope["method"] == "POST" and not scope.get("root_path"):
            return self._found
        return super().matches(scope)

    handle = StarletteRoute.handle  # FastAPI's own would run its endpoint


class Predict:
    """Answers POST /predict."""

    def __init__(  # noqa: PLR0913, PLR0917  # all that a prediction needs
        self, settings: Settings, serving: Serving, callers: Callers, ids: PredictionIds, tables: Tables, step: Step
    ) -> None:
        self._serving = serving
        self._authenticate = callers.authenticate
        self._max_instances = settings.max_instances
        self._max_explained = settings.max_explained
        self._max_bytes = settings.max_body_bytes
        self._tables = {kind: step("table", table) for kind, table in tables.items()}
        self._ids = ids
        self._read = step("decode", RowReader.read_request)
        self._score = step("infer", Batches().score)
        self._encode = step("encode", Served.answer)
        self._explaining = Threads(count=1, waiting=_WAITING)
        self._explain = step("explain", self._explain_in_turn)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate, then answer according to the body's media type."""
        served, state = self._serving.current, scope["state"]
        headers: Headers = state["headers"]
        state["version"] = served.version
        state["user"] = (await self._authenticate(headers, SCOPE)).name
        kind = headers.get(b"content-type")
        if kind != JSON or b"content-encoding" in headers:
            kind = media_type(headers)
        query = read_query(scope["query_string"])
        ids = self._ids if query.ids else None
        cover = None if query.coverage is None else served.cover(query.coverage)
        try:
            if kind == JSON:
                body = await read_body(receive, headers, self._max_bytes)
                state["instances"], answer = await self._predict(
                    served, body, ids, receive if query.explain else None, cover
                )
                await respond(send, answer, (b"content-type", JSON))
            elif query.explain:
                raise Problem(415, "explain=true needs instances as JSON: send Content-Type: application/json")
            elif kind in self._tables:
                state["instances"] = await self._tables[kind](served, receive, send, ids, cover)
            else:
                raise self._unsupported_type()
        except Invalid as problem:
            served.instruments.count_errors(problem.kinds)
            raise
        served.instruments.count_request(state["instances"])

    async def _predict(
        self, served: Served, body: bytes, ids: PredictionIds | None, explain: Receive | None, cover: Cover | None
    ) -> tuple[int, bytes]:
        """Return the number of instances and the response body, with explanations if `explain` is given."""
        if len(body) > _INLINE_BYTES:
            scored = await asyncio.to_thread(
                lambda: served.score(served.reader.read_request(body, self._max_instances))
            )
        else:
            scored = await self._score(served, self._read(served.reader, body, self._max_instances))
        served.check(scored, lambda: read_json(body)["instances"])
        more: Members = {"prediction_ids": await ids.make_all_async(served, scored)} if ids else {}
        if explain:
            more |= await self._explain(served, scored, explain)
        if cover:
            more |= cover(scored)
        served.count(scored)
        return len(scored.labels), self._encode(served, scored, more)

    async def _explain_in_turn(self, served: Served, scored: Scored, receive: Receive) -> Members:
        """Explain rows in a thread of low priority, which stops after its row if nobody waits for the answer.

        Raises Problem: 413 for too many rows, 429 if too many requests wait, 503 if it takes too long.
        """
        if len(scored.labels) > self._max_explained:
            detail = f"A request with explain=true may have at most {self._max_explained:,} instances (MAX_EXPLAINED)"
            raise Problem(413, detail, title="Too many instances")
        stop = threading.Event()
        gone = asyncio.ensure_future(wait_until_gone(receive))
        job = asyncio.ensure_future(self._explaining.run(lambda: served.explain(scored, stop), _EXPLAIN_SECONDS))
        try:
            await asyncio.wait((job, gone), return_when=asyncio.FIRST_COMPLETED)
            if not job.done():
                raise ClientGone
            return job.result()
        except BusyError:
            detail = "Too many requests for explanations are waiting; try again"
            raise Problem(429, detail, headers={"Retry-After": "2"}) from None
        except TimeoutError:
            detail = f"The explanation takes more than {_EXPLAIN_SECONDS:.0f} s; send fewer instances"
            raise Problem(503, detail, headers={"Retry-After": "60"}) from None
        finally:
            stop.set()
            gone.cancel()
            job.cancel()

    def _unsupported_type(self) -> Problem:
        taken = ", ".join(each.decode() for each in (JSON, *self._tables))
        return Problem(415, f"Content-Type must be one of: {taken}", headers={"Accept-Post": taken})


@lru_cache(maxsize=64)
def read_query(query: bytes) -> PredictQuery:
    """Parse the query of POST /predict. Raises Problem (422) for a wrong value."""
    return validate(PredictQuery, dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)))
