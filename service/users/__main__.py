"""Manage the users of the service from the command line: ``python -m service.users``.

Works while the service runs; its workers notice within seconds. The database is the one that the service uses:
DATABASE_URL of the environment or .env.
"""

import argparse
import contextlib
import getpass
import os
import secrets
import sys
from collections.abc import Sequence

from service.settings import Settings, SettingsError
from service.users.accounts import Accounts
from service.users.database import Database
from service.users.database_url import DatabaseDownError, DatabaseUrlError
from service.users.passwords import Passwords
from service.users.rules import SCOPES, Account, AccountError, LastAdminError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a user's mistake becomes one line on stderr and exit status 1."""
    asked = _parser().parse_args(arguments)
    where = "DATABASE_URL"
    try:
        settings = _settings()
        with contextlib.closing(Database(settings.database_url.get_secret_value())) as database:
            where = database.where
            accounts = Accounts(database, Passwords(settings))
            accounts.migrate()
            _run(asked, accounts)
    except LastAdminError as error:
        raise SystemExit(f"users: error: {error}, or use --force") from None
    except DatabaseDownError as error:
        raise SystemExit(f"users: error: {where}: {error}; is it the users database that DATABASE_URL names?") from None
    except (AccountError, DatabaseUrlError, SettingsError) as error:
        raise SystemExit(f"users: error: {error}") from None
    except OSError as error:
        # What stdout did not take it would be offered once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        seen_enough = isinstance(error, BrokenPipeError)  # whoever read the list
        raise SystemExit(1 if seen_enough else f"users: error: stdout: {error.strerror}") from None
    except (EOFError, KeyboardInterrupt):
        raise SystemExit("users: error: interrupted, nothing was changed") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.users", description="Manage the service's users.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the users")
    commands.add_parser("migrate", help="bring the database up to date, as every command does first, and end")
    for name, says in {
        "add": "add a user; the password is asked for, or read from stdin",
        "disable": "end a user's tokens and refuse new ones",
        "enable": "let a disabled user ask for tokens again",
        "passwd": "change a password and end the tokens given for the old one",
        "remove": "remove a user and end the tokens",
    }.items():
        command = commands.add_parser(name, help=says, description=says.capitalize() + ".")
        command.add_argument("username")
        if name == "add":
            command.add_argument("--scope", action="append", choices=SCOPES, help="may be repeated; default: predict")
        if name in {"disable", "remove"}:
            command.add_argument("--force", action="store_true", help="even the last admin")
    return parser


def _settings() -> Settings:
    # Users are managed without the key that signs tokens; any will do.
    return Settings.load(secret_key=secrets.token_hex(32))


def _run(asked: argparse.Namespace, accounts: Accounts) -> None:
    match asked.command:
        case "list":
            _say(*_table(accounts.list()))
            return
        case "migrate":
            return
        case "add":
            account = accounts.add(asked.username, _password(), asked.scope or ["predict"])
            _say(f"added {account.username} with scopes {_scopes(account)}")
        case "passwd":
            accounts.set_password(asked.username, _password())
            _say(f"changed the password of {asked.username}; tokens given before end")
        case "enable":
            accounts.enable(asked.username)
            _say(f"enabled {asked.username}")
        case "disable":
            accounts.disable(asked.username, force=asked.force)
            _say(f"disabled {asked.username}; tokens given before end")
        case "remove":
            accounts.remove(asked.username, force=asked.force)
            _say(f"removed {asked.username}; tokens given before end")


def _password() -> str:
    """Ask twice without echo on a terminal, else read the first line of stdin."""
    if sys.stdin is None:  # closed
        raise AccountError("stdin is closed; the password is read from there")
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("Again: "):
        raise AccountError("the two passwords differ; nothing was changed")
    return password


def _table(accounts: Sequence[Account]) -> list[str]:
    rows = [("user", "scopes", "state", "since")]
    rows += [
        (each.username, _scopes(each), "disabled" if each.disabled else "active", f"{each.created_at:%Y-%m-%d}")
        for each in accounts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _scopes(account: Account) -> str:
    return " ".join(sorted(account.scopes))


def _say(*lines: str) -> None:
    text, encoding = "".join(f"{line}\n" for line in lines), sys.stdout.encoding
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
