"""Options of what becomes of a transcript in; files, or lines on the terminal, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jasper.cli.output import UNENCODABLE, check_place, print_json, writing
from jasper.errors import ConfigError

if TYPE_CHECKING:
    from jasper.types import Transcript

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class TranscriptOptions:
    """How transcripts are written."""

    format: Annotated[
        str | None,
        typer.Option(help="txt, srt, vtt, tsv, json, ctm, or several of them with commas and --out."),
    ] = None
    out: Annotated[Path | None, typer.Option(help="Folder for a file of each format a recording.")] = None
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Picture of one recording, 5 minutes at most: wave, log-mel, posteriors, words; png or html."
        ),
    ] = None
    words: Annotated[bool, typer.Option("--words", help="With --json: words with times and confidence.")] = (
        False
    )
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a recording.")] = False

    @property
    def formats(self) -> list[str]:
        """Names of writers; none where text or JSON lines are printed."""
        text = self.format or ("txt" if self.out else "")
        return [name.strip() for name in text.split(",") if name.strip()]

    @property
    def timed(self) -> bool:
        """Whether the words' times are wanted."""
        from jasper.writers import TIMED

        return self.words or not TIMED.isdisjoint(self.formats)

    def check(self, audio: Sequence[str]) -> None:
        """Refuse what cannot be done with these recordings, before the work; make the folder."""
        from jasper.picture import check_picture
        from jasper.writers import TIMED, WRITERS

        for name in self.formats:
            if name not in WRITERS:
                raise ConfigError(f"--format {name}: unknown; known are {', '.join(WRITERS)}")
        if self.plot is not None:
            if len(audio) > 1:
                raise ConfigError(f"--plot {self.plot}: a picture is of one recording, not of {len(audio)}")
            check_picture(self.plot)
            check_place("--plot", self.plot)
        if audio.count(STANDARD_INPUT) > 1:
            raise ConfigError("standard input can be read once")
        if self.words and not self.as_json and TIMED.isdisjoint(self.formats):
            raise ConfigError("--words: goes with --json; --format json has the words, too")
        if self.out is None:
            if self.formats and self.as_json:
                raise ConfigError(f"--format {self.format}: with --json, it wants a folder, --out")
            if len(self.formats) > 1:
                raise ConfigError(f"--format {self.format}: several formats want a folder, --out")
            return
        twice = [name for name, count in Counter(map(_stem, audio)).items() if count > 1]
        if twice:
            raise ConfigError(
                f"--out {self.out}: two recordings would be written to {twice[0]}.{self.formats[0]}"
            )
        for source in audio:
            for path in self._paths(source):
                check_place("--out", path)

    def show(self, source: str, transcript: Transcript, several: bool) -> None:
        """Write or print one transcript."""
        from jasper.storage import new_file
        from jasper.writers import WRITERS

        if self.out is not None:
            for name, path in zip(self.formats, self._paths(source), strict=True):
                with writing("--out", path), new_file(path) as file:
                    file.write(WRITERS[name](transcript).encode(errors=UNENCODABLE))
        elif self.formats:
            typer.echo(WRITERS[self.formats[0]](transcript), nl=False)
        if self.as_json:
            row = {"text": transcript.text, "duration": transcript.duration, "score": transcript.score}
            timed = {"words": [asdict(word) for word in transcript.words]} if self.words else {}
            print_json({"path": source, **row, **timed})
        elif not self.formats:
            typer.echo(f"{source}\t{transcript.text}" if several else transcript.text)

    def _paths(self, source: str) -> list[Path]:
        """The files of a recording, one a format."""
        assert self.out is not None
        return [self.out / f"{_stem(source)}.{name}" for name in self.formats]


def _stem(source: str) -> str:
    from jasper.storage import stem
    from jasper.types import location

    if source == STANDARD_INPUT:
        return "stdin"
    place = location(source)
    return stem(place if isinstance(place, Path) else place.partition("?")[0])
