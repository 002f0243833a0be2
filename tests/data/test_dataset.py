"""Training examples: a function of (seed, epoch, utterance), whole, padded, and what cannot be used named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from jasper.audio import read_audio, trim_silence
from jasper.config import Config
from jasper.data.dataset import Batch, Example, TrainingSet, read_utterance
from jasper.data.join import join_clips
from jasper.data.manifest import read_manifest
from jasper.data.selection import read_training
from jasper.features import FeatureExtractor
from jasper.recipe import dump_yaml, load_config
from jasper.types import Utterance

RATE = 16000


@pytest.fixture(scope="module")
def manifest(speech) -> Path:
    return speech / "fsdd" / "dev.jsonl"


@pytest.fixture(scope="module")
def utterances(manifest) -> list[Utterance]:
    return read_manifest(manifest)[:20]


RECIPE = (
    "network.blocks=[{filters: 8, kernel: 5, stride: 2}]",
    "text.normalizer=lower",
    "text.labels=[' ', e, f, g, h, i, n, o, r, s, t, u, v, w, x, z]",
    "augment.speed=[0.8, 1.25]",
    "augment.gain_db=[-12, 6]",
    "augment.time_width=20",
)


def config_of(*overrides: str) -> Config:
    return load_config("tiny", [*RECIPE, *overrides])


def same(first: Example, second: Example) -> bool:
    pairs = (
        (first.wave, second.wave),
        (first.tokens, second.tokens),
        (first.views[0].freq, second.views[0].freq),
        (first.views[0].time, second.views[0].time),
    )
    return all(np.array_equal(a, b) for a, b in pairs)


def plain() -> Config:
    """Without augmentation."""
    return config_of("augment={speed: [1.0, 1.0], gain_db: [0.0, 0.0], freq_masks: 0, time_masks: 0}")


def test_augmentation_is_new_in_every_epoch(utterances):
    """The superseded system froze speed and trimming into stored features, the same in every epoch."""
    training_set = TrainingSet(config_of())
    epochs = [training_set.example(utterances[0], epoch) for epoch in range(6)]
    assert len({example.wave.size for example in epochs}) >= 5  # speed
    assert len({float(np.abs(example.wave).max()) for example in epochs}) == 6  # gain
    assert len({example.views[0].freq.tobytes() for example in epochs}) >= 5
    assert len({example.views[0].time.tobytes() for example in epochs}) >= 4
    assert all(np.array_equal(example.tokens, epochs[0].tokens) for example in epochs)


def test_an_example_is_a_function_of_seed_epoch_and_utterance(utterances):
    first, again = TrainingSet(config_of()), TrainingSet(config_of())
    other = TrainingSet(config_of("train.seed=1"))
    for utterance in utterances[:5]:
        example = first.example(utterance, 3)
        assert same(example, first.example(utterance, 3))  # whatever was drawn in between
        assert same(example, again.example(utterance, 3))
        assert not same(example, first.example(utterance, 4))
        assert not same(example, other.example(utterance, 3))


def test_two_utterances_of_one_file_are_augmented_apart(utterances):
    training_set = TrainingSet(config_of())
    utterance = utterances[0]
    twin = Utterance("twin", utterance.path, utterance.text, utterance.duration, speaker=utterance.speaker)
    assert not same(training_set.example(utterance, 0), training_set.example(twin, 0))


DIGESTS = """
import hashlib, sys
from jasper.recipe import load_config
from jasper.data.dataset import TrainingSet
from jasper.data.manifest import read_manifest

def digests(config, manifest, order):
    training_set, utterances = TrainingSet(load_config(config)), read_manifest(manifest)[:20]
    for utterance in utterances[::order]:
        e = training_set.example(utterance, 2)
        arrays = (e.wave, e.tokens, e.views[0].freq, e.views[0].time)
        yield hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()

if __name__ == "__main__":
    print(*digests(sys.argv[1], sys.argv[2], -1))
