"""Foreign checkpoints in, model directories out; one format a file."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from jasper.errors import ModelError

# kind -> (module, function `(source, destination, config, ema) -> Path`, suffixes)
CONVERTERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "nvidia": ("jasper.convert.nvidia", "convert", (".pt", ".pth")),
}


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    config: str | Path | None = None,
    kind: str | None = None,
    ema: bool = True,
) -> Path:
    """Turn a foreign checkpoint into a model directory and return it.

    `config` is the foreign configuration where the checkpoint does not hold it; `ema` takes the averaged
    weights when the checkpoint has them. Raises ModelError for a file that does not fit.
    """
    path = Path(source)
    if not path.is_file():
        raise ModelError(f"{source}: no such file")
    kind = kind or next((k for k, (_, _, suffixes) in CONVERTERS.items() if path.suffix in suffixes), None)
    if kind not in CONVERTERS:
        raise ModelError(f"{source}: unknown kind of checkpoint; known are {', '.join(CONVERTERS)}")
    module, function, _ = CONVERTERS[kind]
    run: Callable[[Path, Path, Path | None, bool], Path] = getattr(import_module(module), function)
    return run(path, Path(destination), Path(config) if config else None, ema)
