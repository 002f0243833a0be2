"""A name of public weights, or an address, in; a model directory in the cache out."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

from jasper.convert import convert
from jasper.convert.public import PUBLIC
from jasper.data.download import download
from jasper.directory import CONFIG_FILE, WEIGHTS_FILE, cache_folder
from jasper.errors import ModelError


def pull(
    name: str,
    *,
    cache: str | Path | None = None,
    sha256: str | None = None,
    config: str | Path | None = None,
) -> Path:
    """Fetch weights, verify and convert them; what is in the cache already is not fetched again.

    `name` is one of `PUBLIC` or an http address, to which `sha256` and `config` (see `convert`) belong.
    The file that was fetched is deleted, converted or not. Raises ModelError for an unknown name and for a
    file that cannot be converted, DownloadError for one that cannot be fetched or has another checksum.
    """
    known = PUBLIC.get(name)
    if known is None and not name.startswith(("http://", "https://")):
        raise ModelError(f"{name!r} is neither an address nor a known name; known are {', '.join(PUBLIC)}")
    url, expected = (known.url, known.sha256) if known else (name, sha256)
    folder = Path(cache) if cache else cache_folder()
    directory = folder / (name if known else _key(url, expected))
    if (directory / WEIGHTS_FILE).is_file() and (directory / CONFIG_FILE).is_file():
        return directory
    file = download(url, folder / f"{directory.name}.download", sha256=expected)
    try:
        return convert(file, directory, config=config)
    finally:
        file.unlink(missing_ok=True)


def _key(url: str, sha256: str | None) -> str:
    """A folder's name for an address: readable, and another for another address or checksum."""
    stem = re.sub(r"[^\w.-]+", "-", Path(urlsplit(url).path).stem).strip(".-")
    return f"{stem or 'model'}-{hashlib.sha256(f'{url} {sha256}'.encode()).hexdigest()[:12]}"
