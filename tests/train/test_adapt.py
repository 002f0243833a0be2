"""Starting from a model: what is taken over, what stays as it is, and how fast the rest moves."""

import numpy as np
import pytest
import torch
from tones import LABELS, assert_fault, assert_same_run, log_rows, recipe, run_jasper

from jasper.bundle import read_weights
from jasper.errors import ConfigError
from jasper.recipe import dump_yaml
from jasper.train import train
from jasper.train.run import Run

SOURCE_LABELS = ["z", *LABELS]
BLANK = len(SOURCE_LABELS)
NUM_BLOCKS = 3
MIXED = ["ö", "c", "a", "ß", " ", "b", "d", "e"]  # another order, two labels that the source lacks, one less


@pytest.fixture(scope="module")
def source(tmp_path_factory, corpus):
    """A run of a few steps whose `last` is a model."""
    out = tmp_path_factory.mktemp("source") / "run"
    return train(recipe(corpus, out, text={"labels": SOURCE_LABELS}, train={"epochs": 2})).directory


def started(corpus, out, source, **sections):
    """A run that has taken over a model and made no step."""
    run = Run(recipe(corpus, out, init_from=str(source), **sections), resume=False)
    run.log.__exit__()
    return run


def state_of(run):
    return {name: value.clone() for name, value in run.learner.network.state_dict().items()}


def test_rows_of_the_head_go_by_label_and_new_ones_are_those_of_a_fresh_start(tmp_path, corpus, source):
    text = {"labels": MIXED}
    run = started(corpus, tmp_path / "run", source, text=text)
    fresh = Run(recipe(corpus, tmp_path / "fresh", text=text), resume=False)
    fresh.log.__exit__()
    theirs, own, random = read_weights(source / "last"), state_of(run), state_of(fresh)
    for name in ("head.weight", "head.bias"):
        for row, label in enumerate(MIXED):
            expected = theirs[name][SOURCE_LABELS.index(label)] if label in LABELS else random[name][row]
            np.testing.assert_array_equal(own[name][row].numpy(), expected)
        np.testing.assert_array_equal(own[name][len(MIXED)].numpy(), theirs[name][BLANK])
    for name in (name for name in theirs if not name.startswith("head")):
        np.testing.assert_array_equal(own[name].numpy(), theirs[name])
        np.testing.assert_array_equal(run.learner.average.network.state_dict()[name].numpy(), theirs[name])


def test_the_log_says_which_labels_were_kept_which_are_new_and_what_else_differs(
    tmp_path, corpus, source, capsys
):
    features = {"log_offset": 1e-4}
    started(corpus, tmp_path, source, text={"labels": MIXED}, features=features)
    (row,) = log_rows(tmp_path, "init_from")
    assert (row["step"], row["init_from"]) == (0, str(source))
    assert (row["kept"], row["new"], row["dropped"]) == (["c", "a", " ", "b", "d", "e"], ["ö", "ß"], ["z"])
    said = capsys.readouterr().err
    assert "the blank and 6 labels ('c' 'a' ' ' 'b' 'd' 'e'); new: 2 labels ('ö' 'ß')" in said
    assert "dropped: 1 labels ('z')" in said
    assert "; features.log_offset is 0.0001, not 5.96" in said


def test_with_the_same_labels_it_goes_on_where_the_model_stood(tmp_path, corpus, source):
    run = started(corpus, tmp_path, source, text={"labels": SOURCE_LABELS})
    for name, value in read_weights(source / "last").items():
        np.testing.assert_array_equal(run.learner.network.state_dict()[name].numpy(), value)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            {"filters": 24, "kernel": 7},
            "kernel of block 2 is 7, not 1 as in .*; leave network and",
        ),
        ({"filters": 24, "kernel": 1, "count": 2}, "it has 4 blocks, not 3 as in"),
    ],
)
def test_another_network_is_refused_and_the_block_is_named(tmp_path, corpus, source, network, message):
    blocks = recipe(corpus, tmp_path).model_dump()["network"]["blocks"]
    with pytest.raises(ConfigError, match=message):
        started(corpus, tmp_path, source, network={"blocks": [*blocks[:2], network]})


def test_dropout_is_no_part_of_the_weights_and_other_mel_bands_are_refused(tmp_path, corpus, source):
    blocks = recipe(corpus, tmp_path).model_dump()["network"]["blocks"]
    dropped = [{**block, "dropout": 0.3} for block in blocks]
    assert started(corpus, tmp_path, source, network={"blocks": dropped}).step == 0
    with pytest.raises(ConfigError, match=r"features\.num_mels is 20, not 16"):
        started(corpus, tmp_path, source, features={"num_mels": 20})


