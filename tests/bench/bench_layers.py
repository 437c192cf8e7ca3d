"""Measure what each layer of a one-row request costs: `python tests/bench/bench_layers.py`.

Each is called alone over many different rows, the best of several rounds is given.
"""

import argparse
import asyncio
import io
import itertools
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from service.auth.access import Access
from service.http.logs import AccessLog, Answered, RequestIds
from service.inputs.rows import Encoded
from service.instruments.registry import Instruments
from service.scoring import artifact
from service.scoring.serving import Serving
from service.settings import Settings
from tests.bench.bodies import make_records
from tests.service.artifacts import Root

ROOT = Path(__file__).parent.parent.parent
ROWS = 512
ROUNDS = 15
TOGETHER = 16


def main() -> None:
    options = _options()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {0})
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(options, Path(folder)))


async def _measure(options: argparse.Namespace, folder: Path) -> None:
    root = Root(folder)
    root.write(options.model.read_bytes())
    settings = Settings.model_validate(
        {
            "secret_key": secrets.token_hex(32),
            "releases": root.releases,
            "database_url": f"sqlite:///{folder / 'users.db'}",
        }
    )
    instruments = Instruments(settings)
    served = Serving(artifact.load(settings), instruments).current
    access = Access(settings)
    access.revocations.update(0, {"bench": 0})
    token, _ = access.tokens.issue("bench", ["predict"], 0)
    header = f"Bearer {token}".encode()
    access.tokens.authenticate(header, "predict")
    log, ids = AccessLog(io.StringIO(), as_json=True), RequestIds("bench")

    table = pd.read_parquet(options.rows).sample(ROWS, random_state=0)
    records = make_records(served.contract, table)
    bodies = [msgspec.json.encode({"instances": [record]}) for record in records]
    decoded = [served.reader.decode(body) for body in bodies]
    encoded = [served.read(body) for body in bodies]
    matrices = [served.layout.matrix(each.numbers) for each in encoded]
    companies = [np.concatenate(matrices[at : at + TOGETHER]) for at in range(0, ROWS, TOGETHER)]
    scored = [served.score(each) for each in encoded]
    line = Answered(0.0, "bench-1", "bench", "POST", "/predict", 200, 0.0001, served.version, 1)

    def write_line(_: object) -> None:
        log.note(line)
        log._write()

    layers: list[tuple[str, Callable[[Any], object], Sequence[Any], int]] = [
        ("authenticate (token remembered)", lambda _: access.tokens.authenticate(header, "predict"), bodies, 1),
        ("authenticate (token new: signature checked)", lambda _: access.tokens._verify(header, "predict"), bodies, 1),
        ("request id", lambda _: ids.choose(None), bodies, 1),
        ("decode JSON, names and types", served.reader.decode, bodies, 1),
        ("encode as a matrix", lambda rows: served.layout.array(served.reader.values(rows)), decoded, 1),
        ("look for values out of range", lambda each: served.layout.outside(each.numbers), encoded, 1),
        ("count quotation marks (names that come twice)", lambda body: body.count(b'"'), bodies, 1),
        ("ONNX Runtime, a row alone", lambda matrix: served.model.session.run(None, {"X": matrix}), matrices, 1),
        (
            f"ONNX Runtime, a row among {TOGETHER}",
            lambda m: served.model.session.run(None, {"X": m}),
            companies,
            TOGETHER,
        ),
        ("score a row alone: model, label, decimals", served.score, encoded, 1),
        (
            f"score a row among {TOGETHER}",
            lambda matrix: served.score(Encoded(matrix, outside=False)),
            [np.concatenate([each.numbers for each in encoded[at : at + TOGETHER]]) for at in range(0, ROWS, TOGETHER)],
            TOGETHER,
        ),
        ("answer as JSON", served.answer, scored, 1),
        ("count rows, bins and labels (many at a time)", served.count, scored, 1),
        ("note for the access log", lambda _: log.note(line), bodies, 1),
        ("write the access log (in its thread)", write_line, bodies, 1),
    ]
    print("| layer | µs |\n|---|---:|")
    for name, call, inputs, rows in layers:
        print(f"| {name} | {_best(call, inputs) / rows:.2f} |")


def _best(call: Callable[[Any], object], inputs: Sequence[Any]) -> float:
    """Microseconds per call in the best of the rounds."""
    best = float("inf")
    for _ in itertools.repeat(None, ROUNDS):
        began = time.perf_counter()
        for each in inputs:
            call(each)
        best = min(best, (time.perf_counter() - began) / len(inputs))
    return best * 1e6


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models/model.onnx")
    parser.add_argument("--rows", type=Path, default=ROOT / "data/prepared/train.parquet")
    return parser.parse_args()


if __name__ == "__main__":
    main()
