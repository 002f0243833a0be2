"""The commands that run a model: eval, transcribe."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jasper.cli.decoding import EngineOptions, SearchOptions
from jasper.cli.options import with_options
from jasper.cli.output import (
    AsJson,
    check_file_names,
    file_name,
    long_work,
    make_folder,
    print_json,
    writing,
)
from jasper.cli.selection import SelectionOptions
from jasper.cli.transcripts import STANDARD_INPUT, TranscriptOptions
from jasper.errors import AudioError, ConfigError, require

if TYPE_CHECKING:
    from jasper.types import FloatArray, Utterance

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model directory, or a training run.")]
Channel = Annotated[int | None, typer.Option(help="Channel of files with several; default: their mean.")]


@with_options
def evaluate(
    model: ModelPath,
    manifest: Annotated[
        str, typer.Argument(metavar="MANIFEST", help="Its utterances are scored, each once.")
    ],
    search: SearchOptions,
    engine: EngineOptions,
    selection: SelectionOptions,
    out: Annotated[
        Path | None, typer.Option(help="Folder for utterances.jsonl, report.html and report.txt.")
    ] = None,
    log_probs: Annotated[
        bool, typer.Option("--log-probs", help="With --out: a NumPy file of each utterance's, too.")
    ] = False,
    channel: Channel = None,
    as_json: AsJson = False,
) -> None:
    """Score a model: WER with a 95 % interval, CER, and the errors by kind."""
    from jasper import report
    from jasper.data.manifest import read_manifest
    from jasper.evaluate import evaluate as run_evaluation

    decode, keep = search.config(), None
    if log_probs and out is None:
        raise ConfigError("--log-probs: say with --out where they are to lie")
    if out is not None:
        require("jinja2", "report")
        make_folder(out)
    if out is not None and log_probs:
        make_folder(out / "log_probs")
        keep = partial(_write_log_probs, out / "log_probs")
    listed = read_manifest(manifest)
    utterances = selection.select(listed)
    if not utterances:
        raise ConfigError(f"{manifest}: of its {len(listed)} utterances none is to be scored")
    if log_probs:
        check_file_names(utterance.id for utterance in utterances)
    with long_work("run the command again"):
        score = run_evaluation(engine.load(model, decode), utterances, channel=channel, keep=keep)
    if out is not None:
        with writing("--out", out):
            report.write_score_lines(out / "utterances.jsonl", score)
            report.write_score_text(out / "report.txt", score)
            report.write_score_report(out / "report.html", score, f"{model} on {manifest}")
    if as_json:
        print_json(report.score_dict(score))
    else:
        typer.echo(report.score_text(score))


@with_options
def transcribe(
    model: ModelPath,
    audio: Annotated[
        list[str],
        typer.Argument(
            metavar="AUDIO",
            help="Sound files, videos (extra `video`) or URLs (extra `remote`); - is standard input.",
        ),
    ],
    search: SearchOptions,
    engine: EngineOptions,
    output: TranscriptOptions,
    channel: Channel = None,
    jobs: Annotated[int, typer.Option(min=1, help="Recordings at a time, in a process each.")] = 1,
) -> None:
    """Say what is said in recordings of any length; one that cannot be read is named and the others go on."""
    from jasper.jobs import Asked, plot_one, transcribe_each
    from jasper.progress import without_bars

    decode = search.config()
    output.check(audio)
    jobs = min(jobs, len(audio))  # or a single recording would have a part of the processor alone
    if jobs > 1 and STANDARD_INPUT in audio:
        raise ConfigError("--jobs: standard input can be read by one process alone")
    sources = [sys.stdin.buffer if name == STANDARD_INPUT else name for name in audio]
    faults = 0
    if jobs > 1 and engine.threads is None:
        engine = replace(engine, threads=max(1, (os.cpu_count() or 1) // jobs))
    load = partial(engine.load, model, decode)
    with long_work("run the command again"):
        if output.plot is not None:
            results = plot_one(load, sources[0], channel, output.plot)
        else:
            results = transcribe_each(load, sources, Asked(channel, output.timed), jobs)
        for name, result in zip(audio, results, strict=True):
            with without_bars():
                if isinstance(result, AudioError):
                    faults += 1
                    print(f"jasper: {' '.join(str(result).split())}", file=sys.stderr)
                else:
                    output.show(name, result, several=len(audio) > 1)
    if faults:
        print(f"jasper: {faults} of {len(audio)} files could not be transcribed", file=sys.stderr)
        raise typer.Exit(1)


def _write_log_probs(folder: Path, utterance: Utterance, log_probs: FloatArray) -> None:
    import numpy as np

    from jasper.storage import new_file

    path = folder / file_name(utterance.id, ".npy")
    data = BytesIO()
    np.save(data, log_probs)  # not to the file: of a full disk NumPy says nothing
    with writing("--out", path), new_file(path) as file:
        file.write(data.getvalue())
