"""Generate the missing secrets once, each into the folder of the container that needs it."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

TO_REPLACE = "replace-this"
"""Values in .env.example that must be replaced begin with this."""
BYTES = 32
MODE = 0o440
"""Read access for the group: containers with another user are in this group."""


def main(folder: Path, environ: Mapping[str, str]) -> None:
    """Write the missing secrets into `folder`; a value in the environment replaces a generated one."""
    drawn = {
        name: _given(environ, name.upper()) or _kept(folder / "api" / name) or secrets.token_urlsafe(BYTES)
        for name in ("secret_key", "admin_password")
    }
    passwords = {
        name: _kept(folder / "postgres" / name) or secrets.token_urlsafe(BYTES)
        for name in ("postgres_password", "users_password", "mlflow_password")
    }
    _write(folder / "api", drawn | {"database_url": _database_url(environ, passwords["users_password"])})
    _write(folder / "postgres", passwords)
    _write(folder / "mlflow", {"mlflow_password": passwords["mlflow_password"]} | _s3(folder))
    _write(folder / "trainer", _s3(folder))


def _given(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    return "" if value.startswith(TO_REPLACE) else value


def _kept(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _database_url(environ: Mapping[str, str], password: str) -> str:
    return environ.get("DATABASE_URL") or f"postgresql://users:{password}@postgres/users"


def _s3(folder: Path) -> dict[str, str]:
    """Return the file with address and key of the profile s3; at the first start also write the S3 server's file."""
    path = folder / "s3" / "s3.json"
    if not path.exists():
        key = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_urlsafe(BYTES)}
        identity = {"name": "project", "credentials": [key], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        _write(path.parent, {path.name: json.dumps({"identities": [identity]})})
    key = json.loads(path.read_text(encoding="utf-8"))["identities"][0]["credentials"][0]
    lines = {
        "AWS_ACCESS_KEY_ID": key["accessKey"],
        "AWS_SECRET_ACCESS_KEY": key["secretKey"],
        "AWS_ENDPOINT_URL": "http://s3:8333",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    return {"s3.env": "".join(f"export {name}={value}\n" for name, value in lines.items())}


def _write(folder: Path, contents: Mapping[str, str]) -> None:
    folder.mkdir(mode=0o750, exist_ok=True)
    for name, content in contents.items():
        path = folder / name
        if _kept(path) != content:
            beside = folder / f".{name}"
            beside.touch(MODE | 0o200)
            beside.write_text(content, encoding="utf-8")
            beside.chmod(MODE)
            beside.replace(path)


if __name__ == "__main__":
    main(Path("/volumes/secrets"), os.environ)
