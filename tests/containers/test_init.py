"""The container `init` generates secrets once, each for the containers that need it."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.containers.conftest import load_script


@pytest.fixture(scope="session")
def init(root: Path) -> ModuleType:
    return load_script(root / "deploy/images/init.py")


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()
    }


def test_secrets_are_generated_once_if_the_example_is_copied_unchanged(
    init: ModuleType, root: Path, tmp_path: Path
) -> None:
    lines = (root / ".env.example").read_text("utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    init.main(tmp_path, example)
    found = files(tmp_path)
    init.main(tmp_path, example)

    assert files(tmp_path) == found
    assert not [name for name, text in found.items() if "replace-this" in text]
    assert len(found["api/secret_key"]) >= 32
    # MLflow and the trainer share the key of the S3 server; MLflow and the database share a password.
    assert len(set(found.values())) == len(found) - 2


def test_a_value_in_the_environment_replaces_a_generated_one(init: ModuleType, tmp_path: Path) -> None:
    init.main(tmp_path, {})
    init.main(tmp_path, {"SECRET_KEY": "k" * 32, "DATABASE_URL": "postgresql://elsewhere/users"})
    found = files(tmp_path)

    assert (found["api/secret_key"], found["api/database_url"]) == ("k" * 32, "postgresql://elsewhere/users")


def test_each_container_sees_only_its_own_secrets(init: ModuleType, tmp_path: Path) -> None:
    init.main(tmp_path, {})
    found = files(tmp_path)

    assert sorted(found) == [
        "api/admin_password",
        "api/database_url",
        "api/secret_key",
        "mlflow/mlflow_password",
        "mlflow/s3.env",
        "postgres/mlflow_password",
        "postgres/postgres_password",
        "postgres/users_password",
        "s3/s3.json",
        "trainer/s3.env",
    ]
    assert found["postgres/users_password"] in found["api/database_url"]
    assert found["mlflow/mlflow_password"] == found["postgres/mlflow_password"]
    key = json.loads(found["s3/s3.json"])["identities"][0]["credentials"][0]["secretKey"]
    assert f"AWS_SECRET_ACCESS_KEY={key}" in found["trainer/s3.env"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o440}
