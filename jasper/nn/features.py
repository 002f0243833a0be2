"""Padded waves in, log-mel features out: `jasper.features` again, batched on a device, for training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jasper.config import FeatureConfig
from jasper.features import analysis_window, column, mel_filters, num_frames


class TorchFeatures(nn.Module):
    """Equal to `FeatureExtractor` within 1e-4 for each row of a ragged batch, dither apart."""

    window: Tensor
    filters: Tensor

    def __init__(self, config: FeatureConfig, dtype: torch.dtype = torch.float64) -> None:
        """`dtype` is what it computes in; in float32 bands that are almost silent are less exact."""
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.from_numpy(analysis_window(config)).to(dtype), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters(config)).to(dtype), persistent=False)

    @torch.no_grad()
    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features of waves (B, N) float32 with `lengths` (B,) in samples.

        Returns features (B, num_features, T) float32, zero past each row's length, and lengths (B,) in
        frames.
        In training mode noise of standard deviation `config.dither` is added to the waves first.
        """
        config = self.config
        if self.training and config.dither:
            waves = waves + config.dither * torch.randn_like(waves)
        frame_lengths = num_frames(config, lengths)
        num = max(1, num_frames(config, waves.shape[1]))
        signal = self._extend(self._preemphasize(waves.to(self.window.dtype)), lengths)
        signal = signal[:, (config.n_fft - config.window_length) // 2 :]
        framed = signal.unfold(1, config.window_length, config.hop_length)[:, :num]
        spectrum = torch.fft.rfft(framed * self.window, config.n_fft)
        power = spectrum.real.square() + spectrum.imag.square()
        if config.power != 2:
            power = power ** (config.power / 2)
        mel = power @ self.filters.T
        if config.log:
            mel = mel + config.log_offset if config.log_guard == "add" else mel.clamp(min=config.log_offset)
            mel = mel.log()
        mel = mel.repeat(1, 1, config.frame_splicing).transpose(1, 2)
        return self._normalize(mel, frame_lengths).float(), frame_lengths

    def _preemphasize(self, waves: Tensor) -> Tensor:
        return torch.cat([waves[:, :1], waves[:, 1:] - self.config.preemphasis * waves[:, :-1]], dim=1)

    def _extend(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """Continue each row (B, N) beyond its own two ends, whatever padding follows it: (B, N + n_fft)."""
        margin = self.config.margin
        extended = nn.functional.pad(signal, (margin, self.config.n_fft - margin))
        if self.config.edges == "zeros":  # pre-emphasis leaves a sample just after the row's end
            places = torch.arange(extended.shape[1], device=signal.device) - margin
            return torch.where(places < (lengths - self.config.num_silenced)[:, None], extended, 0.0)
        beyond = torch.arange(1, margin + 1, device=signal.device).expand(
            signal.shape[0], -1
        )  # `len` would be fixed in an export
        last = (lengths - 1)[:, None]
        period = (2 * last).clamp(min=1)
        left, right = beyond % period, (last + beyond) % period
        before = signal.gather(1, torch.minimum(left, period - left).clamp(max=last))
        after = signal.gather(1, torch.minimum(right, period - right).clamp(max=last))
        extended = extended.scatter(1, margin - beyond, before)
        return extended.scatter(1, margin + last + beyond, after)

    def _normalize(self, log_mel: Tensor, lengths: Tensor) -> Tensor:
        config = self.config
        valid = (torch.arange(log_mel.shape[2], device=log_mel.device) < lengths[:, None])[:, None]
        if config.normalize == "none":
            return torch.where(valid, log_mel, 0.0)
        if config.normalize == "fixed":
            mean, std = (
                torch.from_numpy(column(v)).to(log_mel) for v in (config.fixed_mean, config.fixed_std)
            )
            return torch.where(valid, (log_mel - mean) / std, 0.0)
        per_feature = config.normalize == "per_feature"
        axes = (2,) if per_feature else (1, 2)
        count = lengths[:, None, None] * (1 if per_feature else config.num_features)
        mean = torch.where(valid, log_mel, 0.0).sum(axes, keepdim=True) / count.clamp(min=1)
        centred = torch.where(valid, log_mel - mean, 0.0)
        spread = (centred.square().sum(axes, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
        return centred / (spread + config.std_offset)
