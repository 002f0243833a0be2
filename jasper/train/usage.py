"""A process and its workers in; the memory and processor time that they take out."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import torch

_LEAST_S = 0.1  # between two measures: the processor's clock ticks a hundred times a second


class Usage:
    """What training takes, from one call of `measure` to the next."""

    def __init__(self) -> None:
        self._since, self._busy_s = time.monotonic(), _busy_s()

    def due(self) -> bool:
        """Whether the last call of `measure` is long enough ago."""
        return time.monotonic() - self._since >= _LEAST_S

    def measure(self, audio: float) -> dict[str, float]:
        """Speed, memory in GiB and processor use in % of a core; `audio`: seconds of it since the last call.

        Only what can be known here: Linux tells of processes, and an accelerator of its own memory.
        """
        now, busy_s = time.monotonic(), _busy_s()
        seconds = max(now - self._since, 1e-9)
        found = {"audio_per_second": audio / seconds, "cpu_percent": 100 * (busy_s - self._busy_s) / seconds}
        self._since, self._busy_s = now, busy_s
        found["memory_gib"] = sum(map(_resident_bytes, _processes())) / 2**30
        if torch.cuda.is_available():
            found["gpu_memory_gib"] = torch.cuda.memory_reserved() / 2**30
        return found


def _processes() -> list[int]:
    """This process and its children."""
    own = os.getpid()
    with suppress(OSError):
        children = Path(f"/proc/{own}/task/{own}/children").read_text(encoding="ascii")
        return [own, *map(int, children.split())]
    return [own]


def _resident_bytes(process: int) -> int:
    with suppress(OSError):
        fields = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _busy_s() -> float:
    """Processor time of this process and its children so far; those that ended are left out."""
    ticks = 0
    for process in _processes():
        with suppress(OSError):
            stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
            ticks += sum(map(int, stat.rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")
