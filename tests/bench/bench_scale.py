"""Measure what one request, worker, user and scrape costs, and derive what many need.

Example: python tests/bench/bench_scale.py --seconds 2

Takes less than a minute. Needs wrk, nginx and what `dvc repro` makes. Writes build/bench-scale.md; docs/scale.md has
the figures of a run, and the formulas.
"""

import argparse
import asyncio
import socket
import sys
import tempfile
import time
import tracemalloc
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import update

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run as a program, from wherever

from service import model  # noqa: E402
from service.auth.access import Access  # noqa: E402
from service.auth.watch import UNREAD, Snapshot, read_snapshot  # noqa: E402
from service.settings import Settings  # noqa: E402
from service.users.database import REVISION, Database  # noqa: E402
from tests.bench.bodies import make_records, make_rows, write_script  # noqa: E402
from tests.bench.load import flat_out, require_wrk  # noqa: E402
from tests.bench.report import BUILD  # noqa: E402
from tests.bench.servers import Server, Servers  # noqa: E402
from tests.proxy.conftest import proxying  # noqa: E402

SERVER_CORE, LOAD_CORE = "0", "1"
USERS, KEYS, TOKENS = 100_000, 10_000, 10_000
AUTHORIZATION: Final = b"authorization"
T = TypeVar("T")
Measured = Iterator[tuple[str, float, str]]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        found = [*_requests(options, Path(name)), *_users(Path(name))]
    lines = ["| what | measured |", "|---|---:|", *(f"| {what} | {value:,.4g} {unit} |" for what, value, unit in found)]
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench-scale.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))


def _requests(options: argparse.Namespace, folder: Path) -> Measured:
    """Measure requests of one row, the least of all rounds: the floor, the service, with a sampled log, and nginx."""
    path, parts = ROOT / "models/model.onnx", [folder / name for name in ("quiet", "loud")]
    for part in parts:
        part.mkdir()
    quiet, loud = (Servers(path, part) for part in parts)
    contract = model.load(path).contract
    records = make_records(contract, make_rows(contract, ROOT / "data/prepared/train.parquet"))
    with (
        quiet.floor(SERVER_CORE) as floor,
        quiet.service(SERVER_CORE, ACCESS_LOG_SAMPLE="0.01") as sampled,
        loud.service(SERVER_CORE) as service,
    ):
        token = loud.token(service)
        scripts = [
            write_script(parts[0], 1, records, quiet.token(sampled)),
            write_script(parts[1], 1, records, token),
        ]
        turns = [(floor, scripts[0]), (sampled, scripts[0]), (service, scripts[1])]
        rounds = [
            [1e6 / flat_out(*turn, options.seconds, LOAD_CORE)["per CPU second"] for turn in turns]
            for _ in range(options.rounds)
        ]
        each = [min(times) for times in zip(*rounds, strict=True)]
        yield "processor time of a request of one row at the floor, a FastAPI endpoint", each[0], "µs"
        yield "the same at the service", each[2], "µs"
        yield "the same with ACCESS_LOG_SAMPLE=0.01", each[1], "µs"
        log = (parts[1] / "log").read_bytes()
        yield "line of the access log", len(log) / log.count(b"\n"), "bytes"
        yield "request and answer, with headers", _size(service, scripts[1].with_suffix(".txt"), token), "bytes"
        yield from _scrape(service)
        yield "resident memory of a worker after this", service.resident, "MB"
        yield "processor time of a request at nginx, with TLS", _nginx(options, folder, service, scripts[1]), "µs"


def _size(service: Server, bodies: Path, token: str) -> float:
    body = bodies.read_bytes().splitlines()[0]
    head = ["POST /predict HTTP/1.1", f"Host: 127.0.0.1:{service.port}", "Content-Type: application/json"]
    head += [f"Authorization: Bearer {token}", f"Content-Length: {len(body)}", "Connection: close", "", ""]
    request = "\r\n".join(head).encode() + body
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(request)
        return len(request) + len(b"".join(iter(lambda: client.recv(65536), b"")))


