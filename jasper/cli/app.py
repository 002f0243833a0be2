"""The commands: each parses, calls one function of the library and prints what it returns."""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jasper.cli import data, lm
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
    is_first_rank,
    long_work,
    print_json,
    print_table,
    warnings_as_lines,
)
from jasper.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from jasper.config import Config, JoinConfig

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Convolutional CTC speech recognition: train, evaluate and run Jasper and QuartzNet.",
)
app.add_typer(data.app, name="data")
app.add_typer(lm.app, name="lm")

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


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="A preset's name or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[key=value]...", help="Such as train.epochs=50.")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Start anew even if train.out has checkpoints.")] = False,
    seeds: Annotated[
        str | None,
        typer.Option(help="0,1,2 or their number: a run each in train.out/seed-N, mean and deviation."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Show on one screen how it goes.")] = False,
    find_batch: Annotated[
        bool, typer.Option("--find-batch", help="Only find the largest data.batch_seconds that memory holds.")
    ] = False,
    memory_gb: Annotated[
        float | None, typer.Option(min=0, help="For --find-batch; default: what is free, less a tenth.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train, or go on with a training that was stopped: the newest checkpoint in train.out is taken up.

    Ctrl-C, SIGTERM and SIGUSR1 end it after the step at hand, or at once while it waits for data or scores on
    dev, with a checkpoint and exit code 130, 143 or 138; a second signal ends it without. What the user can
    mend ends it with exit code 2. A scheduler may start the same command again after any of them.
    """
    from jasper.recipe import load_config

    settings = load_config(config, overrides or [])
    again = shlex.join(["jasper", *(argument for argument in sys.argv[1:] if argument != "--fresh")])
    if find_batch:
        _find_batch(settings, memory_gb, as_json)
        return
    if live and seeds is not None:
        raise ConfigError("--live shows one run and --seeds makes several; `jasper watch` can follow each")
    with long_work(f"{again} (from the last checkpoint)", bars=not live):
        if seeds is not None:
            _train_seeds(settings, seeds, fresh, as_json)
            return
        from jasper.train import train as run_training
        from jasper.train.view import live_view

        shown = live and is_first_rank()
        with live_view(settings.train.out, settings.train.epochs) if shown else nullcontext():
            result = run_training(settings, resume=not fresh)
    if not is_first_rank():
        return
    best = result.best
    if as_json:
        dev = {"dev_loss": best.loss, "dev_wer": best.wer, "dev_cer": best.cer} if best else {}
        print_json({"directory": str(result.directory), "step": result.step, **dev})
    elif best:
        typer.echo(f"{result.directory / 'best'}: dev WER {best.wer:.2%}, CER {best.cer:.2%}")
    else:
        typer.echo(f"{result.directory / 'last'}: {result.step} steps, no dev manifest to score on")


def _find_batch(settings: Config, memory_gb: float | None, as_json: bool) -> None:
    from jasper.train.find_batch import find_batch

    with long_work("run the command again"):
        found = find_batch(settings, memory_gb)
    if as_json:
        print_json(asdict(found))
        return
    typer.echo(f"data.batch_seconds={found.batch_seconds:g}")
    held = (
        f"{found.num_utterances} of the longest utterances, {found.peak_gib:.2f} of {found.limit_gib:.2f} GiB"
    )
    print(f"{held}; data.batch_size={settings.data.batch_size} is the most of any length", file=sys.stderr)


@app.command()
def watch(
    run: Annotated[Path, typer.Argument(help="Folder of a training, under way or ended.")],
    once: Annotated[bool, typer.Option(help="Print one screen and end.")] = False,
) -> None:
    """Show how a training goes: loss, speed, memory, dev scores, samples. Ctrl-C ends the view alone."""
    from jasper.recipe import read_yaml
    from jasper.train.view import watch as watch_run

    settings = read_yaml(run / "config.yaml")
    try:
        watch_run(run, settings["train"]["epochs"], follow=not once)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def average(
    sources: Annotated[
        list[Path], typer.Argument(help="Training runs, checkpoint files, model directories.")
    ],
    out: Annotated[Path, typer.Option(help="Model directory to write.")],
    last: Annotated[int | None, typer.Option(min=1, help="Of a run only its newest checkpoints.")] = None,
    best: Annotated[int | None, typer.Option(min=1, help="Of a run only those of lowest dev WER.")] = None,
    ema: Annotated[bool, typer.Option(help="Of a checkpoint the moving average; else the network.")] = True,
) -> None:
    """Write a model whose weights are the mean of several of one network: a run's checkpoints, say."""
    if last and best:
        raise ConfigError("--last and --best exclude each other")
    from jasper.train.merge import average_models

    typer.echo(str(average_models(sources, out, last=last, best=best, kind="average" if ema else "network")))


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


def _train_seeds(settings: Config, text: str, fresh: bool, as_json: bool) -> None:
    from jasper.report import seeds_table
    from jasper.train.seeds import parse_seeds, train_seeds

    result = train_seeds(settings, parse_seeds(text), resume=not fresh)
    if as_json:
        print_json(result.as_dict())
        return
    print_table(f"{result.directory / 'seeds.html'}", *seeds_table(result.rows(), result.summary()))


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
