"""A loop in, machine code out where numba is installed; without it the same loop runs in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers at its first call, once an installation.

    The compiled code runs without the interpreter's lock, so threads share the cores. Its arithmetic is done
    in the order written (no fast-math), so both ways of running give the same; the tests hold them to it.
    """
    try:
        from numba import njit
    except ImportError:
        return function
    compiled_function: F = njit(function, cache=True, nogil=True, fastmath=False, error_model="numpy")
    return compiled_function
