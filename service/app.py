"""Create the application from its parts."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp

from service.auth.access import Access
from service.feedback import PredictionIds
from service.http import logs, tracing
from service.http.logs import AccessLog
from service.http.middleware import RequestMiddleware
from service.instruments.registry import Exposition, Instruments
from service.routes import admin, feedback, inference_protocol, info, openapi, pages, predict, sign_in, tables
from service.scoring import artifact
from service.scoring.reload import Reloader
from service.scoring.serving import Serving
from service.settings import Settings


class Api(FastAPI):
    """FastAPI without Starlette's error middleware, because `RequestMiddleware` handles errors."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the router inside the middleware; the one added last is outermost."""
        app: ASGIApp = self.router.app
        for middleware, arguments, options in reversed(self.user_middleware):
            app = middleware(app, *arguments, **options)
        return app


def create_app(settings: Settings) -> Api:
    """Create the application for the current release.

    Raises ArtifactError or ReleaseError if the release can't be loaded, SettingsError if an OTEL_ variable is wrong.
    """
    instruments = Instruments(settings)
    access = Access(settings, instruments.count_authentication)
    traces = tracing.configure()
    serving = Serving(artifact.load(settings), instruments)
    reloader = Reloader(settings, serving, instruments)
    access_log = AccessLog(sys.stdout, as_json=logs.wants_json(settings))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        access_log.start()
        await access.start()
        tasks = [asyncio.create_task(each.run()) for each in (reloader, instruments)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await access.stop()
            instruments.flush()
            traces.stop()
            access_log.stop()

    app = Api(
        title="Predictions",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would go to the host in the Host header
        telemetry=traces.telemetry,
        lifespan=lifespan,
    )
    app.state.settings, app.state.access, app.state.serving = settings, access, serving
    app.state.access_log = access_log
    app.state.registry = instruments.scrape_registry(serving.in_service)
    app.state.exposition = Exposition(app.state.registry, instruments.flush, settings.metrics_seconds)
    app.state.prediction_ids = ids = PredictionIds(settings)
    app.state.feedback_instruments = instruments.feedback
    app.openapi = lambda: openapi.describe(app, serving.current)  # type: ignore[method-assign]  # FastAPI's own way

    answer = predict.Predict(settings, serving, access.callers, ids, tables.make_answers(settings), traces.with_span)
    routes = _add_routes(app, predict.Route(answer))
    requests = instruments.requests
    requests.begin_series((method, route.path) for route in routes for method in route.methods or ())
    sample = settings.access_log_sample if settings.access_log_sample < 1 else None
    app.add_middleware(RequestMiddleware, routes, traces, access_log.add, sample, requests.begin, requests.measure)
    return app


def _add_routes(app: Api, first: Route) -> list[Route]:
    """Add the routes of all routers, `first` before them, and return all routes.

    Routers aren't included as such: FastAPI would match each request against all routes twice.
    """
    app.router.routes.insert(0, first)
    routers = [module.router for module in (sign_in, admin, info, feedback, inference_protocol, pages)]
    for route in [route for router in routers for route in router.routes if isinstance(route, Route)]:
        # FastAPI's own stack, which `Api` replaces, has this middleware once around all routes.
        if not isinstance(route.app, AsyncExitStackMiddleware):
            route.app = AsyncExitStackMiddleware(route.app)
        app.router.routes.append(route)
    return [route for route in app.routes if isinstance(route, Route)]
