"""Utterances in; WebDataset tar shards with an index out, and what is wrong with shards that are there.

A shard has `KEY.EXT` (audio) and `KEY.json` (id, text, duration, speaker) side by side. `index.jsonl` is a
manifest in the order of the utterances, whatever the order in the shards, so training from it is training
from the manifest, bit for bit. `shards.json` has each shard's size and SHA-256. The index is written last:
without it there are no shards, and an interrupted write is run again.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from jasper.data.encode import Target, audio_bytes
from jasper.data.manifest import UniqueIds, write_manifest
from jasper.data.table import durations_of
from jasper.errors import AudioError, ManifestError
from jasper.progress import track
from jasper.storage import exists, folder_of, new_file, num_bytes, open_binary, within
from jasper.types import IntArray, Location, Member, Utterance, location

INDEX_FILE = "index.jsonl"
SIDECAR_FILE = "shards.json"
CHECKS_AT_A_TIME = 16  # requests to a store
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """How shards are made: `num_shards`, else one for every `shard_mb` megabytes of source files, about."""

    shard_mb: float = 500.0
    num_shards: int | None = None
    target: Target = "keep"
    shuffle: bool = True  # the order in the shards, not that of the index
    seed: int = 0
    jobs: int = 4  # shards at a time


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard that was written; `members` has the place of each utterance, None where it was left out."""

    name: str
    size: int  # bytes
    sha256: str
    members: tuple[Member | None, ...]


@dataclass(frozen=True, slots=True)
class ShardFault:
    """What is wrong with a shard, and how many of its bytes are there."""

    message: str
    size: int


def write_shards(
    utterances: Sequence[Utterance],
    out: str | Path,
    options: ShardOptions,
    report: Callable[[str], None] | None = None,
) -> Location:
    """Write the shards of utterances to a folder or URL; returns the place of the index.

    Whole files are copied; stretches of files are cut losslessly. With `report`, a recording that cannot be
    read is reported and left out; without it, it raises AudioError. ManifestError where the folder has an
    index already, an id occurs twice, or it cannot be written.
    """
    folder = location(out)
    index = within(folder, INDEX_FILE)
    try:
        if exists(index):
            raise ManifestError(f"{index}: there are shards already; remove them or choose another place")
        plan = _plan(utterances, options)
        shards = _write_all(utterances, plan, folder, options, report)
        _write_sidecar(within(folder, SIDECAR_FILE), shards)
    except OSError as error:
        raise ManifestError(f"{out}: cannot be written: {error.strerror or error}") from None
    places: dict[int, tuple[Location, Member]] = {}
    for shard, rows in zip(shards, plan, strict=True):
        for row, member in zip(rows, shard.members, strict=True):
            if member is not None:
                places[row] = within(folder, shard.name), member
    write_manifest(
        index,
        (replace(utterances[row], path=p, offset=None, member=m) for row, (p, m) in sorted(places.items())),
    )
    return index


def check_shards(needed: Mapping[Location, int]) -> dict[Location, ShardFault]:
    """Find the shards that are missing, or not of the size in `shards.json`, or end before their members.

    `needed` has the byte where the last member of each shard ends.
    """
    stated = {folder: _stated_sizes(folder) for folder in {folder_of(place) for place in needed}}

    def check(place: Location) -> ShardFault | None:
        try:
            size = num_bytes(place)
        except OSError as error:
            return ShardFault(f"{place}: {error.strerror or error}", 0)
        expected = stated[folder_of(place)].get(Path(place).name)
        if expected is not None and size != expected:
            return ShardFault(f"{place}: damaged: {size} bytes, {SIDECAR_FILE} says {expected}", size)
        if size < needed[place]:
            return ShardFault(f"{place}: cut off: {size} bytes, its members end at {needed[place]}", size)
        return None

    with ThreadPoolExecutor(CHECKS_AT_A_TIME) as pool:
        found = zip(needed, pool.map(check, needed), strict=True)
        return {place: fault for place, fault in found if fault is not None}


def verify_shard(place: Location) -> str | None:
    """Read a whole shard and compare it with its SHA-256; what is wrong with it, None where nothing is."""
    stated = {row["name"]: row["sha256"] for row in _sidecar(folder_of(place))}.get(Path(place).name)
    if stated is None:
        return None
    digest = hashlib.sha256()
    try:
        with open_binary(place) as file:
            while block := file.read(READ_BYTES):
                digest.update(block)
    except OSError as error:
        return f"{place}: {error.strerror or error}"
    found = digest.hexdigest()
    return None if found == stated else f"{place}: damaged: its SHA-256 is {found}, not {stated}"


def _plan(utterances: Sequence[Utterance], options: ShardOptions) -> list[list[int]]:
    """Which utterances go into which shard, so that all last equally long."""
    order = np.arange(len(utterances))
    if options.shuffle:
        order = np.random.default_rng(options.seed).permutation(order)
    count = options.num_shards or max(1, round(_source_bytes(utterances) / (options.shard_mb * 1e6)))
    return equal_parts(order, durations_of(utterances)[order], count)


