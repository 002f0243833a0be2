"""Many recordings in, the transcript of each or what is wrong with it out, in order, by several processes."""

from __future__ import annotations

import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from jasper.blocks import header_duration
from jasper.errors import AudioError, JasperError
from jasper.model import Model
from jasper.picture import write_picture
from jasper.progress import is_drawn, progress_bar, report_progress
from jasper.transcribe import Source, examine, transcribe
from jasper.types import Transcript

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

POLL_S = 0.2  # how often the bar of several processes moves

Load = Callable[[], Model]
Result = Transcript | AudioError


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of every recording."""

    channel: int | None = None  # None: the mean of them
    words: bool = False  # with their times and confidence


def transcribe_each(load: Load, sources: Sequence[Source], asked: Asked, jobs: int = 1) -> Iterator[Result]:
    """Transcribe recordings; one that cannot be read gives its AudioError, and the others go on.

    `load` makes the model. With `jobs` above 1 it is called in so many processes, and should leave each its
    share of the processor; sources and `load` are pickled then. Raises JasperError where a process is killed,
    for want of memory say.
    """
    if len(sources) == 1:
        yield _attempt(load(), sources[0], asked)
    elif jobs == 1:
        yield from _one_by_one(load(), sources, asked)
    else:
        yield from _by_processes(load, sources, asked, jobs)


def _one_by_one(model: Model, sources: Sequence[Source], asked: Asked) -> Iterator[Result]:
    durations, done = _durations(sources), 0.0
    with _bar(durations) as show:
        for number, (source, duration) in enumerate(zip(sources, durations, strict=True)):

            def add(seconds: float, number: int = number) -> None:
                nonlocal done
                done += seconds
                show(done, number)

            yield _reported(model, source, asked, duration, add)


def _by_processes(load: Load, sources: Sequence[Source], asked: Asked, jobs: int) -> Iterator[Result]:
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    done = context.Value("d", 0.0)  # seconds of sound, of all processes
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(done,))
    durations = _durations(sources)
    try:
        results = [
            pool.submit(_work, load, source, asked, duration)
            for source, duration in zip(sources, durations, strict=True)
        ]
        while not (done.value or results[0].done()):  # a process that has loaded its model says so first
            wait(results, POLL_S, FIRST_COMPLETED)
        with _bar(durations) as show:
            for future in results:
                while not future.done():
                    wait([future], POLL_S)
                    show(done.value, sum(result.done() for result in results))
                yield future.result()
            show(done.value, len(results))
    except BrokenProcessPool:
        raise JasperError("a process that transcribed was killed; fewer --jobs need less memory") from None
    finally:
        _end(pool, others)


def plot_one(load: Load, source: Source, channel: int | None, path: Path) -> Iterator[Result]:
    """Transcribe one recording and draw what was heard in it, a .png or .html; or give its AudioError."""
    try:
        heard = examine(load(), source, channel=channel)
    except AudioError as error:
        yield error
        return
    write_picture(path, heard)
    yield heard.transcript


def _durations(sources: Sequence[Source]) -> list[float | None]:
    """Seconds of each as far as they are known, where anybody wants to see how far the work is."""
    return [header_duration(source) if is_drawn() else None for source in sources]


@contextmanager
def _bar(durations: Sequence[float | None]) -> Iterator[Callable[[float, int], None]]:
    """A bar over all recordings, with the rate; yields `show(seconds that are done, recordings that are)`."""
    known = [duration for duration in durations if duration is not None]
    total = math.fsum(known) if len(known) == len(durations) else None
    begun, shown = time.perf_counter(), 0.0
    with progress_bar("transcribing", total) as advance:

        def show(seconds: float, num_done: int) -> None:
            nonlocal shown
            rate = seconds / (time.perf_counter() - begun)
            advance(seconds - shown, f"{num_done} of {len(durations)}, {rate:,.0f} × real time")
            shown = seconds

        yield show


def _reported(
    model: Model, source: Source, asked: Asked, duration: float | None, add: Callable[[float], None]
) -> Result:
    """Attempt a recording, and `add` seconds of sound while they are done: in the end all of them."""
    reported = 0.0

    def report(seconds: float) -> None:
        nonlocal reported
        reported += seconds
        add(seconds)

    with report_progress(report):
        result = _attempt(model, source, asked)
    if duration is None:
        duration = result.duration if isinstance(result, Transcript) else reported
    add(duration - reported)  # the silence at its end; what is behind a fault
    return result


def _attempt(model: Model, source: Source, asked: Asked) -> Result:
    try:
        return transcribe(model, source, channel=asked.channel, words=asked.words)
    except AudioError as error:
        return error


_loaded: Model | None = None  # of this process, one of several
_done: Synchronized[float]  # seconds of sound, of all of these


def _begin(done: Synchronized[float]) -> None:
    """Ctrl-C is for the process that started this one, which then ends it."""
    global _done
    _done = done
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(load: Load, source: Source, asked: Asked, duration: float | None) -> Result:
    global _loaded
    if _loaded is None:
        _loaded = load()
    return _reported(_loaded, source, asked, duration, _add)


def _add(seconds: float) -> None:
    with _done.get_lock():
        _done.value += seconds


def _end(pool: ProcessPoolExecutor, others: set[BaseProcess]) -> None:
    """Leave no process behind, nor wait for one that is in the middle of a recording nobody waits for."""
    pool.shutdown(wait=False, cancel_futures=True)
    workers = set(multiprocessing.active_children()) - others
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()
