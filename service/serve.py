"""``make serve``: write .env if there is none, serve, and print commands to try the service.

Example: make serve PORT=8001
"""

import argparse
import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Final

from service import release
from service.process import StartError, workers
from service.release import ReleaseError
from service.settings import ROOT, Settings, SettingsError, env_file

TO_REPLACE: Final = "replace-this"
"""The beginning of the values in .env.example that are generated for each .env."""
SECRET_BYTES: Final = 32


def main() -> int:
    """Write .env if there is none, serve until a signal, and return the exit status."""
    argparse.ArgumentParser(
        prog="python -m service.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    path = env_file()
    try:
        if not path.exists():
            write_env_file(path, (ROOT / ".env.example").read_text(encoding="utf-8"))
            _report(f"Wrote {path} with new secrets; only you can read it.")
    except OSError as error:
        return _fail(error)
    return run(lambda settings: _report(instructions(settings, path)))


def run(ready: Callable[[Settings], None] = lambda _: None) -> int:
    """Serve until a signal and return the exit status; report a user's mistake in one line."""
    try:
        workers.run(Settings.load(), ready)
    except (OSError, ReleaseError, SettingsError, StartError) as error:
        return _fail(error)
    except KeyboardInterrupt:  # before the service started
        return 130
    return 0


def _fail(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)  # noqa: T201  # a command line talks to people
    return 1


def write_env_file(path: Path, example: str) -> None:
    """Write `example` to `path`, with a generated value for each secret. Only the owner can read the file.

    Raises FileExistsError if there is one already.
    """
    lines = [_fill_in(line) for line in example.splitlines()]
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "w", encoding="utf-8") as written:
            written.write("\n".join([*lines, ""]))
        os.link(beside, path)  # unlike a rename it replaces nothing
    finally:
        beside.unlink()


def _fill_in(line: str) -> str:
    name, _, value = line.partition("=")
    return f"{name}={secrets.token_urlsafe(SECRET_BYTES)}" if value.startswith(TO_REPLACE) else line


def instructions(settings: Settings, path: Path) -> str:
    """Return the URL of the service, and commands to paste into a shell."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{settings.port}"
    folder = release.find_current(settings.releases)
    body = json.dumps({"instances": [_example(folder)]}, ensure_ascii=False)
    whose, password = _password(settings, path)
    return f"""\
The prediction API answers on {url} from release {folder.name} of {release.load(folder).name}.
Open {url} in a browser to try it; {url}/docs describes the API. Ctrl-C stops it.
{whose}

  TOKEN=$(curl -s {url}/token --data-urlencode {quote(f"username={settings.admin_username or 'NAME'}")} \\
    --data-urlencode {password} \\
    | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/')
  curl {url}/predict -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
    -d {quote(body)}
"""


def _password(settings: Settings, path: Path) -> tuple[str, str]:
    """Return where the password is, and the shell expression that reads it or that the user must fill in."""
    ask, admin = "'password=PASSWORD'", settings.admin_username
    if admin is None or settings.admin_password is None:
        add = "`python -m service.users add NAME` adds a user"
        return f"{add}. To try it, fill in NAME and PASSWORD and paste into another shell:", ask
    where = f"The password of {admin} is ADMIN_PASSWORD in {path}"
    lines = path.read_bytes().decode().split("\n") if path.is_file() else []
    plain = [line.removeprefix("ADMIN_PASSWORD=") for line in lines if line.startswith("ADMIN_PASSWORD=")]
    if plain == [settings.admin_password.get_secret_value()]:
        reads = f"\"password=$(sed -n 's/^ADMIN_PASSWORD=//p' {quote(str(path))})\""
        return f"{where}. To try it, paste into another shell:", reads
    return f"{where} or the environment. To try it, fill in PASSWORD and paste into another shell:", ask


def _example(folder: Path) -> object:
    # Import these only here: with several workers, this process doesn't need ONNX Runtime until now.
    from service import model  # noqa: PLC0415
    from service.scoring.serving import example  # noqa: PLC0415

    return example(model.load(folder / release.MODEL_FILE).contract)


def _report(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a command line talks to people


if __name__ == "__main__":
    sys.exit(main())
