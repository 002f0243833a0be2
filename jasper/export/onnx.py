"""A model in, an ONNX file out that ONNX Runtime runs in any language, and `tokens.txt` for sherpa-onnx."""

from __future__ import annotations

from pathlib import Path

from jasper.directory import INT8_IN_PHASES, graph_name
from jasper.errors import ModelError
from jasper.export.source import Inputs, Outputs, Source

ENDING = ".onnx"
PRECISIONS = ("fp32", "fp16", "int8")

_MOST_BYTES = 2**31 - 2**20  # protobuf's limit, less what is no weight


def write(path: Path, source: Source) -> list[Path]:
    """Write the file and, beside it, what its labels are; and int8 once more for OpenVINO without AMX.

    Raises ModelError for a network that a single file cannot hold.
    """
    graph = source.graph(half=source.precision == "fp16")
    if graph.ByteSize() > _MOST_BYTES:
        raise ModelError("the network is larger than the 2 GB of an ONNX file; take --precision fp16 or int8")
    path.write_bytes(graph.SerializeToString())
    tokens = path.with_name("tokens.txt")
    tokens.write_text(token_lines(source.config.text.labels), encoding="utf-8")
    files = [path, tokens]
    if source.int8 and path.name == graph_name("int8", ENDING):  # what engines look for
        phased = source.int8.in_phases(source.config, source.weights)
        if phased is not None:
            files.append(path.with_name(INT8_IN_PHASES))
            files[-1].write_bytes(phased.SerializeToString())
    return files


def token_lines(labels: tuple[str, ...]) -> str:
    """A label and its number a line, the blank last, as sherpa-onnx reads them: a space is written ▁."""
    tokens = [label.replace(" ", "▁") for label in labels] + ["<blk>"]
    return "".join(f"{token} {number}\n" for number, token in enumerate(tokens))


def run(path: Path, source: Source, inputs: Inputs) -> Outputs:
    """Run a written file with ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    log_probs, lengths = session.run(None, dict(zip((source.input_name, "lengths"), inputs, strict=True)))
    return log_probs, lengths
