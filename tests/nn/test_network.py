"""The network: its size, its formula, its lengths, and that a row of a batch is the row alone."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_networks import randomize, stacks

from jasper.config import BlockConfig, NetworkConfig
from jasper.folding import fold
from jasper.nn import Jasper
from jasper.nn.inference import FoldedJasper
from jasper.nn.weights import build_network, network_weights
from jasper.recipe import load_config, presets

NUM_FEATURES, NUM_CLASSES = 8, 5
ALONE_TOLERANCE = 1e-5

# (smallest, largest) number of parameters with 29 classes. Jasper 10x5 DR in NVIDIA's code, exact; QuartzNet
# as Kriman et al. 2019 round it in table 1; `small` as the head of its YAML says.
SIZES = {
    "jasper10x5dr": (332_632_349, 332_632_349),
    "quartznet15x5": (18_850_000, 18_950_000),
    "quartznet5x5": (6_650_000, 6_750_000),
    "small": (8_750_000, 8_850_000),
}


def block(**settings: object) -> BlockConfig:
    return BlockConfig.model_validate({"filters": 6, "kernel": 3, **settings})


def network(*blocks: BlockConfig, seed: int = 0) -> Jasper:
    return randomize(Jasper(NetworkConfig(blocks=blocks), NUM_FEATURES, NUM_CLASSES), seed)


def features(*lengths: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of noise, and in the padding something large that must not reach a valid step."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.full((len(lengths), NUM_FEATURES, max(lengths)), 100.0)
    for row, length in zip(x, lengths, strict=True):
        row[:, :length] = torch.randn(NUM_FEATURES, length, generator=generator)
    return x, torch.tensor(lengths)


def size_of(name: str) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_network(load_config(name).model).parameters())


@pytest.mark.parametrize("name", SIZES)
def test_a_preset_has_its_published_size(name):
    low, high = SIZES[name]
    assert low <= size_of(name) <= high


def test_the_smaller_presets_are_smaller():
    assert set(presets()) == set(SIZES) | {"jasper5x3", "tiny", "digits"}
    assert max(size_of("digits"), size_of("tiny")) < size_of("small")
    assert size_of("small") < size_of("jasper5x3") < size_of("jasper10x5dr")


@settings(max_examples=80, deadline=None)
@given(blocks=stacks(), lengths=st.lists(st.integers(1, 60), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_a_row_of_a_batch_is_the_row_alone(blocks, lengths, seed):
    # In double precision, so that deep random stacks leave no rounding to be mistaken for a leak.
    model = network(*blocks, seed=seed).double()
    x, num = features(*lengths, seed=seed)
    x = x.double()
    with torch.inference_mode():
        together, out = model(x, num)
        for row, length in enumerate(lengths):
            alone, alone_out = model(x[row : row + 1, :, :length], num[row : row + 1])
            assert alone_out[0] == out[row] == alone.shape[1]
            np.testing.assert_allclose(together[row, : out[row]], alone[0], atol=ALONE_TOLERANCE)


@pytest.mark.parametrize("preset", ["tiny", "small", "quartznet5x5"])
def test_a_row_of_a_batch_is_the_row_alone_in_single_precision(preset):
    model = build_network(load_config(preset).model).eval()
    generator = torch.Generator().manual_seed(0)
    num = torch.tensor([101, 64, 7])
    x = torch.randn(3, 64, 101, generator=generator)
    with torch.inference_mode():
        together, out = model(x, num)
        for row, length in enumerate(num.tolist()):
            alone, _ = model(x[row : row + 1, :, :length], num[row : row + 1])
            np.testing.assert_allclose(together[row, : out[row]], alone[0], atol=ALONE_TOLERANCE)


@settings(max_examples=60, deadline=None)
@given(blocks=stacks(), length=st.integers(1, 500))
def test_output_lengths_are_what_torchs_convolutions_give(blocks, length):
    config = NetworkConfig(blocks=blocks)
    x = torch.empty(1, 1, length, device="meta")
    for b in blocks:
        padding = b.kernel // 2 * b.dilation
        for _ in range(b.count):
            x = torch.nn.Conv1d(1, 1, b.kernel, b.stride, padding, b.dilation, device="meta")(x)
    assert config.num_steps(length) == x.shape[2]
    assert config.num_steps(np.array([length, 0])).tolist() == [x.shape[2], 0]
    _, out = network(*blocks)(*features(length))
    assert out.tolist() == [x.shape[2]]


def reference_block(model: Jasper, x: torch.Tensor) -> torch.Tensor:
    """The first block as Li et al. 2019 draw it, for one row without padding: (C, T) -> (filters, T)."""
    first = model.blocks[0]

    def normed(y: torch.Tensor, norm: torch.nn.BatchNorm1d) -> torch.Tensor:
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return (y - norm.running_mean[:, None]) * scale[:, None] + norm.bias[:, None]

    def convolved(y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        kernel = weight.shape[2]
        padded = torch.nn.functional.pad(y, (kernel // 2, kernel // 2))
        return torch.einsum("fck,ckt->ft", weight, padded.unfold(1, y.shape[1], 1))

    stride = first.config.stride

    y = x
    for index, (conv, norm) in enumerate(zip(first.convs, first.norms, strict=True)):
        y = normed(convolved(y, conv.weight), norm)
        y = torch.relu(y) if index + 1 < len(first.convs) else y[:, ::stride]
    if first.excitation is not None:  # Hu et al. 2018, equations 2 to 4
        squeezed = torch.relu(first.excitation.squeeze.weight @ y.mean(dim=1))
        y = y * torch.sigmoid(first.excitation.excite.weight @ squeezed)[:, None]
    for conv, norm in zip(first.residual_convs, first.residual_norms, strict=True):
        y = y + normed(conv.weight[:, :, 0] @ x[:, ::stride], norm)
    return torch.relu(y)


@pytest.mark.parametrize(
    "settings",
    [
        {"residual": "none"},
        {"residual": "plain"},
        {"residual": "dense"},
        {"residual": "plain", "squeeze": 2},
        {"residual": "plain", "squeeze": 3, "stride": 2},  # Citrinet's
        {"stride": 3},
    ],
)
def test_a_block_is_the_papers_formula(settings):
    model = network(block(kernel=5, repeat=3, **settings))
    x, lengths = features(40)
    with torch.inference_mode():
        expected = reference_block(model, x[0])
        logits = model.head.weight[:, :, 0] @ expected + model.head.bias[:, None]
        log_probs, _ = model(x, lengths)
        np.testing.assert_allclose(log_probs[0], logits.T.log_softmax(dim=1), atol=1e-5)


def test_a_plain_residual_is_there():
    """In the superseded system a block without dense residual had no residual at all."""
    model = network(block(repeat=2, residual="plain"), block(repeat=2, residual="plain"))
    x, lengths = features(30)
    with torch.inference_mode():
        before, _ = model(x, lengths)
        for index, module in enumerate(model.blocks):
            assert len(module.residual_convs) == 1, index
            kept = module.residual_convs[0].weight.clone()
            module.residual_convs[0].weight.zero_()
            assert (model(x, lengths)[0] - before).abs().max() > 1e-2, index
            module.residual_convs[0].weight.copy_(kept)


def test_a_dense_residual_takes_every_earlier_input():
    dense = block(repeat=2, residual="dense")
    model = network(
        block(stride=2), dense, block(filters=7, residual="dense"), block(residual="dense", count=2)
    )
    sources = [[conv.in_channels for conv in module.residual_convs] for module in model.blocks]
    assert sources == [[], [6], [6, 6], [6, 6, 7], [6, 6, 7, 6]]


def test_building_twice_from_one_configuration_gives_one_network():
    """The superseded system edited the configuration while building, so a second build had no residuals."""
    config = NetworkConfig(
        blocks=(block(stride=2), block(residual="dense", count=2), block(residual="plain", repeat=2))
    )
    before = config.model_dump_json()
    first = Jasper(config, NUM_FEATURES, NUM_CLASSES)
    second = Jasper(config, NUM_FEATURES, NUM_CLASSES)
    assert config.model_dump_json() == before
    shapes = {name: value.shape for name, value in first.state_dict().items()}
    assert shapes == {name: value.shape for name, value in second.state_dict().items()}
    assert any("residual" in name for name in shapes)
    second.load_state_dict(first.state_dict())
    x, lengths = features(30, 20)
    assert torch.equal(first.eval()(x, lengths)[0][0], second.eval()(x, lengths)[0][0])


def test_masks_have_no_switch():
    """In the superseded system switching masks off skipped the convolution altogether."""
    assert list(inspect.signature(Jasper.forward).parameters) == ["self", "features", "lengths"]
    for key in ("conv_mask", "use_conv_masks", "masked"):
        with pytest.raises(ValidationError, match=key):
            NetworkConfig.model_validate({"blocks": [{"filters": 4, "kernel": 3}], key: False})


def test_every_convolution_is_used():
    """In the superseded system switching masks off skipped the convolution altogether."""
    model = network(block(repeat=2, residual="dense"), block(separable=True), block(kernel=1))
    x, lengths = features(30)
    model(x, lengths)[0].square().sum().backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not unused


def test_forty_seconds_are_no_more_than_many_steps():
    """The superseded system crashed on audio over 35 s."""
    model = network(block(kernel=11, stride=2), block(repeat=2, residual="dense"))
    x, lengths = features(4000)
    with torch.inference_mode():
        log_probs, out = model(x, lengths)
        assert out.tolist() == [2000]
        assert log_probs.shape == (1, 2000, NUM_CLASSES)
        # What is far from the cut does not depend on where the recording ends.
        start, _ = model(x[:, :, :1000], torch.tensor([1000]))
        np.testing.assert_allclose(log_probs[0, :400], start[0, :400], atol=ALONE_TOLERANCE)


def test_log_probs_are_single_precision_under_autocast():
    """The superseded system gave CTC a 16-bit log-softmax."""
    model = network(block(kernel=11), block(repeat=2, residual="plain"))
    x, lengths = features(50)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        log_probs, _ = model(x, lengths)
        assert model.head(torch.zeros(1, 6, 3)).dtype == torch.bfloat16  # autocast is really on
    assert log_probs.dtype == torch.float32
    sums = log_probs.double().exp().sum(dim=2)
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_the_callers_features_are_left_as_they_are():
    model = network(block(residual="plain"))
    x, lengths = features(20, 10)
    kept, kept_lengths = x.clone(), lengths.clone()
    model(x, lengths)
    assert torch.equal(x, kept)
    assert torch.equal(lengths, kept_lengths)


def test_a_row_without_a_frame_gives_none_and_harms_no_other():
    model = network(block(stride=2, kernel=5), block(residual="dense"))
    x, _ = features(30, 30)
    with torch.inference_mode():
        log_probs, out = model(x, torch.tensor([30, 0]))
        alone, _ = model(x[:1], torch.tensor([30]))
    assert out.tolist() == [15, 0]
    np.testing.assert_allclose(log_probs[0], alone[0], atol=ALONE_TOLERANCE)


def test_a_stride_between_dense_blocks_is_refused():
    """The inputs that a dense residual adds up would have different lengths."""
    dense = block(residual="dense")
    with pytest.raises(ValidationError, match="between dense blocks"):
        NetworkConfig(blocks=(dense, block(stride=2), dense))
    NetworkConfig(blocks=(block(stride=2), dense, dense, block(stride=2)))


@pytest.mark.slow
def test_compiled_activations_give_the_same_gradients_statistics_and_names():
    """For batches of any shape, without dropout, which draws other numbers there."""
    torch.manual_seed(0)
    blocks = [
        {"filters": 8, "kernel": 5, "stride": 2, "dropout": 0.0},
        {"filters": 8, "kernel": 5, "repeat": 2, "dropout": 0.0, "residual": "dense", "count": 2},
        {"filters": 8, "kernel": 5, "dropout": 0.0, "residual": "plain", "squeeze": 4},
    ]
    eager = Jasper(NetworkConfig.model_validate({"blocks": blocks}), 16, 5).train()
    compiled = copy.deepcopy(eager)
    compiled.compile_activations()
    for batch, steps in ((3, 60), (4, 81), (2, 100)):
        features, lengths = torch.randn(batch, 16, steps), torch.randint(steps // 2, steps + 1, (batch,))
        ends = []
        for network in (eager, compiled):
            network.zero_grad()
            log_probs, _ = network(features, lengths)
            log_probs.square().mean().backward()
            ends.append([log_probs.detach(), *(p.grad for p in network.parameters())])
        for found, expected in zip(*reversed(ends), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    states = [network.state_dict() for network in (eager, compiled)]
    assert list(states[0]) == list(states[1])
    for key, expected in states[0].items():
        torch.testing.assert_close(states[1][key], expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(blocks=stacks(), lengths=st.lists(st.integers(1, 60), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_the_folded_network_is_the_network(blocks, lengths, seed):
    model = network(*blocks, seed=seed)
    folded = FoldedJasper(fold(model.config, network_weights(model))).eval()
    x, num = features(*lengths, seed=seed)
    with torch.inference_mode():
        (expected, steps), (found, found_steps) = model(x, num), folded(x, num)
    assert found_steps.tolist() == steps.tolist()
    for row, other, length in zip(found, expected, steps.tolist(), strict=True):
        np.testing.assert_allclose(row[:length], other[:length], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("future_context", "kernel"), [(0, 5), (1, 5), (4, 5), (None, 5)])
def test_a_block_sees_as_much_future_as_it_is_given(future_context, kernel):
    """A change of the sound reaches back as many steps, and no step further."""
    model = network(block(kernel=kernel, repeat=2, separable=True, future_context=future_context))
    x, num = features(40)
    changed = x.clone()
    changed[:, :, 20:] += 1
    with torch.inference_mode():
        difference = (model(x, num)[0] - model(changed, num)[0])[0].abs().amax(1)
    first = int(difference.nonzero()[0])
    assert first == 20 - 2 * (kernel // 2 if future_context is None else future_context)
