"""The commands of training: train, watch, average."""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jasper.cli.output import AsJson, is_first_rank, long_work, print_json, print_table
from jasper.errors import ConfigError

if TYPE_CHECKING:
    from jasper.config import Config


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
        with live_view(settings.train.out, settings.train.epochs) if shown else nullcontext() as listener:
            result = run_training(settings, resume=not fresh, listener=listener)
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


def _train_seeds(settings: Config, text: str, fresh: bool, as_json: bool) -> None:
    from jasper.report import seeds_table
    from jasper.train.seeds import parse_seeds, train_seeds

    result = train_seeds(settings, parse_seeds(text), resume=not fresh)
    if as_json:
        print_json(result.as_dict())
        return
    print_table(f"{result.directory / 'seeds.html'}", *seeds_table(result.rows(), result.summary()))
