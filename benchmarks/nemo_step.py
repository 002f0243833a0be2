"""A training step of NeMo's ConvASREncoder, as its recipes run it: bf16 autocast and its own NovoGrad."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from nemo.collections.asr.modules import ConvASRDecoder, ConvASREncoder
from nemo.core.optim import Novograd
from timing import Durations, NoiseBatch, time_steps
from torch import nn
from torch.nn import functional

NUM_MELS = 64


class NemoStep:
    """Forward, CTC, backward and NovoGrad by NeMo's modules, in bf16 where `bf16`."""

    def __init__(self, blocks: list[dict[str, Any]], num_labels: int, device: str, bf16: bool) -> None:
        self.encoder = ConvASREncoder(
            jasper=[_as_nemo(block) for block in blocks], activation="relu", feat_in=NUM_MELS, conv_mask=True
        )
        self.decoder = ConvASRDecoder(feat_in=blocks[-1]["filters"], num_classes=num_labels)
        self.network = nn.ModuleList([self.encoder, self.decoder]).to(device).train()
        self.optimizer = Novograd(self.network.parameters(), lr=0.01, betas=(0.95, 0.0), weight_decay=1e-3)
        self.num_labels, self.device, self.bf16 = num_labels, device, bf16

    def batch(self, durations: Durations) -> NoiseBatch:
        """Noise of these durations (s)."""
        return NoiseBatch.make(durations, NUM_MELS, self.num_labels, self.device)

    def __call__(self, batch: NoiseBatch) -> float:
        """One step; returns its loss."""
        self.optimizer.zero_grad()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            encoded, lengths = self.encoder(audio_signal=batch.features, length=batch.lengths)
            log_probs = self.decoder(encoder_output=encoded)
        loss = functional.ctc_loss(
            log_probs.float().transpose(0, 1), batch.tokens, lengths, batch.token_lengths, self.num_labels
        )
        loss.backward()
        self.optimizer.step()
        return loss.item()


def _as_nemo(block: dict[str, Any]) -> dict[str, Any]:
    """A block of our configuration in the words of NeMo's."""
    same = {key: block[key] for key in ("filters", "repeat", "dropout", "separable")}
    lists = {key: [block[key]] for key in ("kernel", "stride", "dilation")}
    dense = block["residual"] == "dense"
    return {**same, **lists, "residual": block["residual"] != "none", "residual_dense": dense}


if __name__ == "__main__":
    work = json.load(sys.stdin)
    torch.set_num_threads(work["threads"])
    step = NemoStep(work["blocks"], work["num_labels"], work["device"], work["bf16"])
    print(json.dumps(time_steps(step, work["random"], work["device"])))
