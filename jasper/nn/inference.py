"""Folded layers in, the PyTorch module that runs them out: for recognition alone, it cannot be trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jasper.folding import Excitation, FoldedBlock, FoldedConvolution, FoldedNetwork
from jasper.nn.network import valid_mask


class FoldedJasper(nn.Module):
    """What `Jasper` computes in evaluation mode, batch norm folded and each dense residual one product.

    x is (B, C, 1, T) and lies in memory as (B, T, C), for which convolutions are matrix products.
    """

    def __init__(self, network: FoldedNetwork) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(block) for block in network.blocks)
        self.head = _convolution(network.head)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, F, T), lengths (B,) to log_probs (B, T', V) float32, lengths (B,)."""
        mask = valid_mask(lengths, features.shape[2])[:, :, None]
        x = (features[:, :, None] * mask).to(self.head.weight.dtype, memory_format=torch.channels_last)
        inputs: list[Tensor] = []
        for block in self.blocks:
            assert isinstance(block, _Block)
            inputs.append(x)
            x, mask, lengths = block(x, mask, lengths, [inputs[source] for source in block.sources])
        logits = self.head(x)[:, :, 0].transpose(1, 2)
        return logits.float().log_softmax(dim=-1), lengths


class _Block(nn.Module):
    def __init__(self, block: FoldedBlock) -> None:
        super().__init__()
        self.stride, self.sources = block.stride, block.sources
        self.sub_blocks = nn.ModuleList(_sub_block(sub_block) for sub_block in block.sub_blocks)
        self.residual = _convolution(block.residual) if block.residual else None
        self.excitation = _Excitation(block.excitation) if block.excitation else None

    def forward(
        self, x: Tensor, mask: Tensor, lengths: Tensor, sources: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        *first, last = self.sub_blocks
        for sub_block in first:
            x = sub_block(x).relu_().mul_(mask)
        x = last(x)
        if self.stride > 1:
            lengths = (lengths + self.stride - 1) // self.stride
            mask = valid_mask(lengths, x.shape[3])[:, :, None]
        if self.excitation is not None:
            x = self.excitation(x, mask)
        if self.residual is not None:
            x = x.add_(self.residual(torch.cat(sources, dim=1) if len(sources) > 1 else sources[0]))
        return x.relu_().mul_(mask), mask, lengths


class _Excitation(nn.Module):
    def __init__(self, excitation: Excitation) -> None:
        super().__init__()
        self.squeeze = _convolution(excitation.squeeze)
        self.excite = _convolution(excitation.excite)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        total = (x * mask).sum(dim=3, keepdim=True, dtype=torch.float32)
        mean = (total / mask.sum(dim=3, keepdim=True).clamp(min=1)).to(x.dtype)
        scale: Tensor = self.excite(self.squeeze(mean).relu_()).sigmoid_()
        return x * scale


def _sub_block(convolutions: tuple[FoldedConvolution, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for conv in convolutions:
        before, after = conv.padding
        if before != after:  # PyTorch's convolutions know one number for both sides
            layers.append(nn.ZeroPad2d((before, after, 0, 0)))
        layers.append(_convolution(conv))
    return nn.Sequential(*layers)


def _convolution(folded: FoldedConvolution) -> nn.Conv2d:
    filters, channels, kernel = folded.weight.shape
    before, after = folded.padding
    conv = nn.Conv2d(
        channels * folded.groups,
        filters,
        (1, kernel),
        stride=(1, folded.stride),
        padding=(0, before if before == after else 0),
        dilation=(1, folded.dilation),
        groups=folded.groups,
        bias=folded.bias is not None,
        device="meta",  # no memory for weights that are replaced at once
    )
    weight = torch.from_numpy(folded.weight)[:, :, None].clone(memory_format=torch.channels_last)
    conv.weight = nn.Parameter(weight, requires_grad=False)
    if folded.bias is not None:
        conv.bias = nn.Parameter(torch.from_numpy(folded.bias), requires_grad=False)
    return conv
