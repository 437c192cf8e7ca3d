"""POST /predict: rows in, predictions out.

This is an ASGI application of its own, called before the app's middleware: at a few dozen
microseconds for a row, a framework's routing, dependencies and serialising would cost
more than the model (docs/performance.md). So it does for itself what the middleware does
for the others: request id, security headers, metrics, access log, errors as problems.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, time
from typing import Final, NoReturn

from service.auth.tokens import Tokens
from service.feedback import prediction_ids
from service.feedback.prediction_ids import PredictionIds, are_asked
from service.http.exchange import (
    ClientGone,
    Headers,
    Receive,
    Scope,
    Send,
    media_type,
    read_body,
    respond,
    respond_with_problem,
)
from service.http.logs import AccessLog, Answered, RequestIds
from service.http.problems import Problem
from service.inputs.explain import Invalid
from service.scoring.metrics import RequestMetrics
from service.scoring.serving import Scored, Served, Serving
from service.scoring.together import FEW_BYTES
from service.settings import Settings

PATH: Final = "/predict"
SCOPE: Final = "predict"
JSON: Final = b"application/json"
CLIENT_GONE: Final = 499
"""In metrics and log, of a request whose caller went away; nothing is sent."""

_INLINE_BYTES: Final = 64 * 1024
"""Larger bodies are worked on in a thread, so that others are answered meanwhile: about 150 rows, 1 ms."""

Table = Callable[[Served, Receive, Send, bytes, PredictionIds | None], Awaitable[int]]
"""Answers a request with a table, with ids of its rows if they are asked for; gives the number of its rows."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recorder:
    """What is noted of each request."""

    requests: RequestMetrics
    access_log: AccessLog
    request_ids: RequestIds


class Predict:
    """Answers POST /predict."""

    def __init__(
        self, settings: Settings, serving: Serving, tokens: Tokens, recorder: Recorder, tables: Mapping[bytes, Table]
    ) -> None:
        self._serving = serving
        self._authenticate = tokens.authenticate
        self._recorder = recorder
        self._max_instances = settings.max_instances
        self._max_bytes = settings.max_body_bytes
        self._tables = tables
        self._ids = PredictionIds(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, count it, log it."""
        began = perf_counter()
        headers: Headers = dict(scope["headers"])
        request_id = self._recorder.request_ids.choose(headers.get(b"x-request-id"))
        served = self._serving.current
        user, instances, status = "", 0, 200
        try:
            user = self._authenticate(headers.get(b"authorization"), SCOPE).username
            kind = headers.get(b"content-type")
            if kind != JSON or b"content-encoding" in headers:
                kind = media_type(headers)
            ids = self._ids if are_asked(scope["query_string"]) else None
            if kind == JSON:
                body = await read_body(receive, headers, self._max_bytes)
                scored, answer = await self._predict(served, body)
                instances = len(scored.labels)
                if ids:
                    answer = prediction_ids.with_ids(answer, await ids.name_aside(served, scored))
                await respond(send, 200, answer, (b"content-type", JSON), (b"x-request-id", request_id))
            elif kind in self._tables:
                instances = await self._tables[kind](served, receive, send, request_id, ids)
            else:
                self._refuse_kind()
        except Problem as problem:
            status = problem.status
            if isinstance(problem, Invalid):
                served.metrics.count_errors(problem.kinds)
            await respond_with_problem(send, problem, request_id)
        except ClientGone:
            status = CLIENT_GONE
        except Exception:  # noqa: BLE001  # told below in full; any other end would leave the caller without an answer
            # Nothing is hidden: the traceback goes to the log, the caller gets the stated form.
            _log.exception("request %s failed", request_id.decode())
            status = 500
            await respond_with_problem(send, Problem(500, "The service failed; its log says why"), request_id)
        seconds = perf_counter() - began
        if instances:
            served.metrics.count_request(instances)
        self._recorder.requests.count("POST", PATH, status, seconds)
        version = served.version
        self._recorder.access_log.note(
            Answered(time(), request_id.decode(), user, "POST", PATH, status, seconds, version, instances)
        )

    async def _predict(self, served: Served, body: bytes) -> tuple[Scored, bytes]:
        if len(body) > _INLINE_BYTES:
            scored, answer = await asyncio.to_thread(self._compute, served, body)
            served.count(scored)
            return scored, answer
        together = served.together
        if together and len(body) <= FEW_BYTES and (values := served.reader.quick_values(body)):
            scored = await together.score(values, body)
            return scored, served.answer(scored)
        encoded = served.read(body, self._max_instances)
        if together:
            scored = await together.score_larger(encoded)
        else:
            scored = served.score(encoded)
            served.count(scored)
        return scored, served.answer(scored)

    def _compute(self, served: Served, body: bytes) -> tuple[Scored, bytes]:
        scored = served.score(served.read(body, self._max_instances))
        return scored, served.answer(scored)

    def _refuse_kind(self) -> NoReturn:
        taken = ", ".join(each.decode() for each in (JSON, *self._tables))
        raise Problem(415, f"Content-Type must be one of: {taken}", headers={"Accept-Post": taken})
