"""A device's name in, a PyTorch device out."""

from __future__ import annotations

import torch

from jasper.errors import ConfigError


def pick_device(name: str) -> torch.device:
    """A device by name; `auto` is the first of cuda, npu, mps that is there, else the CPU."""
    if name == "auto":
        return torch.device(next((kind for kind in ("cuda", "npu", "mps") if _available(kind)), "cpu"))
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device {name!r} is unknown; known are auto, cpu, cuda, npu, mps") from None
    if device.type != "cpu" and not _available(device.type):
        raise ConfigError(f"device {name!r} is not available here; use device=cpu or auto")
    return device


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The type that convolutions compute in; `auto` is bfloat16 where the device has it in hardware."""
    named = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}
    if name != "auto":
        return named[name]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "npu" or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())
    return torch.bfloat16 if native else torch.float32


def feature_precision(device: torch.device) -> torch.dtype:
    """The type that features are computed in: double precision where the device has it."""
    return torch.float32 if device.type in ("mps", "npu") else torch.float64


def runs_beside_host(device: torch.device) -> bool:
    """Whether the host hands it work and goes on: copies come from pinned memory, events tell of ends."""
    return device.type in ("cuda", "npu")


def _available(kind: str) -> bool:
    if kind == "npu":
        try:
            import torch_npu  # noqa: F401  (registers the device)
        except ImportError:
            return False
    module = getattr(torch, kind, None)
    return module is not None and bool(module.is_available())
