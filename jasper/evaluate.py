"""A model and utterances in, a `Score` out: every utterance exactly once, none dropped, none cropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from jasper.calibration import fit
from jasper.config import CalibrationConfig
from jasper.data.batches import cut_batches
from jasper.data.dataset import read_utterance
from jasper.data.table import durations_of
from jasper.decode.greedy import walk
from jasper.metrics import align, score, score_utterance
from jasper.model import Model, Recognition
from jasper.nonspeech import evidence, least_evidence
from jasper.progress import progress_bar
from jasper.types import FloatArray, Score, Utterance

T = TypeVar("T")

BATCH_SIZE = 32
BATCH_SECONDS = 240.0  # of padded audio at a time


def recognize_utterances(
    model: Model,
    utterances: Sequence[Utterance],
    *,
    channel: int | None = None,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[int, Recognition]]:
    """Yield (index, recognition) for every utterance, in an order that keeps padding small.

    `share` (i, n) leaves it at every n-th batch, from the i-th on: n processes have all of them, each once.
    """
    return _run(model.recognize, model.sample_rate, utterances, channel, share)


def _run(
    recognize: Callable[[Sequence[FloatArray]], Sequence[T]],
    sample_rate: int,
    utterances: Sequence[Utterance],
    channel: int | None,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[int, T]]:
    """Yield (index, what `recognize` makes of it) for every utterance, in batches."""
    durations = durations_of(utterances)
    order = np.argsort(-durations, kind="stable")
    batches = cut_batches(durations, order, BATCH_SIZE, BATCH_SECONDS)[share[0] :: share[1]]
    seconds = [float(durations[batch].sum()) for batch in batches]
    with progress_bar("recognising", sum(seconds)) as advance:
        for batch, amount in zip(batches, seconds, strict=True):
            waves = [read_utterance(utterances[index], sample_rate, channel=channel) for index in batch]
            yield from zip(batch, recognize(waves), strict=True)
            advance(amount)


def evaluate(
    model: Model,
    utterances: Sequence[Utterance],
    *,
    channel: int | None = None,
    keep: Callable[[Utterance, FloatArray], None] | None = None,
) -> Score:
    """Score a model on utterances; references go through the model's own normaliser.

    `keep` is shown each utterance's log_probs (T', V). Raises AudioError, naming the file, where one cannot
    be read: a score of fewer utterances than were given would be no score of the set.
    """
    texts = [""] * len(utterances)
    if keep is None:
        for index, hypothesis in _run(model.hypotheses, model.sample_rate, utterances, channel):
            texts[index] = model.tokenizer.text(hypothesis.tokens)
    else:
        for index, recognition in recognize_utterances(model, utterances, channel=channel):
            texts[index] = model.tokenizer.text(recognition.hypothesis.tokens)
            keep(utterances[index], recognition.log_probs)
    return score_texts(model, utterances, texts)


class Judgement(NamedTuple):
    """What a model makes of the words of utterances, (N,) each, and of utterances with a right one (M,)."""

    confidences: NDArray[np.float64]
    right: NDArray[np.bool_]
    evidence: NDArray[np.float64]  # nats (`nonspeech.evidence`) between a word's start and its end
    utterances: NDArray[np.float64]  # nats of each

    def fit(self) -> CalibrationConfig:
        """The calibration that these words give the model: its confidences true, and its speech kept."""
        return CalibrationConfig(
            evidence=least_evidence(self.evidence[self.right], self.utterances),
            confidence=fit(self.confidences, self.right),
        )


def judge_words(model: Model, utterances: Sequence[Utterance], *, channel: int | None = None) -> Judgement:
    """Run a model on utterances and compare the words that it finds with their texts."""
    confidences: list[float] = []
    right: list[bool] = []
    nats: list[float] = []
    utterance_nats: list[float] = []
    seconds = model.step_seconds
    for index, recognition in recognize_utterances(model, utterances, channel=channel):
        words = model.words(recognition)
        path, _ = walk(recognition.log_probs, model.tokenizer.blank)
        reference = model.normalize(utterances[index].text).split()
        edits = align(reference, [word.text for word in words])
        equal = [edit.kind == "equal" for edit in edits if edit.hypothesis is not None]
        right += equal
        confidences += [word.confidence for word in words]
        for word in words:
            first, last = round(word.start / seconds), round(word.end / seconds)
            nats.append(evidence(path[first:last], seconds))
        if any(equal):
            utterance_nats.append(evidence(path, seconds))
    return Judgement(
        np.array(confidences, np.float64),
        np.array(right, np.bool_),
        np.array(nats, np.float64),
        np.array(utterance_nats, np.float64),
    )


def score_texts(model: Model, utterances: Sequence[Utterance], texts: Sequence[str]) -> Score:
    """Score hypotheses, one for each utterance, in the same order."""
    return score(
        [
            score_utterance(
                utterance.id,
                model.normalize(utterance.text),
                text,
                speaker=utterance.speaker,
                duration=utterance.duration,
            )
            for utterance, text in zip(utterances, texts, strict=True)
        ]
    )
