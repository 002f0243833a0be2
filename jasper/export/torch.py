"""A model in, a program of `torch.export` out: PyTorch loads it without this package."""

from __future__ import annotations

import io
from pathlib import Path

from jasper.errors import MissingExtraError
from jasper.export.source import Inputs, Outputs, Source
from jasper.folding import fold
from jasper.graph.metadata import write_metadata

try:
    import torch
    from torch import Tensor, nn

    from jasper.nn.features import TorchFeatures
    from jasper.nn.inference import FoldedJasper
except ImportError:
    raise MissingExtraError("torch", "torch") from None

ENDING = ".pt2"
PRECISIONS = ("fp32", "bf16", "fp16")

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class _FromWaves(nn.Module):
    def __init__(self, features: TorchFeatures, network: FoldedJasper) -> None:
        super().__init__()
        self.features, self.network = features, network

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        log_probs: tuple[Tensor, Tensor] = self.network(*self.features(waves, lengths))
        return log_probs


def write(path: Path, source: Source) -> list[Path]:
    """Write one file, the metadata in it as a file of its own, `metadata/KEY`."""
    config = source.config
    network = FoldedJasper(fold(config.network, source.weights)).to(_DTYPES[source.precision])
    for weight in network.parameters():  # the archive wants them in the order of their dimensions
        weight.data = weight.data.contiguous()
    module = _FromWaves(TorchFeatures(config.features), network) if source.waveform else network
    shape = (2, config.features.sample_rate) if source.waveform else (2, config.features.num_features, 64)
    example = torch.zeros(shape)
    lengths = torch.tensor([example.shape[-1], example.shape[-1] // 2])
    # The least number of steps is found by tracing: two after the last stride.
    batch, steps = torch.export.Dim("batch"), torch.export.Dim.AUTO
    shapes = ({0: batch, example.dim() - 1: steps}, {0: batch})
    program = torch.export.export(module.eval(), (example, lengths), dynamic_shapes=shapes)
    metadata = write_metadata(config, source.precision)
    files = {f"metadata/{key}": value for key, value in metadata.items()}
    # Not to the path: on a full disk what PyTorch writes with ends the process.
    archive = io.BytesIO()
    torch.export.save(program, archive, extra_files=files)
    path.write_bytes(archive.getbuffer())
    return [path]


def run(path: Path, source: Source, inputs: Inputs) -> Outputs:
    """Run a written file."""
    program = torch.export.load(path).module()
    with torch.inference_mode():
        log_probs, lengths = program(*(torch.from_numpy(value) for value in inputs))
    return log_probs.numpy(), lengths.numpy()
