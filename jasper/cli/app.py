"""The commands: each parses, calls one function of the library and prints what it returns."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jasper.cli import data, lm, training
from jasper.cli.decoding import (
    Alpha,
    BeamWidth,
    Beta,
    HotwordFile,
    Hotwords,
    LanguageModel,
    LexiconFile,
    Settings,
    decode_config,
    read_hotwords,
)
from jasper.cli.output import (
    AsJson,
    long_work,
    print_json,
    print_table,
    warnings_as_lines,
)
from jasper.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from jasper.config import JoinConfig

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Convolutional CTC speech recognition: train, evaluate and run Jasper and QuartzNet.",
)
app.add_typer(data.app, name="data")
app.add_typer(lm.app, name="lm")
for command in (training.train, training.watch, training.average):
    app.command()(command)

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model directory, or a training run.")]
EngineName = Annotated[str, typer.Option("--engine", help="auto, or torch.")]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, npu or mps.")]
Channel = Annotated[int | None, typer.Option(help="Channel of files with several; default: their mean.")]


def _version(asked: bool) -> None:
    if asked:
        from jasper import __version__

        typer.echo(f"jasper {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


@app.command()
def demo(
    manifest: Annotated[
        list[Path] | None, typer.Option("--data", help="Manifest of real recordings; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the corpus, the run and the report.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="Time for training, about.")] = 6.0,
    as_json: AsJson = False,
) -> None:
    """Train a small Jasper, score it on voices it never heard and leave an HTML report.

    Without --data it speaks a small corpus itself, with espeak-ng, and needs no download.
    """
    from jasper.demo.run import run_demo

    with long_work(shlex.join(["jasper", *sys.argv[1:]]) + " (the corpus and checkpoints are kept)"):
        result = run_demo(out, manifests=manifest or [], minutes=minutes)
    if as_json:
        print_json(result.as_dict())
    else:
        typer.echo(f"WER {result.score.wer:.2%} on {result.held_out}; report: {result.report}")


@app.command("eval")
def evaluate(
    model: ModelPath,
    manifest: Annotated[str, typer.Argument(help="Every utterance in it is scored, once.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for utterances.jsonl, report.html and report.txt.")
    ] = None,
    join: Annotated[
        str | None,
        typer.Option(help="MIN:MAX: join short clips of a speaker into strings of that many, each once."),
    ] = None,
    join_seed: Annotated[int, typer.Option(help="Which strings --join makes.")] = 0,
    exclude_speaker: Annotated[list[str] | None, typer.Option(help="Leave out; may be repeated.")] = None,
    only_speaker: Annotated[list[str] | None, typer.Option(help="Keep these alone.")] = None,
    beam: BeamWidth = None,
    lm_path: LanguageModel = None,
    alpha: Alpha = None,
    beta: Beta = None,
    lexicon: LexiconFile = None,
    hotword: Hotwords = None,
    hotwords: HotwordFile = None,
    decode: Settings = None,
    channel: Channel = None,
    engine: EngineName = "auto",
    device: DeviceName = "auto",
    as_json: AsJson = False,
) -> None:
    """Score a model: WER with a 95 % interval, CER, and the errors by kind."""
    from jasper import report
    from jasper.data.join import join_clips
    from jasper.data.manifest import read_manifest
    from jasper.evaluate import evaluate as run_evaluation
    from jasper.model import load

    phrases = read_hotwords(hotword, hotwords)
    search = decode_config(beam, lm_path, alpha, beta, lexicon, phrases, decode)
    if out is not None:
        _make_folder(out)
    utterances = read_manifest(manifest)
    kept, dropped = set(only_speaker or []), set(exclude_speaker or [])
    utterances = [u for u in utterances if (not kept or u.speaker in kept) and u.speaker not in dropped]
    if join:
        utterances = join_clips(utterances, _parse_join(join), join_seed, 0)
    with long_work("run the command again"):
        score = run_evaluation(load(model, engine, device, search), utterances, channel=channel)
    if out is not None:
        report.write_score_lines(out / "utterances.jsonl", score)
        (out / "report.txt").write_text(report.score_text(score), encoding="utf-8")
        report.write_score_report(out / "report.html", score, f"{model} on {manifest}")
    if as_json:
        print_json(report.score_dict(score))
    else:
        typer.echo(report.score_text(score))


@app.command()
def transcribe(
    model: ModelPath,
    audio: Annotated[list[Path], typer.Argument(help="wav, flac, ogg, opus or mp3 files.")],
    beam: BeamWidth = None,
    lm_path: LanguageModel = None,
    alpha: Alpha = None,
    beta: Beta = None,
    lexicon: LexiconFile = None,
    hotword: Hotwords = None,
    hotwords: HotwordFile = None,
    decode: Settings = None,
    channel: Channel = None,
    engine: EngineName = "auto",
    device: DeviceName = "auto",
    words: Annotated[bool, typer.Option(help="With --json: each word's times and confidence.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a file.")] = False,
) -> None:
    """Print what is said in each file; a file that cannot be read is reported and the others go on."""
    from jasper.model import load
    from jasper.progress import track

    phrases = read_hotwords(hotword, hotwords)
    search = decode_config(beam, lm_path, alpha, beta, lexicon, phrases, decode)
    faults = 0
    with long_work("run the command again"):
        loaded = load(model, engine, device, search)
        for path in track(audio, "transcribing"):
            try:
                result = loaded.transcribe(path, channel=channel, words=words)
            except AudioError as error:
                faults += 1
                print(f"jasper: {' '.join(str(error).split())}", file=sys.stderr)
                continue
            if as_json:
                row = {"text": result.text, "duration": result.duration, "score": result.score}
                timed = {"words": [asdict(word) for word in result.words]} if words else {}
                print_json({"path": str(path), **row, **timed})
            else:
                typer.echo(result.text if len(audio) == 1 else f"{path}\t{result.text}")
    if faults:
        print(f"jasper: {faults} of {len(audio)} files could not be transcribed", file=sys.stderr)
        raise typer.Exit(2)


@app.command()
def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model directory or a preset's name.")],
    as_json: AsJson = False,
) -> None:
    """Say what a model or a preset is: parameters, labels, features, blocks."""
    from jasper.info import model_info

    raw = model_info(model)
    if as_json:
        print_json(raw)
        return
    rows = [(key.replace("_", " "), _as_cell(value)) for key, value in raw.items()]
    print_table(model, ("", ""), rows)


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(help="NVIDIA's .pt, a .nemo, the MindSpore model zoo's .ckpt, or a model directory."),
    ],
    destination: Annotated[
        Path,
        typer.Argument(help="A file that ends in .pt, .nemo or .ckpt, or else a model directory to write."),
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            help="The YAML that a .pt or .ckpt was trained with; default: read the network's shapes."
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--from", help="jasper, nvidia, nemo or mindspore; default: by its content."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="The same, of what is written; default: by its ending.")
    ] = None,
    ema: Annotated[bool, typer.Option(help="Take the averaged weights where there are some.")] = True,
) -> None:
    """Turn other toolkits' checkpoints into model directories, and back."""
    from jasper.convert import convert as run_conversion

    with warnings_as_lines():
        written = run_conversion(source, destination, config=config, kind=kind, to=to, ema=ema)
    typer.echo(str(written))


