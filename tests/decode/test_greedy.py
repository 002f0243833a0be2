import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jasper.decode import greedy
from jasper.decode.greedy import GreedySearch, walk
from jasper.engines.torch import TorchEngine
from jasper.errors import ModelError
from jasper.posteriors import Posteriors
from jasper.types import BestPath, FloatArray, Hypothesis


def random_log_probs(rng: np.random.Generator, batch: int, steps: int, classes: int) -> FloatArray:
    # Sure steps beside unsure ones: their scores differ by so much that a sum depends on its order.
    logits = rng.normal(0, 3, (batch, steps, classes)) * rng.choice([1, 8], (batch, steps, 1))
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


def greedy_loop(log_probs: FloatArray, blank: int) -> Hypothesis:
    tokens, frames, score, previous = [], [], 0.0, None
    for step, row in enumerate(log_probs):
        best = max(range(len(row)), key=lambda label: row[label])
        score += float(row[best])
        if best not in (blank, previous):
            tokens.append(best)
            frames.append(step)
        previous = best
    return Hypothesis(tuple(tokens), tuple(frames), score)


@given(
    st.integers(0, 2**32), st.lists(st.integers(0, 30), min_size=1, max_size=5), st.integers(2, 6), st.data()
)
def test_agrees_with_a_plain_loop_on_ragged_batches(seed, lengths, classes, data):
    blank = data.draw(st.integers(0, classes - 1))
    log_probs = random_log_probs(np.random.default_rng(seed), len(lengths), 30, classes)
    found = greedy(log_probs, np.array(lengths), blank)
    expected = [greedy_loop(row[:length], blank) for row, length in zip(log_probs, lengths, strict=True)]
    assert found == expected


@given(st.integers(0, 2**32), st.lists(st.integers(0, 400), min_size=2, max_size=4))
def test_wer_does_not_depend_on_the_batch(seed, lengths):
    """NVIDIA's: greedy decoding ignores lengths, so WER depends on the batch."""
    rng = np.random.default_rng(seed)
    rows = [random_log_probs(rng, 1, length, 5)[0] for length in lengths]
    batch = random_log_probs(rng, len(rows), max(lengths) + 7, 5)  # the padding holds confident rubbish
    for row, alone in zip(batch, rows, strict=True):
        row[: len(alone)] = alone
    one_by_one = [greedy(row[None], np.array([len(row)]), 4)[0] for row in rows]
    assert greedy(batch, np.array(lengths), 4) == one_by_one


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(0, 30), st.integers(2, 6))
def test_the_device_finds_the_same_path(seed, rows, steps, classes):
    """Of equal labels too, of which the first is taken."""
    log_probs = random_log_probs(np.random.default_rng(seed), rows, steps, classes).round()

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, features, lengths):
            return torch.from_numpy(log_probs), lengths

    engine = TorchEngine(Network(), torch.device("cpu"))
    features, lengths = np.zeros((rows, 1, steps), np.float32), np.arange(rows) * steps // rows
    path, out_lengths = engine.best_path(features, lengths, classes - 1)
    expected = greedy(log_probs, lengths, classes - 1)
    assert GreedySearch(classes - 1).follow(path, out_lengths) == expected
    for row, length in enumerate(lengths):
        heard = Posteriors(classes - 1, log_probs[row, :length])
        assert_same_path(path[row, :length], heard.path)
        np.testing.assert_allclose(path.entropy[row, :length], heard.entropy(), rtol=1e-5, atol=1e-7)


def assert_same_path(found: BestPath, expected: BestPath) -> None:
    for name in ("labels", "log_probs", "blanks"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(2, 40), st.booleans())
@settings(deadline=None)
def test_a_loop_finds_what_numpy_finds_to_the_bit(seed, steps, classes, broken):
    """Of equal labels the first too, and what is not a number wherever it stands."""
    loop = pytest.importorskip("jasper.decode.compiled_greedy").walk
    rng = np.random.default_rng(seed)
    log_probs = random_log_probs(rng, 1, steps, classes)[0]
    log_probs[rng.random(log_probs.shape) < 0.3] = rng.choice([-1.0, -np.inf])
    if broken and steps:
        log_probs[rng.integers(steps), rng.integers(classes)] = np.nan
    found = []
    for one in (None, loop):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(import_module("jasper.decode.greedy"), "_loop", lambda one=one: one)
            found.append(walk(log_probs, classes - 1))
    (numpys, expected), (loops, hypothesis) = found
    assert_same_path(loops, numpys)
    assert (hypothesis.tokens, hypothesis.frames) == (expected.tokens, expected.frames)
    np.testing.assert_equal(hypothesis.score, expected.score)


def test_the_loop_waits_for_a_compiler_that_is_there():
    """A short command would take longer to load one than to search."""
    code = """
import sys, numpy as np
from jasper.decode import greedy
greedy(np.zeros((1, 5, 3), np.float32), np.array([5]), 2)
assert not {"numba", "jasper.decode.compiled_greedy"} & set(sys.modules)
import numba
greedy(np.zeros((1, 5, 3), np.float32), np.array([5]), 2)
assert "jasper.decode.compiled_greedy" in sys.modules
"""
    pytest.importorskip("numba")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_merges_repeats_and_keeps_those_with_a_blank_between():
    path = np.array([0, 0, 2, 0, 1, 1, 2, 2])
    log_probs = np.log(np.eye(3, dtype=np.float32)[path] * 0.7 + 0.1)
    (hypothesis,) = greedy(log_probs[None], np.array([8]), 2)
    assert (hypothesis.tokens, hypothesis.frames) == ((0, 0, 1), (0, 3, 4))
    assert hypothesis.score == pytest.approx(8 * np.log(0.8), abs=1e-6)


def test_row_without_steps_is_empty():
    assert greedy(np.zeros((1, 0, 3), np.float32), np.array([0]), 2) == [Hypothesis((), (), 0.0)]
    assert greedy(np.zeros((0, 5, 3), np.float32), np.zeros(0, np.int64), 2) == []


def test_nan_is_an_error_that_names_the_step():
    log_probs = random_log_probs(np.random.default_rng(0), 2, 6, 3)
    log_probs[1, 4, 0] = np.nan
    with pytest.raises(ModelError, match="row 1, step 4"):
        greedy(log_probs, np.array([6, 6]), 2)
    assert len(greedy(log_probs, np.array([6, 4]), 2)) == 2  # past the end it is nobody's


@pytest.mark.parametrize(
    ("lengths", "blank", "message"),
    [([7], 2, "within the 6 steps"), ([6], 3, "3 outputs"), ([6, 6], 2, "B, T, V")],
)
def test_what_does_not_fit_is_refused(lengths, blank, message):
    with pytest.raises(ModelError, match=message):
        greedy(np.zeros((1, 6, 3), np.float32), np.array(lengths), blank)
