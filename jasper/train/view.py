"""Rows of a training log in, one screen of a terminal out: how a run goes, while it goes or afterwards."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from jasper.errors import ConfigError
from jasper.train.log import Listener

_BARS = "▁▂▃▄▅▆▇█"
_POLL_S = 0.5
_MOST_SAMPLES, _MOST_SCORES = 2, 4  # so that a terminal of 80 by 24 holds all


class RunView:
    """What the rows so far say of a run of `epochs` epochs."""

    def __init__(self, title: str, epochs: int) -> None:
        self.title = title
        self.epochs = epochs
        self.newest: dict[str, Any] = {}  # key -> its last value
        self.losses: list[float] = []
        self.scores: list[Mapping[str, Any]] = []
        self.samples: list[Mapping[str, Any]] = []
        self.skipped = self.faults = 0
        self._paces: list[tuple[float, float]] = []  # time in s, epochs done

    def take(self, row: Mapping[str, Any]) -> None:
        """Take in a row of the log."""
        self.newest |= row
        if "loss" in row:
            self.losses.append(float(row["loss"]))  # "nan" is a number too
            self._paces.append((row["time"], row["epoch"]))
        if "dev_wer" in row:
            self.scores.append(row)
            self.samples = []
        if "hypothesis" in row:
            self.samples.append(row)
        self.skipped += "skipped" in row
        self.faults += "fault" in row

    def seconds_left(self) -> float | None:
        """To the end of the last epoch at the pace of the last rows; None where there is none yet."""
        if len(self._paces) < 2:
            return None
        (begin, first), (end, last) = self._paces[-50:][0], self._paces[-1]
        if last <= first:
            return None
        return (self.epochs - last) * (end - begin) / (last - first)

    def render(self, width: int) -> RenderableType:
        """The screen, for a terminal of so many columns."""
        left = self.seconds_left()
        epoch = float(self.newest.get("epoch", 0.0))
        head = f"step {self.newest.get('step', 0):,}   epoch {epoch:.2f} of {self.epochs}"
        head += f"   left {_duration(left)}" if left is not None else ""
        lines: list[RenderableType] = [Text(head, style="bold"), self._numbers(), self._use()]
        lines.append(Text(f"loss {sparkline(self.losses, width - 10)}", style="cyan", no_wrap=True))
        if self.skipped or self.faults:
            left_out = f"skipped steps {self.skipped}, faulty utterances {self.faults}"
            lines.append(Text(left_out, style="red"))
        if self.scores:
            lines.append(self._scores())
        for sample in self.samples[:_MOST_SAMPLES]:
            for name, key in (("said ", "reference"), ("heard", "hypothesis")):
                text = f"{name} {sample[key]}"
                lines.append(
                    Text(text, no_wrap=True, overflow="ellipsis", style="dim" if key == "reference" else "")
                )
        return Panel(Group(*lines), title=Text(self.title), width=width)

    def _numbers(self) -> Text:
        shown = {
            "loss": ("loss", "{:.3f}"),
            "learning_rate": ("rate", "{:.2e}"),
            "grad_norm": ("gradient", "{:.2f}"),
            "audio_per_second": ("audio s/s", "{:.0f}"),
            "utterances_per_second": ("utt/s", "{:.1f}"),
        }
        return self._line(shown)

    def _use(self) -> Text:
        shown = {
            "memory_gib": ("memory GiB", "{:.1f}"),
            "gpu_memory_gib": ("GPU GiB", "{:.1f}"),
            "cpu_percent": ("CPU %", "{:.0f}"),
            "gpu_percent": ("GPU %", "{:.0f}"),
            "padding": ("padding", "{:.1%}"),
            "waiting": ("waiting", "{:.0%}"),
        }
        return self._line(shown)

    def _line(self, shown: Mapping[str, tuple[str, str]]) -> Text:
        parts = (
            f"{name} {form.format(float(self.newest[key]))}"
            for key, (name, form) in shown.items()
            if key in self.newest
        )
        return Text("   ".join(parts))

    def _scores(self) -> Table:
        best = min(self.scores, key=lambda row: row["dev_wer"])
        table = Table("step", "dev loss", "WER", "CER", "", box=None, padding=(0, 2, 0, 0))
        for row in self.scores[-_MOST_SCORES:]:
            cells = (f"{float(row['dev_loss']):.3f}", f"{row['dev_wer']:.2%}", f"{row['dev_cer']:.2%}")
            table.add_row(f"{row['step']:,}", *cells, "best" if row is best else "")
        return table


def sparkline(values: list[float], width: int) -> str:
    """Values as a line of bars, the means of equal stretches where there are more than `width`."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite or width < 1:
        return ""
    count = min(width, len(finite))
    cuts = [round(index * len(finite) / count) for index in range(count + 1)]
    means = [sum(finite[a:b]) / (b - a) for a, b in pairwise(cuts)]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low or 1.0)
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)


def watch(directory: Path, epochs: int, follow: bool) -> None:
    """Show a run in a terminal, until Ctrl-C if `follow`; else print one screen.

    Raises ConfigError where there is no log.
    """
    log = directory / "log.jsonl"
    if not log.is_file():
        raise ConfigError(f"{directory}: has no log.jsonl; a run is a folder made by `jasper train`")
    console = Console()
    if not follow or not console.is_terminal:
        view = RunView(str(directory), epochs)
        for row in _rows(log, follow=False):
            view.take(row or {})
        console.print(view.render(console.width))
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        _follow(live, log, epochs)


@contextmanager
def live_view(directory: Path, epochs: int) -> Iterator[Listener | None]:
    """Yield what shows the rows that it is given, in this terminal; lines printed meanwhile stand above.

    Yields None where standard error is no terminal. There is no thread, for workers are forked.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    view = RunView(str(directory), epochs)
    with Live(console=console, auto_refresh=False) as live:

        def show(row: Mapping[str, Any]) -> None:
            view.take(row)
            # Narrower than the terminal: the ^C of Ctrl-C would push its last line over the edge.
            live.update(view.render(console.width - 3), refresh=True)

        yield show


def _follow(live: Live, log: Path, epochs: int) -> None:
    """Show what a log says while it grows."""
    while True:  # once for every start of the run: a resumed one writes its log anew
        view = RunView(str(log.parent), epochs)
        for row in _rows(log, follow=True):
            if row is not None:
                view.take(row)
                continue
            live.update(view.render(live.console.width), refresh=True)
            time.sleep(_POLL_S)
        time.sleep(_POLL_S)


def _rows(log: Path, follow: bool) -> Iterator[dict[str, Any] | None]:
    """Every whole row; None where the end is reached, and then what is written later to the same file."""
    with suppress(FileNotFoundError), log.open(encoding="utf-8") as file:
        part = ""
        while True:
            part += file.readline()
            if part.endswith("\n"):
                yield json.loads(part)
                part = ""
                continue
            yield None
            if not follow or os.fstat(file.fileno()).st_ino != log.stat().st_ino:
                return


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds // 60) % 60, int(seconds // 3600)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {int(seconds) % 60:02d} s"
