"""A preset, a manifest and a device in; what every way to train is given out."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

from jasper.config import BlockConfig, Config, expand, wired
from jasper.data.batches import epoch_steps
from jasper.data.selection import read_training
from jasper.nn.device import pick_precision
from jasper.recipe import load_config

# s of padded audio in a batch: what fits beside the reference in 24 GiB, and in 80 GiB.
BATCH_SECONDS = {"cpu": 64.0, "cuda": 800.0}
Work = dict[str, Any]


def workload(options: argparse.Namespace) -> Work:
    """What every worker needs: blocks, batches as durations (s), device."""
    batch_seconds = options.batch_seconds or BATCH_SECONDS[options.device]
    settings = [
        f"data.train=[{options.manifest}]",
        "data.batch_size=256",
        f"data.batch_seconds={batch_seconds}",
        f"train.device={options.device}",
        "train.precision=auto",
        *options.set,
    ]
    config = load_config(options.network, settings)
    durations = [utterance.duration for utterance in read_training(config).utterances]
    order = np.random.default_rng(0).permutation(len(durations))
    size = max(1, int(batch_seconds / max(durations)))
    return {
        "network": options.network,
        "settings": settings,
        "device": options.device,
        "threads": options.threads or torch.get_num_threads(),
        "blocks": [block.model_dump() for block in expand(config.network.blocks)],
        "num_labels": len(config.text.labels),
        "bf16": pick_precision("auto", torch.device(options.device)) == torch.bfloat16,
        "flops": 3 * forward_flops(config),
        "random": [[durations[i] for i in order[n * size : (n + 1) * size]] for n in range(options.steps)],
        "buckets": [
            [durations[i] for i in batch]
            for (batch,) in epoch_steps(durations, config.data, seed=0, epoch=0)[: options.steps]
        ],
    }


def forward_flops(config: Config) -> float:
    """Operations a second of audio, of the convolutions alone; training takes three times as many."""
    widths, steps, total = [config.features.num_features], 1000 / config.features.hop_ms, 0.0
    for block, sources in wired(config.network.blocks):
        steps /= block.stride
        inputs = [widths[-1]] + [block.filters] * (block.repeat - 1)
        weights = sum(_weights(block, w) for w in inputs)
        weights += block.filters * sum(widths[source] for source in sources)
        total += 2 * steps * weights
        widths.append(block.filters)
    return total + 2 * steps * widths[-1] * (len(config.text.labels) + 1)


def _weights(block: BlockConfig, width: int) -> int:
    return width * (block.kernel + block.filters) if block.separable else width * block.filters * block.kernel
