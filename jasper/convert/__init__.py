"""Checkpoints of other toolkits in and out, by way of a model directory; one format a file."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from jasper.errors import CheckpointError, JasperError, ModelError

if TYPE_CHECKING:
    from jasper.convert.checkpoint import Checkpoint

# kind -> the module that has `read(path, config, ema) -> Checkpoint` and `write(path, checkpoint) -> Path`
FORMATS: dict[str, str] = {
    "jasper": "jasper.convert.directory",
    "nvidia": "jasper.convert.nvidia",
    "nemo": "jasper.convert.nemo",
    "mindspore": "jasper.convert.mindspore",
}
SUFFIXES = {".pt": "nvidia", ".pth": "nvidia", ".nemo": "nemo", ".ckpt": "mindspore"}


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    config: str | Path | None = None,
    kind: str | None = None,
    to: str | None = None,
    ema: bool = True,
) -> Path:
    """Turn a model of one kind into another and return where it is: a file or a model directory.

    `kind` is the source's, found from its content when not given; `to` the destination's, by its ending
    .pt, .nemo or .ckpt, else a model directory. `config` is the configuration (ours, NVIDIA's or the model
    zoo's) where the source does not hold it; `ema` takes averaged weights when the source has them.
    Raises ModelError or ConfigError for a file that does not fit, CheckpointError for a place that cannot be
    written; nothing is written then.
    """
    start, end = Path(source), Path(destination)
    kind = kind or kind_of(start)
    to = to or SUFFIXES.get(end.suffix, "jasper")
    for name in (kind, to):
        if name not in FORMATS:
            raise ModelError(f"{name!r} is no kind of checkpoint; known are {', '.join(FORMATS)}")
    read: Callable[[Path, Path | None, bool], Checkpoint] = import_module(FORMATS[kind]).read
    write: Callable[[Path, Checkpoint], Path] = import_module(FORMATS[to]).write
    checkpoint = read(start, Path(config) if config else None, ema)
    try:
        return write(end, checkpoint)
    except JasperError:
        raise
    except OSError as error:
        raise CheckpointError(f"{end}: cannot be written: {error.strerror or error}") from None


def kind_of(path: Path) -> str:
    """The kind of a checkpoint, from its first bytes."""
    if path.is_dir():
        return "jasper"
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    if head.startswith(b"PK\x03\x04") or (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04")):
        return "nvidia"  # PyTorch's archives and, before version 1.6, its pickles
    if head[257:262] == b"ustar" or head.startswith(b"\x1f\x8b"):
        return "nemo"  # a tar archive, in older releases compressed
    if head.startswith(b"\x0a"):
        return "mindspore"  # a protobuf message whose first field is a message
    raise ModelError(f"{path}: unknown kind of checkpoint; it is none of PyTorch's, NeMo's or MindSpore's")
