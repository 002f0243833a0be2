"""NeMo's `.nemo` of convolutional CTC models (Jasper, QuartzNet, Citrinet) in and out.

A `.nemo` is a tar archive, compressed in older releases, of `model_config.yaml`, `model_weights.ckpt` and,
for subwords, a SentencePiece model. It is read where it lies: nothing is extracted, so nothing can escape.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml

from jasper.bundle import Weights
from jasper.convert.checkpoint import Checkpoint, Rule, from_shared, rename, to_shared, warn_of_front_end
from jasper.convert.nemo_yaml import NEMO_FIXED, TOKENIZER_FILE, VOCABULARY_FILE, read_model, write_model
from jasper.convert.sentencepiece import piece_of
from jasper.convert.sentencepiece import write_model as write_pieces
from jasper.convert.torch_file import import_torch, load, named_tensors
from jasper.errors import ConfigError, ModelError
from jasper.features import analysis_window, mel_filters
from jasper.storage import atomic_file

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"

_RULES: tuple[Rule, ...] = (
    # Window and mel filters, computed here; masks of training: preprocessor.featurizer.fb
    (r"^(preprocessor|spec_augmentation|spec_augment)\.", None),
    (r"^encoder\.encoder\.", "encoder.layers."),  # encoder.encoder.0.mconv.1.bias
    (r"^(encoder\.layers\.\d+)\.mconv\.", r"\1.conv."),
    (r"^(encoder\.layers\.\d+\..*)\.conv\.weight$", r"\1.weight"),  # encoder.encoder.0.res.0.0.conv.weight
    (r"^decoder\.decoder_layers\.", "decoder.layers."),  # decoder.decoder_layers.0.bias
)
# Numbers hardly compress: what unpacks to more than this many times the archive was made to fill the memory.
_MAX_RATIO = 20


def read(path: Path, config: Path | None, ema: bool) -> Checkpoint:
    """Read a `.nemo`. Raises ModelError for damage and other kinds of model, ConfigError for settings."""
    if config:
        raise ConfigError(f"{path}: a .nemo holds its configuration; --config has no use")
    members = _read_members(path)
    for name in (CONFIG, WEIGHTS):
        if name not in members:
            raise ModelError(f"{path}: has no {name}")
    model = read_model(_read_yaml(members[CONFIG], f"{path}: {CONFIG}"), members, f"{path}: {CONFIG}")
    state = load(io.BytesIO(members[WEIGHTS]), f"{path}: {WEIGHTS}")
    if not isinstance(state, dict):
        raise ModelError(f"{path}: {WEIGHTS} is not a state dict")
    tensors = named_tensors(state, str(path))
    names = rename(list(tensors), _RULES, str(path))
    return from_shared(model, {new: tensors[name] for name, new in names.items()}, str(path))


def write(path: Path, checkpoint: Checkpoint) -> Path:
    """Write a `.nemo` that NeMo restores as an EncDecCTCModel, or as an EncDecCTCModelBPE with subwords."""
    torch = import_torch()
    model = checkpoint.config
    warn_of_front_end(model.features, NEMO_FIXED, "NeMo")
    state = {
        "preprocessor.featurizer.window": analysis_window(model.features),
        "preprocessor.featurizer.fb": mel_filters(model.features)[None],
        **_their_weights(to_shared(checkpoint)),
    }
    if model.features.window == "rectangular":
        del state["preprocessor.featurizer.window"]  # no buffer there either
    tensors = {name: torch.from_numpy(np.array(value, dtype=np.float32)) for name, value in state.items()}
    for name in [name for name in tensors if name.endswith("running_var")]:
        tensors[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    raw = yaml.safe_dump(write_model(model), sort_keys=False, allow_unicode=True)
    members = {CONFIG: io.BytesIO(raw.encode())}
    if model.text.subwords:
        members[TOKENIZER_FILE] = io.BytesIO(write_pieces(model.text))
        members[VOCABULARY_FILE] = io.BytesIO("\n".join(map(piece_of, model.text.labels)).encode())
    members[WEIGHTS] = buffer
    with atomic_file(path) as temporary, tarfile.open(temporary, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = content.seek(0, io.SEEK_END)
            content.seek(0)
            tar.addfile(info, content)
    return path


def _read_yaml(content: bytes, source: str) -> Any:
    """NeMo writes no aliases; a hostile file could make them unfold to any size."""
    try:
        aliases = any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, yaml.SafeLoader))
        raw = None if aliases else yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ModelError(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    if aliases:
        raise ModelError(f"{source}: has aliases, which NeMo never writes")
    return raw


def _their_weights(shared: Weights) -> Weights:
    theirs: Weights = {}
    for name, value in shared.items():
        module, _, last = name.replace("encoder.layers.", "encoder.encoder.", 1).rpartition(".")
        if module.startswith("decoder."):
            module = module.replace("decoder.layers.", "decoder.decoder_layers.", 1)
        else:
            module = module.replace(".conv.", ".mconv.", 1) + (".conv" if value.ndim == 3 else "")
        theirs[f"{module}.{last}"] = value
    return theirs


class _Limited(io.RawIOBase):
    """A stream that refuses to be read for more than `limit` bytes in all, whatever its headers claim."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self.file, self.left = file, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self.file.read(len(buffer))
        self.left -= len(content)
        if self.left < 0:
            raise tarfile.ReadError("it unpacks to far more than its size")
        buffer[: len(content)] = content
        return len(content)


def _read_members(path: Path) -> Mapping[str, bytes]:
    """Every file of the archive by name. Raises ModelError for damaged archives and for bombs."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream: Any = gzip.GzipFile(fileobj=file) if packed else file
            limited = io.BufferedReader(_Limited(stream, _MAX_RATIO * size + (1 << 20)))
            with tarfile.open(fileobj=limited, mode="r|") as tar:
                files = (member for member in tar if member.isfile())
                return {member.name.removeprefix("./"): _read_member(tar, member) for member in files}
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, OverflowError, MemoryError) as error:
        raise ModelError(f"{path}: not a .nemo archive, or damaged: {error}") from None


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The content of one file, all of it."""
    file = tar.extractfile(member)
    content = file.read() if file else b""
    if len(content) != member.size:
        raise tarfile.ReadError(f"{member.name} is cut off")
    return content
