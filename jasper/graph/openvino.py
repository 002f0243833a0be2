"""OpenVINO's door, which this process opens once and for all."""

from __future__ import annotations

from functools import cache

import openvino


@cache
def core() -> openvino.Core:
    """The one core of the process.

    Never a second one: each puts a signal stack of its own in place (for AMX) and, when it goes, the one that
    it had found, which is gone too where several went in another order. The next signal is the end then.
    """
    return openvino.Core()