"""


def test_another_process_makes_the_same_examples(manifest, tmp_path):
    """So the number of workers, and which one takes an utterance, changes nothing."""
    config = tmp_path / "c.yaml"
    config.write_text(dump_yaml(config_of()), encoding="utf-8")
    here: dict[str, Any] = {"__name__": "here"}
    exec(DIGESTS, here)
    expected = list(here["digests"](config, manifest, 1))
    assert len(set(expected)) == 20
    command = [sys.executable, "-c", DIGESTS, str(config), str(manifest)]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[::-1] == expected


def test_without_augmentation_an_example_is_the_file_and_its_text(utterances):
    training_set = TrainingSet(plain())
    for utterance in utterances[:5]:
        example = training_set.example(utterance, 0)
        np.testing.assert_array_equal(example.wave, read_audio(utterance.path, RATE))
        labels = training_set.config.text.labels
        assert "".join(labels[token] for token in example.tokens) == utterance.text


def test_noise_that_stands_for_an_utterance_has_no_text_and_nothing_of_its_speech(utterances, speech):
    """Of an utterance that is not there nothing can be read; what is drawn is a function of the epoch."""
    config = config_of(f"augment.noise=[{speech}/noise/all.jsonl]", "augment.noise_only_probability=0.5")
    lost = [replace(one, path=Path("/nowhere.wav"), text="zero") for one in utterances]
    examples, batches = TrainingSet(config), []
    for epoch in range(4):
        batches.append(examples.batch(lost, epoch))
        assert not batches[-1].token_lengths.any()
        assert not batches[-1].tokens.size
        assert len(batches[-1]) + len(batches[-1].faults) == len(lost)
    assert 20 < sum(map(len, batches)) < 60  # of 80, 4.5 standard deviations
    assert len({batch.ids for batch in batches}) == 4
    again = TrainingSet(config).batch(lost, 3)
    assert again.ids == batches[3].ids
    np.testing.assert_array_equal(again.waves, batches[3].waves)


def test_a_batch_is_its_examples_padded(utterances):
    training_set = TrainingSet(config_of())
    batch = training_set.batch(utterances, 1)
    assert batch.ids == tuple(utterance.id for utterance in utterances)
    assert len(batch) == 20
    assert batch.faults == ()
    assert batch.waves.dtype == np.float32
    assert batch.waves.shape[1] >= batch.lengths.max()
    for row, utterance in enumerate(utterances):
        example = training_set.example(utterance, 1)
        num, spelt = batch.lengths[row], batch.token_lengths[row]
        np.testing.assert_array_equal(batch.waves[row, :num], example.wave)
        assert not batch.waves[row, num:].any()
        np.testing.assert_array_equal(batch.tokens[row, :spelt], example.tokens)
        np.testing.assert_array_equal(batch.freq_spans[0, row], example.views[0].freq)
        np.testing.assert_array_equal(batch.time_spans[0, row], example.views[0].time)


def losses(batch: Batch, steps_of: Config, blank: int) -> torch.Tensor:
    """Torch's own CTC, over a uniform distribution."""
    hop = steps_of.features.hop_length
    frames = -(-batch.lengths // hop)
    steps = torch.from_numpy((frames + 1) // 2)
    log_probs = torch.full((int(steps.max()), len(batch), blank + 1), 1 / (blank + 1)).log()
    return torch.nn.functional.ctc_loss(
        log_probs,
        torch.from_numpy(batch.tokens),
        steps,
        torch.from_numpy(batch.token_lengths),
        blank=blank,
        reduction="none",
    )


def test_a_file_shorter_than_its_manifest_says_is_left_out_and_named(utterances, tmp_path):
    """In the superseded system a transcript longer than the output gave inf and poisoned the mean."""
    text = "seven nine three one two five eight"  # the ee needs a blank inside
    soundfile.write(tmp_path / "cut.wav", read_audio(utterances[0].path, RATE)[:1600], RATE)
    entry = {"id": "cut", "audio_filepath": "cut.wav", "duration": 5.0, "text": text}
    (tmp_path / "train.jsonl").write_text(json.dumps(entry))
    config = config_of(f"data.train=[{tmp_path}/train.jsonl]", "augment.speed=[1.0, 1.0]")
    selection = read_training(config)
    assert [utterance.id for utterance in selection.utterances] == ["cut"]  # by its manifest it is well
    training_set = TrainingSet(config)
    blank = training_set.tokenizer.blank
    spoilt = training_set.batch([*utterances[:3], selection.utterances[0], *utterances[3:6]], 0)
    assert spoilt.ids == tuple(utterance.id for utterance in utterances[:6])
    assert len(spoilt.faults) == 1
    assert spoilt.faults[0].startswith(
        f"cut: the transcript needs {len(text) + 1} output steps, the audio gives 5"
    )
    assert torch.isfinite(losses(spoilt, config, blank)).all()


@pytest.mark.parametrize("kind", ["missing", "damaged", "unknown letters"])
def test_what_cannot_be_used_is_named_and_the_others_go_on(utterances, tmp_path, kind):
    path, text = tmp_path / "bad.wav", "one"
    if kind == "damaged":
        path.write_bytes(b"RIFF and no more")
    if kind == "unknown letters":
        path, text = utterances[0].path, "quick"
    bad = Utterance("bad", path, text, 1.0)
    batch = TrainingSet(config_of()).batch([utterances[0], bad, utterances[1]], 0)
    assert batch.ids == (utterances[0].id, utterances[1].id)
    assert len(batch.faults) == 1
    assert batch.faults[0].startswith("bad: ")
    reason = {"missing": "no such file", "damaged": "bad.wav", "unknown letters": "not among the labels"}
    assert reason[kind] in batch.faults[0]


def test_a_batch_of_nothing_usable_is_empty(tmp_path):
    bad = Utterance("bad", tmp_path / "bad.wav", "one", 1.0)
    batch = TrainingSet(config_of()).batch([bad], 0)
    assert (len(batch), batch.ids, len(batch.faults)) == (0, (), 1)
    assert batch.waves.shape[0] == batch.lengths.size == 0


def test_a_stated_duration_crops_only_where_there_is_an_offset(utterances):
    """The superseded system cropped audio while its whole transcript was kept."""
    whole = read_audio(utterances[0].path, RATE)
    path, text = utterances[0].path, utterances[0].text
    wrong = Utterance("a", path, text, duration=0.1)
    np.testing.assert_array_equal(read_utterance(wrong, RATE), whole)
    stretch = Utterance("a", path, text, duration=0.1, offset=0.05)
    assert read_utterance(stretch, RATE).size == 1600


def test_trimming_is_done_to_each_part_of_a_joined_utterance(utterances, tmp_path):
    wave = np.pad(read_audio(utterances[0].path, RATE), 8000)
    soundfile.write(tmp_path / "padded.wav", wave, RATE, subtype="FLOAT")
    padded = [
        Utterance(str(i), tmp_path / "padded.wav", "one", wave.size / RATE, speaker="s") for i in range(2)
    ]
    config = config_of("data.join={min_clips: 2, max_clips: 2, pause: [0.25, 0.25]}")
    assert config.data.join is not None
    (joined,) = join_clips(padded, config.data.join, 0, 0)
    trimmed = read_utterance(joined, RATE, trim=True)
    part = trim_silence(wave, RATE)
    assert part.size <= wave.size - 15000
    np.testing.assert_array_equal(trimmed, np.concatenate([part, np.zeros(4000, np.float32), part]))


def test_features_made_by_workers_are_those_of_the_waves(utterances):
    config = config_of("features.dither=0")
    waves = TrainingSet(config).batch(utterances[:5], epoch=2)
    made = TrainingSet(config, with_features=True).batch(utterances[:5], epoch=2)
    rows = [row[:length] for row, length in zip(waves.waves, waves.lengths, strict=True)]
    expected, _ = FeatureExtractor(config.features)(rows)
    np.testing.assert_array_equal(made.features, expected)
    np.testing.assert_array_equal(made.lengths, waves.lengths)
    assert waves.features is None
    assert made.waves.shape == (5, 0)
