"""Files on this machine, or under a URL such as s3://bucket/folder; each is written completely or not at all."""

import contextlib
import hashlib
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

from stages import files
from stages.errors import UserError

_PIECE: Final = 1 << 20
_S3_CONFIG: Final = {"connect_timeout": 5, "read_timeout": 10, "retries": {"total_max_attempts": 2}}
_CALL_SECONDS: Final = 22.0
"""More than two attempts to read take, and what a piece of 8 MB needs on a slow line."""
_DISCARD_SECONDS: Final = 2.0
UNFINISHED: Final = ".tmp"


class StoreError(UserError):
    """A store refuses or doesn't answer."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file in a folder."""

    path: str
    name: str
    """The path relative to the folder."""
    size: int


class HashedFile:
    """A file to write to, and the MD5 of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self.closed = False
        self.is_discarded = False
        """Whether it is given up: what a writer of Parquet still writes when it is collected goes nowhere."""

    def write(self, content: Any) -> int:
        """Write bytes; return their number."""
        if self.is_discarded:
            return len(content)
        self._hash.update(content)
        self._size += len(content)
        return self._file.write(content)

    def tell(self) -> int:
        """Return the number of bytes so far."""
        return self._size

    def flush(self) -> None:
        """Do nothing; the file is flushed when it is complete."""

    @property
    def md5(self) -> str:
        """The MD5 so far, 32 hexadecimal digits."""
        return self._hash.hexdigest()


def is_url(path: str) -> bool:
    """Return whether `path` is a URL, not a path on this machine."""
    return "://" in path


def absolute(path: str) -> str:
    """Return the path as workers in other folders need it."""
    return path.rstrip("/") if is_url(path) else str(Path(path).resolve())


def join(folder: str, name: str) -> str:
    """Return the path of `name` in `folder`."""
    return f"{folder}/{name}"


@cache
def filesystem(scheme: str) -> Any:
    """Return the client of a store, which gives up within seconds if the store doesn't answer."""
    if scheme != "s3":
        raise UserError(f"{scheme}:// is no place for tables; name a path or a URL such as s3://bucket/folder")
    import asyncio  # noqa: PLC0415  # all of them take a tenth of the time that a worker needs to start

    from botocore.exceptions import ReadTimeoutError  # noqa: PLC0415
    from fsspec.asyn import sync_wrapper  # noqa: PLC0415
    from s3fs import S3FileSystem  # type: ignore[import-untyped]  # noqa: PLC0415

    class Store(S3FileSystem):  # type: ignore[misc]
        """Bounds the time of each call; botocore doesn't bound that of sending."""

        retries = 1  # botocore repeats requests itself

        async def _call_s3(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return await asyncio.wait_for(super()._call_s3(*args, **kwargs), _CALL_SECONDS)
            except TimeoutError:
                raise ReadTimeoutError(endpoint_url=f"s3://{kwargs.get('Bucket')}/{kwargs.get('Key', '')}") from None

        call_s3 = sync_wrapper(_call_s3)

    return Store(use_listings_cache=False, skip_instance_cache=True, config_kwargs=_S3_CONFIG)


def _split(url: str) -> tuple[Any, str]:
    scheme, _, path = url.partition("://")
    return filesystem(scheme), path


@contextlib.contextmanager
def errors_as_line(path: str) -> Iterator[None]:
    """Convert a store's errors to StoreError."""
    if not is_url(path):
        yield
        return
    from aiohttp import ClientError as ConnectionLostError  # noqa: PLC0415  # as fsspec
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        yield
    except (BotoCoreError, ClientError, ConnectionLostError, OSError) as error:
        if isinstance(error, OSError) and error.filename:  # a file of this machine
            raise
        remedy = "check the URL, and AWS_ENDPOINT_URL and the credentials in the environment"
        raise StoreError(f"{path}: {error or type(error).__name__}; {remedy}") from None


def is_folder(path: str) -> bool:
    """Return whether `path` is a folder; a prefix of objects counts as one."""
    if not is_url(path):
        return Path(path).is_dir()
    store, name = _split(path)
    return bool(store.isdir(name))


def is_file(path: str) -> bool:
    """Return whether `path` is a file."""
    if not is_url(path):
        return Path(path).is_file()
    store, name = _split(path)
    return bool(store.isfile(name))


def find(folder: str) -> list[Found]:
    """Return all files below `folder`, ordered by name."""
    if not is_url(folder):
        root = Path(folder)
        found = [
            Found(str(each), str(each.relative_to(root)), each.stat().st_size)
            for each in root.rglob("*")
            if each.is_file()
        ]
        return sorted(found, key=lambda each: each.name)
    store, name = _split(folder)
    listed = store.find(name, detail=True)
    scheme = folder.partition("://")[0]
    made = [Found(f"{scheme}://{path}", path.removeprefix(f"{name}/"), about["size"]) for path, about in listed.items()]
    return sorted((each for each in made if not each.path.endswith("/")), key=lambda each: each.name)


def size(path: str) -> int:
    """Return the file's size in bytes."""
    if not is_url(path):
        return Path(path).stat().st_size
    store, name = _split(path)
    return int(store.size(name))


def open_file(path: str) -> IO[bytes]:
    """Open a file for reading; it can seek."""
    if not is_url(path):
        return Path(path).open("rb")
    store, name = _split(path)
    opened: IO[bytes] = store.open(name, "rb", block_size=4 * _PIECE, cache_type="readahead")
    return opened


def read(path: str) -> bytes | None:
    """Return the file's content, or None if there is none."""
    with contextlib.suppress(FileNotFoundError), open_file(path) as file:
        return file.read()
    return None


@contextlib.contextmanager
def writing(path: str) -> Iterator[HashedFile]:
    """Yield a file that has its name only once the block succeeds, and is then on the disk."""
    if not is_url(path):
        with _writing_here(Path(path)) as file:
            yield file
        return
    store, name = _split(path)
    target = store.open(name, "wb", block_size=8 * _PIECE)
    try:
        with _hashing(target) as hashed:
            yield hashed
    except BaseException:
        _discard(store, target)
        raise
    target.close()


@contextlib.contextmanager
def _hashing(file: IO[bytes]) -> Iterator[HashedFile]:
    hashed = HashedFile(file)
    try:
        yield hashed
    except BaseException:
        hashed.is_discarded = True
        raise


def _discard(store: Any, target: Any) -> None:
    """Remove an unfinished upload, unless the store doesn't answer soon."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415  # as fsspec
    from fsspec.asyn import sync  # noqa: PLC0415

    upload, target.mpu = target.mpu, None
    target.discard()
    target.closed = True  # else it would try to write the rest
    if upload:
        parts = target.bucket, target.key, upload["UploadId"]
        with contextlib.suppress(OSError, BotoCoreError):
            sync(store.loop, store._abort_mpu, *parts, timeout=_DISCARD_SECONDS)  # noqa: SLF001


@contextlib.contextmanager
def _writing_here(path: Path) -> Iterator[HashedFile]:
    # Another worker may write the same part, if this one was thought dead.
    own = f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}{UNFINISHED}"
    with files.replacing(path, own) as beside, beside.open("wb") as file:
        with _hashing(file) as hashed:
            yield hashed
        file.flush()
        os.fsync(file.fileno())


def write(path: str, content: bytes) -> None:
    """Write a file, completely or not at all."""
    with writing(path) as file:
        file.write(content)


def remove(path: str) -> None:
    """Remove a file if it is there."""
    if not is_url(path):
        Path(path).unlink(missing_ok=True)
        return
    store, name = _split(path)
    with contextlib.suppress(FileNotFoundError):
        store.rm_file(name)


def remove_folder(folder: str) -> None:
    """Remove a folder with everything in it."""
    if not is_url(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    for each in find(folder):
        remove(each.path)


def md5(path: str, start: int = 0, length: int | None = None) -> str | None:
    """Return the MD5 of a file, or of a part of it; None if there is no file."""
    hashed, left = hashlib.md5(usedforsecurity=False), length
    with contextlib.suppress(FileNotFoundError), open_file(path) as file:
        file.seek(start)
        while piece := file.read(_PIECE if left is None else min(_PIECE, left)):
            hashed.update(piece)
            left = None if left is None else left - len(piece)
        return hashed.hexdigest()
    return None


def fingerprint(path: str, start: int, length: int | None) -> str:
    """Return what changes if a part of a file does: its MD5, or the object's own checksum in a store."""
    if not is_url(path):
        return md5(path, start, length) or ""
    store, name = _split(path)
    about = store.info(name)
    return f"{about.get('ETag') or about.get('LastModified')}:{about['size']}:{start}:{length}"
