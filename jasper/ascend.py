"""Utterances in, binary files for a program on an Ascend card out; its files in, texts and a score out.

    preprocess ─▶ 00000.features.bin float32 (B, F, T), 00000.lengths.bin int32 (B,), …, index.jsonl
    launch/ascend/infer.cc ─▶ 00000.log_probs.bin float32 (B, T', V), 00000.steps.bin int32 (B,)
    postprocess ─▶ Score

All files are little endian and nothing but their numbers; the shapes are in the index.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jasper.data.dataset import read_utterance
from jasper.errors import ManifestError, ModelError
from jasper.evaluate import score_texts
from jasper.model import Model
from jasper.progress import track
from jasper.types import Score, Utterance

INDEX = "index.jsonl"


def preprocess(
    model: Model,
    utterances: Sequence[Utterance],
    out: Path,
    *,
    batch_size: int = 1,
    frames: int | None = None,
    channel: int | None = None,
) -> int:
    """Write the features of all utterances in batches, in order, and return how many batches there are.

    With `frames` every batch has that many, and the last one `batch_size` rows, as a program of one fixed
    shape needs them; rows that are no utterance have the length 1. Raises ModelError where an utterance has
    more frames, AudioError where one cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("*.log_probs.bin"), *out.glob("*.steps.bin")):
        old.unlink()  # or what a program made of other features would be scored
    rows = []
    starts = range(0, len(utterances), batch_size)
    for number, start in enumerate(track(starts, "computing features")):
        batch = utterances[start : start + batch_size]
        waves = [read_utterance(utterance, model.sample_rate, channel=channel) for utterance in batch]
        features, lengths = model.features(waves)
        if frames is not None:
            if features.shape[2] > frames:
                longest = batch[int(lengths.argmax())]
                raise ModelError(f"{longest.id}: has {lengths.max()} frames, more than --frames {frames}")
            empty = batch_size - len(batch)
            features = np.pad(features, ((0, empty), (0, 0), (0, frames - features.shape[2])))
            lengths = np.pad(lengths, (0, empty), constant_values=1)
        name = f"{number:05d}"
        features.astype("<f4").tofile(out / f"{name}.features.bin")
        lengths.astype("<i4").tofile(out / f"{name}.lengths.bin")
        ids = [utterance.id for utterance in batch]
        rows.append({"name": name, "shape": list(features.shape), "lengths": lengths.tolist(), "ids": ids})
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (out / INDEX).write_text("".join(lines), encoding="utf-8")
    return len(rows)


def postprocess(model: Model, utterances: Sequence[Utterance], folder: Path) -> Score:
    """Score what a program made of the files of `preprocess`, in the same folder, of the same utterances.

    Raises ManifestError where the utterances are others, ModelError where a result is missing, has not the
    size that the index gives it, or other lengths than the network's.
    """
    texts: list[str] = []
    ids: list[str] = []
    for row in _read_index(folder):
        lengths = np.array(row["lengths"], np.int64)
        steps = model.config.network.num_steps(lengths)
        padded = model.config.network.num_steps(row["shape"][2])
        shape = (len(lengths), padded, model.tokenizer.blank + 1)
        found = _read(folder / f"{row['name']}.steps.bin", "<i4", steps.shape)
        if found.tolist() != steps.tolist():
            raise ModelError(f"{folder / row['name']}.steps.bin: {found.tolist()}, not {steps.tolist()}")
        log_probs = _read(folder / f"{row['name']}.log_probs.bin", "<f4", shape)
        hypotheses = model.search(log_probs, steps)[: len(row["ids"])]
        texts += [model.tokenizer.text(best.tokens) for best, *_ in hypotheses]
        ids += row["ids"]
    if ids != [utterance.id for utterance in utterances]:
        raise ManifestError(f"{folder / INDEX}: its utterances are not those of the manifest, in its order")
    return score_texts(model, utterances, texts)


def _read_index(folder: Path) -> list[dict[str, Any]]:
    try:
        lines = (folder / INDEX).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise ManifestError(f"{folder / INDEX}: cannot be read ({error}); run preprocess") from None


def _read(path: Path, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        values = np.fromfile(path, dtype)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; was the program run on this folder?") from None
    if values.size != np.prod(shape):
        raise ModelError(f"{path}: has {values.size} numbers, not the {np.prod(shape)} of {shape}")
    return values.reshape(shape)
