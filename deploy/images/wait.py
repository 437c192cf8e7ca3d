"""Answers in place of the API until there is a model: that it waits, for what, and whether waiting is of use."""

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
"""File that the trainer leaves in the folder of releases when a command failed; gone with the next one."""
WAITING: Final = "no model yet: the first training has not ended; `docker compose logs --follow trainer` shows it"
HOPELESS: Final = (
    "no model: the training failed, `docker compose logs trainer` says why; "
    "`docker compose run --rm trainer` tries again"
)


class Waiting(BaseHTTPRequestHandler):
    """Says 503 to everything.

    But for the first question after a failed training: Docker counts failures only after the
    start period, which a success ends. So `up --wait` is told soon, and not after half an hour.
    """

    failed: Path
    told = False

    def answer(self) -> None:
        """Say what is waited for, as a problem (RFC 9457)."""
        hopeless = self.failed.exists()
        end_start = hopeless and not Waiting.told and self.path == "/health/ready"
        Waiting.told = hopeless and (Waiting.told or end_start)
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
        """Keep quiet: there is one thing to say, and it is said."""


def main(release: Path, address: tuple[str, int]) -> None:
    """Answer at `address` until `release` is there; say on stderr what changes."""
    Waiting.failed = release.parents[1] / FAILED
    server = ThreadingHTTPServer(address, Waiting)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    said = ""
    while not release.exists():
        text = HOPELESS if Waiting.failed.exists() else WAITING
        if text != said:
            print(text, file=sys.stderr, flush=True)
            said = text
        time.sleep(0.3)
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), (os.environ["HOST"], int(os.environ["PORT"])))
