"""A real S3 server (SeaweedFS) with one bucket, for the tests of storage and of scoring."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.exceptions
import botocore.session
import pytest

KEY, SECRET, BUCKET = "someone", "a-secret-of-this-test", "models"
# Each by name: the default of a gRPC port is the other port plus 10,000, which may be no valid port.
PORTS = tuple(f"-{part}.port{kind}" for part in ("s3", "master", "volume", "filer") for kind in ("", ".grpc"))


@dataclass
class Server:
    """An S3 server with one bucket."""

    variables: dict[str, str]
    """What a client needs in its environment."""
    command: list[str]
    ports: list[int]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start it, or start it again with what it has stored; return when it answers."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        make_bucket(self.variables, self.process, self.log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for port in self.ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108  # it knows no other place
                left.unlink()


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
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports[0]}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "eu-north-1",
    }
    made = Server(variables, command, ports, folder / "log")
    try:
        made.start()
        yield made
    finally:
        made.kill()


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
        except (client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            return
        except (botocore.exceptions.EndpointConnectionError, botocore.exceptions.ClientError):
            printed = log.read_text(encoding="utf-8")[-2000:]
            assert process.poll() is None, printed
            assert time.monotonic() < deadline, printed
            time.sleep(0.2)
        else:
            client.close()
            return
