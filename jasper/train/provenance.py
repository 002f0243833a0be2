"""A training that begins in, an entry of its `run.json` out: all that it takes to repeat it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import soundfile

from jasper.config import Config
from jasper.data.mindrecord import index_of, is_mindrecord, places_at
from jasper.errors import CheckpointError, Interrupted, JasperError, ManifestError
from jasper.storage import atomic_file, open_binary
from jasper.train.accelerator import accelerator
from jasper.train.log import say
from jasper.train.run import Run
from jasper.types import Location

FILE = "run.json"

_PACKAGES = (
    "jasper-asr",
    "torch",
    "torch-npu",
    "mindspore",
    "numpy",
    "soundfile",
    "soxr",
    "safetensors",
    "pydantic",
    "inflect",
    "anyascii",
)
# Named one by one: SLURM_JWT and their like are secrets.
_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", "PYTORCH_CUDA_ALLOC_CONF"),
    *("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_JOB_PARTITION", "SLURM_JOB_NODELIST", "SLURM_RESTART_COUNT"),
    *("SLURM_NNODES", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK", "SLURM_GPUS_ON_NODE"),
)
_COMPARED = ("versions", "git", "manifests", "config")  # from one start to the next
_GIT_S = 10.0  # the longest wait for git, of a network disk say


@contextmanager
def recorded(run: Run) -> Iterator[None]:
    """Write, once for all ranks, an entry for this start of a run, and how it ended when the block is left.

    What differs from the start before is said in one line and logged. Raises CheckpointError where
    `run.json` cannot be written or read, ManifestError where a manifest is gone.
    """
    if not run.ranks.main:
        yield
        return
    path = run.directory.path / FILE
    starts = read_starts(path)
    entry = describe(run.config) | {"started": _now(), "first_step": run.step + 1}
    if starts:
        entry["changed"] = changes(starts[-1], entry)
        if entry["changed"]:
            say(f"changed since the start before: {'; '.join(entry['changed'])}")
            run.log.row(run.step, changed=entry["changed"])
    _write(path, [*starts, entry])
    outcome = "finished"
    try:
        yield
    except BaseException as error:
        outcome = _outcome(error)
        raise
    finally:
        entry |= {"ended": _now(), "last_step": run.step, "outcome": outcome}
        with suppress(CheckpointError):  # a full disk has been reported already
            _write(path, [*starts, entry])


def read_starts(path: Path) -> list[dict[str, Any]]:
    """The entries of a `run.json`, oldest first; none where there is no such file."""
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["starts"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); remove it to go on without it") from None


def describe(config: Config) -> dict[str, Any]:
    """What repeats a training with `config`: command, code, data and machine."""
    named = (*config.data.train, *config.data.dev, *config.augment.noise)
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "working_directory": str(Path.cwd()),
        "seed": config.train.seed,
        "config": config.model_dump(mode="json", exclude_none=True),
        "versions": _versions(),
        "git": {
            "package": _git(Path(__file__).parent),
            "working_directory": _git(Path.cwd()),
        },
        "manifests": {str(path): _digest(path) for place in named for path in places_at(place)},
        "machine": _machine(),
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ between two entries, with both values; manifests by their hashes."""
    old, new = (
        {key: value for name in _COMPARED for key, value in _flat(entry[name], _prefix(name))}
        for entry in (before, now)
    )
    differing = [key for key in (old | new) if old.get(key) != new.get(key)]
    return [f"{key} {_short(old.get(key))} → {_short(new.get(key))}" for key in differing]


def _prefix(name: str) -> str:
    return "" if name in ("config", "versions") else f"{name}."


def _flat(value: object, prefix: str) -> Iterator[tuple[str, object]]:
    """(dotted key, leaf) of nested mappings; lists are leaves."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}{key}.")
    else:
        yield prefix.removesuffix("."), value


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"


def _versions() -> dict[str, str]:
    versions: dict[str, str] = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    versions["libsndfile"] = soundfile.__libsndfile_version__
    torch = sys.modules.get("torch")
    if torch is not None and torch.version.cuda is not None:
        cudnn = torch.backends.cudnn.version()
        versions |= {"cuda": torch.version.cuda, "cudnn": str(cudnn)}
    return versions


def _git(directory: Path) -> dict[str, Any] | None:
    """Revision of a checkout and whether tracked files differ from it; None where there is none."""
    revision, status = (
        _ask_git(directory, *words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
    )
    return None if revision is None else {"revision": revision, "dirty": bool(status)}


def _ask_git(directory: Path, *words: str) -> str | None:
    command = ["git", "-C", str(directory), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GIT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _digest(place: Location) -> dict[str, Any]:
    """SHA-256 and number of lines of a manifest; of a MindRecord shard that of its index, which is short."""
    if isinstance(place, Path) and is_mindrecord(place):
        place = index_of(place)
    digest, lines = hashlib.sha256(), 0
    try:
        with open_binary(place) as file:
            while block := file.read(1 << 20):
                digest.update(block)
                lines += block.count(b"\n")
    except OSError as error:
        raise ManifestError(f"{place}: cannot be read: {error.strerror or error}") from None
    return {"sha256": digest.hexdigest(), "lines": lines}


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "accelerators": _accelerators(),
    }


def _accelerators() -> list[str]:
    module = accelerator()
    if module is None or not hasattr(module, "get_device_name"):
        return []
    return [str(module.get_device_name(index)) for index in range(module.device_count())]


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _outcome(error: BaseException) -> str:
    if isinstance(error, Interrupted):
        return f"stopped by signal {error.number}"
    message = " ".join(str(error).split())
    return f"failed: {message}" if isinstance(error, JasperError) else f"failed: {type(error).__name__}"


def _write(path: Path, starts: list[dict[str, Any]]) -> None:
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(
                json.dumps({"starts": starts}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
