"""`jasper ascend`: what stands before and after a program that runs a model on an Ascend card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jasper.cli.decoding import SearchOptions
from jasper.cli.options import with_options
from jasper.cli.output import AsJson, long_work, print_json
from jasper.cli.recognition import Channel, ModelPath

app = typer.Typer(
    no_args_is_help=True, help="Files for a program on an Ascend card, and what it made of them."
)


@app.command()
def preprocess(
    model: ModelPath,
    manifest: Annotated[str, typer.Argument(help="Every utterance in it is written, once.")],
    out: Annotated[Path, typer.Option(help="Folder of the files.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Utterances in a file.")] = 1,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Of every file, for a program of one fixed shape.")
    ] = None,
    channel: Channel = None,
) -> None:
    """Write features (float32) and lengths (int32) as .bin, and an index of their shapes."""
    from jasper.ascend import preprocess as run
    from jasper.data.manifest import read_manifest
    from jasper.model import load

    with long_work("run the command again"):
        number = run(
            load(model), read_manifest(manifest), out, batch_size=batch_size, frames=frames, channel=channel
        )
    typer.echo(f"{out}: {number} batches")


@app.command()
@with_options
def postprocess(
    model: ModelPath,
    folder: Annotated[Path, typer.Argument(help="Where the program wrote log_probs and steps.")],
    manifest: Annotated[str, typer.Argument(help="The one that was preprocessed.")],
    search: SearchOptions,
    out: Annotated[Path | None, typer.Option(help="File of every hypothesis, JSON lines.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score the results as `jasper eval` scores: texts, WER with a 95 % interval, CER."""
    from jasper import report
    from jasper.ascend import postprocess as run
    from jasper.data.manifest import read_manifest
    from jasper.model import load

    with long_work("run the command again"):
        score = run(load(model, decode=search.config()), read_manifest(manifest), folder)
    if out is not None:
        report.write_score_lines(out, score)
    if as_json:
        print_json(report.score_dict(score))
    else:
        typer.echo(report.score_text(score))
