"""The service, put together."""

import asyncio
import contextlib
import sys
import weakref
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from prometheus_client import CollectorRegistry
from starlette.routing import Route
from starlette.types import ASGIApp

from service.auth.access import Access
from service.counting.collector import CountersCollector
from service.counting.counters import Counters
from service.counting.events import EventMetrics
from service.counting.exposition import Exposition
from service.counting.folders import Folder
from service.feedback.counts import FeedbackMetrics
from service.feedback.prediction_ids import PredictionIds
from service.http import logs
from service.http.door import Door
from service.http.logs import AccessLog
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


class Api(FastAPI):
    """FastAPI without Starlette's middleware for errors, which `Door` answers."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the middleware around the router, the one added last outermost."""
        app: ASGIApp = AsyncExitStackMiddleware(self.router)  # which FastAPI's own routes need
        for middleware, arguments, options in reversed(self.user_middleware):
            app = middleware(app, *arguments, **options)
        return app


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
    traces = tracing.start()
    serving = Serving(loaded or artifact.load(settings), counters, traces.served if traces else Served)
    truths = FeedbackMetrics(counters, serving.current.version)
    access_log = AccessLog(sys.stdout, as_json=logs.wants_json(settings, sys.stdout))

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
    app.state.prediction_ids = PredictionIds(settings)
    app.state.feedback_metrics = truths
    app.openapi = lambda: openapi.describe(app, serving.current)  # type: ignore[method-assign]  # FastAPI's own way

    kinds = traces.tables(tables.kinds(settings)) if traces else tables.kinds(settings)
    answer = predict.Predict(settings, serving, access.tokens, app.state.prediction_ids, kinds)
    app.router.routes.insert(0, predict.Route(answer))
    routers = [module.router for module in (token, admin, info, feedback, health, inference_protocol, docs)]
    for router in routers:
        app.include_router(router)
    routes = _list_routes([app.router, *routers])
    requests = RequestMetrics(counters, [(method, route.path) for route in routes for method in route.methods or ()])
    note = traces.noting(access_log.note) if traces else access_log.note
    app.add_middleware(Door, routes, note, requests.count, InProgress(counters))
    if traces:
        app.add_middleware(traces.requests)
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


def _list_routes(routers: list[APIRouter]) -> list[Route]:
    """Return all routes; the application's own router doesn't list those of the routers it includes."""
    return [route for router in routers for route in router.routes if isinstance(route, Route)]
