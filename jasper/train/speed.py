"""A configuration and a time in, the number of epochs that fit out, by timing a few steps."""

from __future__ import annotations

import time

import torch

from jasper.config import Config
from jasper.data.batches import epoch_batches
from jasper.data.selection import read_training
from jasper.nn.device import pick_device, pick_precision
from jasper.nn.weights import build_network
from jasper.train.loss import ctc_losses
from jasper.train.optimizers import build_optimizer

_STEPS = 5
_OVERHEAD = 1.5  # of reading, features and scoring, over the network alone, on two cores


def epochs_in(config: Config, duration: float) -> int:
    """Epochs of training that fit in `duration` seconds on this machine, 0 or more."""
    utterances = read_training(config).utterances
    durations = [utterance.duration for utterance in utterances]
    batches = epoch_batches(durations, config.data, config.train.seed, 0)
    padded = [len(batch) * max(durations[index] for index in batch) for batch in batches]
    largest = max(range(len(batches)), key=padded.__getitem__)
    seconds = _step_duration(config, len(batches[largest]), padded[largest] / len(batches[largest]))
    epoch = seconds / padded[largest] * sum(padded) * _OVERHEAD
    return int(duration / epoch)


def _step_duration(config: Config, batch_size: int, duration: float) -> float:
    """Seconds of one optimizer step over `batch_size` rows of `duration` seconds of noise."""
    device = pick_device(config.train.device)
    precision = pick_precision(config.train.precision, device)
    network = build_network(config.model).to(device).train()
    optimizer = build_optimizer(network, config.optimizer)
    frames = round(1000 * duration / config.features.hop_ms)
    features = torch.randn(batch_size, config.features.num_mels, frames, device=device)
    lengths = torch.full((batch_size,), frames, device=device)
    tokens = torch.zeros(batch_size, 1, dtype=torch.int64, device=device)
    durations = []
    for _ in range(_STEPS):
        begin = time.perf_counter()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            log_probs, out_lengths = network(features, lengths)
        losses = ctc_losses(log_probs, out_lengths, tokens, tokens[:, 0] + 1, len(config.text.labels))
        torch.autograd.backward(losses.mean())
        optimizer.step()
        durations.append(float(losses.detach().sum()) * 0 + time.perf_counter() - begin)
    return sorted(durations)[len(durations) // 2]
