"""Whether the process lives, and whether it can do all it should."""

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
    """What is needed, and whether it is there."""

    status: Literal["ready", "degraded", "unready"]
    """degraded: predictions go on; without the users database nobody gets a new token, and where it is read-only
    users and feedback cannot change."""
    model: Literal["ok"] = "ok"
    database: Literal["ok", "read-only", "down"]


@router.get("/live", responses=errors())
async def live() -> Live:
    """Answer as long as the process does."""
    return Live()


@router.get(
    "/ready", responses={**errors(), 503: {"model": Ready, "description": "The users database never answered yet"}}
)
async def ready(request: Request, response: Response) -> Ready:
    """Tell whether predictions and tokens can be had.

    All copies of the service share one database. Were they unready without it, a load balancer would take every
    one away, and predictions with them, which need none: so 503 says that no token can be checked at all.
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
