"""Texts spoken for training: every text in every voice, at the rate asked for, the same files again."""

import soundfile

from jasper.data.manifest import read_manifest
from jasper.demo.speak import speak_texts


def test_every_text_is_spoken_by_every_voice(tmp_path):
    manifest = speak_texts(tmp_path, ["zero", "", "nine one"], num_voices=3, sample_rate=8000)
    utterances = read_manifest(manifest)
    assert sorted(u.text for u in utterances) == ["nine one"] * 3 + ["zero"] * 3
    assert len({u.speaker for u in utterances}) == 3
    for utterance in utterances:
        info = soundfile.info(utterance.path)
        assert info.samplerate == 8000
        assert abs(info.duration - utterance.duration) < 1e-3
        wave, _ = soundfile.read(utterance.path)
        assert abs(wave).max() > 0.1
    longer = {u.speaker: u.duration for u in utterances if u.text == "nine one"}
    assert all(longer[u.speaker] > u.duration for u in utterances if u.text == "zero")


def test_the_same_arguments_give_the_same_files(tmp_path):
    for folder in ("a", "b"):
        speak_texts(tmp_path / folder, ["stop"], num_voices=2, seed=3)
    first = {path.name: path.read_bytes() for path in (tmp_path / "a").glob("*.flac")}
    again = {path.name: path.read_bytes() for path in (tmp_path / "b").glob("*.flac")}
    assert first == again
