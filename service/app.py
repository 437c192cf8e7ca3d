"""The service, put together."""

import asyncio
import contextlib
import sys
import weakref
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator.metrics import Info
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.auth.access import Access
from service.counting.collector import CountersCollector
from service.counting.counters import Counters
from service.counting.events import EventMetrics
from service.counting.exposition import Exposition
from service.counting.folders import Folder
from service.feedback.counts import FeedbackMetrics
from service.feedback.prediction_ids import PredictionIds
from service.http import logs
from service.http.envelope import Envelope
from service.http.logs import AccessLog, RequestIds
from service.http.problems import MEDIA_TYPE, FieldError, Problem
from service.routes import admin, docs, feedback, health, inference_protocol, info, openapi, predict, tables, token
from service.scoring import artifact
from service.scoring.artifact import Artifact
from service.scoring.facts import FactsCollector, InProgress
from service.scoring.metrics import RequestMetrics
from service.scoring.reload import Watch
from service.scoring.serving import Served, Serving
from service.settings import Settings
from service.tracing import setup as tracing

if TYPE_CHECKING:
    from service.tracing.spans import Tracing

_DETAILS: Final = {
    404: "There is nothing at this path; /docs lists what there is",
    405: "This path does not take this method; the header Allow lists those it takes",
}


class Api(FastAPI):
    """The application; POST /predict goes round its middleware, all else through it."""

    predict: ASGIApp
    envelope: ASGIApp
    in_progress: InProgress

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.envelope(scope, receive, send)
            return
        with self.in_progress:
            if scope["path"] == predict.PATH and scope["method"] == "POST":
                await self.predict(scope, receive, send)
            else:
                await self.envelope(scope, receive, send)

    async def through_middleware(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as FastAPI does."""
        await super().__call__(scope, receive, send)


def create_app(settings: Settings, loaded: Artifact | None = None) -> Api:
    """Put the service together, around an artifact loaded beforehand if there is one.

    Raises ArtifactError if there is nothing to serve.
    """
    if settings.metrics_dir is None:
        own = Folder()
        app = create_app(settings.model_copy(update={"metrics_dir": own.path}), loaded)
        weakref.finalize(app, own.remove)
        return app
    folder = settings.metrics_dir
    counters = Counters(folder)
    events = EventMetrics(counters)
    access = Access(settings, events.count_outcome)
    traces = tracing.start(settings)
    serving = Serving(loaded or artifact.load(settings), counters, traces.served if traces else Served)
    truths = FeedbackMetrics(counters, serving.current.version)
    access_log = AccessLog(sys.stdout, as_json=logs.wants_json(settings, sys.stdout))
    if traces:
        access_log.note = traces.noting(access_log.note)
    request_ids = RequestIds(uuid4().hex[:12])

    app = Api(
        title="Predictions",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # to wherever the Host header says
        # Spans are ours (service.tracing.spans): FastAPI's own know neither /predict nor the access log.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        lifespan=_lifespan(settings, access, serving, access_log, events, truths, traces),
    )
    app.state.settings, app.state.access, app.state.serving = settings, access, serving
    app.state.access_log = access_log
    app.state.openapi_of_version = {}
    app.state.registry = CollectorRegistry()
    app.state.registry.register(CountersCollector(folder))
    app.state.registry.register(FactsCollector(settings, serving))
    app.state.exposition = Exposition(app.state.registry, serving.flush, settings.metrics_seconds)
    app.in_progress = InProgress(counters)
    app.state.prediction_ids = PredictionIds(settings)
    app.state.feedback_metrics = truths
    routers = [module.router for module in (token, admin, info, feedback, health, inference_protocol, docs)]
    for router in routers:
        app.include_router(router)
    _answer_with_problems(app, [app.router, *routers])

    requests = RequestMetrics(counters, _routes([app.router, *routers]))
    _count_requests(app, requests)
    recorder = predict.Recorder(requests, access_log, request_ids)
    kinds = traces.tables(tables.kinds(settings)) if traces else tables.kinds(settings)
    app.predict = predict.Predict(settings, serving, access.tokens, recorder, kinds)
    # Never reached by POST; here for 405 with `Allow` of the others.
    app.router.routes.append(Route(predict.PATH, app.predict, methods=["POST"]))
    app.envelope = Envelope(app.through_middleware, access_log, request_ids)
    if traces:
        app.predict, app.envelope = traces.requests(app.predict, predict.PATH), traces.requests(app.envelope)
    app.openapi = lambda: openapi.describe(app, serving.current)  # type: ignore[method-assign]  # FastAPI's own way
    return app


def _lifespan(  # noqa: PLR0913, PLR0917  # all that begins and ends with the service
    settings: Settings,
    access: Access,
    serving: Serving,
    access_log: AccessLog,
    events: EventMetrics,
    truths: FeedbackMetrics,
    traces: "Tracing | None",
) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        access_log.start()
        await access.start()

        def reloaded(new: artifact.Artifact) -> None:
            # Told from the thread that loaded it; counted where all is counted.
            loop.call_soon_threadsafe(truths.serve, new.version)
            loop.call_soon_threadsafe(events.count_reload, "reloaded")

        watch = Watch(
            settings,
            serving,
            reloaded=reloaded,
            refused=lambda _: events.count_reload("refused"),
            agreed=lambda: events.set_refused(0.0),
        )
        watching = asyncio.create_task(watch.run(), name="reload")
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            await access.stop()
            serving.flush()
            if traces:
                traces.stop()
            access_log.stop()

    return lifespan


def _routes(routers: list[APIRouter]) -> list[tuple[str, str]]:
    """List methods and paths; the application's own router doesn't name those of the routers it includes."""
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    known = [(method, route.path) for route in routes for method in route.methods or ()]
    return [*known, ("POST", predict.PATH)]


def _count_requests(app: FastAPI, requests: RequestMetrics) -> None:
    def count(found: Info) -> None:
        requests.count(
            found.method, found.modified_handler, int(found.modified_status[0]) * 100, found.modified_duration
        )

    Instrumentator(registry=CollectorRegistry()).add(count).instrument(app)


def _answer_with_problems(app: FastAPI, routers: list[APIRouter]) -> None:
    async def problem(request: Request, error: Exception) -> Response:
        found = error if isinstance(error, Problem) else _as_problem(error)
        if found.status == HTTPStatus.METHOD_NOT_ALLOWED:
            found.headers["Allow"] = ", ".join(_allowed_methods(request.scope, routers))
        # Clients of the Open Inference Protocol look for the member `error`.
        more = {"error": found.detail} if request.url.path.startswith("/v2") else {}
        return Response(found.body(more), found.status, found.headers, MEDIA_TYPE)

    for kind in (Problem, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, problem)


def _allowed_methods(scope: Scope, routers: list[APIRouter]) -> list[str]:
    """Return every method that the path takes: Starlette names those of the first route that fits the path."""
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    fits = [route for route in routes if route.matches(scope)[0] is not Match.NONE]
    return sorted({method for route in fits for method in route.methods or ()})


def _as_problem(error: Exception) -> Problem:
    if isinstance(error, HTTPException):
        detail = _DETAILS.get(error.status_code, str(error.detail))
        return Problem(error.status_code, detail, headers=error.headers)
    if isinstance(error, RequestValidationError):
        errors = [
            FieldError(field=".".join(map(str, each["loc"])), expected=each["msg"], got="something else")
            for each in error.errors()
        ]
        return Problem(422, "The request does not fit", errors=errors)
    return Problem(500, "The service failed; its log says why")
