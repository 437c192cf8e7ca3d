"""Measure what watching costs: `python tests/bench/bench_monitoring.py [--seconds 3] [--rounds 7]`.

The service beside variants of itself on the same core, one row a request, in turns: without
the counting of rows for drift, without the gauge of requests in progress, with traces of
every request and of one in a hundred, sent to a collector on the load's core. A ratio is
the middle one of the rounds. Writes build/bench-monitoring.{md,json}.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run as a program, from wherever

from service import model  # noqa: E402
from tests.bench.bench_service import LOAD_CORE, SERVER_CORE, compared  # noqa: E402
from tests.bench.bodies import make_records, make_rows, write_script  # noqa: E402
from tests.bench.load import Figures, flat_out  # noqa: E402
from tests.bench.report import Row, write  # noqa: E402
from tests.bench.servers import Server, Servers  # noqa: E402
from tests.service.collector import collecting  # noqa: E402

_MAIN = "import sys; from service.__main__ import main; sys.exit(main())"
WITHOUT = {
    "without counting rows for drift": (
        "from service.scoring.metrics import PredictionMetrics as P; P.count = lambda *_: None; " + _MAIN
    ),
    "without the gauge of requests in progress": (
        "from service.scoring.facts import InProgress as P; "
        "P.__enter__ = lambda _: None; P.__exit__ = lambda *_: None; " + _MAIN
    ),
}
"""Programs that run the service without a part of it."""
SAME = "the same once more, which shows the noise"
TRACED = {"one request in a hundred traced": "0.01", "every request traced": "1"}
"""Shares that are sampled."""
SETTLED_SECONDS = 1.0
"""After a variant with traces, until what waited is sent and takes nothing from the next one."""


def main() -> None:
    options = _options()
    served = model.load(options.model)
    records = make_records(served.contract, make_rows(served.contract, options.rows))
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as running:
        folder = Path(name)
        servers = Servers(options.model, folder)
        variants: dict[str, Server] = {
            "as it is": running.enter_context(servers.service(SERVER_CORE)),
            SAME: running.enter_context(servers.service(SERVER_CORE)),
        }
        for what, program in WITHOUT.items():
            variants[what] = running.enter_context(servers.service(SERVER_CORE, command=["-c", program]))
        os.sched_setaffinity(0, {int(LOAD_CORE)})  # for the collector's thread
        collector = running.enter_context(collecting())
        for what, share in TRACED.items():
            traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "500",
                      "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": share}  # fmt: skip
            variants[what] = running.enter_context(servers.service(SERVER_CORE, workers=1, **traced))
        script = write_script(folder, 1, records, servers.token(variants["as it is"]))
        found: dict[str, list[Figures]] = {what: [] for what in variants}
        for _ in range(options.rounds):
            for what, server in variants.items():
                found[what].append(flat_out(server, script, options.seconds, LOAD_CORE))
                if what in TRACED:
                    time.sleep(SETTLED_SECONDS)
                    collector.spans.clear()
    write(_rows(found), "monitoring")


def _rows(found: dict[str, list[Figures]]) -> list[Row]:
    base = found.pop("as it is")
    rows = []
    for what, figures in found.items():
        rows += compared(f"{what} / as it is", figures, base, "requests/s", None)
    return rows


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", type=Path, default=ROOT / "models/model.onnx")
    parser.add_argument("--rows", type=Path, default=ROOT / "data/prepared/train.parquet")
    return parser.parse_args()


if __name__ == "__main__":
    main()
