"""Manage users and API keys from the command line: ``python -m service.users``.

You can run it while the service runs; its workers notice a change within 5 seconds. It uses the same database as the
service: DATABASE_URL in the environment or .env.

Example: python -m service.users add anna --scope predict
"""

import argparse
import contextlib
import getpass
import re
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from service.settings import Settings, SettingsError
from service.users.accounts import Accounts, ApiKeys
from service.users.database import Account, ApiKey, Database, DatabaseDownError, DatabaseUrlError
from service.users.passwords import Passwords
from service.users.rules import SCOPES, AccountError, LastAdminError

_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a user's mistake becomes one line on stderr and exit status 1."""
    asked = _parser().parse_args(arguments)
    try:
        settings = Settings.load(secret_key=secrets.token_hex(32))  # any value: these commands sign nothing
        with contextlib.closing(Database(settings.database_url.get_secret_value())) as database:
            accounts = Accounts(database, Passwords(settings))
            accounts.prepare()
            lines = _run_key(asked, ApiKeys(database)) if asked.command == "key" else _run(asked, accounts)
        sys.stdout.writelines(f"{line}\n" for line in lines)
    except LastAdminError as error:
        raise SystemExit(f"users: error: {error}, or use --force") from None
    except DatabaseDownError as error:
        raise SystemExit(f"users: error: {error}; is it the users database that DATABASE_URL names?") from None
    except (AccountError, DatabaseUrlError, SettingsError) as error:
        raise SystemExit(f"users: error: {error}") from None
    except (EOFError, KeyboardInterrupt):
        raise SystemExit("users: error: interrupted, nothing was changed") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service.users", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(group: Any, name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = group.add_parser(
            name, help=text, description=text.capitalize() + ".", parents=parents
        )
        return added

    user, force, key = (argparse.ArgumentParser(add_help=False) for _ in range(3))
    user.add_argument("username")
    force.add_argument("--force", action="store_true", help="even the last admin")
    key.add_argument("name")
    add = command(commands, "add", "add a user; it asks for the password, or reads it from stdin", user)
    add.add_argument("--scope", action="append", choices=SCOPES, help="may be repeated; default: predict")
    command(commands, "disable", "revoke a user's tokens and refuse new ones", user, force)
    command(commands, "enable", "let a disabled user get tokens again", user)
    command(commands, "passwd", "change a password and revoke the user's tokens", user)
    command(commands, "remove", "remove a user and revoke the tokens", user, force)
    command(commands, "list", "list the users")
    command(commands, "migrate", "only bring the database up to date, as every command does first")
    keys = command(commands, "key", "manage API keys").add_subparsers(dest="key_command", required=True)
    add = command(keys, "add", "add a key and print it; it can't be shown again", key)
    add.add_argument("--scopes", nargs="+", choices=SCOPES, default=["predict"], help="default: predict")
    expires = "12h, 90d (the default), 52w or never"
    add.add_argument("--expires", type=_lifetime, default="90d", metavar="TIME", help=expires)
    command(keys, "list", "list the keys and when each was last used")
    command(keys, "revoke", "delete a key", key)
    return parser


def _lifetime(text: str) -> timedelta | None:
    found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text, re.ASCII)
    if found:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    if text != "never":
        raise argparse.ArgumentTypeError(f"expected a time such as 12h, 90d, 52w, or never, not {text!r}")
    return None


def _run(asked: argparse.Namespace, accounts: Accounts) -> list[str]:  # noqa: PLR0911  # one for each command
    """Run a command about users; return the lines to print."""
    match asked.command:
        case "list":
            return _table(("user", "scopes", "state", "since"), *map(_user_row, accounts.list()))
        case "add":
            account = accounts.add(asked.username, _password(), asked.scope or ["predict"])
            return [f"added {account.username} with scopes {_join(account.scopes)}"]
        case "passwd":
            accounts.set_password(asked.username, _password())
            return [f"changed the password of {asked.username} and revoked earlier tokens"]
        case "enable":
            accounts.enable(asked.username)
            return [f"enabled {asked.username}"]
        case "disable":
            accounts.disable(asked.username, force=asked.force)
            return [f"disabled {asked.username} and revoked earlier tokens"]
        case "remove":
            accounts.remove(asked.username, force=asked.force)
            return [f"removed {asked.username} and revoked earlier tokens"]
    return []


def _run_key(asked: argparse.Namespace, keys: ApiKeys) -> list[str]:
    """Run a command about keys; return the lines to print. For a new key that is only the key."""
    match asked.key_command:
        case "add":
            text, key = keys.add(asked.name, asked.scopes, asked.expires)
            until = f"until {_day(key.expires_at)}" if key.expires_at else "until you revoke it"
            print(  # noqa: T201  # on stderr, so that KEY=$(…) is only the key
                f"added {key.name} with scopes {_join(key.scopes)}, valid {until}; the key isn't shown again:",
                file=sys.stderr,
            )
            return [text]
        case "revoke":
            keys.revoke(asked.name)
            return [f"revoked {asked.name}; workers refuse it within 5 s"]
        case _:
            return _table(("key", "scopes", "since", "expires", "last used"), *map(_key_row, keys.list()))


def _user_row(user: Account) -> tuple[str, ...]:
    return user.username, _join(user.scopes), "disabled" if user.disabled else "active", _day(user.created_at)


def _key_row(key: ApiKey) -> tuple[str, ...]:
    expires = _day(key.expires_at) if key.expires_at else "never"
    if key.expires_at and key.expires_at <= datetime.now(UTC):
        expires += " (expired)"
    used = f"{key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "never"
    return key.name, _join(key.scopes), _day(key.created_at), expires, used


def _password() -> str:
    """Ask twice without echo if stdin is a terminal; otherwise read its first line. Raises AccountError."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("Again: "):
        raise AccountError("the two passwords differ; nothing was changed")
    return password


def _table(*rows: tuple[str, ...]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _join(scopes: frozenset[str]) -> str:
    return " ".join(sorted(scopes))


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


if __name__ == "__main__":
    main()
