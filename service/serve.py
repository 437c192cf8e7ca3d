"""``make serve``: secrets if there are none yet, the service, and lines to try it with."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from service import env_file
from service.contract import METADATA_KEY, Contract
from service.env_file import ENV_FILE
from service.onnx_file import metadata
from service.process import workers
from service.process.channel import StartError
from service.settings import ROOT, Settings, SettingsError


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Write .env where there is none, serve until a signal; give the exit status."""
    path = Path(environ.get("ENV_FILE", ENV_FILE))
    try:
        if not path.exists():
            env_file.write(path, (ROOT / ".env.example").read_text(encoding="utf-8"))
            _say(f"Wrote {path} with fresh secrets; only you can read it.")
        settings = Settings.from_environment(env_file.read(environ))
        workers.run(settings, lambda: _say(instructions(settings, path)))
    except (OSError, SettingsError, StartError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  # a command line talks to people
        return 1
    except KeyboardInterrupt:  # before there was anything to stop
        return 130
    return 0


def instructions(settings: Settings, path: Path) -> str:
    """Say where the service answers, and give lines that work when pasted into a shell."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{settings.port}"
    body = json.dumps({"instances": [_example(settings.model_path)]}, ensure_ascii=False)
    return f"""\
The prediction API answers on {url}; {url}/docs describes it. Ctrl-C stops it.
The password of {settings.admin_username} is ADMIN_PASSWORD in {path}. To try it, paste into another shell:

  TOKEN=$(curl -s {url}/token --data-urlencode {_quoted(f"username={settings.admin_username}")} \\
    --data-urlencode "password=$(sed -n 's/^ADMIN_PASSWORD=//p' {_quoted(str(path))})" \\
    | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/')
  curl {url}/predict -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
    -d {_quoted(body)}
"""


def _example(model_path: Path) -> object:
    # Imported once the service answers: with several workers this process needs no model until then.
    from service.scoring.serving import example  # noqa: PLC0415

    return example(Contract.model_validate_json(metadata(model_path.read_bytes())[METADATA_KEY]))


def _quoted(text: str) -> str:
    """Quote for a POSIX shell, always, so that what is to be edited stands between quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a command line talks to people


if __name__ == "__main__":
    sys.exit(main())