def _scrape(service: Server) -> Measured:
    time.sleep(1.1)  # METRICS_SECONDS: what was rendered before is shared until then
    before = service.cpu_seconds
    url = service.url.replace("predict", "metrics")
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # ours
        lines = answer.read().splitlines(keepends=True)
    yield "scrape of a replica", sum(map(len, lines)) / 1e3, "kB"
    yield "series of a replica", sum(not line.startswith(b"#") for line in lines), ""
    yield "processor time of a scrape", (service.cpu_seconds - before) * 1e3, "ms"


def _nginx(options: argparse.Namespace, folder: Path, service: Server, script: Path) -> float:
    with proxying(folder / "proxy", f"127.0.0.1:{service.port}") as proxy:
        server = Secure(proxy.port, proxy.process.pid)
        return 1e6 / flat_out(server, script, options.seconds, LOAD_CORE)["per CPU second"]


class Secure(Server):
    """nginx with TLS in front of a service."""

    @property
    def url(self) -> str:
        """Return the URL of predictions."""
        return super().url.replace("http", "https")


def _users(folder: Path) -> Measured:
    """Measure what a worker keeps of users, keys and tokens, and what it reads of them."""
    given = {"secret_key": "x" * 32, "database_url": f"sqlite:///{folder / 'many.db'}", "token_cache_size": TOKENS}
    settings = Settings.model_validate(given)
    access = Access(settings)
    with closing(access.database) as database:
        access.accounts.prepare()
        _insert(database, USERS, "users VALUES ('user' || ?1, '', 'predict', FALSE, ?1, '2026-01-02')")
        known, of_users, seconds = _measure(lambda: read_snapshot(database))
        yield "a user in the memory of a worker", of_users / USERS, "bytes"
        yield "first read of 1,000 users", seconds / USERS * 1e6, "ms"
        _insert(database, KEYS, "api_keys VALUES ('key' || ?1, 'digest' || ?1, 'predict', '2026-01-02', NULL, NULL)")
        known, of_both, seconds = _measure(lambda: read_snapshot(database))
        yield "a key in the memory of a worker", (of_both - of_users) / KEYS, "bytes"
        access.accounts.disable("user7", force=True)
        _, _, seconds = _measure(lambda: read_snapshot(database, known or UNREAD))
        yield f"read of one change among {USERS:,} users and {KEYS:,} keys", seconds * 1e3, "ms"
    headers = [_bearer(access, revision) for revision in range(1, TOKENS + 1)]
    made, size, seconds = _measure(lambda: asyncio.run(_authenticate(Access(settings), headers)))
    yield "a verified token in the cache", size / TOKENS + len(headers[-1][AUTHORIZATION]) + 33, "bytes"
    yield "processor time of verifying a token", seconds / TOKENS * 1e6, "µs"
    # A header comes as new bytes each time, so their hash is computed each time.
    again = [{AUTHORIZATION: b"Bearer" + each[AUTHORIZATION][6:]} for each in headers]
    _, _, seconds = _measure(lambda: asyncio.run(_authenticate(made, again)))
    yield "processor time of finding a token in the cache", seconds / TOKENS * 1e6, "µs"


def _insert(database: Database, count: int, values: str) -> None:
    with database.writing() as session:
        rows = [(number,) for number in range(1, count + 1)]
        session.connection().exec_driver_sql(f"INSERT INTO {values}", rows)
        session.execute(update(REVISION).values(value=REVISION.c.value + count))


def _bearer(access: Access, revision: int) -> dict[bytes, bytes]:
    return {AUTHORIZATION: b"Bearer " + access.tokens.issue(f"user{revision}", ["predict"], revision)[0].encode()}


async def _authenticate(access: Access, requests: list[dict[bytes, bytes]]) -> Access:
    """Return the access of a worker once it has verified all requests."""
    access.watch.known = Snapshot(0)
    for headers in requests:
        await access.callers.authenticate(headers, "predict")
    return access


def _measure(function: Callable[[], T]) -> tuple[T, int, float]:
    """Return what a function returns, how many bytes it leaves in memory, and its least processor time in seconds."""
    times = []
    for _ in range(3):
        began = time.process_time()
        function()
        times.append(time.process_time() - began)
    tracemalloc.start()
    result = function()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return result, size, min(times)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    require_wrk()
    return parser.parse_args()


if __name__ == "__main__":
    main()
