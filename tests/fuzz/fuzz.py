"""Wrong requests to the real service with two workers: ``python -m tests.fuzz.fuzz --minutes 20``.

The service and all requests stay on loopback. Each input that has an answer it must not have is kept below
build/fuzz/; ``python -m tests.fuzz.fuzz --replay FILE`` sends it again.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random

import httpx

from service import model
from tests.fuzz import mutations, oracle
from tests.fuzz.oracle import Finding
from tests.service.artifacts import SECRET, Root, onnx_bytes
from tests.service.processes import ADMIN, Service, running

ROOT = Path(__file__).parents[2]
FOUND = ROOT / "build/fuzz"
BATCH = 200
SEND_SECONDS = 0.3
"""How long a raw connection waits for an answer that may never be due."""
GROWTH_MEGABYTES = 15.0
Kind = Callable[[], bytes]


class Fuzzer:
    """Sends wrong requests of many kinds and looks at the answers."""

    def __init__(self, service: Service, seed: int) -> None:
        self.service = service
        self.random = Random(seed)
        self.contract = model.load(service.root.model).contract
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.client = httpx.Client(base_url=service.client.base_url, timeout=30, trust_env=False)
        self.client.headers["Authorization"] = service.client.headers["Authorization"]
        self._read_to = 0
        self._workers = set(service.workers())
        self._right = json.dumps({"instances": [mutations.row(Random(0), self.contract) for _ in range(3)]}).encode()
        self._answer = self._predict(self._right)
        self.kinds: dict[str, Kind] = {
            "json": lambda: self._table("application/json"),
            "ndjson": lambda: self._table("application/x-ndjson"),
            "csv": lambda: self._table("text/csv"),
            "v2": self._tensors,
            "raw": self._raw,
            "token": self._token,
            "login": self._login,
        }

    def batch(self) -> None:
        """Send some of each kind, then see that the service is as it was."""
        for _ in range(BATCH):
            name = self.random.choice([*self.kinds, "json", "csv", "raw"])
            self.counts[name] += 1
            self.kinds[name]()
        if self._predict(self._right) != self._answer:
            raise Finding("a right request has another answer than before")
        if set(self.service.workers()) != self._workers:
            raise Finding("a worker was started anew")
        with self.service.log.open(encoding="utf-8") as log:
            log.seek(self._read_to)
            text = log.read()
            whole = text[: text.rfind("\n") + 1]
            self._read_to += len(whole.encode())
        oracle.check_log(whole, [SECRET, ADMIN["password"], self._token_text.rpartition(".")[2]])

    def megabytes(self) -> float:
        """Give the resident memory of the larger worker."""
        status = [Path(f"/proc/{pid}/status").read_text(encoding="utf-8") for pid in self._workers]
        return max(int(text.partition("VmRSS:")[2].split()[0]) / 1000 for text in status)

    def replay(self, content: bytes) -> None:
        """Send one kept input again: the bytes of a raw request, told by their first line, or a body."""
        name, _, content = content.partition(b"\n")
        if name == b"raw":
            oracle.check_raw(self._send(content))
        else:
            path, _, media = name.decode().partition(" ")
            self._post(path, content, media)

    def _rows(self) -> list[mutations.Row]:
        return [mutations.row(self.random, self.contract) for _ in range(self.random.choice([1, 1, 2, 5, 300]))]

    def _table(self, media: str) -> bytes:
        content, other = (mutations.tables(self._rows())[media] for _ in range(2))
        if media == "application/json" and self.random.random() < 0.5:
            return self._post("/predict", mutations.respell(self.random, content), media)
        return self._post("/predict", mutations.mutate(self.random, content, other), media)

    def _tensors(self) -> bytes:
        content, other = (mutations.tensors(self.contract, self._rows()) for _ in range(2))
        path = f"/v2/models/{self._name}/infer"
        return self._post(path, mutations.mutate(self.random, content, other), "application/json")

    def _post(self, path: str, body: bytes, media: str) -> bytes:
        with self._kept(f"{path} {media}", body):
            answer = self.client.post(path, content=body, headers={"Content-Type": media})
            self.statuses[answer.status_code] += 1
            oracle.check_answer(answer.status_code, answer.headers.get("content-type", ""), answer.content)
            if path == "/predict" and media == "application/json" and answer.is_success:
                oracle.check_same(body, answer.content, self._predict)
        return body

    def _raw(self) -> bytes:
        body = mutations.tables(self._rows()[:2])["application/json"]
        path = self.random.choice(
            [b"/predict", b"/metrics", b"/health/ready", b"/token", b"/../predict", b"*", b"/%00"]
        )
        headers = [
            b"Host: 127.0.0.1",
            b"Content-Type: application/json",
            b"Authorization: " + self.client.headers["Authorization"].encode(),
        ]
        method = self.random.choice([b"POST", b"POST", b"GET", b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE", b"post"])
        content = mutations.mutate_request(self.random, mutations.request(method, path, headers, body))
        with self._kept("raw", content):
            oracle.check_raw(self._send(content))
        return content

    def _send(self, content: bytes) -> bytes:
        answer = b""
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=SEND_SECONDS) as connection:
            try:
                cut = self.random.randrange(len(content) + 1)
                connection.sendall(content[:cut])
                connection.sendall(content[cut:])
                if self.random.random() < 0.2:
                    connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65536):
                    answer += part
            except OSError:  # closed by the service, or no answer is due
                return answer
        return answer

    def _token(self) -> bytes:
        parts = self._token_text.split(".")
        at = self.random.randrange(3)
        if self.random.random() < 0.5:
            parts[at] = mutations.mutate(self.random, parts[at].encode(), b"{}").decode("latin-1")
        else:
            odd = {"alg": self.random.choice(["none", "HS512", "RS256", None, 7]), "typ": "JWT", "kid": "x"}
            parts[0] = urlsafe_b64encode(json.dumps(odd).encode()).decode().rstrip("=")
        sent = ".".join(parts)
        with self._kept("token", sent.encode("latin-1")):
            header = {b"Authorization": b"Bearer " + "".join(sent.split()).encode("latin-1").replace(b"\0", b"")}
            answer = self.client.post("/predict", content=self._right, headers=header)
            oracle.check_answer(answer.status_code, answer.headers.get("content-type", ""), answer.content)
            if answer.is_success and sent != self._token_text:
                raise Finding("a token that is not ours was taken")
        return sent.encode("latin-1")

    def _login(self) -> bytes:
        form = b"grant_type=password&username=admin&password=wrong&scope=predict"
        sent = mutations.mutate(self.random, form, b"&username=b&client_id=%00")
        return self._post("/token", sent, "application/x-www-form-urlencoded")

    def _predict(self, body: bytes) -> bytes:
        return self.client.post("/predict", content=body, headers={"Content-Type": "application/json"}).content

    @property
    def _token_text(self) -> str:
        return self.client.headers["Authorization"].partition(" ")[2]

    @property
    def _name(self) -> str:
        found: str = json.loads(self._answer)["model"]["name"]
        return found

    @contextmanager
    def _kept(self, what: str, content: bytes) -> Iterator[None]:
        """Keep an input that finds something, or that no answer comes to."""
        try:
            yield
        except (Finding, httpx.TransportError) as error:
            FOUND.mkdir(parents=True, exist_ok=True)
            path = FOUND / sha256(content).hexdigest()[:16]
            path.write_bytes(what.encode() + b"\n" + content)
            raise Finding(f"{type(error).__name__}: {error}; kept as {path.relative_to(ROOT)}") from error


def described(service: Service, seed: int) -> None:
    """Let schemathesis try what the service's own description allows, and what it does not."""
    address = str(service.client.base_url).rstrip("/")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", "--url", address]
    command += ["--seed", str(seed), "--max-examples", "60", "--exclude-path-regex", "^/admin/users"]
    command += ["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]
    command += ["--header", f"Authorization: {service.client.headers['Authorization']}"]
    subprocess.run(command, cwd=service.root.folder, check=True, capture_output=True, text=True)


def root_in(folder: Path) -> Root:
    """Release the model of this checkout, or a small one where there is none."""
    root = Root(folder)
    try:
        root.write((ROOT / "models/model.onnx").read_bytes())
        model.load(root.model)
    except (OSError, model.ArtifactError) as error:
        print(f"a small model stands in for this checkout's: {error}")
        root.write(onnx_bytes())
    return root


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--replay", type=Path)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder:
        limits = {"WORKERS": "2", "LOGIN_ATTEMPTS": "1000000", "LOGIN_CONCURRENCY": "1"}
        with running(root_in(Path(folder)), **limits) as service:
            fuzzer = Fuzzer(service, options.seed)
            try:
                if options.replay:
                    fuzzer.replay(options.replay.read_bytes())
                else:
                    fuzz(fuzzer, service, options)
            except Finding as finding:
                print(f"FOUND: {finding}")
                return 1
            except subprocess.CalledProcessError as error:
                print(f"FOUND by schemathesis:\n{error.stdout[-4000:]}{error.stderr[-2000:]}")
                return 1
    print("nothing found")
    return 0


def fuzz(fuzzer: Fuzzer, service: Service, options: argparse.Namespace) -> None:
    """Go on until the time is over; memory is compared with what it was after a tenth of it."""
    began, settled = time.monotonic(), 0.0
    rounds = 0
    while (passed := time.monotonic() - began) < 60 * options.minutes:
        fuzzer.batch()
        if rounds % 10 == 0:
            described(service, options.seed + rounds)
            print(f"{passed:6.0f} s, {sum(fuzzer.counts.values())} inputs, {fuzzer.megabytes():.0f} MB", flush=True)
        rounds += 1
        if not settled and passed > 6 * options.minutes:
            settled = fuzzer.megabytes()
    print(f"by kind {dict(fuzzer.counts)}; answers {dict(sorted(fuzzer.statuses.items()))}")
    if settled and fuzzer.megabytes() > settled + GROWTH_MEGABYTES:
        raise Finding(f"a worker grew from {settled:.0f} to {fuzzer.megabytes():.0f} MB")


if __name__ == "__main__":
    sys.exit(main())
