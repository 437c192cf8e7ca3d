"""Tables in an S3 store, scored into it."""

import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.errors import UserError
from stages.files import md5_of
from stages.partitions import storage
from tests.s3_server import BUCKET, Server, server
from tests.stages.predict.running import Scoring, stopped_in_one_line, wait_for

__all__ = ["server"]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("storage")]


@pytest.fixture
def bucket(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a bucket, whose server and key are in the environment."""
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}"


def test_a_prefix_becomes_a_prefix_with_the_bytes_of_a_local_run(
    bucket: str, csv: Path, rows: pd.DataFrame, predict: Callable[..., None], tmp_path: Path
) -> None:
    rows.to_parquet(tmp_path / "b.parquet", row_group_size=100)
    (tmp_path / "in").mkdir()
    for path in (csv, tmp_path / "b.parquet"):
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
        storage.write(f"{bucket}/in/day=1/{path.name}", path.read_bytes())

    predict(tmp_path / "in", tmp_path / "out")
    for workers in (1, 2):
        predict(f"{bucket}/in", f"{bucket}/out", workers=workers)
        found = {each.name: storage.read(each.path) for each in storage.find(f"{bucket}/out")}
        assert sorted(found) == ["_manifest.json", "day=1/b.parquet", "day=1/rows.csv"]
        assert found["day=1/rows.csv"] == (tmp_path / "out/rows.csv").read_bytes()
        assert found["day=1/b.parquet"] == (tmp_path / "out/b.parquet").read_bytes()


def test_an_object_becomes_an_object(bucket: str, csv: Path, predict: Callable[..., None], tmp_path: Path) -> None:
    storage.write(f"{bucket}/one/rows.csv", csv.read_bytes())

    predict(f"{bucket}/one/rows.csv", f"{bucket}/scored/out.csv")
    predict(csv, tmp_path / "out.csv")

    assert [each.name for each in storage.find(f"{bucket}/scored")] == ["out.csv"]
    assert storage.read(f"{bucket}/scored/out.csv") == (tmp_path / "out.csv").read_bytes()


@pytest.mark.parametrize("change", [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}])
def test_a_store_that_refuses_or_is_gone_is_one_line(
    bucket: str, predict: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    monkeypatch.setenv(*next(iter(change.items())))
    storage.filesystem.cache_clear()

    with pytest.raises(UserError, match=f"{bucket}/in: .*credentials"):
        predict(f"{bucket}/in", tmp_path / "out.csv")
    storage.filesystem.cache_clear()


def test_a_store_that_takes_no_more_bytes_is_one_line(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    monkeypatch.setattr(storage, "_CALL_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        storage.filesystem.cache_clear()
        url = f"{bucket}/large"
        message = f'{url}: Read timeout on endpoint URL: "{url}"; check the URL'
        with pytest.raises(storage.StoreError, match=message), storage.errors_as_line(url):
            storage.write(url, bytes(7 << 20))
    storage.filesystem.cache_clear()


def _has(folder: str, path: str) -> bool:
    return any(each.path.startswith(path) for each in storage.find(folder))


@pytest.mark.long
def test_a_store_that_freezes_before_the_first_part_or_in_a_large_object_stops_the_command_in_time(
    bucket: str, server: Server, scoring: Scoring
) -> None:
    scoring.environment |= server.variables
    folder, stopped = f"{bucket}/frozen/.out.csv.parts", []
    for wanted in (f"{folder}/_model-", f"{folder}/part-"):
        process = scoring.start("--workers", "2", out=f"{bucket}/frozen/out.csv")
        wait_for(partial(_has, folder, wanted), process)
        server.process.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        output, _ = process.communicate(timeout=60)
        stopped.append((time.monotonic() - begin < 30, f"predict: error: {bucket}/" in output, output))
        server.process.send_signal(signal.SIGCONT)

    assert [each[:2] for each in stopped] == [(True, True)] * 2, stopped


@pytest.mark.long
@pytest.mark.parametrize(("place", "number"), [("input", signal.SIGKILL), ("output", signal.SIGSTOP)])
def test_a_store_that_is_lost_in_the_middle_is_one_line_and_when_it_is_back_the_command_goes_on(  # noqa: PLR0913, PLR0917
    bucket: str, server: Server, scoring: Scoring, expected: str, place: str, number: signal.Signals
) -> None:
    scoring.environment |= server.variables
    if place == "input":
        for path in Path(scoring.source).iterdir():
            storage.write(f"{bucket}/rows/{path.name}", path.read_bytes())
        scoring.source = f"{bucket}/rows"
    out = "out.csv" if place == "input" else f"{bucket}/{number.name}/out.csv"
    process = scoring.start("--workers", "2", out=out)
    wait_for(
        lambda: place == "input" or len(storage.find(f"{bucket}/{number.name}/.out.csv.parts/_parts")) > 3, process
    )
    server.process.send_signal(number)
    try:
        stopped_in_one_line(process, f"predict: error: {bucket}/")
    finally:
        server.kill()
        server.start()

    again = scoring.run("--workers", "2", out=out)
    assert again.returncode == 0, again.stderr
    assert md5_of((scoring.folder / out).read_bytes() if place == "input" else storage.read(out) or b"") == expected
    if place == "output":
        assert [each.name for each in storage.find(f"{bucket}/{number.name}")] == ["out.csv"]
