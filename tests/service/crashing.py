"""``python -m tests.service.crashing``: the service, with handlers that fail in the midst of what is secret."""

import sys
from typing import Any, NoReturn

from service.inputs.rows import RowReader
from service.serve import run
from service.users.accounts import Accounts

CRASH = b"crash"
"""What makes a login, as its user name, or a prediction, anywhere in its body, fail."""


def crash(name: str, password: str) -> NoReturn:
    held = [name, password]
    raise RuntimeError(f"a bug that nobody foresaw, with {len(held)} values at hand")


def main_with_bugs() -> int:
    login, read = Accounts.check, RowReader.read_request

    def crashing_login(self: Accounts, username: str, password: str) -> Any:
        return crash(username, password) if username.encode() == CRASH else login(self, username, password)

    def crashing_read(self: RowReader, body: bytes, limit: int) -> Any:
        return crash(body.decode(), "") if CRASH in body else read(self, body, limit)

    Accounts.check, RowReader.read_request = crashing_login, crashing_read  # type: ignore[method-assign]  # the bugs
    return run()


if __name__ == "__main__":
    sys.exit(main_with_bugs())
