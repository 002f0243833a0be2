"""Where a file lies in (a local path, or a URL that fsspec reads), its bytes out; and the way back.

Every failure is an OSError, whatever kind the store behind the URL raised, so callers handle one kind.
"""

from __future__ import annotations

import os
import posixpath
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EISDIR
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, BinaryIO, cast

from jasper.errors import MissingExtraError
from jasper.types import Location


def open_binary(place: Location) -> BinaryIO:
    """Open a file for reading."""
    if isinstance(place, Path):
        return place.open("rb")
    with _as_os_error(place):
        system, path = _store(place)
        return cast(BinaryIO, system.open(path, "rb"))


def read_range(place: Location, start: int, size: int) -> bytes:
    """Read `size` bytes from byte `start` on, or those that are there; of a URL, in one request."""
    if isinstance(place, Path):
        with place.open("rb") as file:
            file.seek(start)
            return file.read(size)
    with _as_os_error(place):
        system, path = _store(place)
        return bytes(system.cat_file(path, start=start, end=start + size))


def num_bytes(place: Location) -> int:
    """Size of a file."""
    if isinstance(place, Path):
        return place.stat().st_size
    with _as_os_error(place):
        system, path = _store(place)
        return int(system.size(path))


def exists(place: Location) -> bool:
    """Whether there is a file."""
    if isinstance(place, Path):
        return place.is_file()
    with _as_os_error(place):
        system, path = _store(place)
        return bool(system.isfile(path))


@contextmanager
def new_file(place: Location) -> Iterator[BinaryIO]:
    """Open a file to write; it takes its place when the block ends, and never does if the block fails.

    A URL's is written to a temporary file here and uploaded whole.
    """
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(place) as temporary, temporary.open("wb") as file:
            yield file
        return
    with TemporaryDirectory() as folder:
        local = Path(folder, "upload")
        with local.open("wb") as file:
            yield file
        with _as_os_error(place):
            system, path = _store(place)
            system.put_file(str(local), path)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name to write to; on success the file is synced to disk and renamed to `path`."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def folder_of(place: Location) -> Location:
    """The folder in which a file lies."""
    return place.parent if isinstance(place, Path) else posixpath.dirname(place)


def within(folder: Location, name: str) -> Location:
    """The file `name`, a path with slashes, in a folder; an absolute `name` stands alone."""
    if "://" in name:
        return name
    return folder / name if isinstance(folder, Path) else posixpath.join(folder, name)


def stem(place: Location) -> str:
    """The file's name without its extension."""
    return Path(place).stem


@contextmanager
def _as_os_error(url: str) -> Iterator[None]:
    """Stores raise what they like: botocore's, aiohttp's and others' errors."""
    try:
        yield
    except FileNotFoundError as error:  # so fsspec's http calls whatever the server, or none, answered
        if not isinstance(error.__cause__, FileNotFoundError | None) and url.startswith("http"):
            raise OSError(f"{type(error.__cause__).__name__}: {error.__cause__}") from error
        raise
    except (OSError, MissingExtraError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _store(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it. Never kept: a forked process must not use its parent's."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtraError("fsspec", "remote") from None
    return cast(tuple[Any, str], url_to_fs(url))


def try_place(path: Path) -> None:
    """Before the work whose result goes to this file: make its folder; OSError where it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
    with TemporaryFile(dir=path.parent):
        pass
