"""Values in, lines on the terminal out: JSON, tables, progress bars and a clean end after Ctrl-C."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated

import typer

from jasper.errors import ConfigError, Interrupted
from jasper.progress import show_progress

UNENCODABLE = "backslashreplace"  # of what no encoding has, such as a file's name that is no UTF-8

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object in place of a table.")]


def print_json(raw: Mapping[str, object]) -> None:
    """Print one JSON object on one line; JSON has no NaN and no infinity, they become null."""
    typer.echo(json.dumps(_finite(raw), ensure_ascii=False, allow_nan=False))


def file_name(utterance_id: str, ending: str) -> str:
    """Of an utterance's file in a folder of one each."""
    return utterance_id.replace("/", "_") + ending


def check_file_names(utterance_ids: Iterable[str]) -> None:
    """Before the work, see that no two utterances would be one file. Raises ConfigError."""
    names: dict[str, str] = {}
    for one in utterance_ids:
        other = names.setdefault(file_name(one, ""), one)
        if other != one:
            raise ConfigError(f"--out: the files of utterances {other} and {one} would be one")


def print_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table; columns without names have no header. The first is never cut short."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    first, *others = columns
    table = Table(Column(first, no_wrap=True), *others, title=title, show_header=any(columns))
    for row in rows:
        # Text: what comes from files is no markup.
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def make_folder(path: Path) -> None:
    """Before the work whose results go there, so that it is not done in vain. Raises ConfigError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {path}: cannot be made a folder: {error.strerror}") from None
    with writing("--out", path), TemporaryFile(dir=path):
        pass


def check_place(option: str, path: Path) -> None:
    """Before the work whose result goes to this file, see that it can be written. Raises ConfigError."""
    from jasper.storage import try_place

    with writing(option, path):
        try_place(path)


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Inside this block a file is written; where it cannot be, ConfigError says what `option` asked for."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be written: {error.strerror or error}") from None


def is_first_rank() -> bool:
    """Whether this process is the one that talks to the user, of those that torchrun or msrun started."""
    return os.environ.get("RANK", os.environ.get("RANK_ID", "0")) == "0"


@contextmanager
def long_work(go_on: str, bars: bool = True) -> Iterator[None]:
    """Show progress `bars` inside this block; a signal ends it and the last line says how to go on.

    The exit code is 128 + the signal, as a shell has it: 130 for Ctrl-C, 143 for SIGTERM, 138 for SIGUSR1.
    """
    with show_progress() if bars and is_first_rank() else nullcontext():
        try:
            yield
        except KeyboardInterrupt as stop:
            number = stop.number if isinstance(stop, Interrupted) else signal.SIGINT
            if is_first_rank():
                print(f"jasper: stopped; to go on: {go_on}", file=sys.stderr)
            raise typer.Exit(128 + number) from None


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each warning of this block as one line on standard error, as errors are."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        print(f"jasper: warning: {warning.message}", file=sys.stderr)
