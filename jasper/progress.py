"""Progress bars that a library can call freely: silent unless a door (the CLI) switches them on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

_shown: ContextVar[bool] = ContextVar("progress_shown", default=False)
_report: ContextVar[Callable[[float], None] | None] = ContextVar("progress_report", default=None)
_drawn: list[Progress] = []  # on the terminal


@contextmanager
def show_progress() -> Iterator[None]:
    """Inside this block, `track` and `progress_bar` draw on standard error."""
    token = _shown.set(True)
    try:
        yield
    finally:
        _shown.reset(token)


@contextmanager
def report_progress(report: Callable[[float], None]) -> Iterator[None]:
    """Inside this block nothing is drawn: what a bar would advance by goes to `report`, for a larger bar."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


@contextmanager
def without_bars() -> Iterator[None]:
    """Inside this block lines can be printed on the terminal: the bars on it are taken away meanwhile."""
    hidden = [*_drawn]
    for bar in hidden:
        bar.stop()
    try:
        yield
    finally:
        for bar in hidden:
            bar.start()


def is_drawn() -> bool:
    """Whether a bar would be drawn now, and finding out its total is worth the while."""
    return _shown.get() and _report.get() is None and sys.stderr.isatty()


@contextmanager
def progress_bar(description: str, total: float | None) -> Iterator[Callable[..., None]]:
    """Draw one bar; yields `advance(amount, description=None)`. Draws nothing where there is no terminal."""
    report = _report.get()
    if report is not None:
        yield lambda amount, description=None: report(amount)
        return
    if not _shown.get():
        yield lambda amount, description=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total)

        def advance(amount: float, description: str | None = None) -> None:
            progress.update(task, advance=amount, description=description)

        _drawn.append(progress)
        try:
            yield advance
        finally:
            _drawn.remove(progress)


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items and draw a bar over them."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar(description, total) as advance:
        for item in items:
            yield item
            advance(1)
