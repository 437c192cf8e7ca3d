"""GET /health/live and /health/ready: whether the process answers, and whether it can predict and check tokens."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.auth.access import access_of
from service.routes.errors import errors

router = APIRouter(tags=["operation"], prefix="/health")


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """The state of the model and the database."""

    status: Literal["ready", "degraded", "unready"]
    """degraded: the service predicts, but if the users database is down, nobody gets a new token, and if it is
    read-only, users and feedback can't change."""
    model: Literal["ok"] = "ok"
    database: Literal["ok", "read-only", "down"]


@router.get("/live", responses=errors())
async def live() -> Live:
    """Return 200 while the process answers."""
    return Live()


@router.get(
    "/ready", responses={**errors(), 503: {"model": Ready, "description": "The users database has not answered yet"}}
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
