"""Sounds that nobody speaks: made again from their seed, as long as asked for, and of all kinds."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import yaml
from tones import assert_fault, random_texts, raw_recipe, run_jasper, write_corpus

from jasper.config import AugmentConfig
from jasper.data.augment import Augmenter, utterance_rng
from jasper.data.manifest import read_manifest
from jasper.data.sounds import SOUNDS, make_sound, write_sounds

RATE = 16000
OCTAVES = 62.5 * 2.0 ** np.arange(8)  # Hz, where bands begin and end: 62.5 to 8000


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def power(wave):
    """Of a Hann window's periodograms, added up (Welch): (F,)."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::512] * np.hanning(1024)
    return (np.abs(np.fft.rfft(frames)) ** 2).sum(axis=0)


@pytest.fixture(scope="module")
def waves():
    """A hundred clips of four seconds, kind and wave."""
    return [make_sound(number, seconds=4.0, seed=5) for number in range(100)]


@pytest.mark.parametrize(("rate", "seconds"), [(8000, 1.0), (16000, 2.5), (44100, 1.2)])
def test_the_command_writes_clips_of_this_rate_and_length_with_a_manifest_that_is_noise(
    tmp_path, rate, seconds
):
    out = tmp_path / "new" / "sounds"
    options = ("--clips", "12", "--seconds", str(seconds), "--sample-rate", str(rate))
    finished = run_jasper("data", "sounds", str(out), *options, "--json")
    assert finished.code == 0, finished.stderr
    manifest = json.loads(finished.stdout)["manifest"]
    assert manifest == str(out / "manifest.jsonl")
    utterances = read_manifest(manifest)
    assert len(utterances) == len({utterance.id for utterance in utterances}) == 12
    assert {path.name for path in out.glob("*.flac")} == {utterance.path.name for utterance in utterances}
    for utterance in utterances:
        info = soundfile.info(utterance.path)
        assert (info.samplerate, info.channels, info.subtype) == (rate, 1, "PCM_16")
        assert info.frames == round(rate * seconds)
        assert utterance.duration == pytest.approx(seconds, abs=1 / rate)
        assert utterance.text == ""


def test_the_same_arguments_give_the_same_files_and_more_clips_begin_with_them(tmp_path):
    few, again, more, other = (tmp_path / name for name in ("few", "again", "more", "other"))
    for folder, clips, seed in ((few, 6, 3), (again, 6, 3), (more, 9, 3), (other, 6, 4)):
        write_sounds(folder, num_clips=clips, seconds=1.5, seed=seed)
    assert bytes_of(few) == bytes_of(again)
    clips = {name: content for name, content in bytes_of(few).items() if name.endswith(".flac")}
    assert clips.items() < bytes_of(more).items()
    assert not set(clips.values()) & set(bytes_of(other).values())


def test_a_manifest_of_other_sounds_does_not_outlive_an_interrupted_write(tmp_path, monkeypatch):
    write_sounds(tmp_path, num_clips=3, seconds=1.0)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("soundfile.write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_sounds(tmp_path, num_clips=3, seconds=2.0)
    assert not (tmp_path / "manifest.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--clips", "0"), "0 clips were asked for"),
        (("--seconds", "0.2"), "0.2 s is no length of a clip"),
        (("--seconds", "nan"), "nan s is no length of a clip; it is from 1 to 300 s"),
        (("--sample-rate", "4000"), "4000 Hz is out of range"),
        (("--seed", "-1"), "the seed -1 is negative"),
    ],
)
def test_what_cannot_be_made_is_one_line(tmp_path, options, part):
    assert_fault(run_jasper("data", "sounds", str(tmp_path / "out"), *options), part)
    assert not (tmp_path / "out").exists()


def test_a_file_where_the_folder_should_be_is_one_line(tmp_path):
    (tmp_path / "out").write_text("")
    fault = f"{tmp_path}/out: cannot be written: File exists"
    assert_fault(run_jasper("data", "sounds", str(tmp_path / "out"), "--clips", "1"), fault)


def test_a_manifest_of_speech_is_not_written_over(tmp_path):
    speech = write_corpus(tmp_path, ["ab"], name="manifest")
    before = speech.read_bytes()
    assert_fault(run_jasper("data", "sounds", str(tmp_path), "--clips", "1"), f"{speech} is of speech")
    assert speech.read_bytes() == before


