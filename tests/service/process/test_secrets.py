"""No secret is shown: in a log, an answer, an error at the start, or a traceback."""

import contextlib
import io
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest

from service import serve
from service.users.__main__ import main as users
from tests.service.artifacts import SECRET, Root, written
from tests.service.processes import ADMIN, BODY, Service, environment, fails, free_port, running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("secrets")]

USER = {"username": "bert", "password": "bert's staple"}
WRONG = "no staple of bert"
PREVIOUS = "the-secret-before-of-32-bytes-or-more"
OF_DATABASE = "pass-of-database"
AWS = {"AWS_ACCESS_KEY_ID": "AKIDNOTTOBETOLD", "AWS_SECRET_ACCESS_KEY": "aws-secret-not-to-be-shown"}
SECRETS = [SECRET, PREVIOUS, ADMIN["password"], USER["password"], WRONG, OF_DATABASE, *AWS.values(), "$argon2"]


def leaked(text: str, *more: str) -> list[str]:
    return [secret for secret in [*SECRETS, *more] if secret in text]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return written(tmp_path_factory.mktemp("served"))


def shown(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.headers} {answer.text}"


def use(service: Service) -> tuple[list[httpx.Response], list[str]]:
    """Do everything that has to do with secrets, right and wrong; give the answers but for tokens, and the tokens."""
    client = service.client
    added = client.post("/admin/users", json=USER)
    token = client.post("/token", data=USER).json()["access_token"]
    bert = {"Authorization": f"Bearer {token}"}
    answers = [
        added,
        client.get("/admin/users"),
        client.post("/admin/users", json=USER),
        client.post("/admin/users", json={**USER, "password": [WRONG]}),
        client.post("/admin/users", content=f'{{"password": "{WRONG}'.encode(), headers={"Content-Type": "text/csv"}),
        client.put("/admin/users/nobody/password", json={"password": WRONG}),
        client.post("/token", data=USER | {"password": WRONG}),
        client.post("/token", data=USER | {"username": WRONG}),
        client.post("/token", data=USER | {"scope": "admin"}),
        client.post("/token", data={"password": [WRONG, WRONG], "username": "bert"}),
        client.post("/token", json=USER),
        client.post("/token", data=USER | {"username": "crash"}),
        client.post("/predict", json=BODY, headers=bert),
        client.post(f"/predict?token={token}", json={"password": USER["password"]}, headers=bert),
        client.post("/predict", json={"crash": 1}, headers=bert),
        client.post("/predict", json=BODY, headers={"Authorization": f"Bearer {token}x"}),
        client.get("/admin/users", headers=bert),
        client.get("/openapi.json"),
        client.get("/model-info"),
        client.get("/metrics"),
    ]
    return answers, [token, client.headers["Authorization"].removeprefix("Bearer ")]


