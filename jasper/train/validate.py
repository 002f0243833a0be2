"""The averaged network and the dev utterances in; loss, WER and CER out, with samples to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jasper.config import Config
from jasper.engines import Engine
from jasper.errors import AudioError, TextError
from jasper.evaluate import recognize_utterances, score_texts
from jasper.model import Model, Recognition
from jasper.text import min_frames
from jasper.train.backend import backend_of
from jasper.train.signals import Stopped, StopRequest
from jasper.types import ScoredUtterance, Utterance

if TYPE_CHECKING:
    from jasper.train.ranks import Ranks

Recognized = tuple[str, float | None]  # text and loss


@dataclass(frozen=True, slots=True)
class DevScore:
    """Loss is the mean over the utterances that CTC can align; WER and CER are over all."""

    loss: float
    wer: float
    cer: float
    samples: tuple[ScoredUtterance, ...] = ()

    def better_than(self, other: DevScore | None) -> bool:
        """By WER; CER and then loss break ties."""
        return other is None or (self.wer, self.cer, self.loss) < (other.wer, other.cer, other.loss)


def validate(
    config: Config, engine: Engine, utterances: Sequence[Utterance], ranks: Ranks, stop: StopRequest
) -> DevScore:
    """Score the engine of a network in training exactly as `jasper eval` scores its model directory.

    The ranks share the utterances out among them, and each returns the same score of all. Or each raises the
    same: Stopped where one was asked to stop, AudioError where one found a recording that cannot be read.
    """
    model = Model(config.model, engine)
    found: dict[int, Recognized] = {}
    for results in ranks.gather(_try_share(config, model, utterances, ranks, stop)):
        if isinstance(results, BaseException):
            raise results
        found |= results
    # In the order of the manifest, so that the sum does not depend on who recognised what.
    texts, all_losses = zip(*(found[index] for index in range(len(utterances))), strict=True)
    losses = [loss for loss in all_losses if loss is not None]
    score = score_texts(model, utterances, texts)
    mean = sum(losses) / len(losses) if losses else float("nan")
    return DevScore(mean, score.wer, score.cer, score.utterances[: config.train.samples])


def _try_share(
    config: Config, model: Model, utterances: Sequence[Utterance], ranks: Ranks, stop: StopRequest
) -> dict[int, Recognized] | Stopped | AudioError:
    """This rank's share by index, or what kept it from that: the others wait to hear of either."""
    own: dict[int, Recognized] = {}
    share = (ranks.rank, ranks.world_size)
    try:
        with stop.wait():
            # Not trimmed, whatever training does: a model directory does not ask for it, so neither does its
            # user.
            for index, recognition in recognize_utterances(
                model, utterances, channel=config.data.channel, share=share
            ):
                text = model.tokenizer.text(recognition.hypothesis.tokens)
                own[index] = text, _loss(config, model, utterances[index].text, recognition)
    except (Stopped, AudioError) as error:
        return error
    return own


def _loss(config: Config, model: Model, text: str, recognition: Recognition) -> float | None:
    """The loss of one utterance; None where the labels cannot spell it or CTC cannot align it."""
    try:
        tokens = model.tokenizer.encode(model.normalize(text))
    except TextError:
        return None
    if min_frames(tokens) > len(recognition.log_probs):
        return None
    return backend_of(config).ctc_loss(recognition.log_probs, tokens, model.tokenizer.blank)
