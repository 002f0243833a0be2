"""OpenVINO's door, which this process opens once and for all."""

from __future__ import annotations

import sys
from functools import cache

# Its converter of other frameworks' models, optional and not used here, takes longer to import than all
# the rest of it, and starts a thread for telemetry.
_CONVERTER = "openvino.tools.ovc"
_unwanted = _CONVERTER not in sys.modules
if _unwanted:
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]
import numpy as np  # noqa: E402
import openvino  # noqa: E402

if _unwanted:
    del sys.modules[_CONVERTER]


@cache
def core() -> openvino.Core:
    """The one core of the process.

    Never a second one: each puts a signal stack of its own in place (for AMX) and, when it goes, the one that
    it had found, which is gone too where several went in another order. The next signal is the end then.
    """
    return openvino.Core()


@cache
def has_amx() -> bool:
    """Whether what OpenVINO computes with has found AMX in the processor; True where it does not tell.

    Only a compiled network tells (2026.4: `isa=Intel AVX-512 with …`), so a small one is compiled, in 30 ms.
    """
    from openvino import opset8

    number = opset8.parameter([1], np.float32)
    compiled = core().compile_model(openvino.Model([opset8.relu(number)], [number]), "CPU")
    try:
        told = str(compiled.get_property("RUNTIME_REQUIREMENTS"))
    except RuntimeError:
        return True
    return "isa=" not in told or "AMX" in told
