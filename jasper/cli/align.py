"""`jasper align`: a recording and its text in, the words' times out."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jasper.cli.decoding import EngineOptions
from jasper.cli.options import with_options
from jasper.cli.output import check_file_names, file_name, long_work, make_folder, writing
from jasper.cli.recognition import Channel, ModelPath
from jasper.errors import AudioError, ConfigError, TextError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jasper.types import Utterance, Word


class Format(str, Enum):
    """How word times are written."""

    textgrid = "textgrid"
    json = "json"
    ctm = "ctm"


@with_options
def align(
    model: ModelPath,
    source: Annotated[str, typer.Argument(help="A manifest; or a recording, with its text.")],
    engine: EngineOptions,
    text: Annotated[
        Path | None, typer.Argument(help="Text file of the recording; not of a manifest.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="textgrid (Praat), json or ctm.")] = Format.json,
    out: Annotated[Path | None, typer.Option(help="Folder of a file each; default: print.")] = None,
    channel: Channel = None,
) -> None:
    """Say when each word of a text is said, and how sure it is that it is: low where they differ.

    An utterance that cannot be aligned is reported and the others go on.
    """
    from jasper.align import align as run_alignment
    from jasper.align import align_log_probs, log_probs_of
    from jasper.data.dataset import read_utterance
    from jasper.progress import track, without_bars

    utterances = _utterances(source, text)
    faults = 0
    if out is not None:
        check_file_names(utterance.id for utterance in utterances)
        make_folder(out)
    with long_work("run the command again"):
        loaded = engine.load(model)
        for utterance in track(utterances, "aligning"):
            try:
                if text is not None:
                    words = run_alignment(loaded, utterance.path, utterance.text, channel=channel)
                else:
                    wave = read_utterance(utterance, loaded.sample_rate, channel=channel)
                    words = align_log_probs(loaded, log_probs_of(loaded, [wave]), utterance.text)
            except (AudioError, TextError) as error:
                faults += 1
                with without_bars():
                    print(f"jasper: {utterance.id}: {' '.join(str(error).split())}", file=sys.stderr)
                continue
            with without_bars():
                _write(form, out, utterance, words)
    if faults:
        print(f"jasper: {faults} of {len(utterances)} could not be aligned", file=sys.stderr)
        raise typer.Exit(2)


def _utterances(source: str, text: Path | None) -> Sequence[Utterance]:
    from jasper.audio import audio_info
    from jasper.data.manifest import read_manifest
    from jasper.types import Utterance, location

    if text is None:
        return read_manifest(source)
    try:
        words = text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{text}: cannot be read as UTF-8 text: {error}") from None
    return [Utterance(Path(source).stem, location(source), words, audio_info(location(source)).duration)]


def _write(form: Format, out: Path | None, utterance: Utterance, words: Sequence[Word]) -> None:
    from jasper.align import textgrid
    from jasper.storage import new_file
    from jasper.writers import time_marks

    if form is Format.textgrid:
        content, ending = textgrid(words, utterance.duration), ".TextGrid"
    elif form is Format.ctm:
        content, ending = time_marks(words, utterance.id), ".ctm"
    else:
        row = {"id": utterance.id, "words": [asdict(word) for word in words]}
        content, ending = json.dumps(row, ensure_ascii=False) + "\n", ".json"
    if out is None:
        typer.echo(content, nl=False)
    else:
        path = out / file_name(utterance.id, ending)
        with writing("--out", path), new_file(path) as file:
            file.write(content.encode())
