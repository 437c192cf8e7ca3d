"""Outputs shared through a real S3 server: a pull returns the pushed bytes, and an error is one line."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages import files
from tests.e2e.conftest import Project
from tests.s3_server import BUCKET, Server, s3_client, server

__all__ = ["server"]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("storage")]
STAGE = "  {name}: {{cmd: '{command}', deps: [{dep}], outs: [{out}]}}\n"


@pytest.fixture(scope="module")
def shared(project: Callable[..., Project], server: Server) -> Project:
    """Return a project of two commits, whose stages write a line into the models' files; the first model is pushed."""
    made = project()
    stages = STAGE.format(
        name="train", command="cp params.yaml models/model.joblib", dep="params.yaml", out=files.MODEL
    )
    stages += STAGE.format(name="export", command=f"sort {files.MODEL} > {files.ONNX}", dep=files.MODEL, out=files.ONNX)
    (made.path / "dvc.yaml").write_text(f"stages:\n{stages}", encoding="utf-8")
    made.ok("dvc", "remote", "modify", "storage", "url", f"s3://{BUCKET}/dvc")
    for trees in (5, 6):
        made.set(n_estimators=trees)
        made.ok("dvc", "repro")
        made.commit(f"{trees} trees")
        if trees == 5:
            assert "1 file pushed" in on(made, server.variables).ok("dvc", "push", str(files.MODEL))
    shutil.copytree(made.path / ".dvc/cache", made.path / ".dvc/kept")
    return made


def on(made: Project, variables: dict[str, str]) -> Project:
    """Return the project with these variables in its environment."""
    return Project(made.path, made.environment | variables)


def remote(made: Project, *command: str) -> subprocess.CompletedProcess[str]:
    return made.run("python", "-m", "stages.commands.remote", *command, timeout=120)


def locked_md5(made: Project, output: Path) -> str:
    lock = YAML(typ="safe", pure=True).load((made.path / "dvc.lock").read_text(encoding="utf-8"))
    outs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
    return str(next(out["md5"] for out in outs if out["path"] == str(output)))


def lose(made: Project) -> None:
    """Delete the outputs and the cache, as in a fresh clone."""
    shutil.rmtree(made.path / ".dvc/cache", ignore_errors=True)
    for output in (files.MODEL, files.ONNX):
        (made.path / output).unlink(missing_ok=True)


def have(made: Project) -> None:
    """Fill the cache with what the stages wrote."""
    shutil.copytree(made.path / ".dvc/kept", made.path / ".dvc/cache", dirs_exist_ok=True)


def test_what_was_pushed_comes_back_with_the_md5_of_the_lock(shared: Project, server: Server) -> None:
    (shared.path / ".env").write_text("".join(f"{k}={v}\n" for k, v in server.variables.items()), encoding="utf-8")
    try:
        pushed = remote(shared, "push")
        lose(shared)
        one = remote(shared, "pull", str(files.ONNX))
        came = {path for path in (files.MODEL, files.ONNX) if (shared.path / path).exists()}
        pulled = remote(shared, "pull")
    finally:
        (shared.path / ".env").unlink()

    assert [each.returncode for each in (pushed, one, pulled)] == [0, 0, 0], (pushed, one, pulled)
    assert came == {files.ONNX}
    for output in (files.MODEL, files.ONNX):
        assert files.md5(shared.path / output) == locked_md5(shared, output)


def test_any_commit_s_model_is_restored(shared: Project, server: Server) -> None:
    lose(shared)
    shared.ok("git", "checkout", "--quiet", "HEAD~1")
    try:
        on(shared, server.variables).ok("dvc", "pull", str(files.MODEL))
        assert files.md5(shared.path / files.MODEL) == locked_md5(shared, files.MODEL)
    finally:
        shared.ok("git", "checkout", "--quiet", "main")


def test_other_bytes_under_the_name_of_a_model_are_refused(shared: Project, server: Server) -> None:
    # Without `verify` DVC takes them, and calls the project up to date.
    md5 = locked_md5(shared, files.MODEL)
    client, name = s3_client(server.variables), f"dvc/files/md5/{md5[:2]}/{md5[2:]}"
    kept = client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
    client.put_object(Bucket=BUCKET, Key=name, Body=b"another model")
    lose(shared)
    done = remote(on(shared, server.variables), "pull")
    taken = (shared.path / files.MODEL).exists()
    client.put_object(Bucket=BUCKET, Key=name, Body=kept)
    client.close()

    assert done.returncode == 1
    assert f"lacks {files.MODEL} or holds other bytes" in done.stderr.splitlines()[-1]
    assert not taken


BROKEN = [
    ("push", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "Unable to locate credentials"),
    ("pull", {"AWS_ACCESS_KEY_ID": "nobody"}, "The access key ID you provided does not exist"),
    ("push", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "The request signature we calculated does not match"),
    ("push", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not connect to the endpoint URL"),
    ("push", {"URL": "s3://elsewhere/dvc"}, "The specified bucket does not exist"),
    ("pull", {"URL": f"s3://{BUCKET}/empty"}, "whoever has them must push"),
]


@pytest.mark.parametrize(("command", "changed", "expected"), BROKEN, ids=[each[2] for each in BROKEN])
def test_what_prevents_a_push_or_pull_is_reported_in_one_line(
    shared: Project, server: Server, command: str, changed: dict[str, str], expected: str
) -> None:
    variables = {key: value for key, value in (server.variables | changed).items() if value}
    (have if command == "push" else lose)(shared)
    shared.ok("dvc", "remote", "modify", "--local", "storage", "url", variables.pop("URL", f"s3://{BUCKET}/dvc"))
    done = remote(on(shared, variables), command)
    (shared.path / ".dvc/config.local").unlink()

    assert done.returncode == 1
    assert expected in done.stderr
    assert done.stderr.splitlines()[-1].startswith("remote: error: s3://")
