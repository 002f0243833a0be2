"""Features in, features with spans of bins and of frames set to zero out (SpecAugment, Park et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor


def hide_spans(features: Tensor, freq_spans: Tensor, time_spans: Tensor) -> Tensor:
    """Set spans of features (B, F, T) to zero, their mean after normalisation; returns a new tensor.

    freq_spans and time_spans (B, num_masks, 2) are half open, in bins and frames.
    """
    hidden_bins = _covered(freq_spans, features.shape[1])[:, :, None]
    hidden_frames = _covered(time_spans, features.shape[2])[:, None, :]
    return features.masked_fill(hidden_bins | hidden_frames, 0.0)


def _covered(spans: Tensor, size: int) -> Tensor:
    """True where any span of a row covers the place (B, size)."""
    place = torch.arange(size, device=spans.device)
    start, end = spans[:, :, :1], spans[:, :, 1:]
    return ((place >= start) & (place < end)).any(dim=1)