def equal_parts(rows: IntArray, durations: NDArray[np.float64], count: int) -> list[list[int]]:
    """Cut rows (N,) that last so long, in order, into at most `count` parts that last about equally long."""
    ends = np.cumsum(durations)
    cuts = np.searchsorted(ends, ends[-1] * np.arange(1, count) / count) if len(ends) else []
    return [part.tolist() for part in np.split(rows, cuts) if len(part)]


def _source_bytes(utterances: Iterable[Utterance]) -> int:
    """Size of all files that the utterances lie in; a missing one has none, its reading will tell."""
    files = {(utterance.path, utterance.member) for utterance in utterances}
    return sum(
        member[1] if member is not None else num_bytes(path) if exists(path) else 0 for path, member in files
    )


def _write_all(
    utterances: Sequence[Utterance],
    plan: Sequence[Sequence[int]],
    folder: Location,
    options: ShardOptions,
    report: Callable[[str], None] | None,
) -> list[Shard]:
    """Write the shards, several at a time: threads suffice, as codecs and digests release the interpreter."""
    keys = _keys(utterances)
    with ThreadPoolExecutor(options.jobs) as pool:

        def write(number: int) -> Shard:
            samples = [(keys[row], utterances[row]) for row in plan[number]]
            return _write_shard(within(folder, f"shard-{number:06d}.tar"), samples, options.target, report)

        futures = [pool.submit(write, number) for number in range(len(plan))]
        try:
            for future in track(as_completed(futures), "Writing shards", total=len(futures)):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _keys(utterances: Sequence[Utterance]) -> list[str]:
    """A name for each utterance that has no dot and no slash: WebDataset ends a sample's key at the first."""
    ids, seen, keys = UniqueIds(), set[str](), []
    for utterance in utterances:
        if utterance.id in seen:
            raise ManifestError(f"the id {utterance.id!r} is given twice; shards need one for each utterance")
        seen.add(utterance.id)
        keys.append(ids.claim(re.sub(r"[^A-Za-z0-9_-]", "_", utterance.id)))
    return keys


def _write_shard(
    place: Location,
    samples: Sequence[tuple[str, Utterance]],
    target: Target,
    report: Callable[[str], None] | None,
) -> Shard:
    members: list[Member | None] = []
    with new_file(place) as file:
        tar = _TarWriter(file)
        for key, utterance in samples:
            try:
                extension, audio = audio_bytes(utterance, target)
            except AudioError as error:
                if report is None:
                    raise AudioError(f"{utterance.id}: {error}") from None
                report(f"{utterance.id}: {error}")
                members.append(None)
                continue
            members.append(tar.put(f"{key}.{extension}", audio))
            about = {"id": utterance.id, "text": utterance.text, "duration": utterance.duration}
            if utterance.speaker is not None:
                about["speaker"] = utterance.speaker
            tar.put(f"{key}.json", json.dumps(about, ensure_ascii=False).encode())
        tar.end()
    return Shard(Path(place).name, tar.size, tar.digest.hexdigest(), tuple(members))


class _TarWriter:
    """Writes members one after the other and knows where each lies; equal members give equal bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.digest = hashlib.sha256()

    def put(self, name: str, data: bytes) -> Member:
        """Write a member; returns where its bytes lie."""
        header = tarfile.TarInfo(name)
        header.size = len(data)
        self._write(header.tobuf(tarfile.PAX_FORMAT))
        start = self.size
        self._write(data + bytes(-len(data) % tarfile.BLOCKSIZE))
        return start, len(data)

    def end(self) -> None:
        """Write the two empty blocks that end a tar, and fill its record."""
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._write(bytes(-self.size % tarfile.RECORDSIZE))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.digest.update(data)
        self.size += len(data)


def _write_sidecar(place: Location, shards: Sequence[Shard]) -> None:
    rows = [
        {
            "name": shard.name,
            "size": shard.size,
            "sha256": shard.sha256,
            "num_utterances": sum(member is not None for member in shard.members),
        }
        for shard in shards
    ]
    with new_file(place) as file:
        file.write(json.dumps({"shards": rows}, indent=1).encode() + b"\n")


def _stated_sizes(folder: Location) -> dict[str, int]:
    return {row["name"]: row["size"] for row in _sidecar(folder)}


def _sidecar(folder: Location) -> list[dict[str, Any]]:
    """The rows of `shards.json`; none where there is no such file: a tar of other origin has none."""
    place = within(folder, SIDECAR_FILE)
    try:
        if not exists(place):
            return []
        with open_binary(place) as file:
            rows = json.load(file)["shards"]
        return [{"name": str(r["name"]), "size": int(r["size"]), "sha256": str(r["sha256"])} for r in rows]
    except OSError as error:
        raise ManifestError(f"{place}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        raise ManifestError(f"{place}: does not name shards with their sizes; write them again") from None
