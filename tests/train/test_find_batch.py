"""The largest batch that memory holds: what it finds trains within the limit, and the next size would not."""

import json
import re

import pytest
import torch
import yaml
from tones import assert_fault, raw_recipe, run_jasper, write_corpus

from jasper.train.find_batch import _is_want_of_memory, _next_size

# Wide enough that a batch weighs more than PyTorch itself.
NETWORK = {"blocks": [{"filters": 512, "kernel": 5, "repeat": 2, "residual": "dense"}]}


@pytest.fixture
def wide(tmp_path):
    """A recipe of 64 utterances of 2.4 s."""
    manifest = write_corpus(tmp_path, ["abcde" * 6] * 64)
    raw = raw_recipe(manifest, tmp_path / "run", network=NETWORK, data={"batch_size": 64})
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def peaks(finished):
    """Utterances of a batch -> GiB at the peak, as each trial says."""
    found = re.findall(r"^(\d+) utterances of 2.4 s: ([\d.]+) GiB", finished.stderr, re.MULTILINE)
    return {int(number): float(peak) for number, peak in found}


@pytest.mark.slow
def test_what_it_finds_fits_and_a_little_more_does_not(wide):
    free = peaks(run_jasper("train", wide, "--find-batch"))
    assert free[64] > free[1] + 0.05  # all fit in this machine: what a batch of each size takes
    limit = (free[1] + free[64]) / 2 * 2**30 / 0.9 / 1e9
    finished = run_jasper("train", wide, "--find-batch", "--memory-gb", f"{limit:.3f}", "--json")
    assert finished.code == 0, finished.stderr
    found = json.loads(finished.stdout)
    tried = peaks(finished)
    size = found["num_utterances"]
    assert found["batch_seconds"] == pytest.approx(size * 2.4, abs=0.1)
    # Trials say hundredths: a peak that is printed that near to the limit may be on either side of it.
    surely, perhaps = (
        [n for n in tried if tried[n] <= found["limit_gib"] + near] for near in (-0.005, 0.005)
    )
    assert size in tried
    assert max(surely) <= size <= max(perhaps)
    assert min(n for n in tried if n > size) <= 1.2 * size + 1
    assert found["peak_gib"] <= found["limit_gib"] == pytest.approx(0.9 * limit * 1e9 / 2**30, rel=0.01)
    assert not (wide.parent / "run").exists()


@pytest.mark.slow
def test_a_limit_that_one_utterance_does_not_fit_in(wide):
    finished = run_jasper("train", wide, "--find-batch", "--memory-gb", "0.05")
    assert_fault(finished, "one utterance of 2.4 s does not fit", "max_duration")


def test_the_hosts_want_of_memory_is_told_from_other_errors():
    """Under a limit of the system or a container's the allocator fails, and nothing kills the trial."""
    with pytest.raises(RuntimeError) as more_than_any_machine_has:
        torch.empty(2**58, dtype=torch.uint8)
    assert _is_want_of_memory(more_than_any_machine_has.value)
    with pytest.raises(RuntimeError) as other:
        torch.empty(2) @ torch.empty(3)
    assert not _is_want_of_memory(other.value)


@pytest.mark.parametrize("most", [1, 2, 7, 32, 64, 1000])
@pytest.mark.parametrize("capacity", [0, 1, 3, 5, 31, 64, 700, 5000])
def test_sizes_tried_come_within_a_tenth_of_what_fits(most, capacity):
    fits, too_many, tries = 0, most + 1, 0
    while (size := _next_size(fits, too_many)) is not None:
        assert fits < size < too_many
        fits, too_many = (size, too_many) if size <= capacity else (fits, size)
        tries += 1
    best = min(most, capacity)
    assert fits <= best <= fits + max(1, 0.1 * fits)
    assert tries <= 16
