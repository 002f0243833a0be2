"""The command that writes a model for other runtimes: export."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from jasper.cli.output import AsJson, long_work, print_json
from jasper.cli.recognition import ModelPath
from jasper.errors import ConfigError

if TYPE_CHECKING:
    from jasper.export import Exported
    from jasper.types import Utterance


def export(
    model: ModelPath,
    format: Annotated[str, typer.Option(help="onnx, openvino, torch or mindir.")] = "onnx",
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
    score: Annotated[
        str | None,
        typer.Option(metavar="MANIFEST", help="Score on it the model and what was exported."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write; default: model… in the model directory.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a model for ONNX Runtime, OpenVINO, plain PyTorch or MindSpore, masks and lengths in the file."""
    from jasper.data.manifest import read_manifest
    from jasper.export import export as run_export

    if score and (waveform or format == "mindir"):
        raise ConfigError("--score: is of files of onnx, openvino or torch that take features, not waves")
    utterances = read_manifest(score) if score else []
    with long_work("run the command again"):
        exported = run_export(
            model, format, precision=precision, waveform=waveform, check=check, calibrate=calibrate, out=out
        )
        wers = _score(model, exported, format, precision, utterances) if score else None
    if as_json:
        files = [str(file) for file in exported.files]
        kept = exported.int8.kept if exported.int8 else None
        row = {"path": str(exported.path), "files": files, "difference": exported.difference}
        print_json({**row, "kept_in_float": kept, "wer": wers})
        return
    typer.echo(str(exported.path))
    if exported.difference is not None:
        typer.echo(f"largest difference from the model: {exported.difference:.2g}")
    if exported.int8 is not None:
        plan = exported.int8
        others = f"; in float: {', '.join(plan.kept)}" if plan.kept else ""
        typer.echo(
            f"int8: {len(plan.layers)} of {len(plan.layers) + len(plan.kept)} layers{others}; "
            f"{plan.divergence:.2g} nats a step from float, {plan.divergence_of_all:.2g} with all"
        )
    if wers is not None:
        typer.echo(", ".join(f"{name}: WER {100 * wer:.2f} %" for name, wer in wers.items()))


def _score(
    model: Path, exported: Exported, format: str, precision: str, utterances: list[Utterance]
) -> dict[str, float]:
    """WER of a model directory in single precision, and of what was exported by the engine of its name."""
    import jasper
    from jasper.directory import find_bundle
    from jasper.evaluate import evaluate

    directory = find_bundle(model)
    before = evaluate(jasper.load(directory), utterances).wer
    with TemporaryDirectory() as folder:
        # A program of torch is loaded by no engine: PyTorch makes the same of the weights.
        alone = directory if format == "torch" else _alone(directory, exported, precision, Path(folder))
        after = evaluate(jasper.load(alone, format, precision=precision), utterances).wer
    return {"fp32": before, precision: after}


def _alone(directory: Path, exported: Exported, precision: str, folder: Path) -> Path:
    """Make `folder` a model directory of the exported files alone, as a model is shipped."""
    from jasper.directory import CALIBRATION_FILE, CONFIG_FILE, INT8_IN_PHASES, graph_name

    for name in (CONFIG_FILE, CALIBRATION_FILE):
        if (directory / name).is_file():
            shutil.copy(directory / name, folder)
    for file in exported.files:
        if file.suffix != ".txt" and file.name != INT8_IN_PHASES:
            shutil.copy(file, folder / graph_name(precision, file.suffix))
    return folder
