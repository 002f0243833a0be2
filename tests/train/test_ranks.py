"""Several ranks take the step that one takes, and none of them is left waiting."""

import pytest
import torch
from together import train_on
from tones import (
    everything_random,
    log_rows,
    newest_state,
    recipe,
    write_corpus,
)

from jasper.train import train

SIZES = (2, 3)


def assert_close_states(one, other, where="state"):
    """Equal within 1e-6 of the largest value of each tensor; whole numbers are equal."""
    if isinstance(one, torch.Tensor):
        scale = max(1e-6, float(other.abs().max())) if other.numel() else 1.0
        assert one.shape == other.shape, where
        assert torch.allclose(one.double(), other.double(), rtol=0, atol=1e-6 * scale), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_close_states(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_close_states(*pair, f"{where}.{index}")
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-6), where
    else:
        assert one == other, where


@pytest.mark.parametrize("optimizer", ["adamw", "novograd"])
@pytest.mark.parametrize("size", SIZES)
def test_a_step_over_ranks_is_that_of_one_with_as_many_batches(tmp_path, corpus, dev, noise, size, optimizer):
    """Weights, average, optimizer and batch norm's statistics, with dropout, noise and masks."""
    (tmp_path / "broken").mkdir()
    manifest = write_corpus(tmp_path / "broken", ["abc", "bcd", "cdea", "de"], "broken")
    (tmp_path / "broken" / "broken-01.wav").write_bytes(b"not audio")  # only the rank that reads it will know

    def config(name, accumulation):
        return recipe(
            corpus,
            tmp_path / name,
            **everything_random(noise),
            data={"train": [str(corpus), str(manifest)], "dev": [str(dev)], "batch_size": 3},
            optimizer={"name": optimizer, "clip_norm": 20.0},
            train={"precision": "fp64", "accumulation": accumulation, "epochs": 4, "eval_epochs": 2},
        )

    train(config("alone", 2 * size))
    train_on(size, config("together", 2))
    alone, together = newest_state(tmp_path / "alone"), newest_state(tmp_path / "together")
    assert alone["network"]["head.weight"].dtype == torch.float64
    assert_close_states(together, alone)
    for key in ("loss", "grad_norm", "dev_loss"):
        one, other = ([row[key] for row in log_rows(tmp_path / name, key)] for name in ("alone", "together"))
        assert other == pytest.approx(one, rel=1e-6)
    for key in ("dev_wer", "dev_cer", "fault", "id", "step"):
        one, other = ([row[key] for row in log_rows(tmp_path / name, key)] for name in ("alone", "together"))
        assert one == other, key
