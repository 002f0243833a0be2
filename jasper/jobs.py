"""Many recordings in, the transcript of each or what is wrong with it out, in order, by several processes."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from jasper.errors import AudioError, JasperError
from jasper.model import Model
from jasper.picture import write_picture
from jasper.progress import progress_bar
from jasper.transcribe import Source, examine, transcribe
from jasper.types import Transcript

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
    if jobs == 1 or len(sources) == 1:
        model = load()
        for source in sources:
            yield _attempt(model, source, asked)
        return
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_leave_ctrl_c)
    try:
        results = [pool.submit(_work, load, source, asked) for source in sources]
        begun, seconds = time.perf_counter(), 0.0
        with progress_bar("transcribing", len(results)) as advance:
            for future in results:
                result = future.result()
                seconds += result.duration if isinstance(result, Transcript) else 0.0
                advance(1, f"{seconds / (time.perf_counter() - begun):,.0f} × real time")
                yield result
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


def _attempt(model: Model, source: Source, asked: Asked) -> Result:
    try:
        return transcribe(model, source, channel=asked.channel, words=asked.words)
    except AudioError as error:
        return error


_loaded: Model | None = None  # of this process, one of several


def _leave_ctrl_c() -> None:
    """Ctrl-C is for the process that started this one, which then ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(load: Load, source: Source, asked: Asked) -> Result:
    global _loaded
    if _loaded is None:
        _loaded = load()
    return _attempt(_loaded, source, asked)


def _end(pool: ProcessPoolExecutor, others: set[BaseProcess]) -> None:
    """Leave no process behind, nor wait for one that is in the middle of a recording nobody waits for."""
    pool.shutdown(wait=False, cancel_futures=True)
    workers = set(multiprocessing.active_children()) - others
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()
