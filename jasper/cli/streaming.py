"""The command that listens: raw sound on standard input in, words out while they are said."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jasper.cli.decoding import EngineOptions, SearchOptions
from jasper.cli.options import with_options
from jasper.cli.output import long_work, print_json
from jasper.cli.recognition import ModelPath
from jasper.errors import ConfigError

if TYPE_CHECKING:
    from jasper.stream import Update
    from jasper.types import Word

SAMPLE_BYTES = 2
CHUNKS_A_SECOND = 10  # so that no two utterances end in one chunk


@with_options
def stream(
    model: ModelPath,
    search: SearchOptions,
    engine: EngineOptions,
    rate: Annotated[int, typer.Option(min=1000, help="Sample rate of the sound, in Hz.")] = 16000,
    look_ahead: Annotated[
        float, typer.Option(min=0, help="Sound after a word, in seconds, before it is final.")
    ] = 1.5,
    step: Annotated[float, typer.Option(help="The network runs so often, in seconds of sound.")] = 0.5,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print an object of final and partial words a change.")
    ] = False,
) -> None:
    """Print words while they are said: raw mono s16le sound on standard input, a line an utterance.

    For example: arecord -f S16_LE -r 16000 -t raw | jasper stream MODEL
    """
    import numpy as np

    from jasper.stream import StreamConfig

    decode = search.config()
    try:
        config = StreamConfig(step=step, look_ahead=look_ahead)
    except ValueError as error:
        raise ConfigError(f"--step: {error}") from None
    with long_work("run the command again"):
        listener = engine.load(model, decode).stream(config, sample_rate=rate)
        show, sound = _Lines(as_json), _Input()
        for data in sound.chunks(rate // CHUNKS_A_SECOND * SAMPLE_BYTES):
            whole = data[: len(data) // SAMPLE_BYTES * SAMPLE_BYTES]  # the last byte may be half a sample
            show(listener.feed(np.frombuffer(whole, "<i2").astype(np.int16)))
        show(listener.finish())
    if sound.stopped:
        raise typer.Exit(128 + signal.SIGINT)


class _Input:
    """Raw sound on standard input, until it ends; or until Ctrl-C, as a microphone's does."""

    def __init__(self) -> None:
        self.stopped = False
        self.waiting = False

    def chunks(self, size: int) -> Iterator[bytes]:
        """Pieces of so many bytes; raises ConfigError for a file with a header."""
        before = signal.signal(signal.SIGINT, self._stop)
        try:
            data = self._read(size)
            if data.startswith(b"RIFF"):
                raise ConfigError(
                    "standard input is a WAV file, not raw sound; for that: jasper transcribe MODEL -"
                )
            while data:
                yield data
                data = self._read(size)
        finally:
            signal.signal(signal.SIGINT, before)

    def _read(self, size: int) -> bytes:
        self.waiting = True
        try:
            return b"" if self.stopped else sys.stdin.buffer.read(size)
        except KeyboardInterrupt:
            return b""
        finally:
            self.waiting = False

    def _stop(self, number: int, frame: object) -> None:
        """Only while nothing is heard, since words would be lost in the middle of that."""
        self.stopped = True
        if self.waiting:
            raise KeyboardInterrupt


class _Lines:
    """Prints updates: final words as they come, a new line after each pause; or JSON of what changed."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.inside = False  # a line that is not ended
        self.partial: tuple[Word, ...] = ()

    def __call__(self, update: Update) -> None:
        if not self.as_json:
            self._print(update)
        elif update.final or update.partial != self.partial:
            final, partial = ([asdict(word) for word in words] for words in (update.final, update.partial))
            print_json({"final": final, "partial": partial})
        self.partial = update.partial
        sys.stdout.flush()

    def _print(self, update: Update) -> None:
        for word in update.final:
            typer.echo(f" {word.text}" if self.inside else word.text, nl=False)
            self.inside = True
        if update.ended and self.inside:
            typer.echo()
            self.inside = False
