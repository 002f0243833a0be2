"""Pictures of what was heard: a PNG and a page that needs no other file, of one row or of many."""

from __future__ import annotations

import io
import re

import matplotlib.image
import numpy as np
import pytest
import soundfile
from small_networks import write_small_model
from test_model import RATE, sound

import jasper
from jasper.errors import AudioError, ConfigError
from jasper.picture import Heard, write_picture
from jasper.transcribe import examine
from jasper.types import Segment, Transcript, Word


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return jasper.load(write_small_model(tmp_path_factory.mktemp("model") / "small"))


def heard_of(model, folder, wave) -> Heard:
    soundfile.write(folder / "a <b>.wav", wave, RATE, subtype="FLOAT")
    return examine(model, folder / "a <b>.wav")


def test_what_is_drawn_is_what_is_transcribed(model, tmp_path):
    heard = heard_of(model, tmp_path, sound(5))
    assert heard.transcript == model.transcribe(tmp_path / "a <b>.wav", words=True)
    ((start, log_probs),) = heard.posteriors
    expected = model.recognize([sound(5)])[0].log_probs
    assert start == 0
    np.testing.assert_allclose(log_probs, expected, atol=1e-4)
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, atol=1e-4)
    assert heard.log_mel.shape == (64, 500)


@pytest.mark.parametrize(("seconds", "rows"), [(3, 1), (11, 1), (25, 3)])
def test_a_png_has_a_row_for_ten_seconds(model, tmp_path, seconds, rows):
    write_picture(tmp_path / "a.png", heard_of(model, tmp_path, sound(seconds)))
    image = matplotlib.image.imread(io.BytesIO((tmp_path / "a.png").read_bytes()))
    height, width, _ = image.shape
    assert (height, width) == (660 * rows, 1430)
    assert image[..., :3].std() > 0.1  # not an empty page


def test_a_page_has_every_word_and_needs_no_other_file(model, tmp_path):
    heard = heard_of(model, tmp_path, sound(25))
    write_picture(tmp_path / "a.html", heard)
    page = (tmp_path / "a.html").read_text()
    assert page.count("<svg") == 3
    assert "<h1>a &lt;b&gt;.wav</h1>" in page
    assert len(re.findall(r"<span title=", page)) == len(heard.transcript.words) > 5
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)


@pytest.mark.parametrize("size", [1, 800, RATE * 3])
def test_silence_can_be_drawn(model, tmp_path, size):
    heard = heard_of(model, tmp_path, np.zeros(size))
    assert heard.posteriors == ()
    for name in ("a.png", "a.html"):
        write_picture(tmp_path / name, heard)
    assert "(nothing heard)" in (tmp_path / "a.html").read_text()


def test_of_many_labels_those_that_were_likely_are_drawn(tmp_path):
    labels = (*(f"▁w{index}" for index in range(300)), "")
    log_probs = np.full((50, 301), -20.0, dtype=np.float32)
    log_probs[:, 300] = -0.1
    log_probs[10:20, 7] = -0.5
    words = (Word("w7", 0.2, 0.4, 0.6),)
    transcript = Transcript("w7", 1.0, 0.0, None, words, (Segment("w7", 0.0, 1.0, 0.0, words),))
    wave, mel = np.zeros(8000, dtype=np.float32), np.zeros((16, 100))
    heard = Heard(wave, 8000, mel, 0.01, ((0.0, log_probs),), 0.02, labels, transcript)
    write_picture(tmp_path / "a.html", heard)
    page = (tmp_path / "a.html").read_text()
    assert "▁w7" in page
    assert "▁w8" not in page
    assert "∅" in page


def test_what_cannot_be_drawn_is_an_error(model, tmp_path):
    with pytest.raises(ConfigError, match=r"\.png or \.html"):
        write_picture(tmp_path / "a.gif", heard_of(model, tmp_path, sound(1)))
    with pytest.raises(AudioError, match="too long for a picture"):
        heard_of(model, tmp_path, np.zeros(301 * RATE))
    assert [path.name for path in tmp_path.iterdir()] == ["a <b>.wav"]
