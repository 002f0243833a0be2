"""PyTorch's files in and out, read as hostile: no pickle runs, no size is believed before it is checked."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Mapping
from typing import IO, Any, BinaryIO

from jasper.bundle import Weights
from jasper.errors import MissingExtraError, ModelError

_LEGACY_PICKLES = 5  # before version 1.6: magic number, protocol, system, object, names of storages
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
# What tensors in dictionaries are made of. Of the rest that PyTorch allows, `bytearray` and others take
# memory for a number.
_NEEDED = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor(_v2)?|parameter)|"
    r"torch(\.\w+)* (Size|\w*Storage|[a-z]+\d*)"
)


def load(file: BinaryIO, source: str) -> Any:
    """Read what `torch.save` wrote, tensors on the CPU. Raises ModelError for what is not just data."""
    torch = import_torch()
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        zipped = zipfile.is_zipfile(file)
        file.seek(0)
        fault = _zip_fault(file, size) if zipped else _legacy_fault(file, size)
        if fault:
            raise ModelError(f"{source}: {fault}")
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged file makes of the unpickler
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{source}: not a readable PyTorch checkpoint: {reason}") from None


def named_tensors(state: Mapping[Any, Any], source: str) -> Weights:
    """The floating-point tensors of a state dict in float32; counters are left out.

    Raises ModelError for what is no tensor with a name, and for views that claim more than they hold.
    """
    torch = import_torch()
    weights: Weights = {}
    for key, value in state.items():
        if not (isinstance(key, str) and isinstance(value, torch.Tensor)):
            raise ModelError(f"{source}: {key!r} in its state_dict is not a tensor with a name")
        claimed = value.numel() * value.element_size()
        if value.layout != torch.strided or claimed > value.untyped_storage().nbytes():
            raise ModelError(f"{source}: {key} of shape {tuple(value.shape)} is larger than its data")
        if value.is_floating_point():
            weights[key] = value.detach().float().numpy()
    return weights


def import_torch() -> Any:
    """PyTorch, or the error that says how to install it."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "torch") from None
    return torch


def _zip_fault(file: BinaryIO, size: int) -> str:
    """PyTorch stores its members as they are, so that none is larger than the archive."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            return "its members are compressed, which PyTorch never does"
        total = sum(member.file_size for member in members)
        if total > size:
            return f"its members claim {total:,} bytes in an archive of {size:,}"
        pickles = [archive.read(member) for member in members if member.filename.endswith("/data.pkl")]
    return next(filter(None, (_pickle_fault(io.BytesIO(content), size) for content in pickles)), "")


def _legacy_fault(file: BinaryIO, size: int) -> str:
    """The fault of the pickles with which a file of before version 1.6 begins."""
    return next(filter(None, (_pickle_fault(file, size) for _ in range(_LEGACY_PICKLES))), "")


def _pickle_fault(file: IO[bytes], size: int) -> str:
    """Storages and shapes are announced before their data: read all numbers and names, run nothing.

    A tensor has no more elements than the file has bytes; numbers below a million, a step say, do no harm.
    """
    largest = 0
    for operation, value, _ in pickletools.genops(file):
        if operation.name == "GLOBAL" and not _NEEDED.fullmatch(str(value)):
            return f"not a readable PyTorch checkpoint: it asks for {str(value).replace(' ', '.')}"
        if isinstance(value, int) and value != _MAGIC_NUMBER:
            largest = max(largest, value)
    excess = largest > max(size, 1_000_000)
    return f"it claims {largest:,} of something in a file of {size:,} bytes" if excess else ""
