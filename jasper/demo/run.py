"""A folder in, a trained, scored, transcribing recognizer with its report out."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jasper.config import Config
from jasper.data.dataset import read_utterance
from jasper.data.manifest import read_manifest, write_manifest
from jasper.data.selection import with_labels
from jasper.demo.corpus import Corpus, make_corpus
from jasper.demo.trial import epochs_in
from jasper.errors import ManifestError
from jasper.evaluate import evaluate
from jasper.figures import Spectrogram
from jasper.model import load
from jasper.recipe import dump_yaml, load_config, parse_config, read_yaml
from jasper.report import score_dict, write_score_lines, write_training_report
from jasper.storage import atomic_file
from jasper.train import train
from jasper.train.log import read_log, say
from jasper.types import FloatArray, Score, Transcript, Utterance

NUM_TRAIN, NUM_DEV, NUM_TEST = 2400, 100, 300
EPOCHS = (4, 40)  # however fast or slow the machine is


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a demo leaves behind."""

    score: Score
    held_out: str  # what it was scored on
    transcript: Transcript  # of the first held-out file
    model: Path
    report: Path
    duration: float  # s, of the whole demo

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            **score_dict(self.score),
            "held_out": self.held_out,
            "transcript": self.transcript.text,
            "model": str(self.model),
            "report": str(self.report),
            "demo_duration": round(self.duration, 1),
        }


def run_demo(out: str | Path, *, manifests: Sequence[Path] = (), minutes: float = 6.0) -> DemoResult:
    """Train a small Jasper for about `minutes`, score it on held-out voices, write `report.html`.

    Without `manifests` a corpus is spoken by espeak-ng; with them their speakers are divided into train, dev
    and test. What an earlier, stopped demo left in `out` is taken up.
    """
    begin = time.monotonic()
    out = Path(out)
    if manifests:
        corpus, held_out = divide(out / "corpus", manifests)
    else:
        corpus = make_corpus(out / "corpus", num_train=NUM_TRAIN, num_dev=NUM_DEV, num_test=NUM_TEST)
        held_out = "synthetic voices that it never heard"
    config = _recipe(out, corpus, minutes, real=bool(manifests))
    run = train(config)
    model = load(run.directory / "best")
    test = read_manifest(corpus.test)
    score = evaluate(model, test)
    write_score_lines(out / "utterances.jsonl", score)
    transcript = model.transcribe(test[0].path)
    say(f"{test[0].path}: {transcript.text}")
    duration = time.monotonic() - begin
    features, _ = model.features([read_utterance(test[0], model.sample_rate)])
    _write_report(out / "report.html", config, score, features[0], held_out, duration)
    return DemoResult(score, held_out, transcript, run.directory / "best", out / "report.html", duration)


def divide(directory: Path, manifests: Sequence[Path]) -> tuple[Corpus, str]:
    """Divide recordings into train, dev and test by speaker, or by utterance where speakers are too few."""
    utterances = [utterance for path in manifests for utterance in read_manifest(path)]
    speakers: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        speakers[utterance.speaker or ""].append(utterance)
    by_speaker = len(speakers) >= 3
    groups = [speakers[name] for name in sorted(speakers)] if by_speaker else [[u] for u in utterances]
    if len(groups) < 3:
        raise ManifestError(f"{manifests[0]}: {len(utterances)} utterances are too few to divide into three")
    random.Random(0).shuffle(groups)
    tenth = max(1, len(groups) // 10)
    parts = {"test": groups[:tenth], "dev": groups[tenth : 2 * tenth], "train": groups[2 * tenth :]}
    directory.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        write_manifest(directory / f"{name}.jsonl", [utterance for group in part for utterance in group])
    corpus = Corpus(**{name: directory / f"{name}.jsonl" for name in parts})
    return corpus, "speakers that it never heard" if by_speaker else "recordings that it never heard"


def _recipe(out: Path, corpus: Corpus, minutes: float, real: bool) -> Config:
    """The configuration of the run: that of an earlier demo in `out`, else one that fits in `minutes`."""
    kept = out / "run.yaml"
    if kept.is_file():
        return parse_config(Config, read_yaml(kept), str(kept))
    raw = load_config("tiny").model_dump()
    raw["data"] |= {"train": (corpus.train,), "dev": (corpus.dev,)}
    raw["train"] |= {"out": out / "run"}
    if real:
        raw["text"]["normalizer"] = "basic"
        raw["data"]["labels"] = "manifest"
    config = with_labels(parse_config(Config, raw, "demo"))
    low, high = EPOCHS
    epochs = min(high, max(low, int(epochs_in(config, 60 * minutes))))
    lasting = config.train.model_copy(update={"epochs": epochs, "eval_epochs": max(1.0, epochs / 10)})
    config = config.model_copy(update={"train": lasting})
    with atomic_file(kept) as path:
        path.write_text(dump_yaml(config), encoding="utf-8")
    return config


def _write_report(
    path: Path, config: Config, score: Score, features: FloatArray, held_out: str, duration: float
) -> None:
    """Write the page; `features` (F, T) are those of the first utterance scored."""
    write_training_report(
        path,
        "Jasper demo",
        read_log(config.train.out / "log.jsonl"),
        score,
        Spectrogram(features, config.features.hop_ms / 1000),
        score.utterances[0],
        {
            "scored on": held_out,
            "epochs": str(config.train.epochs),
            "training utterances": str(len(read_manifest(config.data.train[0]))),
            "whole demo": f"{duration / 60:.1f} min",
            "model": str(config.train.out / "best"),
        },
    )
