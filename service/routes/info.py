"""Describe the service: its model, health and metrics."""

from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from service.auth.access import access_of
from service.contract import Label
from service.http.problems import Problem
from service.routes.openapi import errors

if TYPE_CHECKING:
    from service.instruments.registry import Exposition
    from service.scoring.serving import Serving
    from service.settings import Settings

router = APIRouter()


class Feature(BaseModel):
    """A feature and its values."""

    name: str
    type: Literal["number", "boolean", "category", "date"]
    nullable: bool
    strict: bool = Field(description="True if the service refuses values that training didn't have")
    categories: list[str] | None = None
    minimum: float | str | None = None
    maximum: float | str | None = None


class ModelInfo(BaseModel):
    """The model in service."""

    name: str
    version: str = Field(description="MD5 of the model, as in release.json")
    release: str = Field(description="The release in service: the name of its folder")
    task: Literal["binary", "multiclass", "regression"]
    target: str
    classes: list[Label]
    positive: Label | None = None
    threshold: float | None = Field(None, description="Binary: the positive class is predicted above this probability")
    highest_coverage: float | None = Field(None, description="?coverage= can be this high; null: it isn't possible")
    features: list[Feature]
    derived: dict[str, str] | None = Field(None, description="Features that the model computes from these, by name")
    params: dict[str, Any]
    metrics: dict[str, Any]
    data_md5: str = Field(description="MD5 of the table that the model was trained on")


@router.get("/model-info", response_model_exclude_none=True, responses=errors(), tags=["model"])
async def model_info(request: Request) -> ModelInfo:
    """Return the version, features, parameters and metrics of the model in service."""
    serving: Serving = request.app.state.serving
    artifact = serving.current.artifact
    contract = artifact.model.contract
    return ModelInfo(
        **contract.model_dump(include={"task", "target", "classes", "positive", "features"}),
        **artifact.release.model_dump(include={"name", "params", "metrics"}),
        version=artifact.model.version,
        release=artifact.folder,
        threshold=artifact.threshold if contract.task == "binary" else None,
        highest_coverage=artifact.model.coverage.highest if artifact.model.coverage else None,
        derived=contract.derived or None,
        data_md5=artifact.release.data_md5 or "",
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}},
        **errors(also={401: "The token of METRICS_TOKEN is missing or wrong"}),
    },
    tags=["monitoring"],
)
async def metrics(request: Request) -> Response:
    """Return the metrics of all workers for Prometheus. If METRICS_TOKEN is set, send it as a bearer token."""
    settings: Settings = request.app.state.settings
    if settings.metrics_token is not None:
        _check_token(request.headers.get("Authorization", ""), settings.metrics_token.get_secret_value())
    exposition: Exposition = request.app.state.exposition
    return Response(await exposition.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _check_token(header: str, token: str) -> None:
    """Raise Problem (401) unless the header has the token (RFC 6750)."""
    scheme, _, given = header.partition(" ")
    if scheme.lower() != "bearer" or not compare_digest(given.strip().encode(), token.encode()):
        detail = "GET /metrics needs METRICS_TOKEN as a bearer token"
        raise Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="metrics"'})


class Ready(BaseModel):
    """The state of the model and the database."""

    status: Literal["ready", "degraded", "unready"]
    """degraded: the service predicts, but if the users database is down, nobody gets a new token, and if it is
    read-only, users and feedback can't change."""
    model: Literal["ok"] = "ok"
    database: Literal["ok", "read-only", "down"]


@router.get("/health/live", responses=errors(), tags=["monitoring"])
async def live() -> dict[str, str]:
    """Return 200 while the process answers."""
    return {"status": "live"}


@router.get(
    "/health/ready",
    responses={**errors(), 503: {"model": Ready, "description": "The users database has not answered yet"}},
    tags=["monitoring"],
)
async def ready(request: Request, response: Response) -> Ready:
    """Return whether the service can predict and check tokens.

    503 means that the database hasn't answered since the service started, so it can't check tokens. If the database
    fails later, the status stays 200: all replicas share it, and predictions don't need it.
    """
    access = access_of(request)
    if access.watch.failure is None:
        if access.watch.write_failure is None:
            return Ready(status="ready", database="ok")
        return Ready(status="degraded", database="read-only")
    if access.watch.known.revision >= 0:
        return Ready(status="degraded", database="down")
    response.status_code = 503
    return Ready(status="unready", database="down")
