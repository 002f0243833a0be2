"""The best model of a finished run and its dev utterances in; the calibration that the model keeps out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jasper.bundle import write_calibration
from jasper.config import Config
from jasper.directory import CALIBRATION_FILE, WEIGHTS_FILE
from jasper.evaluate import judge_words
from jasper.model import load
from jasper.nonspeech import FEWEST_WORDS
from jasper.types import Utterance


def calibrate_best(config: Config, dev: Sequence[Utterance], say: Callable[[str], None]) -> None:
    """Calibrate `best/` on dev as `jasper calibrate --save` does, unless it is calibrated; `say` how it went.

    Without dev there is no `best/`, and nothing to do. Where too few words are right it stays uncalibrated.
    """
    best, train = config.train.out / "best", config.train
    if not dev or not (best / WEIGHTS_FILE).is_file() or (best / CALIBRATION_FILE).is_file():
        return
    model = load(best, engine=train.engine, device=train.device, threads=train.threads)
    words = judge_words(model, dev, channel=config.data.channel)
    if (number := int(words.right.sum())) < FEWEST_WORDS:
        say(f"best is not calibrated: {number} words of dev are right, fewer than {FEWEST_WORDS}")
        return
    fitted = words.fit()
    write_calibration(best, fitted)
    scale, shift = fitted.confidence
    say(f"best is calibrated on dev: evidence {fitted.evidence:.2f}, confidence [{scale:.3f}, {shift:.3f}]")
