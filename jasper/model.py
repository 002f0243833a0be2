"""A model directory in, a `Model` out: sound to features to log-probabilities to text."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from jasper.bundle import read_calibration, read_model_config
from jasper.calibration import calibrated
from jasper.config import CalibrationConfig, DecodeConfig, EngineConfig, ModelConfig
from jasper.decode import make_search
from jasper.decode.evident import EvidentSearch
from jasper.decode.greedy import GreedySearch
from jasper.directory import find_bundle
from jasper.engines import BestPathEngine, Engine, load_engine
from jasper.features import FeatureExtractor
from jasper.posteriors import Posteriors
from jasper.recipe import parse_config
from jasper.text import Tokenizer, get_normalizer
from jasper.types import BestPath, FloatArray, Hypothesis, IntArray, Search, Transcript, Word

if TYPE_CHECKING:
    from jasper.stream import Stream, StreamConfig


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was made of one wave: the best hypotheses, best first, and log_probs (T', V), valid steps only."""

    hypotheses: tuple[Hypothesis, ...]
    log_probs: FloatArray

    @property
    def hypothesis(self) -> Hypothesis:
        """The best one."""
        return self.hypotheses[0]


class Model:
    """A recognizer: a configuration and an engine that runs its network."""

    def __init__(
        self,
        config: ModelConfig,
        engine: Engine,
        decode: DecodeConfig | None = None,
        threads: int = 1,
        calibration: CalibrationConfig | None = None,
    ) -> None:
        """Make a recognizer; without `decode` the search is greedy, features may use so many `threads`.

        `calibration` holds where `decode` says nothing of it; without either none does.
        """
        self.config = config
        self.engine = engine
        self.extractor = FeatureExtractor(config.features, threads=threads)
        self.tokenizer = Tokenizer(config.text.labels, config.text.subwords)
        self.normalize = get_normalizer(config.text.normalizer)
        decode = decode or DecodeConfig()
        self.calibration = decode.calibrated(calibration or CalibrationConfig())
        self.search = self._make_search(decode)

    def _make_search(self, decode: DecodeConfig) -> Search:
        least, blank = self.calibration.evidence, self.tokenizer.blank
        if decode.search == "greedy":
            return GreedySearch(blank, least, self.step_seconds)
        search = make_search(decode, self.tokenizer)
        return EvidentSearch(search, least, blank, self.step_seconds) if least else search

    @property
    def sample_rate(self) -> int:
        """Of the waves that the model takes, in Hz."""
        return self.config.features.sample_rate

    @property
    def step_seconds(self) -> float:
        """Seconds of sound that one step of the log-probabilities stands for."""
        return self.config.features.hop_length / self.sample_rate * self.config.network.stride

    def features(self, waves: Sequence[FloatArray]) -> tuple[FloatArray, IntArray]:
        """Map waves, each (N,) at `sample_rate`, to features (B, F, T) and lengths (B,) in frames."""
        return self.extractor(waves)

    def log_probs(self, features: FloatArray, lengths: IntArray) -> tuple[FloatArray, IntArray]:
        """Map features (B, num_features, T), lengths (B,) to log_probs (B, T', V), lengths (B,)."""
        return self.engine.log_probs(features, lengths)

    def posteriors(self, features: FloatArray, lengths: IntArray, *, whole: bool = False) -> list[Posteriors]:
        """What the network makes of each row of features (B, F, T), its valid steps alone.

        For greedy search the best path is found on the engine's device where that can, and log-probabilities
        stay there, unless the `whole` of them is asked for.
        """
        blank = self.tokenizer.blank
        found = None if whole else self._path_on_device(features, lengths)
        if found is not None:
            path, lengths = found
            return [Posteriors(blank, None, path[row, :length]) for row, length in enumerate(lengths)]
        log_probs, lengths = self.log_probs(features, lengths)
        return [Posteriors(blank, log_probs[row, :length]) for row, length in enumerate(lengths)]

    def find(self, heard: Posteriors) -> tuple[Hypothesis, ...]:
        """The best hypotheses of what was heard, best first."""
        lengths = np.array([len(heard)])
        if heard.log_probs is None:
            return tuple(self._follow(heard.path[None], lengths))
        return tuple(self.search(heard.log_probs[None], lengths)[0])

    def _path_on_device(self, features: FloatArray, lengths: IntArray) -> tuple[BestPath, IntArray] | None:
        """The best paths (B, T') and their lengths where all that is asked for is on the engine's device."""
        if isinstance(self.search, GreedySearch) and isinstance(self.engine, BestPathEngine):
            return self.engine.best_path(features, lengths, self.tokenizer.blank)
        return None

    def _follow(self, path: BestPath, lengths: IntArray) -> list[Hypothesis]:
        assert isinstance(self.search, GreedySearch)  # or there would be no such path
        return self.search.follow(path, lengths)

    def recognize(self, waves: Sequence[FloatArray]) -> list[Recognition]:
        """Run a batch of waves; each gives what it gives alone, whatever stands beside it."""
        log_probs, lengths = self.log_probs(*self.features(waves))
        return [
            Recognition(tuple(hypotheses), log_probs[row, : lengths[row]])
            for row, hypotheses in enumerate(self.search(log_probs, lengths))
        ]

    def hypotheses(self, waves: Sequence[FloatArray]) -> list[Hypothesis]:
        """The best hypothesis of each of a batch of waves, as in `recognize`.

        Greedy search runs on the engine's device where it can, and log-probabilities stay there.
        """
        features, lengths = self.features(waves)
        found = self._path_on_device(features, lengths)
        if found is not None:
            return self._follow(*found)
        # All rows in one call: a beam search takes several threads for them.
        return [hypotheses[0] for hypotheses in self.search(*self.log_probs(features, lengths))]

    def words(self, recognition: Recognition) -> tuple[Word, ...]:
        """The words of the best hypothesis, with times and confidence."""
        from jasper.decode.words import words_of  # it loads a compiler, which training need not

        tokens, log_probs = recognition.hypothesis.tokens, recognition.log_probs
        words = words_of(tokens, log_probs, self.tokenizer, self.step_seconds)
        return tuple(
            replace(word, confidence=calibrated(word.confidence, *self.calibration.confidence))
            for word in words
        )

    def transcribe(
        self,
        audio: str | Path | BinaryIO | FloatArray,
        *,
        channel: int | None = None,
        words: bool = False,
    ) -> Transcript:
        """Transcribe a file, a URL, an open file, or a wave (N,) at `sample_rate`, of any length.

        `words` asks for their times and confidence. Raises AudioError for what cannot be read.
        """
        from jasper.transcribe import transcribe

        return transcribe(self, audio, channel=channel, words=words)

    def stream(self, config: StreamConfig | None = None, *, sample_rate: int | None = None) -> Stream:
        """Listen while sound is said: the stream takes chunks, at `sample_rate` Hz or the model's own."""
        from jasper.stream import Stream, StreamConfig

        return Stream(self, config or StreamConfig(), sample_rate)

    def transcribe_many(
        self, paths: Sequence[str | Path], *, channel: int | None = None
    ) -> Iterator[Transcript]:
        """Transcribe files one after the other, in the order given."""
        for path in paths:
            yield self.transcribe(path, channel=channel)


def load(
    path: str | Path,
    engine: str = "auto",
    device: str = "auto",
    decode: DecodeConfig | None = None,
    *,
    precision: str = "fp32",
    threads: int | None = None,
) -> Model:
    """Load a model directory (or the best model of a training run).

    `engine` is a name of `jasper.engines.ENGINES` or auto, `device` cpu, cuda, npu, mps or auto,
    `decode` how log-probabilities become text (greedily when not given; what it leaves open of calibration is
    as the directory keeps it), `precision` fp32, bf16, fp16 or int8, `threads` those of the processor that
    engine and features may use (as many as they like when not given).
    Raises ConfigError for a setting that cannot be, ModelError when the directory is no model, its weights do
    not fit its configuration, or the engine cannot do what is asked.
    """
    directory = find_bundle(path)
    raw = {"engine": engine, "device": device, "precision": precision, "threads": threads}
    settings = parse_config(EngineConfig, raw, "engine")
    cores = threads or os.cpu_count() or 1
    config, calibration = read_model_config(directory), read_calibration(directory)
    return Model(config, load_engine(directory, settings), decode, cores, calibration)
