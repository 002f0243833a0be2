"""The command that writes a model for other runtimes: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jasper.cli.output import AsJson, long_work, print_json
from jasper.cli.recognition import ModelPath


def export(
    model: ModelPath,
    format: Annotated[str, typer.Option(help="onnx, openvino or torch.")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32, bf16, fp16 or int8.")] = "fp32",
    waveform: Annotated[
        bool, typer.Option("--waveform", help="Take waves, not features: the front end goes into the file.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Run the file beside the model; too far apart, it is not written.")
    ] = False,
    calibrate: Annotated[
        str | None, typer.Option(metavar="MANIFEST", help="Speech that int8 is calibrated on.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write; default: model… in the model directory.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a model for ONNX Runtime, OpenVINO or plain PyTorch, masks, lengths and metadata in the file."""
    from jasper.export import export as run_export

    with long_work("run the command again"):
        exported = run_export(
            model, format, precision=precision, waveform=waveform, check=check, calibrate=calibrate, out=out
        )
    if as_json:
        files = [str(file) for file in exported.files]
        print_json({"path": str(exported.path), "files": files, "difference": exported.difference})
        return
    typer.echo(str(exported.path))
    if exported.difference is not None:
        typer.echo(f"largest difference from the model: {exported.difference:.2g}")
