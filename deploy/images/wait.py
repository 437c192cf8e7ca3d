"""Answer in place of the API until there is a model; say whether the training still runs or failed."""

import json
import os
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

FAILED: Final = "failed"
"""The trainer leaves this file in the folder of releases when a command fails, until the next command."""
WAITING: Final = "no model yet: the first training is still running; `docker compose logs --follow trainer` shows it"
HOPELESS: Final = (
    "no model: the training failed, `docker compose logs trainer` says why; "
    "`docker compose run --rm trainer` tries again"
)


class Waiting(BaseHTTPRequestHandler):
    """Answers 503 to every request, except for the first probe after a failed training.

    Docker counts failures only after the start period, which a success ends. So `up --wait` fails
    soon and not after half an hour.
    """

    failed: Path
    start_ended = False

    def answer(self) -> None:
        """Explain what is missing, as problem details (RFC 9457)."""
        hopeless = self.failed.exists()
        end_start = hopeless and not Waiting.start_ended and self.path == "/health/ready"
        Waiting.start_ended = hopeless and (Waiting.start_ended or end_start)
        status = HTTPStatus.OK if end_start else HTTPStatus.SERVICE_UNAVAILABLE
        problem = {
            "type": "about:blank",
            "title": status.phrase,
            "status": int(status),
            "detail": HOPELESS if hopeless else WAITING,
        }
        body = json.dumps(problem).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "5")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  # names that the base class looks for

    def log_message(self, *_: object) -> None:
        """Log nothing; `main` prints the state once."""


def main(release: Path, address: tuple[str, int]) -> None:
    """Answer at `address` until `release` exists; print each change on stderr."""
    Waiting.failed = release.parents[1] / FAILED
    server = ThreadingHTTPServer(address, Waiting)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    printed = ""
    while not release.exists():
        text = HOPELESS if Waiting.failed.exists() else WAITING
        if text != printed:
            print(text, file=sys.stderr, flush=True)
            printed = text
        time.sleep(0.3)
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), (os.environ["HOST"], int(os.environ["PORT"])))
