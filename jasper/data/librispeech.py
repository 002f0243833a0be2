"""LibriSpeech and mini LibriSpeech: names of subsets in, one manifest a subset out."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jasper.audio import audio_info
from jasper.data.download import download, extract_tar
from jasper.data.manifest import write_manifest
from jasper.errors import DownloadError, ManifestError
from jasper.progress import track
from jasper.types import Utterance

# FLAC barely compresses: an archive that unpacks to more than this is not what it claims to be.
MAX_EXPANSION = 4
SMALL_ARCHIVE = 1 << 20  # bytes; below it, padding and text decide


@dataclass(frozen=True, slots=True)
class Archive:
    """Where a subset is published."""

    url: str
    md5: str


def _openslr(resource: int, name: str, md5: str) -> Archive:
    return Archive(f"https://www.openslr.org/resources/{resource}/{name}.tar.gz", md5)


# Panayotov et al. 2015; md5 from https://www.openslr.org/resources/{12,31}/md5sum.txt
SUBSETS: dict[str, Archive] = {
    "dev-clean": _openslr(12, "dev-clean", "42e2234ba48799c1f50f24a7926300a1"),
    "dev-other": _openslr(12, "dev-other", "c8d0bcc9cca99d4f8b62fcc847357931"),
    "test-clean": _openslr(12, "test-clean", "32fa31d27d2e1cad72775fee3f4849a9"),
    "test-other": _openslr(12, "test-other", "fb5a50374b501bb3bac4815ee91d3135"),
    "train-clean-100": _openslr(12, "train-clean-100", "2a93770f6d5c6c964bc36631d331a522"),
    "train-clean-360": _openslr(12, "train-clean-360", "c0e676e450a7ff2f54aeade5171606fa"),
    "train-other-500": _openslr(12, "train-other-500", "d1a0fd59409feb2c614ce4d30c387708"),
    "dev-clean-2": _openslr(31, "dev-clean-2", "6d7ab67ac6a1d2c993d050e16d61080d"),
    "train-clean-5": _openslr(31, "train-clean-5", "5df7d4e78065366204ca6845bb08f490"),
}


def prepare(
    root: str | Path, subsets: Sequence[str], *, url: str | None = None, download: bool = True
) -> list[Path]:
    """Write `<root>/<subset>.jsonl` for each subset and return the manifests' paths, in the order asked for.

    A tree that is there already (`<root>/LibriSpeech/<subset>` or `<root>/<subset>`) is used as it is; else
    `<root>/<subset>.tar.gz` is extracted, after a download where it is missing. `url` is a mirror's folder
    of archives; they are held to the same checksums. `download=False` stays off the network.
    """
    root = Path(root)
    unknown = [name for name in subsets if name not in SUBSETS]
    if unknown:
        raise ManifestError(f"no such subset: {', '.join(unknown)}; subsets are {', '.join(SUBSETS)}")
    manifests = []
    for name in subsets:
        tree = _find_tree(root, name) or _fetch_tree(root, name, url, may_download=download)
        manifest = root / f"{name}.jsonl"
        write_manifest(manifest, _utterances(tree, name))
        manifests.append(manifest)
    return manifests


def _find_tree(root: Path, name: str) -> Path | None:
    trees = (root / "LibriSpeech" / name, root / name)
    return next((tree for tree in trees if tree.is_dir()), None)


def _fetch_tree(root: Path, name: str, mirror: str | None, *, may_download: bool) -> Path:
    published = SUBSETS[name]
    archive = root / f"{name}.tar.gz"
    if may_download:
        url = f"{mirror.rstrip('/')}/{archive.name}" if mirror else published.url
        download(url, archive, md5=published.md5)
    elif not archive.is_file():
        raise DownloadError(
            f"{root}: neither LibriSpeech/{name} nor {archive.name} is there; allow a download"
        )
    # Extracted aside and moved when whole, so that a broken run leaves no tree that looks complete.
    aside = root / f".{name}.extracting"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        extract_tar(archive, aside, max_bytes=MAX_EXPANSION * archive.stat().st_size + SMALL_ARCHIVE)
        extracted = _find_tree(aside, name)
        if extracted is None:
            raise DownloadError(f"{archive}: holds no LibriSpeech/{name}; it is not the published archive")
        tree = root / "LibriSpeech" / name
        tree.parent.mkdir(exist_ok=True)
        return extracted.rename(tree)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _utterances(tree: Path, name: str) -> Iterable[Utterance]:
    """Every utterance of `<tree>/<speaker>/<chapter>/`, sorted by file name, with its text verbatim."""
    audio = {path.stem: path for path in sorted(tree.glob("*/*/*.flac"))}
    texts: dict[str, str] = {}
    for path in sorted(tree.glob("*/*/*.trans.txt")):
        for line in filter(str.strip, path.read_text(encoding="utf-8").splitlines()):
            key, _, text = line.strip().partition(" ")
            texts[key] = text
    _check_pairs(tree, audio.keys() - texts.keys(), texts.keys() - audio.keys(), len(audio))
    for key, path in track(audio.items(), f"Reading {name}", total=len(audio)):
        speaker = path.parent.parent.name
        yield Utterance(
            id=key, path=path, text=texts[key], duration=audio_info(path).duration, speaker=speaker
        )


def _check_pairs(tree: Path, silent: set[str], missing: set[str], num_files: int) -> None:
    faults = []
    if not num_files:
        faults.append("no <speaker>/<chapter>/*.flac")
    if silent:
        faults.append(f"{len(silent)} recordings without a transcript ({_some(silent)})")
    if missing:
        faults.append(f"{len(missing)} transcripts without a recording ({_some(missing)})")
    if faults:
        raise ManifestError(f"{tree}: {'; '.join(faults)}. Remove the folder to have it fetched again")


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
