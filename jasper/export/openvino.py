"""A model in, OpenVINO's two files out: the graph (`.xml`) and its weights (`.bin`)."""

from __future__ import annotations

from pathlib import Path

from jasper.errors import MissingExtraError
from jasper.export.source import Inputs, Outputs, Source

try:
    import openvino

    from jasper.graph.openvino import core
except ImportError:
    raise MissingExtraError("openvino", "openvino") from None

ENDING = ".xml"
PRECISIONS = ("fp32", "bf16", "fp16", "int8")

# The type to compute in is chosen when a file is loaded. Where it is not, a processor with AMX takes bf16.
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}


def write(path: Path, source: Source) -> list[Path]:
    """Write both files; fp16 and bf16 have their weights in half precision."""
    graph = source.graph()
    model = core().read_model(graph.SerializeToString())
    for entry in graph.metadata_props:
        model.set_rt_info(entry.value, ["jasper", entry.key])
    model.set_rt_info(source.precision, ["jasper", "precision"])
    try:
        openvino.save_model(model, path, compress_to_fp16=source.precision in ("bf16", "fp16"))
    except RuntimeError as error:  # its kind for a full disk
        raise OSError(str(error)) from None
    return [path, path.with_suffix(".bin")]


def run(path: Path, source: Source, inputs: Inputs) -> Outputs:
    """Run written files, computing in their precision; in fp32 where the processor has no fp16.

    There OpenVINO would take bf16 silently, which is further from the model than the file is.
    """
    hint = HINTS[source.precision]
    if hint == "f16" and "FP16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        hint = "f32"
    compiled = core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    result = compiled(dict(zip((source.input_name, "lengths"), inputs, strict=True)))
    return result["log_probs"], result["log_probs_lengths"]
