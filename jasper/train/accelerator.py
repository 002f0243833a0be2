"""PyTorch's accelerator in, its module out: torch.cuda, torch.npu and their like have the same functions."""

from __future__ import annotations

import sys
from typing import Any


def accelerator() -> Any | None:
    """The module of the accelerator that is here; None without one, or where PyTorch is not loaded.

    A training in MindSpore does not load it. Not every module has every function.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.accelerator.is_available():
        return None
    return torch.get_device_module(torch.accelerator.current_accelerator())
