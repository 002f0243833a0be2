"""A loop in, machine code out where numba is installed; without it the same loop runs in Python.

Compiled code is kept beside a function's own file. Its name there has a hash of all that it may be made of,
so that an upgrade never runs the code of what was there before.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., object])

# Where compiled functions are, and the functions and types that they use.
SOURCES = ("compiled.py", "features.py", "compiled_*.py", "decode/*.py", "lm/*.py")


def compiles() -> bool:
    """Whether numba is here. Loading it takes a tenth of a second."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers at its first call, once an installation.

    The compiled code runs without the interpreter's lock, so threads share the cores. Its arithmetic is done
    in the order written (no fast-math), so both ways of running give the same; the tests hold them to it.
    """
    return _jit(_named_by_sources(function), cache=True)


def compiled_in_place(function: F) -> F:
    """The same for a function that makes no arrays, and so does not count references to those it is given.

    Compiling it takes a tenth less.
    """
    return _jit(_named_by_sources(function), cache=True, _nrt=False)


def compiled_inside(function: F) -> F:
    """The same for a function that only compiled ones call, and that makes no arrays.

    It has no wrapper for calls from Python, which is half of the compiler's work, and it does not count
    references to the arrays it is given: in the beam search the counting took nine tenths of the time.
    """
    return _jit(function, no_cpython_wrapper=True, _nrt=False)


def compiled_inline(function: F) -> F:
    """The same for a function that is called so often that handing its arguments over takes time."""
    return _jit(function, no_cpython_wrapper=True, _nrt=False, forceinline=True)


def compiled_into(function: F) -> F:
    """The same for a function that is pasted into its callers, and not compiled by itself.

    For short ones with few callers that takes the compiler less time; for longer ones it takes more.
    """
    return _jit(function, no_cpython_wrapper=True, _nrt=False, inline="always")


@cache
def source_hash(package: Path) -> str:
    """A hash of the sources that a compiled function is made of; numba adds its own version to it."""
    files = [path for pattern in SOURCES for path in package.glob(pattern)]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(files))).hexdigest()[:12]


def _named_by_sources(function: F) -> F:
    if compiles():
        # numba looks at the function's own file alone, which may be as it was while one that it calls is not.
        function.__qualname__ += f"-{source_hash(Path(__file__).parent)}"
    return function


def _jit(function: F, **options: Any) -> F:
    if not compiles():
        return function
    import numba

    _compile_without_collecting()
    njit: Any = numba.njit  # its types do not know all of its options
    compiled_function: F = njit(
        function, nogil=True, fastmath=False, error_model="numpy", no_cfunc_wrapper=True, **options
    )
    return compiled_function


@cache
def _compile_without_collecting() -> None:
    """Compiling makes much and drops little: looking for garbage meanwhile takes a tenth of its time."""
    from numba.core import event

    class Pause(event.Listener):
        # One thread compiles at a time, and a function that it calls within the compiling of its caller.
        depth, was_on = 0, False

        def on_start(self, event: Any) -> None:
            if not self.depth:
                self.was_on = gc.isenabled()
                gc.disable()
            self.depth += 1

        def on_end(self, event: Any) -> None:
            self.depth -= 1
            if not self.depth and self.was_on:
                gc.enable()

    register: Any = event.register  # it has no types
    register("numba:compile", Pause())
