"""The plain training step that ours is measured against: the layers of PyTorch, one after the other, fp32."""

from __future__ import annotations

from typing import Any

import torch
from timing import Durations, NoiseBatch
from torch import Tensor, nn
from torch.nn import functional

NUM_MELS = 64


class ReferenceStep:
    """Forward, CTC, backward and NovoGrad, as the papers write them; no moving average, no clipping."""

    def __init__(self, blocks: list[dict[str, Any]], num_labels: int, device: str) -> None:
        self.network = ReferenceNetwork(blocks, num_labels + 1).to(device).train()
        self.num_labels = num_labels
        self.device = device
        self.state: dict[Tensor, tuple[Tensor, Tensor]] = {}

    def batch(self, durations: Durations) -> NoiseBatch:
        """Noise of these durations (s)."""
        return NoiseBatch.make(durations, NUM_MELS, self.num_labels, self.device)

    def __call__(self, batch: NoiseBatch) -> float:
        """One step; returns its loss."""
        self.network.zero_grad()
        log_probs, lengths = self.network(batch.features, batch.lengths)
        loss = functional.ctc_loss(
            log_probs.transpose(0, 1), batch.tokens, lengths, batch.token_lengths, self.num_labels
        )
        loss.backward()
        self._novograd(rate=0.01, beta=0.95, weight_decay=1e-3)
        return loss.item()

    @torch.no_grad()
    def _novograd(self, rate: float, beta: float, weight_decay: float) -> None:
        for param in self.network.parameters():
            assert param.grad is not None
            square = param.grad.square().sum()
            moment, _ = self.state.get(param, (torch.zeros_like(param), square))
            moment = beta * moment + param.grad / (square.sqrt() + 1e-8) + weight_decay * param
            self.state[param] = moment, square
            param -= rate * moment


class ReferenceNetwork(nn.Module):
    """Jasper as drawn in the paper, from the blocks of a configuration, each of them once."""

    def __init__(self, blocks: list[dict[str, Any]], num_classes: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        width, dense = NUM_MELS, list[int]()
        for block in blocks:
            if block["residual"] == "dense":
                dense.append(width)
            sources = {"dense": list(dense), "plain": [width], "none": []}[block["residual"]]
            self.blocks.append(ReferenceBlock(block, width, sources))
            width = block["filters"]
        self.head = nn.Conv1d(width, num_classes, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, mels, T), lengths (B,) to log-probabilities (B, T', classes), lengths."""
        inputs: list[Tensor] = []
        for block in self.blocks:
            assert isinstance(block, ReferenceBlock)
            inputs = [*inputs, x] if block.dense else inputs
            x, lengths = block(x, lengths, inputs if block.dense else [x])
        return self.head(x).transpose(1, 2).log_softmax(dim=-1), lengths


class ReferenceBlock(nn.Module):
    """`repeat` times convolution, batch norm, ReLU, dropout; the residual joins before the last ReLU."""

    def __init__(self, block: dict[str, Any], width: int, sources: list[int]) -> None:
        super().__init__()
        self.dense = block["residual"] == "dense"
        filters = block["filters"]
        widths = [width] + [filters] * (block["repeat"] - 1)
        self.convs = nn.ModuleList(_convolution(block, w) for w in widths)
        self.norms = nn.ModuleList(nn.BatchNorm1d(filters, eps=1e-3) for _ in widths)
        self.residual = nn.ModuleList(
            nn.Sequential(nn.Conv1d(w, filters, 1, bias=False), nn.BatchNorm1d(filters, eps=1e-3))
            for w in sources
        )
        self.dropout = nn.Dropout(block["dropout"])
        self.stride = block["stride"]

    def forward(self, x: Tensor, lengths: Tensor, sources: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map x (B, C, T), lengths (B,) to (B, filters, T'), lengths; padding is masked before every use."""
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(_masked(x, lengths)))
            if index == 0:
                out_lengths = (lengths - 1) // self.stride + 1
                lengths = out_lengths
            if index + 1 < len(self.convs):
                x = self.dropout(torch.relu(y))
        for source, branch in zip(sources, self.residual, strict=False):
            y = y + branch(_masked(source, lengths))
        return self.dropout(torch.relu(y)), lengths


def _convolution(block: dict[str, Any], width: int) -> nn.Module:
    kernel, dilation, filters = block["kernel"], block["dilation"], block["filters"]
    settings = {
        "stride": block["stride"],
        "padding": kernel // 2 * dilation,
        "dilation": dilation,
        "bias": False,
    }
    if not block["separable"]:
        return nn.Conv1d(width, filters, kernel, **settings)
    return nn.Sequential(
        nn.Conv1d(width, width, kernel, groups=width, **settings), nn.Conv1d(width, filters, 1, bias=False)
    )


def _masked(x: Tensor, lengths: Tensor) -> Tensor:
    return x * (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None]