def test_from_the_command_line_with_a_recipe_that_leaves_the_network_to_the_model(tmp_path, corpus, source):
    config = recipe(corpus, tmp_path / "run", train={"epochs": 1})
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_yaml(config)[dump_yaml(config).index("\ndata:") :])
    finished = run_jasper("train", path, f"init_from={source}", "adapt.freeze=[0, 2]")
    assert finished.code == 0, finished.stderr
    assert f"starting from {source}: the head keeps the blank and 7 labels" in finished.stderr
    assert len(log_rows(tmp_path / "run", "loss")) == 6
    other = ["--fresh", f"init_from={source}", "network.blocks=[{filters: 9, kernel: 5}]"]
    assert_fault(run_jasper("train", path, *other), "network: filters of block 0 is 9, not 16")


@pytest.mark.parametrize("freeze_norm", [None, True, False])
@pytest.mark.parametrize(("freeze", "frozen"), [("encoder", {0, 1, 2}), ([0, 2], {0, 1}), ("none", set())])
def test_what_is_frozen_stays_and_the_rest_moves(tmp_path, corpus, source, freeze, frozen, freeze_norm):
    adapt = {"freeze": freeze, "freeze_norm": freeze_norm}
    train(recipe(corpus, tmp_path, init_from=str(source), adapt=adapt, train={"epochs": 1}))
    before, after = read_weights(source / "last"), read_weights(tmp_path / "last")
    for name in before:
        block = int(name.split(".")[1]) if name.startswith("blocks.") else None
        if "running_" in name:
            still = block in frozen if freeze_norm is None else freeze_norm
        else:
            still = block in frozen
        assert np.array_equal(before[name], after[name]) == still, name


def bytes_kept_for_the_backward_pass(run):
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    batch = run.training_set.batch(run.selection.utterances, 0)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run.learner.forward(batch)
    return sum(kept.values())


def test_frozen_blocks_keep_nothing_for_the_backward_pass(tmp_path, corpus, source):
    free, half, head = (
        started(corpus, tmp_path / name, source, adapt={"freeze": freeze})
        for name, freeze in (("free", "none"), ("half", [0, 2]), ("head", "encoder"))
    )
    kept = [bytes_kept_for_the_backward_pass(run) for run in (free, half, head)]
    assert kept[1] < 0.5 * kept[0]
    assert kept[2] < 0.3 * kept[0]  # the input of the head, and what CTC needs
    held = [
        {id(p) for group in run.learner.optimizer.param_groups for p in group["params"]}
        for run in (half, head)
    ]
    heads = [{id(p) for p in run.learner.network.head.parameters()} for run in (half, head)]
    assert held[0] == heads[0] | {id(p) for p in half.learner.network.blocks[2].parameters()}
    assert held[1] == heads[1]


@pytest.mark.parametrize("optimizer", ["adamw", "novograd"])
def test_rates_fall_from_the_head_to_the_first_block(tmp_path, corpus, source, optimizer):
    """A step with the rates is the step without them, each part's scaled by its factor."""
    adapt = {"encoder_rate": 0.5, "rate_decay": 0.25}
    moved = []
    for name, section in (("plain", {}), ("rates", adapt)):
        settings = {"name": optimizer, "weight_decay": 0.0}
        run = started(corpus, tmp_path / name, source, adapt=section, optimizer=settings)
        before = state_of(run)
        run.learner.begin_step(0.01)
        run.learner.forward(run.training_set.batch(run.selection.utterances, 0)).sum().backward()
        run.learner.optimizer.step()
        moved.append({key: p.detach() - before[key] for key, p in run.learner.network.named_parameters()})
    for name, plain in moved[0].items():
        factor = 1.0 if name.startswith("head") else 0.5 * 0.25 ** (NUM_BLOCKS - 1 - int(name.split(".")[1]))
        np.testing.assert_allclose(moved[1][name], factor * plain, rtol=2e-3, atol=1e-7, err_msg=name)


def test_a_run_with_frozen_parts_and_rates_that_was_cut_ends_in_the_same_bits(tmp_path, corpus, source):
    sections = {
        "init_from": str(source),
        "adapt": {"freeze": [0, 1], "rate_decay": 0.5},
        "text": {"labels": [*LABELS, "ö"]},
    }
    for out, cuts in (("whole", [None]), ("cut", [1, 4, None])):
        for cut in cuts:
            train(recipe(corpus, tmp_path / out, **sections, train={"max_steps": cut}))
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
