"""A URL in, a verified file out; an archive in, a tree out that stays inside its folder."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from lzma import LZMAError
from pathlib import Path

from jasper.errors import DownloadError
from jasper.progress import progress_bar, track

ATTEMPTS = 5  # failures in a row that bring no new bytes
BACKOFF_S = 1.0  # before the second attempt; doubles with each
TIMEOUT_S = 60.0
CHUNK_BYTES = 1 << 20
RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


def download(url: str, path: str | Path, *, md5: str | None = None, sha256: str | None = None) -> Path:
    """Fetch a file over HTTP and verify it; a file that is there already and passes is not fetched again.

    Bytes gather in `<path>.part`, and a connection that breaks is taken up again where it broke. The part of
    an earlier call is taken up too, where a checksum or the server's tag of the file (ETag) tells that it is
    of the same one. DownloadError says what failed and what to do.
    """
    path = Path(path)
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url}: not an http or https address")
    checksums = {name: value for name, value in (("md5", md5), ("sha256", sha256)) if value}
    if path.is_file() and not _mismatch(path, checksums):
        return path
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not checksums and not _read_tag(part):  # whether an old part is of the file of today?
            part.unlink(missing_ok=True)
        _fetch(url, part)
        _tag_file(part).unlink(missing_ok=True)
        if mismatch := _mismatch(part, checksums):
            part.unlink()
            raise DownloadError(
                f"{url}: {mismatch}. The download was deleted; try again, or the file there has changed"
            )
        part.replace(path)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path


def extract_tar(archive: str | Path, directory: str | Path, *, max_bytes: int | None = None) -> None:
    """Extract a tar archive (plain, gz, bz2, xz) of files, folders and links that stay inside `directory`.

    DownloadError, at the first such member, for a path or a link that leads outside, for a device, for
    contents of more than `max_bytes` in all, and for an archive that is damaged.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    total = 0
    try:
        with tarfile.open(archive) as tar:
            for member in track(tar, f"Extracting {Path(archive).name}"):
                total += member.size
                if max_bytes is not None and total > max_bytes:
                    raise DownloadError(f"{archive}: unpacks to more than {max_bytes:,} bytes; not extracted")
                _check_member(member, Path(archive), directory.resolve())
                _extract_member(tar, member, directory)
    except (tarfile.TarError, EOFError, zlib.error, LZMAError) as error:
        raise DownloadError(f"{archive}: damaged or not a tar archive ({error}); download it again") from None
    except DownloadError:
        raise
    except OSError as error:  # gzip.BadGzipFile among them
        raise DownloadError(f"{archive}: cannot be extracted: {error.strerror or error}") from None


def _fetch(url: str, part: Path) -> None:
    """Bring `part` to its full length, going on where a connection broke."""
    failures, longest = 0, _size(part)
    while True:
        try:
            _fetch_rest(url, part)
            return
        except urllib.error.HTTPError as error:
            if error.code not in RETRY_STATUS:
                raise DownloadError(f"{url}: HTTP {error.code} {error.reason}; check the address") from None
            reason = f"HTTP {error.code} {error.reason}"
        except (ConnectionError, TimeoutError, urllib.error.URLError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", "")) or str(error) or type(error).__name__
        failures = 0 if _size(part) > longest else failures
        longest = max(longest, _size(part))
        failures += 1
        if failures == ATTEMPTS:
            raise DownloadError(
                f"{url}: {reason}; gave up after {failures} attempts with {longest:,} bytes. Check the "
                f"connection and run the same command again"
            )
        time.sleep(BACKOFF_S * 2 ** (failures - 1))


def _fetch_rest(url: str, part: Path) -> None:
    """One request for what is missing of `part`."""
    have, tag = _size(part), _read_tag(part)
    headers = {"User-Agent": "jasper-asr", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", **({"If-Range": tag} if tag else {})}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # the range lies past the end: the part is complete, or of another file
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return
        part.unlink()
        raise ConnectionError("the part on disk is longer than the file on the server") from None
    with response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        )
        new_tag = response.headers.get("ETag", "")
        if resumed and tag and new_tag and new_tag != tag:  # a server that does not know If-Range
            part.unlink()
            raise ConnectionError("the file on the server has changed")
        if not resumed:
            _write_tag(part, new_tag)
        length = response.headers.get("Content-Length")
        total = int(length) + (have if resumed else 0) if length and length.isdigit() else None
        if total is not None and shutil.disk_usage(part.parent).free < total - have:
            raise DownloadError(f"{part.parent}: no room for {total:,} bytes; free some space")
        with part.open("ab" if resumed else "wb") as file, progress_bar(part.stem, total) as advance:
            advance(file.tell())
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                advance(len(chunk))
            if total is not None and file.tell() < total:
                raise ConnectionError(f"the connection broke at {file.tell():,} of {total:,} bytes")


def _tag_file(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _read_tag(part: Path) -> str:
    """What the server called the file of which this is a part; empty if it did not."""
    path = _tag_file(part)
    return path.read_text(encoding="ascii", errors="replace") if path.is_file() else ""


def _write_tag(part: Path, tag: str) -> None:
    """Note the tag of a file whose part is written from the start; a weak one does not tell bytes apart."""
    if tag and not tag.startswith("W/"):
        _tag_file(part).write_text(tag, encoding="ascii", errors="replace")
    else:
        _tag_file(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mismatch(path: Path, checksums: dict[str, str]) -> str:
    """What is wrong with the file's checksums; empty if nothing is."""
    for name, expected in checksums.items():
        found = _digest(path, name)
        if found != expected.lower():
            return f"{name} is {found}, expected {expected}"
    return ""


def _digest(path: Path, name: str) -> str:
    digest = hashlib.new(name, usedforsecurity=False)
    with path.open("rb") as file, progress_bar(f"Verifying {path.stem}", _size(path)) as advance:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def _check_member(member: tarfile.TarInfo, archive: Path, directory: Path) -> None:
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        raise DownloadError(f"{archive}: {member.name!r} is a device or a pipe; not extracted")
    # Resolved on disk, so that a link extracted before leads nowhere else.
    target = (directory / member.name).resolve()
    if ".." in Path(member.name).parts or not target.is_relative_to(directory):
        raise DownloadError(f"{archive}: {member.name!r} would land outside of {directory}; not extracted")
    if member.issym() or member.islnk():
        start = target.parent if member.issym() else directory
        linked = (start / member.linkname).resolve()
        if Path(member.linkname).is_absolute() or not linked.is_relative_to(directory):
            raise DownloadError(f"{archive}: {member.name!r} links to the outside; not extracted")


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, directory: Path) -> None:
    if hasattr(tarfile, "data_filter"):  # Python 3.12, and patched 3.10 and 3.11
        tar.extract(member, directory, filter="data")
    else:
        tar.extract(member, directory, set_attrs=False)
