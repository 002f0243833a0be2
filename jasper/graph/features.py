"""The front end's settings in, its operators in a graph out: from waves and lengths to features and lengths.

Step by step what `jasper.features` does, in double precision for the reason that is given there.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from jasper.config import FeatureConfig
from jasper.features import analysis_window, column, mel_filters
from jasper.graph.writer import GraphWriter


class FeatureWriter:
    """Every row is continued at its own two ends and normalised over its own valid frames."""

    def __init__(self, graph: GraphWriter, config: FeatureConfig) -> None:
        self.graph = graph
        self.config = config

    def write(self, waves: str, lengths: str) -> tuple[str, str]:
        """Write all from waves (B, N), lengths (B,) in samples to features (B, F, T), lengths (B,)."""
        graph = self.graph
        num_samples = graph.size(waves, 1, "num_samples")
        # One frame at least, as the network needs a step.
        frames = graph.add("Max", [self._num_frames(num_samples, "all_frames"), graph.integer(1)], "frames")
        frame_lengths = self._num_frames(lengths, "frame_lengths")
        signal = self._extended(self._preemphasized(waves), lengths, num_samples)
        log_mel = self._log_mel(self._framed(signal, frames))
        valid = graph.mask(frames, frame_lengths, 3, TensorProto.DOUBLE, "frames")
        features = self._normalized(log_mel, valid, frame_lengths)
        return graph.add("Cast", [features], "features", to=TensorProto.FLOAT), frame_lengths

    def _num_frames(self, samples: str, name: str) -> str:
        graph, hop = self.graph, self.config.hop_length
        if self.config.frame_count == "ceil":
            samples = graph.add("Add", [samples, graph.integer(hop - 1)], f"{name}.up")
        frames = graph.add("Div", [samples, graph.integer(hop)], name)
        if self.config.exact_pad:
            fewer = graph.add("Sub", [frames, graph.integer(1)], f"{name}.fewer")
            frames = graph.add("Max", [fewer, graph.integer(0)], f"{name}.exact")
        return frames

    def _preemphasized(self, waves: str) -> str:
        graph = self.graph
        waves = graph.add("Cast", [waves], "waves.double", to=TensorProto.DOUBLE)
        later = graph.add("Pad", [waves, graph.integers(0, 1, 0, 0)], "waves.padded")
        # It reaches one sample less far than it is long: the last one precedes none.
        ends = [graph.integers(0), graph.integers(-1), graph.integers(1)]
        before = graph.add("Slice", [later, *ends], "waves.before")
        share = graph.add(
            "Mul", [before, self._number("preemphasis", self.config.preemphasis)], "waves.share"
        )
        return graph.add("Sub", [waves, share], "signal")

    def _extended(self, signal: str, lengths: str, num_samples: str) -> str:
        """Continue each row (B, N) beyond its own two ends: (B, N + n_fft)."""
        graph, margin = self.graph, self.config.margin
        after = self.config.n_fft - margin
        end = graph.add("Add", [num_samples, graph.integer(after)], "places.end")
        places = graph.add("Range", [graph.integer(-margin), end, graph.integer(1)], "places")
        column = graph.add("Unsqueeze", [lengths, graph.integers(1)], "lengths.column")
        if self.config.edges == "zeros":
            sound = graph.add("Sub", [column, graph.integer(self.config.num_silenced)], "sound")
            inside = graph.add("Less", [places, sound], "inside")
            padded = graph.add("Pad", [signal, graph.integers(0, margin, 0, after)], "signal.padded")
            return graph.add("Where", [inside, padded, self._number("silence", 0.0)], "signal.extended")
        last = graph.add("Sub", [column, graph.integer(1)], "last")
        twice = graph.add("Mul", [last, graph.integer(2)], "last.twice")
        period = graph.add("Max", [twice, graph.integer(1)], "period")
        phase = graph.add("Mod", [graph.add("Abs", [places], "places.abs"), period], "phase")
        back = graph.add("Sub", [period, phase], "phase.back")
        reflected = graph.add("Min", [phase, back], "reflected")
        return graph.add("GatherElements", [signal, reflected], "signal.extended", axis=1)

    def _framed(self, signal: str, frames: str) -> str:
        """Cut (B, frames, window_length); only what is under the window, as in `FeatureExtractor`."""
        graph, config = self.graph, self.config
        numbers = graph.add("Range", [graph.integer(0), frames, graph.integer(1)], "frame_numbers")
        starts = graph.add("Mul", [numbers, graph.integer(config.hop_length)], "starts")
        starts = graph.add("Unsqueeze", [starts, graph.integers(1)], "starts.column")
        first = (config.n_fft - config.window_length) // 2
        under_window = graph.constant("under_window", np.arange(first, first + config.window_length))
        samples = graph.add("Add", [starts, under_window], "framed.samples")
        return graph.add("Gather", [signal, samples], "framed", axis=1)

    def _log_mel(self, framed: str) -> str:
        """(B, num_features, frames), the transform as a product with the window's cosines and sines."""
        graph, config = self.graph, self.config
        angles = np.outer(np.arange(config.window_length), np.arange(config.n_fft // 2 + 1))
        turns = np.exp(-2j * np.pi / config.n_fft * angles) * analysis_window(config)[:, None]
        squares = []
        for name, basis in (("real", turns.real), ("imaginary", turns.imag)):
            part = graph.add("MatMul", [framed, graph.constant(f"{name}.basis", basis)], name)
            squares.append(graph.add("Mul", [part, part], f"{name}.square"))
        power = graph.add("Add", squares, "power")
        if config.power != 2:
            power = graph.add("Pow", [power, self._number("half_power", config.power / 2)], "raised")
        mel = graph.add("MatMul", [power, graph.constant("filters", mel_filters(config).T)], "mel")
        if config.log:
            guard = "Add" if config.log_guard == "add" else "Max"
            mel = graph.add(guard, [mel, self._number("log_offset", config.log_offset)], "mel.guarded")
            mel = graph.add("Log", [mel], "mel.log")
        if config.frame_splicing > 1:
            mel = graph.add("Concat", [mel] * config.frame_splicing, "mel.spliced", axis=2)
        return graph.add("Transpose", [mel], "log_mel", perm=[0, 2, 1])

    def _normalized(self, log_mel: str, valid: str, lengths: str) -> str:
        """Zero past the valid frames, whose mean and unbiased standard deviation become 0 and 1."""
        graph, config = self.graph, self.config
        if config.normalize == "none":
            return graph.add("Mul", [log_mel, valid], "normalized")
        if config.normalize == "fixed":
            mean = graph.constant("fixed_mean", column(config.fixed_mean))
            centred = graph.add("Sub", [log_mel, mean], "log_mel.centred")
            scaled = graph.add(
                "Div", [centred, graph.constant("fixed_std", column(config.fixed_std))], "scaled"
            )
            return graph.add("Mul", [scaled, valid], "normalized")
        axes = graph.integers(2) if config.normalize == "per_feature" else graph.integers(1, 2)
        values = 1 if config.normalize == "per_feature" else config.num_features
        count = graph.add("Mul", [lengths, graph.integer(values)], "count")
        count = graph.add("Unsqueeze", [count, graph.integers(1, 2)], "count.column")
        mean = self._mean(graph.add("Mul", [log_mel, valid], "log_mel.valid"), count, axes, "mean")
        centred = graph.add("Sub", [log_mel, mean], "log_mel.centred")
        centred = graph.add("Mul", [centred, valid], "centred")
        square = graph.add("Mul", [centred, centred], "centred.square")
        less = graph.add("Sub", [count, graph.integer(1)], "count.less")
        spread = graph.add("Sqrt", [self._mean(square, less, axes, "variance")], "spread")
        spread = graph.add("Add", [spread, self._number("std_offset", config.std_offset)], "spread.guarded")
        return graph.add("Div", [centred, spread], "normalized")

    def _mean(self, x: str, count: str, axes: str, name: str) -> str:
        graph = self.graph
        total = graph.add("ReduceSum", [x, axes], f"{name}.sum", keepdims=1)
        some = graph.add("Max", [count, graph.integer(1)], f"{name}.count")
        some = graph.add("Cast", [some], f"{name}.divisor", to=TensorProto.DOUBLE)
        return graph.add("Div", [total, some], name)

    def _number(self, name: str, value: float) -> str:
        return self.graph.constant(f"{name}.value", np.array(value))
