"""A device's name in, MindSpore set to it for the whole process."""

from __future__ import annotations

import mindspore

from jasper.errors import ConfigError

_TARGETS = {"cpu": "CPU", "ascend": "Ascend", "npu": "Ascend"}


def on_cpu() -> bool:
    """Whether tensors are in the host's memory: `asnumpy` is then the tensor itself, not a copy."""
    return bool(mindspore.get_context("device_target") == "CPU")


def use_device(name: str) -> str:
    """Choose cpu or ascend (npu is the same), or with auto the one that is there; returns MindSpore's name.

    Raises ConfigError for a device that this MindSpore does not have.
    """
    present = str(mindspore.get_context("device_target"))
    target = present if name == "auto" else _TARGETS.get(name)
    if target is None:
        raise ConfigError(f"device {name!r} is none of MindSpore's here; known are auto, cpu, ascend")
    if target != present:  # MindSpore would refuse to be told again once there is a tensor
        try:
            mindspore.set_device(target)
        except RuntimeError:
            raise ConfigError(f"device {name!r} is not available here; use device=cpu or auto") from None
    if target == "CPU":
        # One operation after the other on this thread: handed over between threads, they wait for a core.
        mindspore.runtime.launch_blocking()
    return target
