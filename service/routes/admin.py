"""/admin/users: manage users, with the scope `admin`. Only the command line can force a change of the last admin."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final, Literal, TypeVar

from fastapi import APIRouter, Request, Security
from pydantic import BaseModel, BeforeValidator, Field

from service.auth.access import access_of, authenticate, run_in_turn
from service.http.exchange import read_form
from service.http.problems import Problem
from service.routes.openapi import BODY, errors, request_body
from service.users.accounts import Accounts
from service.users.database import Account
from service.users.rules import AccountError, LastAdminError, UnknownUserError, UserExistsError

ANSWER_SECONDS: Final = 10.0
T = TypeVar("T")
Password = Annotated[str, Field(min_length=8, max_length=1024, json_schema_extra={"format": "password"})]


class User(BaseModel):
    """A user."""

    username: str
    scopes: Annotated[list[str], BeforeValidator(sorted)]
    disabled: bool
    created_at: datetime


class NewUser(BaseModel, extra="forbid"):
    """A user to add."""

    username: Annotated[str, Field(min_length=1, max_length=64)]
    password: Password
    scopes: Annotated[list[Literal["predict", "admin"]], Field(min_length=1)] = ["predict"]


class NewPassword(BaseModel, extra="forbid"):
    """A password to set."""

    password: Password


_UNKNOWN: Final = {404: "There is no such user"}
_LAST: Final = errors(422, also={**_UNKNOWN, 409: "The user is the last admin"})

router = APIRouter(
    prefix="/admin/users",
    tags=["administration"],
    dependencies=[Security(authenticate, scopes=["admin"])],
    responses=errors(401, 403, 429, 503),
)


@router.get("", response_model=list[User])
async def list_users(request: Request) -> list[Account]:
    """List the users by name."""
    return await _run(request, lambda accounts: accounts.list())


@router.post(
    "",
    status_code=201,
    response_model=User,
    openapi_extra=request_body(NewUser),
    responses=errors(*BODY, also={409: "The name is taken"}),
)
async def add_user(request: Request) -> Account:
    """Add a user."""
    new = await read_form(request, NewUser)
    return await _run(request, lambda accounts: accounts.add(new.username, new.password, new.scopes))


@router.put(
    "/{username:path}/password",
    status_code=204,
    openapi_extra=request_body(NewPassword),
    responses=errors(*BODY, also=_UNKNOWN),
)
async def set_password(request: Request, username: str) -> None:
    """Change a user's password and revoke the user's tokens."""
    new = await read_form(request, NewPassword)
    await _run(request, lambda accounts: accounts.set_password(username, new.password))


@router.post("/{username:path}/disable", status_code=204, responses=_LAST)
async def disable_user(request: Request, username: str) -> None:
    """Disable a user and revoke the user's tokens."""
    await _run(request, lambda accounts: accounts.disable(username))


@router.post("/{username:path}/enable", status_code=204, responses=errors(422, also=_UNKNOWN))
async def enable_user(request: Request, username: str) -> None:
    """Enable a disabled user."""
    await _run(request, lambda accounts: accounts.enable(username))


@router.delete("/{username:path}", status_code=204, responses=_LAST)
async def remove_user(request: Request, username: str) -> None:
    """Remove a user and revoke the user's tokens."""
    await _run(request, lambda accounts: accounts.remove(username))


async def _run(request: Request, function: Callable[[Accounts], T]) -> T:
    """Run `function` in the thread for administration. Raises Problem: 404, 409 or 422 for a broken rule."""
    access = access_of(request)
    try:
        return await run_in_turn(access.administration, lambda: function(access.accounts), ANSWER_SECONDS)
    except AccountError as error:
        status = 404 if isinstance(error, UnknownUserError) else 422
        if isinstance(error, UserExistsError | LastAdminError):
            status = 409
        text = str(error)  # in lower case, because on the command line it follows a colon
        raise Problem(status, text[:1].upper() + text[1:]) from None
