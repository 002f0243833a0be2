"""A model in, a MINDIR out: MindSpore's graph and weights, for batches of any size and length.

Made with MindSpore, in its own environment. More than 1 GB of weights, such as Jasper 10x5's, it leaves out
of the graph: `x.mindir` then needs the folder `x_variables` beside it. Inputs are features (B, F, T)
float32 and lengths (B,) int32, outputs log_probs (B, T', V) and lengths (B,).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jasper.errors import MissingExtraError, ModelError
from jasper.export.source import Inputs, Outputs, Source

try:
    import mindspore
    from mindspore import Tensor, nn

    from jasper.mindspore.weights import build_network, load_weights, use_operations
except ImportError:
    raise MissingExtraError("mindspore", "mindspore") from None

ENDING = ".mindir"
PRECISIONS = ("fp32",)


def write(path: Path, source: Source) -> list[Path]:
    """Write the file, and the weights if they are many. Raises ModelError for waves as input."""
    if source.waveform:
        raise ModelError("a MINDIR takes features; --waveform is there for onnx, openvino and torch")
    network = build_network(source.config)
    load_weights(network, dict(source.weights), path.name)
    use_operations(network)
    network.set_train(False)
    features = Tensor(shape=[None, source.config.features.num_features, None], dtype=mindspore.float32)
    lengths = Tensor(shape=[None], dtype=mindspore.int32)
    mindspore.export(network, features, lengths, file_name=str(path), file_format="MINDIR")
    if path.is_file():
        return [path]
    # Each weight has its place relative to the graph, whatever that is called.
    path.with_name(f"{path.stem}_graph{ENDING}").rename(path)
    return [path, *path.with_name(f"{path.stem}_variables").iterdir()]


def run(path: Path, source: Source, inputs: Inputs) -> Outputs:
    """Run a written file."""
    graph = nn.GraphCell(mindspore.load(str(path)))
    features, lengths = inputs
    log_probs, steps = graph(Tensor(features), Tensor(lengths.astype(np.int32)))
    return log_probs.asnumpy(), steps.asnumpy().astype(np.int64)
