"""Features in, log-probabilities out: Jasper, QuartzNet and Citrinet, built from a NetworkConfig."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jasper.config import BlockConfig, NetworkConfig, wired
from jasper.nn.convolution import Convolution, time_major
from jasper.nn.normalization import Activation, compiled_activation, normalized_activation


class Jasper(nn.Module):
    """Encoder of convolutional blocks and a 1×1 head (Li et al. 2019; separable: Kriman et al. 2019).

    Padding never reaches a valid step: the features and the output of every sub-block are set to zero past
    their rows' lengths, so each row of a batch gives what it gives alone (in evaluation mode).
    """

    def __init__(self, config: NetworkConfig, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.recompute = False  # whether training computes each block again in place of keeping its inside
        self.blocks = nn.ModuleList()
        widths = [num_features]
        for block, sources in wired(config.blocks):
            self.blocks.append(Block(block, widths[-1], [widths[source] for source in sources], config))
            widths.append(block.filters)
        self.head = Convolution(widths[-1], num_classes, 1)
        self.apply(_initialize)

    def compile_activations(self) -> None:
        """Let PyTorch's compiler fuse what stands between the convolutions, which it does not touch."""
        activation = compiled_activation()
        for module in self.blocks:
            assert isinstance(module, Block)
            module.activation = activation

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, num_features, T), lengths (B,) to log_probs (B, T', num_classes), lengths.

        log_probs are natural logarithms, float32 also under autocast (float64 where the weights are); past
        a row's length they mean nothing.
        """
        x = time_major(features * valid_mask(lengths, features.shape[2]))
        dense_inputs: list[Tensor] = []
        for module in self.blocks:
            assert isinstance(module, Block)
            if module.config.residual == "dense":
                dense_inputs.append(x)
                sources: Sequence[Tensor] = tuple(dense_inputs)
            else:
                sources = [x]
            if self.recompute and torch.is_grad_enabled():
                x, lengths = checkpoint(module, x, lengths, sources, use_reentrant=False)
            else:
                x, lengths = module(x, lengths, sources)
        logits = self.head(x).transpose(1, 2)
        wide = torch.promote_types(logits.dtype, torch.float32)
        return logits.to(wide).log_softmax(dim=-1), lengths


class Block(nn.Module):
    """`repeat` sub-blocks; the residual sources join, each by a 1×1 convolution, before the last ReLU."""

    def __init__(self, config: BlockConfig, width: int, sources: list[int], network: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.activation: Activation = normalized_activation
        widths = [width] + [config.filters] * (config.repeat - 1)
        strides = [1] * (config.repeat - 1) + [config.stride]
        self.convs = nn.ModuleList(_convolution(config, w, s) for w, s in zip(widths, strides, strict=True))
        self.norms = nn.ModuleList(_norm(config.filters, network) for _ in widths)
        self.residual_convs = nn.ModuleList(
            Convolution(w, config.filters, 1, stride=config.stride, bias=False) for w in sources
        )
        self.residual_norms = nn.ModuleList(_norm(config.filters, network) for _ in sources)
        self.excitation = SqueezeExcitation(config.filters, config.squeeze) if config.squeeze else None

    def forward(self, x: Tensor, lengths: Tensor, sources: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Map x (B, C, T), zero past `lengths`, to (B, filters, T'), zero past the lengths that are returned.

        `sources` are the residual's inputs, x the last of them; without a residual they are not read.
        """
        out_lengths = self.config.num_steps(lengths)
        dropout = self.config.dropout if self.training else 0.0
        mask = valid_mask(lengths, x.shape[2])
        *convs, last_conv = self.convs
        *norms, last_norm = self.norms
        for conv, norm in zip(convs, norms, strict=True):
            x = self.activation([conv(x)], [norm], mask, dropout)
        y = last_conv(x)
        mask = valid_mask(out_lengths, y.shape[2])
        branches = [conv(source) for source, conv in zip(sources, self.residual_convs, strict=False)]
        if self.excitation is None:
            out = self.activation([y, *branches], [last_norm, *self.residual_norms], mask, dropout)
        else:
            y = self.excitation(last_norm(y), mask)
            out = self.activation(branches, self.residual_norms, mask, dropout, added=y)
        return out, out_lengths


class SqueezeExcitation(nn.Module):
    """Scales each channel by a function of all channels' means over the valid steps (Hu et al. 2018)."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(width, width // reduction, bias=False)
        self.excite = nn.Linear(width // reduction, width, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Scale x (B, C, T); `mask` (B, 1, T) is true at valid steps."""
        mean = (x * mask).sum(dim=2) / mask.sum(dim=2).clamp(min=1)
        scale = torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))
        return x * scale[:, :, None]


def valid_mask(lengths: Tensor, num_steps: int) -> Tensor:
    """True at the valid steps of each row (B, 1, num_steps)."""
    return (torch.arange(num_steps, device=lengths.device) < lengths[:, None])[:, None]


def _convolution(config: BlockConfig, width: int, stride: int) -> nn.Module:
    filters = width if config.separable else config.filters
    temporal = Convolution(
        width,
        filters,
        config.kernel,
        stride=stride,
        padding=config.padding,
        dilation=config.dilation,
        groups=width if config.separable else 1,
        bias=False,
    )
    if not config.separable:
        return temporal
    return nn.Sequential(temporal, Convolution(width, config.filters, 1, bias=False))


def _norm(width: int, network: NetworkConfig) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(width, eps=network.norm_eps, momentum=network.norm_momentum)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv1d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
