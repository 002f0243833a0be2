"""Signals in; a request out that training heeds where its state is whole: between two steps, or in a wait."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from jasper.errors import Interrupted

# Ctrl-C; the end of a job, a container or a preemption; Slurm's warning (`sbatch --signal=USR1@60`).
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
# s. A scheduler signals every process of a job and torchrun passes on what it gets, so one request may come
# twice; no earlier is a signal a second one.
_ECHO_S = 1.0


class Stopped(Interrupted):
    """The first signal, heeded where the state of training is whole: it can be saved."""


class StopRequest:
    """Made by the first of `STOP_SIGNALS`; the next one ends the work at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._since = 0.0
        self._in_wait = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal, or raise Stopped if training waits; raise Interrupted at a second."""
        if self.number is None:
            self.number, self._since = number, time.monotonic()
            if self._in_wait:
                raise Stopped(number)
        elif time.monotonic() - self._since > _ECHO_S:
            for each in STOP_SIGNALS:  # a third needs no Python to end a process that hangs
                signal.signal(each, signal.SIG_DFL)
            raise Interrupted(number)

    def stopped(self) -> Stopped:
        """What to raise where training was asked to stop, be it through another rank."""
        return Stopped(self.number or signal.SIGTERM)

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Let the first signal raise Stopped inside this block, which changes nothing that is kept."""
        self._in_wait = True
        try:
            if self.number is not None:
                raise self.stopped()
            yield
        finally:
            self._in_wait = False


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Catch `STOP_SIGNALS` inside this block (in the main thread; elsewhere nothing is caught)."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.handle) for number in STOP_SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
