"""Checkpoints come back whole or not at all, and a damaged one never costs a good one."""

import resource
from contextlib import contextmanager

import pytest
import torch

from jasper.errors import CheckpointError
from jasper.train.checkpoint import FORMAT, list_checkpoints, load_checkpoint, save_checkpoint


def state(step):
    return {"weights": torch.full((4000,), float(step)), "best": [1.0, 0.5, 0.25]}


def saved(directory, steps, keep=3):
    for step in steps:
        save_checkpoint(directory, state(step), step, keep)
    return list_checkpoints(directory)


def cut(share):
    return lambda raw: raw[: int(share * len(raw))]


def noise_at(share):
    def damage(raw):
        place = int(share * len(raw))
        return raw[:place] + bytes(255 - byte for byte in raw[place : place + 40]) + raw[place + 40 :]

    return damage


def test_what_is_saved_comes_back(tmp_path):
    saved(tmp_path, [5])
    loaded = load_checkpoint(tmp_path, pytest.fail)
    assert loaded["step"] == 5
    assert loaded["best"] == [1.0, 0.5, 0.25]
    assert torch.equal(loaded["weights"], state(5)["weights"])


def test_none_at_all_is_none(tmp_path):
    assert load_checkpoint(tmp_path, pytest.fail) is None
    assert load_checkpoint(tmp_path / "nowhere", pytest.fail) is None


def test_the_newest_are_kept(tmp_path):
    paths = saved(tmp_path, range(2, 30, 3), keep=3)
    assert [path.name for path in paths] == [f"step-{step:09d}.pt" for step in (29, 26, 23)]


@pytest.mark.parametrize(
    "damage",
    [cut(0), cut(0.01), cut(0.5), cut(0.999), noise_at(0), noise_at(0.5), noise_at(0.98)],
    ids=["empty", "1 %", "half", "end cut", "head", "middle", "directory"],
)
def test_a_damaged_newest_one_falls_back_to_the_one_before(tmp_path, damage):
    """NVIDIA's code began again at epoch 0 when the last checkpoint was corrupt; PyTorch alone would
    even load one whose tensors were overwritten, without a word."""
    newest = saved(tmp_path, [1, 2, 3])[0]
    newest.write_bytes(damage(newest.read_bytes()))
    said = []
    loaded = load_checkpoint(tmp_path, said.append)
    assert torch.equal(loaded["weights"], state(2)["weights"])
    assert len(said) == 1
    assert str(newest) in said[0]
    assert "falling back to the checkpoint before it" in said[0]


def test_all_damaged_is_an_error_that_says_what_to_do(tmp_path):
    for path in saved(tmp_path, [1, 2]):
        path.write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="none of 2 checkpoints can be read; remove them to start anew"):
        load_checkpoint(tmp_path, lambda _: None)


def test_a_damaged_newest_one_does_not_push_out_the_good_ones(tmp_path):
    """The highest numbers were kept: with keep=1 the file just written went, the damaged one stayed."""
    saved(tmp_path, [6, 9])[0].write_bytes(b"damaged")
    paths = saved(tmp_path, [7], keep=1)
    assert [path.name for path in paths] == ["step-000000007.pt"]
    assert load_checkpoint(tmp_path, pytest.fail)["step"] == 7


def test_a_checkpoint_of_a_later_format_is_not_misread(tmp_path):
    saved(tmp_path, [1])
    torch.save({"format": 99, "step": 2}, tmp_path / "step-000000002.pt")
    said = []
    assert load_checkpoint(tmp_path, said.append)["step"] == 1
    assert f"has format 99, this version reads {FORMAT}" in said[0]


def test_code_inside_a_checkpoint_does_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    torch.save({"format": FORMAT, "step": 2, "bomb": Bomb()}, tmp_path / "step-000000002.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path, lambda _: None)
    assert not (tmp_path / "ran").exists()


@contextmanager
def files_of_at_most(size):
    """A full disk, for root too: no file may grow past `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_older_ones_and_nothing_else(tmp_path):
    """The one that could not be written is neither there in part nor has it cost an older one."""
    before = {path: path.read_bytes() for path in saved(tmp_path, [1, 2], keep=2)}
    with files_of_at_most(6000), pytest.raises(CheckpointError, match="could not be written"):
        save_checkpoint(tmp_path, state(3), 3, keep=2)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
