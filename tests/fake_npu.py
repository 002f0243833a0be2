"""An Ascend card and its `torch_npu` where there are none: `python fake_npu.py WORDS` is `jasper WORDS`.

Tensors of device npu keep their values in the host's memory, where every operation on them is computed; all
else is PyTorch's own: dispatch by device, autograd, autocast, optimizers, the launcher. As on a card, an
operation on tensors of two devices fails. So does a call of torch.cuda by this package.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import types
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch.utils._pytree import tree_iter, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

# Operations that take tensors of the host beside those of a device, on every device.
OF_TWO_DEVICES = {"copy_", "_to_copy", "index", "_ctc_loss", "_ctc_loss_backward"}

computed = Counter()  # operations on the card


class NpuTensor(torch.Tensor):
    """A tensor of device npu:0 as PyTorch sees it; `on_host` has its values."""

    on_host: torch.Tensor

    @staticmethod
    def __new__(cls, on_host: torch.Tensor) -> NpuTensor:
        with torch.inference_mode(
            False
        ):  # what is made in that mode cannot be a view of what was there before
            found: NpuTensor = torch.Tensor._make_wrapper_subclass(
                cls, on_host.shape, strides=on_host.stride(), storage_offset=on_host.storage_offset(),
                dtype=on_host.dtype, device="npu:0",
            )  # fmt: skip
        found.on_host = on_host
        return found

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(operation, *args, **(kwargs or {}))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A file has the values alone, as one that is read with map_location="cpu"."""
        return self.on_host.__reduce_ex__(protocol)


def compute(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operation on the card; its results are there too, unless the host was named."""
    given = [value for value in tree_iter((args, kwargs)) if isinstance(value, torch.Tensor)]
    elsewhere = [value for value in given if not isinstance(value, NpuTensor) and value.ndim]
    name = operation._schema.name.removeprefix("aten::")
    if elsewhere and name not in OF_TWO_DEVICES:
        raise RuntimeError(f"{name}: expected all tensors to be on npu:0, found one on {elsewhere[0].device}")
    computed[name] += 1
    there = {id(value.on_host): value for value in given if isinstance(value, NpuTensor)}
    results = operation(*tree_map(_to_host, args), **tree_map(_to_host, kwargs))
    target = kwargs.get("device")
    if target is not None and torch.device(target).type == "cpu":
        return results

    def to_card(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return there[id(value)] if id(value) in there else NpuTensor(value)

    return tree_map(to_card, results)


def _to_host(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value.on_host if isinstance(value, NpuTensor) else value


class Npu(types.ModuleType):
    """`torch.npu`, as far as PyTorch asks an accelerator's module."""

    def __init__(self, num_devices: int) -> None:
        super().__init__("torch.npu")
        self.num_devices = num_devices
        self.chosen: list[int] = []

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        torch.default_generator.manual_seed(seed)

    def device_count(self) -> int:
        return self.num_devices

    def current_device(self) -> int:
        return 0

    def set_device(self, index: int) -> None:
        self.chosen.append(index)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]

    def get_device_name(self, index: int) -> str:
        return "Ascend of this test"

    def memory_reserved(self) -> int:
        return 2**30

    def max_memory_reserved(self, device: object = None) -> int:
        return 2**30

    def mem_get_info(self, device: object = None) -> tuple[int, int]:
        return 2**34, 2**35


class Event:
    """`torch.Event` of a device that computes at once."""

    def __init__(self, device: torch.device) -> None:
        assert device.type == "npu"

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass


def install(num_devices: int = 8) -> None:
    """Make device npu be there, for the rest of the process."""
    sys.modules["torch_npu"] = types.ModuleType("torch_npu")
    module = Npu(num_devices)
    _setup_privateuseone_for_python_backend("npu", backend_module=module)
    library = torch.library.Library("_", "IMPL")
    library.fallback(compute, "PrivateUse1")
    library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    module.library = library  # it is gone when nobody holds it
    dist.Backend.register_backend("hccl", Hccl, devices=["npu"])
    torch.Event = Event  # type: ignore[misc]
    torch.Tensor.pin_memory = lambda tensor: tensor  # type: ignore[method-assign]
    for name, function in vars(torch.cuda).copy().items():
        if isinstance(function, types.FunctionType):
            setattr(torch.cuda, name, _refused(name, function))


def _refused(name: str, function: Any) -> Any:
    """A function of torch.cuda that PyTorch may call and this package may not."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith("jasper"):
            raise RuntimeError(f"{caller} calls torch.cuda.{name} on an Ascend card")
        return function(*args, **kwargs)

    return call


class Hccl(dist.ProcessGroup):
    """A process group named hccl, whose sums Gloo makes. PyTorch gives it the host's tensors as well."""

    def __init__(self, store: dist.Store, rank: int, size: int, timeout: timedelta) -> None:
        super().__init__(rank, size)
        self.gloo = dist.ProcessGroupGloo(store, rank, size, timeout)

    def getBackendName(self) -> str:
        return "hccl"

    def allreduce(self, tensors: list[torch.Tensor], options: dist.AllreduceOptions) -> dist.Work:
        computed["hccl"] += sum(isinstance(tensor, NpuTensor) for tensor in tensors)
        return self.gloo.allreduce([_to_host(tensor) for tensor in tensors], options)

    def broadcast(self, tensors: list[torch.Tensor], options: dist.BroadcastOptions) -> dist.Work:
        return self.gloo.broadcast(tensors, options)

    def allgather(
        self, results: list[list[torch.Tensor]], tensors: list[torch.Tensor], options: dist.AllgatherOptions
    ) -> dist.Work:
        return self.gloo.allgather(results, tensors, options)


if __name__ in ("__main__", "__mp_main__"):  # also in what is spawned from here
    install()

if __name__ == "__main__":
    from jasper.cli import main

    try:
        main()
    finally:
        if report := os.environ.get("JASPER_NPU_REPORT"):
            Path(report).write_text(json.dumps(computed))
