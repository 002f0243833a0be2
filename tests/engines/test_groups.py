"""A batch cut into groups is computed whole: every row once, alone as together, in few shapes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from small_networks import small_config

from jasper.engines.groups import Grouping, run_in_groups

CONFIG = small_config()  # one stride of 2


class Sums:
    """In place of a network: each step's probabilities are sums of its two frames."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, features, lengths):
        self.shapes.append(features.shape)
        for row, length in zip(features, lengths, strict=True):
            assert not row[:, length:].any()
        steps = features.sum(axis=1)
        steps = np.pad(steps, ((0, 0), (0, steps.shape[1] % 2)))
        return np.repeat((steps[:, ::2] + steps[:, 1::2])[:, :, None], len(CONFIG.text.labels) + 1, axis=2)


@given(
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=12),
    rows=st.integers(1, 4),
    frames=st.integers(0, 600),
    steps=st.sampled_from([None, 1, 8, 32]),
)
def test_every_row_is_computed_once_in_batches_within_the_limits(lengths, rows, frames, steps):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((len(lengths), 64, max(1, *lengths))).astype(np.float32)
    sums = Sums()
    grouping = Grouping(rows, frames, steps)
    found, out_lengths = run_in_groups(sums, CONFIG, grouping, features, np.array(lengths))
    assert out_lengths.tolist() == [-(-length // 2) for length in lengths]
    for row, length in enumerate(lengths):
        alone = Sums()(features[row : row + 1, :, :length], [length])
        np.testing.assert_allclose(found[row, : out_lengths[row]], alone[0], atol=1e-4)
        assert not found[row, out_lengths[row] :].any()
    assert sum(shape[0] for shape in sums.shapes) == sum(length > 0 for length in lengths)
    for size, _, width in sums.shapes:
        assert size <= rows
        assert width in lengths if steps is None else width % (2 * steps) == 0
        assert size == 1 or size * width <= frames


def test_clips_of_like_length_share_a_batch():
    lengths = np.array([100, 640, 90, 630, 128])
    sums = Sums()
    run_in_groups(sums, CONFIG, Grouping(8, 1280, 32), np.ones((5, 64, 640), np.float32), lengths)
    assert [shape[::2] for shape in sums.shapes] == [(2, 640), (3, 128)]
