"""A written file and the model that it was made from in, how far their answers are apart out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from jasper.errors import ModelError
from jasper.export.reference import reference_log_probs
from jasper.export.source import Inputs, Outputs, Source
from jasper.features import FeatureExtractor
from jasper.types import FloatArray

# Largest difference of a log-probability in single precision. In lower precision of a probability: there
# logarithms of what is as good as impossible are far apart and decide nothing.
TOLERANCES = {"fp32": 1e-4, "fp16": 0.02, "bf16": 0.1, "int8": 0.5}
ROUNDING = 2e-6  # of the value, which is no difference: it may be hundreds below zero; 16 times float32's own
WAVEFORM_TOLERANCE = 2e-3  # in place of the first: logarithms of bands without energy amplify rounding

_SECONDS = (1.3, 0.4, 0.9, 0.1)  # of the batch's rows


def check_file(run: Callable[[Path, Source, Inputs], Outputs], path: Path, source: Source) -> float:
    """Run a ragged batch of noise through a file and, row by row, through `reference_log_probs`.

    Returns the largest difference. Raises ModelError where it is above the tolerance, or where the lengths
    are wrong.
    """
    config = source.config
    inputs, rows = _batch(source)
    log_probs, lengths = run(path, source, inputs)
    expected = [reference_log_probs(config.network, source.weights, row) for row in rows]
    if [len(row) for row in expected] != list(lengths):
        raise ModelError(
            f"{path.name}: its lengths are {list(lengths)}, not {[len(row) for row in expected]}"
        )
    apart = _logarithms_apart if source.precision == "fp32" else _probabilities_apart
    differences = [apart(found[: len(row)], row) for found, row in zip(log_probs, expected, strict=True)]
    difference = float(np.max(differences))  # NaN where there is one
    tolerance = TOLERANCES[source.precision]
    if source.waveform:
        tolerance = max(tolerance, WAVEFORM_TOLERANCE)
    if not difference <= tolerance:
        raise ModelError(
            f"{path.name}: is {difference:.2g} from the model, which is more than {tolerance:g}; not written"
        )
    return difference


def _logarithms_apart(found: FloatArray, expected: FloatArray) -> float:
    return float((np.abs(found - expected) - ROUNDING * np.abs(expected)).max(initial=0))


def _probabilities_apart(found: FloatArray, expected: FloatArray) -> float:
    return float(np.abs(np.exp(found) - np.exp(expected)).max(initial=0))


def _batch(source: Source) -> tuple[Inputs, list[FloatArray]]:
    """A padded batch as the file takes it, the padding loud, and the features (F, T) of each of its rows."""
    config, rng = source.config.features, np.random.default_rng(0)
    if source.waveform:
        sizes = np.array([round(seconds * config.sample_rate) for seconds in _SECONDS])
        waves = rng.standard_normal((len(sizes), sizes.max())).astype(np.float32) * np.float32(0.1)
        rows = [
            FeatureExtractor(config)([wave[:size]])[0][0] for wave, size in zip(waves, sizes, strict=True)
        ]
        return (waves, sizes), rows
    sizes = np.array([max(1, round(seconds * 1000 / config.hop_ms)) for seconds in _SECONDS])
    features = rng.standard_normal((len(sizes), config.num_features, sizes.max())).astype(np.float32)
    return (features, sizes), [row[:, :size] for row, size in zip(features, sizes, strict=True)]
