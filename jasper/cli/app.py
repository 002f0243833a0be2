"""The commands: each parses, calls one function of the library and prints what it returns."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jasper.cli import align, ascend, calibrate, data, export, lm, recognition, streaming, training
from jasper.cli.output import (
    AsJson,
    long_work,
    print_json,
    print_table,
    warnings_as_lines,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Convolutional CTC speech recognition: train, evaluate and run Jasper and QuartzNet.",
)
app.add_typer(data.app, name="data")
app.add_typer(lm.app, name="lm")
app.add_typer(ascend.app, name="ascend")
for command in (training.train, training.watch, training.average):
    app.command()(command)
app.command("eval")(recognition.evaluate)
app.command()(recognition.transcribe)
app.command()(streaming.stream)
app.command()(align.align)
app.command()(calibrate.calibrate)
app.command()(export.export)


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
