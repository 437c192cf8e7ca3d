"""Users over HTTP, for those whose token has the scope `admin`: what the command line does, but for force."""

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from service.auth.access import access_of, authenticate
from service.http.problems import Problem
from service.routes.token import read_struct
from service.threads import BusyError
from service.users.database_url import DatabaseDownError
from service.users.rules import Account, AccountError, LastAdminError, UnknownUserError, UserExistsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.users.accounts import Accounts

_log = logging.getLogger(__name__)
ANSWER_SECONDS: Final = 10.0
T = TypeVar("T")
Read = TypeVar("Read", bound="NewUser | NewPassword")


class User(BaseModel):
    """A user as administrators see one."""

    username: str
    scopes: list[str]
    disabled: bool
    created_at: datetime


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """A user to be."""

    username: str
    password: str
    scopes: list[str] = msgspec.field(default_factory=lambda: ["predict"])


class NewPassword(msgspec.Struct, forbid_unknown_fields=True):
    """The password to come."""

    password: str


async def admin(request: Request) -> None:
    """Let nobody pass whose token lacks the scope `admin`."""
    authenticate(request, "admin")


def _body(schema: dict[str, Any], **properties: Any) -> dict[str, Any]:
    described = {"type": "object", "additionalProperties": False, "properties": properties, **schema}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": described}}},
        "security": _SECURITY,
    }


_SECURITY: Final = [{"token": ["admin"]}]
_PASSWORD: Final = {"type": "string", "format": "password", "minLength": 8, "maxLength": 1024}
_NEW_PASSWORD: Final = _body({"required": ["password"]}, password=_PASSWORD)
_NEW_USER: Final = _body(
    {"required": ["username", "password"]},
    username={"type": "string", "minLength": 1, "maxLength": 64},
    password=_PASSWORD,
    scopes={
        "type": "array",
        "items": {"type": "string", "enum": ["predict", "admin"]},
        "minItems": 1,
        "default": ["predict"],
    },
)
_COMMON: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "No token, or one that doesn't count"},
    403: {"description": "The token lacks the scope admin"},
    503: {"description": "The users database is down"},
}
_UNKNOWN: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "There is no such user"}}
_LAST: Final[dict[int | str, dict[str, Any]]] = {409: {"description": "The user is the last admin"}}
_TAKES_BODY: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "The body is not JSON, or broke off"},
    408: {"description": "The body was too slow"},
    413: {"description": "The body is too large"},
    415: {"description": "The body isn't JSON by its content type"},
    422: {"description": "The body breaks a rule"},
}
_OPEN: Final = {"security": _SECURITY}

router = APIRouter(prefix="/admin/users", tags=["users"], dependencies=[Depends(admin)], responses=_COMMON)


@router.get("", openapi_extra=_OPEN)
async def list_users(request: Request) -> list[User]:
    """List the users by name."""
    return [_user(account) for account in await _run(request, lambda accounts: accounts.list())]


@router.post(
    "",
    status_code=201,
    openapi_extra=_NEW_USER,
    responses={**_TAKES_BODY, 409: {"description": "The name is taken"}},
)
async def add_user(request: Request) -> User:
    """Add a user."""
    new = await read_struct(request, NewUser)
    return _user(await _run(request, lambda accounts: accounts.add(new.username, new.password, new.scopes)))


@router.put(
    "/{username:path}/password", status_code=204, openapi_extra=_NEW_PASSWORD, responses={**_TAKES_BODY, **_UNKNOWN}
)
async def set_password(request: Request, username: str) -> None:
    """Change a password; tokens given before end."""
    new = await read_struct(request, NewPassword)
    await _run(request, lambda accounts: accounts.set_password(username, new.password))


@router.post("/{username:path}/disable", status_code=204, openapi_extra=_OPEN, responses={**_UNKNOWN, **_LAST})
async def disable_user(request: Request, username: str) -> None:
    """End a user's tokens and give no new ones."""
    await _run(request, lambda accounts: accounts.disable(username))


@router.post("/{username:path}/enable", status_code=204, openapi_extra=_OPEN, responses=_UNKNOWN)
async def enable_user(request: Request, username: str) -> None:
    """Let a disabled user ask for tokens again."""
    await _run(request, lambda accounts: accounts.enable(username))


@router.delete("/{username:path}", status_code=204, openapi_extra=_OPEN, responses={**_UNKNOWN, **_LAST})
async def remove_user(request: Request, username: str) -> None:
    """Remove a user; tokens given before end."""
    await _run(request, lambda accounts: accounts.remove(username))


def _user(account: Account) -> User:
    return User(
        username=account.username,
        scopes=sorted(account.scopes),
        disabled=account.disabled,
        created_at=account.created_at,
    )


async def _run(request: Request, function: "Callable[[Accounts], T]") -> T:
    """Run in the thread for administration; a broken rule becomes a problem."""
    access = access_of(request)
    try:
        return await access.administration.run(lambda: function(access.accounts), ANSWER_SECONDS)
    except UnknownUserError as error:
        raise Problem(404, _sentence(error)) from None
    except (UserExistsError, LastAdminError) as error:
        raise Problem(409, _sentence(error)) from None
    except AccountError as error:
        raise Problem(422, _sentence(error)) from None
    except (DatabaseDownError, TimeoutError, BusyError) as error:
        raise no_answer(error) from None


def no_answer(error: Exception) -> Problem:
    """Log why the users database was of no use, which only its owner should know; give what the caller is told."""
    _log.warning("the users database took or gave nothing: %s", str(error) or type(error).__name__)
    return Problem(503, "The users database gives no answer", headers={"Retry-After": "2"})


def _sentence(error: Exception) -> str:
    """Begin with a capital; on the command line the same text stands behind a colon."""
    text = str(error)
    return text[:1].upper() + text[1:]