def test_a_full_disk_is_one_line(tmp_path):
    finished = run_jasper("data", "sounds", str(tmp_path / "out"), "--clips", "1", file_size=1000)
    assert_fault(finished, f"{tmp_path}/out: cannot be written")
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_they_are_noise_for_a_training_of_another_rate(tmp_path):
    manifest = write_sounds(tmp_path / "sounds", num_clips=4, seconds=1.0, sample_rate=11025)
    recipe = raw_recipe(write_corpus(tmp_path, random_texts(12)), tmp_path / "run", train={"epochs": 1})
    recipe["augment"] |= {"noise": [str(manifest)], "noise_probability": 0.5, "noise_only_probability": 0.5}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    finished = run_jasper("train", tmp_path / "recipe.yaml")
    assert finished.code == 0, finished.stderr
    augmenter = Augmenter(AugmentConfig(**recipe["augment"]), 8000)
    for epoch in range(20):
        wave = augmenter.noise_only(0.9, utterance_rng(0, epoch, "a"))
        assert 0.4 * 8000 <= wave.size <= 0.9 * 8000
        assert wave.any()


def test_no_clip_is_silent_clipped_or_not_a_number(waves):
    for kind, wave in waves:
        assert (wave.dtype, wave.size) == (np.float32, 4 * RATE)
        assert np.isfinite(wave).all(), kind
        assert 0.09 < np.abs(wave).max() < 0.96, kind
        assert (np.abs(wave) > 0.9999 * np.abs(wave).max()).mean() < 0.5, kind
        quarters = np.sqrt((wave.reshape(16, -1) ** 2).mean(axis=1))
        assert np.median(quarters) > 1e-3 * quarters.max(), kind


def test_most_are_synthesized_and_the_others_of_many_kinds(waves):
    kinds = [kind for kind, _ in waves]
    assert 55 < kinds.count("synthesized") < 85
    assert set(kinds) <= {"synthesized", *SOUNDS}
    assert len(set(kinds)) > 8


def test_no_two_clips_are_alike(waves):
    """Their spectra over time, in dB: of one kind of sound in one clip they would be a few dB apart."""
    spectra = []
    for _, wave in waves:
        frames = np.abs(np.fft.rfft(wave.reshape(-1, 800)))[:, 1:].reshape(80, 40, 10).mean(axis=2)
        spectra.append(np.maximum(20 * np.log10(frames / frames.max() + 1e-9), -60))
    apart = [np.abs(one - other).mean() for number, one in enumerate(spectra) for other in spectra[:number]]
    assert min(apart) > 2
    assert np.median(apart) > 10


def test_their_energy_lies_anywhere(waves):
    hertz = np.fft.rfftfreq(1024, 1 / RATE)
    powers = [power(wave) for kind, wave in waves if kind == "synthesized"]
    centres = np.array([(hertz * spectrum).sum() / spectrum.sum() for spectrum in powers])
    low, high = np.quantile(centres, [0.1, 0.9])
    assert low < 450
    assert high > 3000
    loudest = [
        int(np.argmax([spectrum[(hertz >= a) & (hertz < b)].sum() for a, b in pairwise(OCTAVES)]))
        for spectrum in powers
    ]
    assert set(loudest) == set(range(7))


def test_tones_and_noises_are_both_common(waves):
    """Flatness (geometric over arithmetic mean) is 1 of white noise and next to 0 of a tone."""
    flatness = []
    for kind, wave in waves:
        if kind == "synthesized":
            spectrum = power(wave)[4:400] + 1e-12
            flatness.append(np.exp(np.log(spectrum).mean()) / spectrum.mean())
    low, high = np.quantile(flatness, [0.15, 0.85])
    assert low < 0.01
    assert high > 0.1


def test_their_loudness_is_steady_or_changes_at_any_rate_that_syllables_have(waves):
    """Where the envelope's spectrum is greatest from 0.5 to 25 Hz, and how deep the envelope goes."""
    rates, depths = [], []
    for kind, wave in waves:
        if kind == "synthesized":
            envelope = np.sqrt((wave.reshape(-1, 160) ** 2).mean(axis=1))
            spectrum = np.abs(np.fft.rfft(envelope - envelope.mean())) ** 2
            hertz = np.fft.rfftfreq(envelope.size, 0.01)
            inside = (hertz >= 0.5) & (hertz <= 25)
            rates.append(hertz[inside][np.argmax(spectrum[inside])])
            depths.append(envelope.std() / envelope.mean())
    counts, _ = np.histogram(rates, [0.5, 1, 2, 4, 8, 25])
    assert counts.min() > 2, counts
    low, high = np.quantile(depths, [0.1, 0.9])
    assert low < 0.45
    assert high > 1.5
