"""A loop in, machine code out where numba is installed; without it the same loop runs in Python.

Compiled code is kept beside a function's own file and made anew when that file changes. After a change to a
file whose functions are called from another, delete `__pycache__/*.nb*`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers at its first call, once an installation.

    The compiled code runs without the interpreter's lock, so threads share the cores. Its arithmetic is done
    in the order written (no fast-math), so both ways of running give the same; the tests hold them to it.
    """
    return _jit(function, cache=True)


def compiled_inside(function: F) -> F:
    """The same for a function that only compiled ones call, and that makes no arrays.

    It has no wrapper for calls from Python, which is half of the compiler's work, and it does not count
    references to the arrays it is given: in the beam search the counting took nine tenths of the time.
    """
    return _jit(function, no_cpython_wrapper=True, _nrt=False)


def _jit(function: F, **options: Any) -> F:
    try:
        import numba
    except ImportError:
        return function
    njit: Any = numba.njit  # its types do not know all of its options
    compiled_function: F = njit(
        function, nogil=True, fastmath=False, error_model="numpy", no_cfunc_wrapper=True, **options
    )
    return compiled_function
