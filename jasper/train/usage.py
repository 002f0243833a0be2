"""Steps, a process and its workers in; their speed and what they take of the machine out."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from jasper.train.accelerator import accelerator
from jasper.train.tally import Tally

_LEAST_S = 0.1  # between two measures: the processor's clock ticks a hundred times a second


class Usage:
    """What training takes, from one call of `measure` to the next."""

    def __init__(self) -> None:
        self._since, self._busy_s = time.monotonic(), _busy_s()
        self._tallies: list[Tally] = []
        self._waited_s = 0.0

    def count(self, tally: Tally) -> None:
        """Count a step that was made."""
        self._tallies.append(tally)

    def count_wait(self, seconds: float) -> None:
        """Count time that was spent on waiting for a batch."""
        self._waited_s += seconds

    def due(self) -> bool:
        """Whether the last call of `measure` is long enough ago."""
        return bool(self._tallies) and time.monotonic() - self._since >= _LEAST_S

    def measure(self, sample_rate: int) -> dict[str, float]:
        """Speed, padding, memory in GiB, use of the processor (% of a core) and of the GPU (%).

        Padding is a share of the audio, `waiting` the share of the time in which there was no batch.
        Only what can be known here: Linux tells of processes, and an accelerator of itself.
        """
        now, busy_s = time.monotonic(), _busy_s()
        seconds = max(now - self._since, 1e-9)
        samples = sum(tally.num_samples for tally in self._tallies)
        padded = sum(tally.num_padded for tally in self._tallies)
        found = {
            "audio_per_second": samples / sample_rate / seconds,
            "utterances_per_second": sum(tally.num_utterances for tally in self._tallies) / seconds,
            "padding": 1 - samples / max(padded, 1),
            "waiting": self._waited_s / seconds,
            "cpu_percent": 100 * (busy_s - self._busy_s) / seconds,
        }
        self._since, self._busy_s, self._tallies, self._waited_s = now, busy_s, [], 0.0
        found["memory_gib"] = sum(map(_resident_bytes, _processes())) / 2**30
        return found | _gpu()


def _gpu() -> dict[str, float]:
    module = accelerator()
    if module is None:
        return {}
    found: dict[str, float] = {}
    # The maker's package need not be there, and has errors of its own; no training ends for it.
    with suppress(Exception):
        found["gpu_memory_gib"] = module.memory_reserved() / 2**30
        found["gpu_percent"] = float(module.utilization())
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
