"""Check where the command reads and writes, before it starts."""

import re
from pathlib import Path, PurePath
from typing import Final, Literal

from stages.errors import UserError
from stages.partitions import storage
from stages.partitions.parts import MANIFEST, MARKERS

_FILE: Final = re.compile(r"\.(?:(csv)|parquet|pq)", re.IGNORECASE)
_OTHER: Final = re.compile(r"\.(?:gz|bz2|zip|tsv|txt|xlsx?|json|jsonl|feather|arrow)", re.IGNORECASE)
"""Endings of files in other formats; other names are those of folders."""


def file_form(output: str) -> Literal["csv", "parquet"] | None:
    """Return the format of a file by its name; None for a folder."""
    found = _FILE.fullmatch(PurePath(output).suffix)
    return ("csv" if found.group(1) else "parquet") if found else None


def check_places(source: str, output: str, errors: str | None) -> None:
    """Raise UserError if an output has a name that can't be written, or would replace the input or another output."""
    places = {"INPUT": source, "OUTPUT": output} | ({"--errors": errors} if errors else {})
    known: dict[str, str] = {}
    for name, path in places.items():
        for other, before in known.items():
            if path == before or path.startswith(f"{before}/") or before.startswith(f"{path}/"):
                raise UserError(f"{name} {path} and {other} {before} are in the same place; name another {name}")
        known[name] = path
    if file_form(output):
        _check_file(output)
    else:
        _check_folder(output)
    if errors:
        _check_file(errors)


def _check_file(path: str) -> None:
    if storage.is_folder(path) or not (storage.is_url(path) or storage.is_file(path) or not Path(path).exists()):
        raise UserError(f"{path}: is a folder or a device; name a file")


def _check_folder(output: str) -> None:
    """Raise UserError if the folder has files that aren't from this command, or its name is that of a file."""
    if _OTHER.fullmatch(PurePath(output).suffix) and not storage.is_folder(output):
        raise UserError(f"{output}: name a file that ends in .csv or .parquet, or a folder")
    if not storage.is_folder(output):
        if storage.is_file(output) or (not storage.is_url(output) and Path(output).exists()):
            raise UserError(f"{output}: is a file; name a folder, or a file that ends in .csv or .parquet")
        return
    names = [each.name for each in storage.find(output)]
    if names and not any(name == MANIFEST or name.startswith(f"{MARKERS}/") for name in names):
        raise UserError(f"{output}: is a folder with other files; name a new or an empty folder")
