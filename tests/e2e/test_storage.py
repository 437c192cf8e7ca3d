"""Models shared through a real S3 server: what is pushed comes back byte for byte, what keeps it from it is told."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.exceptions
import botocore.session
import pytest
from ruamel.yaml import YAML

from stages import files
from tests.e2e.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("storage")]
KEY, SECRET, BUCKET = "someone", "a-secret-of-this-test", "models"
# Each by name: a gRPC port that is not said is the other one plus 10,000, which may be no port at all.
PORTS = tuple(f"-{part}.port{kind}" for part in ("s3", "master", "volume", "filer") for kind in ("", ".grpc"))


@dataclass(frozen=True)
class Server:
    """An S3 server with one bucket, and the variables that a client needs."""

    variables: dict[str, str]


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("s3")
    identity = {"name": "a", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    ports = free_ports(len(PORTS))
    options = [f"{name}={port}" for name, port in zip(PORTS, ports, strict=True)]
    command = ["weed", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-volume.max=10"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    command += [f"-s3.config={folder}/s3.json", "-master.volumeSizeLimitMB=64", *options]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        variables = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports[0]}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "eu-north-1",
        }
        try:
            make_bucket(variables, process, folder / "log")
            yield Server(variables)
        finally:
            process.kill()
            for port in ports:
                for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108  # it knows no other place
                    left.unlink()


def s3_client(variables: dict[str, str]) -> Any:
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name=variables["AWS_DEFAULT_REGION"],
    )


def make_bucket(variables: dict[str, str], process: subprocess.Popen[bytes], log: Path) -> None:
    client = s3_client(variables)
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
        except (botocore.exceptions.EndpointConnectionError, botocore.exceptions.ClientError):
            said = log.read_text(encoding="utf-8")[-2000:]
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
        else:
            client.close()
            return


@pytest.fixture(scope="module")
def trained(project: Callable[..., Project], server: Server) -> Project:
    """Give a project with two commits: a model of 5 trees, pushed by its name alone, then one of 6."""
    made = project()
    made.ok("dvc", "remote", "modify", "storage", "url", f"s3://{BUCKET}/dvc")
    made.ok("dvc", "repro", "evaluate")
    made.commit("Five trees")
    assert "1 file pushed" in on(made, server.variables).ok("dvc", "push", str(files.MODEL))
    made.set(n_estimators=6)
    made.ok("dvc", "repro", "evaluate")
    made.commit("Six trees")
    return made


def on(made: Project, variables: dict[str, str]) -> Project:
    """Give the project with these variables in its environment."""
    return Project(made.path, made.environment | variables)


def locked_md5(made: Project, output: Path) -> str:
    lock = YAML(typ="safe", pure=True).load((made.path / "dvc.lock").read_text(encoding="utf-8"))
    outs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
    return str(next(out["md5"] for out in outs if out["path"] == str(output)))


def lose(made: Project) -> None:
    """Lose the cache and the outputs, as a fresh clone has none."""
    shutil.rmtree(made.path / ".dvc/cache", ignore_errors=True)
    for output in (files.MODEL, files.ONNX, files.TRAIN, files.TEST):
        (made.path / output).unlink(missing_ok=True)


def test_what_was_pushed_comes_back_with_the_md5_of_the_lock(trained: Project, server: Server) -> None:
    (trained.path / ".env").write_text("".join(f"{k}={v}\n" for k, v in server.variables.items()), encoding="utf-8")
    try:
        pushed = trained.run("python", "-m", "stages.commands.remote", "push")
        assert pushed.returncode == 0, pushed.stderr
        lose(trained)
        pulled = trained.run("python", "-m", "stages.commands.remote", "pull")
        assert pulled.returncode == 0, pulled.stderr
    finally:
        (trained.path / ".env").unlink()
    for output in (files.MODEL, files.ONNX):
        assert files.md5(trained.path / output) == locked_md5(trained, output)


def test_any_commit_s_model_is_restored(trained: Project, server: Server) -> None:
    on(trained, server.variables).ok("dvc", "push")
    lose(trained)
    trained.ok("git", "checkout", "--quiet", "HEAD~1")
    try:
        on(trained, server.variables).ok("dvc", "pull", str(files.MODEL))
        assert files.md5(trained.path / files.MODEL) == locked_md5(trained, files.MODEL)
    finally:
        trained.ok("git", "checkout", "--quiet", "main")
    on(trained, server.variables).ok("dvc", "pull", "--allow-missing")


def test_one_output_is_pulled_by_its_name(trained: Project, server: Server) -> None:
    on(trained, server.variables).ok("dvc", "push")
    lose(trained)
    on(trained, server.variables).ok("python", "-m", "stages.commands.remote", "pull", str(files.ONNX))
    came = {path for path in (files.MODEL, files.ONNX) if (trained.path / path).exists()}
    on(trained, server.variables).ok("dvc", "pull", "--allow-missing")

    assert came == {files.ONNX}


def test_other_bytes_under_the_name_of_a_model_are_refused(trained: Project, server: Server) -> None:
    # Without `verify` DVC takes them, and calls the project up to date.
    on(trained, server.variables).ok("dvc", "push")
    md5 = locked_md5(trained, files.MODEL)
    client, name = s3_client(server.variables), f"dvc/files/md5/{md5[:2]}/{md5[2:]}"
    kept = (trained.path / files.MODEL).read_bytes()
    client.put_object(Bucket=BUCKET, Key=name, Body=b"another model")
    lose(trained)
    done = on(trained, server.variables).run("python", "-m", "stages.commands.remote", "pull")
    taken = (trained.path / files.MODEL).exists()
    client.put_object(Bucket=BUCKET, Key=name, Body=kept)
    client.close()
    on(trained, server.variables).ok("dvc", "pull", "--allow-missing")

    assert done.returncode == 1
    assert f"lacks {files.MODEL} or holds other bytes" in done.stderr.splitlines()[-1]
    assert not taken


BROKEN = {
    "no credentials": ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no credentials; set AWS_ACCESS_KEY_ID"),
    "another key": ({"AWS_ACCESS_KEY_ID": "nobody"}, "the server doesn't know the access key"),
    "another secret": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "the secret doesn't belong to the access key"),
    "a server that is down": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9 doesn't answer"),
}


@pytest.mark.parametrize("command", ["push", "pull"])
@pytest.mark.parametrize("name", BROKEN)
def test_what_keeps_it_from_moving_files_is_told_in_one_line(
    trained: Project, server: Server, name: str, command: str
) -> None:
    changed, expected = BROKEN[name]
    variables = {key: value for key, value in (server.variables | changed).items() if value}

    done = on(trained, variables).run("python", "-m", "stages.commands.remote", command, timeout=60)

    assert done.returncode == 1
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_bucket_that_is_not_there_is_told(trained: Project, server: Server) -> None:
    trained.ok("dvc", "remote", "modify", "--local", "storage", "url", "s3://elsewhere/dvc")
    try:
        done = on(trained, server.variables).run("python", "-m", "stages.commands.remote", "push")
    finally:
        trained.ok("dvc", "remote", "modify", "--local", "--unset", "storage", "url")

    assert "there is no such bucket" in done.stderr


def test_a_pull_from_a_remote_without_the_files_is_told(trained: Project, server: Server) -> None:
    trained.ok("dvc", "remote", "modify", "--local", "storage", "url", f"s3://{BUCKET}/empty")
    kept = trained.path / ".dvc/kept"
    (trained.path / ".dvc/cache").rename(kept)
    try:
        done = on(trained, server.variables).run("python", "-m", "stages.commands.remote", "pull")
    finally:
        shutil.rmtree(trained.path / ".dvc/cache", ignore_errors=True)
        kept.rename(trained.path / ".dvc/cache")
        trained.ok("dvc", "remote", "modify", "--local", "--unset", "storage", "url")

    assert done.returncode == 1
    assert "whoever has them must push" in done.stderr