def spoil(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("ALTER TABLE users RENAME TO gone")


@pytest.fixture(scope="module", params=["json", "text"])
def used(root: Root, request: pytest.FixtureRequest) -> Iterator[tuple[list[httpx.Response], list[str], str]]:
    """Return the answers of a service under all kinds of errors, its tokens, and its log."""
    database = root.folder / f"{request.param}.db"
    changes = {"DATABASE_URL": f"sqlite:///{database}", "LOG_FORMAT": request.param, "SECRET_KEY_PREVIOUS": PREVIOUS}
    with running(root, "tests.service.crashing", **changes, **AWS) as service:
        answers, tokens = use(service)
        spoil(database)
        answers += [service.client.post("/token", data=USER), service.client.get("/admin/users")]
        wait_for(lambda: "database is down" in service.output(), "the warning")
        service.stop()
        yield answers, tokens, service.output()


def test_the_trouble_was_met(used: tuple[list[httpx.Response], list[str], str]) -> None:
    answers, _, log = used
    statuses = {answer.status_code for answer in answers}
    assert {200, 201, 400, 401, 403, 404, 409, 415, 422, 500, 503} <= statuses
    assert log.count("RuntimeError: a bug that nobody foresaw, with 2 values at hand") == 2


def test_no_answer_contains_a_secret(used: tuple[list[httpx.Response], list[str], str]) -> None:
    answers, tokens, _ = used
    assert [leaked(shown(answer), *tokens) for answer in answers] == [[]] * len(answers)


def test_no_line_of_the_log_contains_a_secret(used: tuple[list[httpx.Response], list[str], str]) -> None:
    _, tokens, log = used
    assert leaked(log, *tokens) == []


BAD_DATABASES = [
    {"DATABASE_URL": f"postgresql://u:{OF_DATABASE}@127.0.0.1:port/x"},
    {"DATABASE_URL": f"mysql://u:{OF_DATABASE}@127.0.0.1/x"},
    {"DATABASE_URL": f"postgresql://u:{OF_DATABASE}@[::1/x"},
    {"DATABASE_URL": f"u:{OF_DATABASE}@127.0.0.1"},
]
BAD_SETTINGS = [
    {"SECRET_KEY": SECRET[:31]},
    {"SECRET_KEY_PREVIOUS": PREVIOUS[:20]},
    {"SECRET_KEY": SECRET, "SECRET_KEY_FILE": "/dev/null"},
    {"PORT": SECRET},
    {"LOG_FORMAT": ADMIN["password"]},
]
"""Refused before the service does anything, so that it can be started in this process."""
BAD_START = [BAD_DATABASES[0], {"ADMIN_PASSWORD": "Qx7!"}, {"ADMIN_USERNAME": ""}]


def run_here(command: Callable[[], int | None], root: Root, stdin: str = "", **changes: str) -> tuple[int, str]:
    """Run a command in this process, which saves the start of another one; return exit status and output."""
    output = io.StringIO()
    variables = patch.dict(os.environ, environment(root, free_port(), **changes) | changes, clear=True)
    printed = contextlib.redirect_stdout(output), contextlib.redirect_stderr(output)
    with variables, patch("sys.stdin", io.StringIO(stdin)), printed[0], printed[1]:
        try:
            return command() or 0, output.getvalue()
        except SystemExit as ended:
            return 1, f"{output.getvalue()}{ended.code}\n"


@pytest.mark.parametrize("change", [*BAD_SETTINGS, *BAD_START], ids="-".join)
def test_a_bad_setting_is_named_and_not_shown(root: Root, tmp_path: Path, change: dict[str, str]) -> None:
    secrets = [*change.values()] if "_FILE" not in str(change) else []
    changes = {"DATABASE_URL": f"sqlite:///{tmp_path / 'users.db'}", **change}
    status, output = fails(root, **changes) if change in BAD_START else run_here(serve.run, root, **changes)
    *_, line = output.splitlines()
    assert (status, line[:7], next(iter(change)) in line, "Traceback" in output) == (1, "error: ", True, False)
    assert leaked(output, *filter(None, secrets)) == []


def manage(root: Root, *arguments: str, stdin: str = "", **changes: str) -> tuple[int, str]:
    return run_here(lambda: users(arguments), root, stdin, **changes)


def test_the_command_line_for_users_shows_no_secret(root: Root, tmp_path: Path) -> None:
    at = {"DATABASE_URL": f"sqlite:///{tmp_path / 'users.db'}"}
    done = [
        manage(root, "add", "bert", stdin=USER["password"], **at),
        manage(root, "add", "bert", stdin=USER["password"], **at),
        manage(root, "passwd", "bert", stdin=WRONG, **at),
        manage(root, "passwd", "bert", stdin=WRONG * 80, **at),
        manage(root, "list", **at),
        *[manage(root, "list", **{**at, **change}) for change in BAD_DATABASES],
        manage(root, "list", DATABASE_URL=f"postgresql://u:{OF_DATABASE}@127.0.0.1:1/x"),
    ]
    assert [status for status, _ in done] == [0, 1, 0, 1, 0, 1, 1, 1, 1, 1]
    assert leaked("".join(output for _, output in done)) == []
    assert "Traceback" not in "".join(output for _, output in done)


def test_a_database_that_is_down_is_reported_without_its_password(root: Root) -> None:
    service = Service(root, DATABASE_URL=f"postgresql://u:{OF_DATABASE}@127.0.0.1:1/x")
    try:
        wait_for(lambda: "the users database is down" in service.output(), "the warning", 20)
        answers = [service.client.post("/token", data=ADMIN), service.client.get("/health/ready")]
    finally:
        service.close()
    assert [answer.status_code for answer in answers] == [503, 503]
    assert leaked(service.output() + "".join(map(shown, answers))) == []


def test_what_processes_show_of_themselves_is_no_secret(root: Root) -> None:
    with running(root, WORKERS="2") as service:
        lines = [
            Path(f"/proc/{each}/cmdline").read_text(encoding="utf-8")
            for each in [service.process.pid, *service.workers()]
        ]
    assert len(lines) == 3
    assert leaked("".join(lines)) == []