@app.command()
def pull(
    name: Annotated[
        str | None,
        typer.Argument(help="A name of the list, or the address of a checkpoint; default: the list."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Where models are kept; default: $XDG_CACHE_HOME/jasper.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="What the file must have; of an address.")] = None,
    config: Annotated[Path | None, typer.Option(help="As in `jasper convert`; of an address.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch public weights, convert them and print where the model is; or list what there is."""
    from jasper.convert.public import PUBLIC
    from jasper.convert.pull import pull as run_pull

    if name is not None:
        with long_work(shlex.join(["jasper", *sys.argv[1:]])), warnings_as_lines():
            directory = run_pull(name, cache=cache, sha256=sha256, config=config)
        print_json({"directory": str(directory)}) if as_json else typer.echo(str(directory))
    elif as_json:
        print_json({key: asdict(model) for key, model in PUBLIC.items()})
    else:
        rows = [(key, model.language, model.wer, model.licence) for key, model in PUBLIC.items()]
        print_table("public weights", ("name", "language", "published WER, %", "licence"), rows)


def _make_folder(path: Path) -> None:
    """Before the work whose results go there, so that it is not done in vain."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {path}: cannot be made a folder: {error.strerror}") from None


def _parse_join(text: str) -> JoinConfig:
    from jasper.config import JoinConfig
    from jasper.recipe import parse_config

    low, _, high = text.partition(":")
    if not (low.isdigit() and high.isdigit()):
        raise ConfigError(f"--join {text}: give the smallest and largest number of clips as MIN:MAX, 1:7 say")
    return parse_config(JoinConfig, {"min_clips": int(low), "max_clips": int(high)}, "--join")


def _as_cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return (
            "\n".join(map(str, value)) if value and isinstance(value[0], dict) else " ".join(map(repr, value))
        )
    if isinstance(value, dict):
        return "\n".join(f"{key}: {item}" for key, item in value.items())
    return str(value)
