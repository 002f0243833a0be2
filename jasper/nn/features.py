"""Padded waves in, log-mel features out: `jasper.features` again, batched on a device, for training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jasper.config import FeatureConfig
from jasper.features import mel_filters, num_frames, padded_window

# Devices without double precision; there the bands that are almost silent are a little less exact.
_SINGLE_PRECISION = ("mps", "npu")


class TorchFeatures(nn.Module):
    """Equal to `FeatureExtractor` within 1e-4 for each row of a ragged batch, dither apart."""

    window: Tensor
    filters: Tensor

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.from_numpy(padded_window(config)), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters(config)), persistent=False)

    @torch.no_grad()
    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features of waves (B, N) float32 with `lengths` (B,) in samples.

        Returns features (B, num_mels, T) float32, zero past each row's length, and lengths (B,) in frames.
        In training mode noise of standard deviation `config.dither` is added to the waves first.
        """
        config = self.config
        if self.training and config.dither:
            waves = waves + config.dither * torch.randn_like(waves)
        if config.frame_count == "ceil":
            frame_lengths = (lengths + config.hop_length - 1) // config.hop_length
        else:
            frame_lengths = lengths // config.hop_length
        num = max(1, num_frames(config, waves.shape[1]))
        framed = self._extend(self._preemphasize(waves), lengths).unfold(1, config.n_fft, config.hop_length)
        dtype = torch.float32 if waves.device.type in _SINGLE_PRECISION else torch.float64
        spectrum = torch.fft.rfft(framed[:, :num].to(dtype) * self.window.to(dtype))
        power = spectrum.real.square() + spectrum.imag.square()
        log_mel = torch.log(power @ self.filters.to(dtype).T + config.log_offset).transpose(1, 2)
        return self._normalize(log_mel, frame_lengths).float(), frame_lengths

    def _preemphasize(self, waves: Tensor) -> Tensor:
        first, rest, before = waves[:, :1], waves[:, 1:], waves[:, :-1]
        return torch.cat([first.double(), rest.double() - self.config.preemphasis * before.double()], dim=1)

    def _extend(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """Continue each row beyond its own two ends, whatever padding follows it."""
        margin = self.config.n_fft // 2
        place = torch.arange(-margin, signal.shape[1] + margin, device=signal.device).expand(len(signal), -1)
        last = (lengths - 1)[:, None]
        if self.config.edges == "zeros":
            inside = (place >= 0) & (place <= last)
            return torch.where(inside, signal.gather(1, place.clamp(0, signal.shape[1] - 1)), 0.0)
        period = (2 * last).clamp(min=1)
        place = place.abs() % period
        place = torch.minimum(place, period - place).clamp(max=signal.shape[1] - 1)
        return signal.gather(1, torch.where(last > 0, place, 0))

    def _normalize(self, log_mel: Tensor, lengths: Tensor) -> Tensor:
        config = self.config
        valid = (torch.arange(log_mel.shape[2], device=log_mel.device) < lengths[:, None])[:, None]
        if config.normalize == "none":
            return torch.where(valid, log_mel, 0.0)
        per_feature = config.normalize == "per_feature"
        axes = (2,) if per_feature else (1, 2)
        count = lengths[:, None, None] * (1 if per_feature else config.num_mels)
        mean = torch.where(valid, log_mel, 0.0).sum(axes, keepdim=True) / count.clamp(min=1)
        centred = torch.where(valid, log_mel - mean, 0.0)
        spread = (centred.square().sum(axes, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
        return centred / (spread + config.std_offset)
