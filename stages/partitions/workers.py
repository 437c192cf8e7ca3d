"""Check that the workers of a Dask cluster have the packages and the code of this process."""

from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from stages import files
from stages.errors import UserError
from stages.partitions.parts import versions

_PACKAGES: Final = ("distributed", "joblib", "lightgbm", "pandas", "scikit-learn", "scipy")


def check_versions(client: Any, address: str, seconds: float) -> None:
    """Raise UserError if the scheduler or a worker lacks this code, or a worker has other packages or code.

    Raises OSError if they don't answer within so many seconds. A worker that is lost meanwhile is left out.
    """
    here = _installed()
    installed = client.run(_installed, on_error="return", callback_timeout=seconds)
    found = {f"worker {each}": about for each, about in installed.items() if not isinstance(about, OSError)}
    try:
        client.run_on_scheduler(versions, callback_timeout=seconds)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  # the scheduler's, of any kind
        found = {"scheduler": error} | found
    for who, there in found.items():
        if isinstance(there, Exception):
            remedy = "; start schedulers and workers by `python -m dask` in a clone of the same commit"
            raise UserError(f"{address}: the {who} fails: {there}{remedy if 'No module named' in str(there) else ''}")
        for name, version in here.items():
            if there[name] != version:
                remedy = "start it again in a clone of the same commit, with the packages of its lock files"
                raise UserError(f"{address}: the {who} has {name} {there[name]}, this process {version}; {remedy}")


@cache
def _installed() -> dict[str, str]:
    """Return the versions of what makes the bytes, with an MD5 of this project's code."""
    root = Path(__file__).parents[2]
    code = (each for folder in ("service", "stages") for each in sorted((root / folder).rglob("*.py")))
    content = b"".join(str(each.relative_to(root)).encode() + each.read_bytes() for each in code)
    found = {name: metadata.version(name) for name in _PACKAGES}
    return versions() | found | {"the code": files.md5_of(content)}
