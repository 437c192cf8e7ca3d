"""Send wrong requests to the real service behind its proxy: ``python -m tests.fuzz.fuzz --minutes 20``.

All requests stay on loopback. An input that gets an answer it must not get is kept below build/fuzz/;
``python -m tests.fuzz.fuzz --replay FILE`` sends it again.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from urllib.parse import quote_from_bytes

import httpx

from service import model
from tests.fuzz import mutations, oracle
from tests.fuzz.oracle import Finding
from tests.proxy.conftest import Proxy, proxying
from tests.service.artifacts import SECRET, Root, onnx_bytes
from tests.service.processes import ADMIN, Service, running

ROOT = Path(__file__).parents[2]
FOUND = ROOT / "build/fuzz"
BATCH = 200
SEND_SECONDS = 0.3
"""Timeout of a raw connection in seconds; some requests get no answer."""
GROWTH_MEGABYTES = 15.0
PATHS = [b"/predict", b"/metrics", b"/health/ready", b"/token", b"/../predict", b"*", b"/%00"]
METHODS = [b"POST", b"POST", b"GET", b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE", b"post"]
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


class Fuzzer:
    """Sends wrong requests of many kinds and checks the answers."""

    def __init__(self, service: Service, proxy: Proxy, seed: int) -> None:
        self.service, self.proxy, self.random = service, proxy, Random(seed)
        self.contract = model.load(service.root.model).contract
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.authorization = service.client.headers["Authorization"]
        self.client = proxy.client(timeout=30, headers={"Authorization": self.authorization})
        self._read_to = 0
        self._workers = set(service.workers())
        self._right = json.dumps({"instances": [mutations.row(Random(0), self.contract) for _ in range(3)]}).encode()
        self._answer = self._predict(self._right)
        self._name = json.loads(self._answer)["model"]["name"]
        self.kinds: dict[str, Callable[[], object]] = {
            "json": lambda: self._table(JSON),
            "ndjson": lambda: self._table("application/x-ndjson"),
            "csv": lambda: self._table("text/csv"),
            "query": self._query,
            "v2": self._tensors,
            "raw": self._raw,
            "login": self._login,
        }

    def batch(self) -> None:
        """Send some requests of each kind, then check that the service still works."""
        for _ in range(BATCH):
            name = self.random.choice([*self.kinds, "json", "csv", "raw"])
            self.counts[name] += 1
            self.kinds[name]()
        if self._predict(self._right) != self._answer:
            raise Finding("a right request has another answer than before")
        if set(self.service.workers()) != self._workers:
            raise Finding("a worker was restarted")
        with self.service.log.open(encoding="utf-8") as log:
            log.seek(self._read_to)
            text = log.read()
        whole = text[: text.rfind("\n") + 1]
        self._read_to += len(whole.encode())
        oracle.check_log(whole, [SECRET, ADMIN["password"], self.authorization.rpartition(".")[2]])

    def megabytes(self) -> float:
        """Return the resident memory of the largest worker."""
        status = [Path(f"/proc/{pid}/status").read_text(encoding="utf-8") for pid in self._workers]
        return max(int(text.partition("VmRSS:")[2].split()[0]) / 1000 for text in status)

    def replay(self, content: bytes) -> None:
        """Send a saved input again; its first line describes the rest."""
        name, _, content = content.partition(b"\n")
        if name == b"raw":
            oracle.check_raw(self._send(content))
        else:
            path, _, media = name.decode().partition(" ")
            self._post(path, content, media)

    def _rows(self) -> list[mutations.Row]:
        return [mutations.row(self.random, self.contract) for _ in range(self.random.choice([1, 1, 2, 5, 300]))]

    def _table(self, media: str) -> None:
        content, other = (mutations.tables(self._rows())[media] for _ in range(2))
        if media == JSON and self.random.random() < 0.5:
            self._post("/predict", mutations.respell(self.random, content), media)
        else:
            self._post("/predict", mutations.mutate(self.random, content, other), media)

    def _query(self) -> None:
        query = mutations.mutate(self.random, b"ids=true&explain=true", b"explain=1&explain=false&coverage=0.9")
        self._post(f"/predict?{quote_from_bytes(query, safe='=&?;+%')}", self._right, JSON)

    def _tensors(self) -> None:
        content, other = (mutations.tensors(self.contract, self._rows()) for _ in range(2))
        self._post(f"/v2/models/{self._name}/infer", mutations.mutate(self.random, content, other), JSON)

    def _post(self, path: str, body: bytes, media: str) -> None:
        with keeping(f"{path} {media}", body):
            answer = self.client.post(path, content=body, headers={"Content-Type": media})
            self._check(answer)
            if (path, media) == ("/predict", JSON) and answer.is_success:
                oracle.check_same(body, answer.content, self._predict)

    def _check(self, answer: httpx.Response) -> None:
        self.statuses[answer.status_code] += 1
        oracle.check_answer(answer.status_code, answer.headers.get("content-type", ""), answer.content)

    def _raw(self) -> None:
        body = mutations.tables(self._rows()[:2])[JSON]
        headers = [b"Host: a", b"Content-Type: application/json", b"Authorization: " + self.authorization.encode()]
        right = mutations.request(self.random.choice(METHODS), self.random.choice(PATHS), headers, body)
        content = mutations.mutate_request(self.random, right)
        with keeping("raw", content):
            oracle.check_raw(self._send(content))

    def _send(self, content: bytes) -> bytes:
        answer = b""
        with self.proxy.connect() as connection, contextlib.suppress(OSError):  # closed, or no answer is due
            connection.settimeout(SEND_SECONDS)
            cut = self.random.randrange(len(content) + 1)
            connection.sendall(content[:cut])
            connection.sendall(content[cut:])
            while part := connection.recv(65536):
                answer += part
        return answer

    def _login(self) -> None:
        form = b"grant_type=password&username=admin&password=wrong&scope=predict"
        self._post("/token", mutations.mutate(self.random, form, b"&username=b&client_id=%00"), FORM)

    def _predict(self, body: bytes) -> bytes:
        return self.client.post("/predict", content=body, headers={"Content-Type": JSON}).content


@contextlib.contextmanager
def keeping(what: str, content: bytes) -> Iterator[None]:
    """Save an input that finds something or gets no answer."""
    try:
        yield
    except (Finding, httpx.TransportError) as error:
        FOUND.mkdir(parents=True, exist_ok=True)
        path = FOUND / sha256(content).hexdigest()[:16]
        path.write_bytes(what.encode() + b"\n" + content)
        raise Finding(f"{type(error).__name__}: {error}; kept as {path.relative_to(ROOT)}") from error


def root_in(folder: Path) -> Root:
    """Release the model of this checkout, or a small one if there is none."""
    root = Root(folder)
    path = ROOT / "models/model.onnx"
    root.write(path.read_bytes() if path.exists() else onnx_bytes())
    return root


def fuzz(fuzzer: Fuzzer, options: argparse.Namespace) -> None:
    """Send requests until the time is over; compare memory with that after a tenth of the time."""
    began, settled, rounds = time.monotonic(), 0.0, 0
    while (passed := time.monotonic() - began) < 60 * options.minutes:
        fuzzer.batch()
        if rounds % 10 == 0:
            print(f"{passed:6.0f} s, {fuzzer.counts.total()} inputs, {fuzzer.megabytes():.0f} MB", flush=True)
        rounds += 1
        if not settled and passed > 6 * options.minutes:
            settled = fuzzer.megabytes()
    print(f"by kind {dict(fuzzer.counts)}; answers {dict(sorted(fuzzer.statuses.items()))}")
    if settled and fuzzer.megabytes() > settled + GROWTH_MEGABYTES:
        raise Finding(f"a worker grew from {settled:.0f} to {fuzzer.megabytes():.0f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--replay", type=Path)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    limits = {"WORKERS": "2", "LOGIN_ATTEMPTS": "1000000", "LOGIN_CONCURRENCY": "1", "LOG_FORMAT": "json"}
    with (
        tempfile.TemporaryDirectory() as folder,
        running(root_in(Path(folder)), **limits) as service,
        proxying(Path(folder), f"127.0.0.1:{service.port}", MAX_BODY_BYTES="33554432") as proxy,
    ):
        fuzzer = Fuzzer(service, proxy, options.seed)
        try:
            if options.replay:
                fuzzer.replay(options.replay.read_bytes())
            else:
                fuzz(fuzzer, options)
        except Finding as finding:
            print(f"FOUND: {finding}")
            return 1
    print("nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
