"""`jasper align` on a model that was trained here, its TextGrid read by another project's parser."""

import json
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from praatio import textgrid
from tones import SAMPLE_RATE, assert_fault, random_texts, recipe, run_jasper, tones, write_corpus

from jasper import load
from jasper.align import align
from jasper.config import DecodeConfig
from jasper.decode.beam import BeamSearch
from jasper.train import train

STEP = 0.02  # s, of the network


def rows_of(corpus):
    return [json.loads(line) for line in corpus.read_text().splitlines()]


def spoken_times(text):
    """When each word of `tones` begins and ends."""
    place, times = 0, []
    for word in text.split():
        times.append((0.08 * place, 0.08 * (place + len(word))))
        place += len(word) + 1
    return times


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A model that has learnt its letters."""
    folder = tmp_path_factory.mktemp("learnt")
    corpus = write_corpus(folder, random_texts(40))
    data = {"dev": [str(corpus)], "batch_size": 4}
    return train(recipe(corpus, folder / "run", data=data, train={"epochs": 25, "eval_epochs": 25})).directory


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A recording of four words, and where they are."""
    folder, text = tmp_path_factory.mktemp("align"), "abc dead bed cab"
    soundfile.write(folder / "four.wav", tones(text), SAMPLE_RATE)
    (folder / "four.txt").write_text("Abc  DEAD\nbed cab")
    return folder, spoken_times(text)


def test_words_are_where_they_were_spoken(learnt, spoken):
    folder, times = spoken
    done = run_jasper("align", learnt, folder / "four.wav", folder / "four.txt")
    words = json.loads(done.stdout)["words"]
    assert [word["text"] for word in words] == ["Abc", "DEAD", "bed", "cab"]
    for word, (start, end) in zip(words, times, strict=True):
        assert word["start"] == pytest.approx(start, abs=0.16)
        assert word["end"] == pytest.approx(end, abs=0.16)


def test_praat_reads_the_textgrid_and_its_intervals_fill_the_recording(run, corpus, tmp_path):
    out = tmp_path / "grids"
    done = run_jasper("align", run, corpus, "--format", "textgrid", "--out", out)
    assert (done.code, done.stdout) == (0, ""), done.stderr
    for row, path in zip(rows_of(corpus), sorted(out.glob("*.TextGrid")), strict=True):
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
        intervals = grid.getTier("words").entries
        assert " ".join(entry.label for entry in intervals if entry.label) == row["text"]
        assert intervals[0].start == 0
        assert intervals[-1].end == pytest.approx(row["duration"], abs=STEP)
        assert all(one.end == two.start for one, two in pairwise(intervals))


def test_ctm_has_a_line_a_word(learnt, spoken):
    folder, times = spoken
    done = run_jasper("align", learnt, folder / "four.wav", folder / "four.txt", "--format", "ctm")
    fields = [line.split() for line in done.stdout.splitlines()]
    assert [row[4] for row in fields] == ["Abc", "DEAD", "bed", "cab"]
    assert {(row[0], row[1]) for row in fields} == {("four", "1")}
    assert float(fields[1][2]) == pytest.approx(times[1][0], abs=0.16)


def test_a_word_that_is_not_said_has_a_low_score(learnt, spoken):
    folder, _ = spoken
    (folder / "wrong.txt").write_text("abc dead cccc cab")
    done = run_jasper("align", learnt, folder / "four.wav", folder / "wrong.txt")
    right = json.loads(run_jasper("align", learnt, folder / "four.wav", folder / "four.txt").stdout)["words"]
    wrong = json.loads(done.stdout)["words"]
    assert wrong[2]["confidence"] < 0.1 * right[2]["confidence"]
    assert wrong[0]["confidence"] == pytest.approx(right[0]["confidence"], abs=0.2)


def test_a_recording_of_minutes_is_aligned_as_its_parts_are(learnt):
    """Eighty times the same words with pauses between: windows are cut, and nothing drifts."""
    text = "abc dead bed cab"
    model, times = load(learnt), spoken_times(text)
    part = tones(text + " " * 12).astype(np.float32)
    words = align(model, np.tile(part, 80), " ".join([text] * 80))
    assert len(words) == 320
    part_seconds = part.size / SAMPLE_RATE
    expected = [index // 4 * part_seconds + times[index % 4][0] for index in range(320)]
    errors = np.abs(np.array([word.start for word in words]) - expected)
    assert np.median(errors) < 0.1
    assert errors.max() < 0.7  # within its own part, which takes 2.2 s


def test_beam_times_are_those_of_the_alignment_of_its_text(run, corpus):
    model = load(run)
    for row in rows_of(corpus)[:4]:
        wave, _ = soundfile.read(corpus.parent / row["audio_filepath"], dtype="float32")
        log_probs = model.recognize([wave])[0].log_probs
        search = BeamSearch(model.tokenizer, DecodeConfig(search="beam"))
        ((best,),) = search(log_probs[None], np.array([len(log_probs)]))
        text = model.tokenizer.decode(best.tokens)
        starts = [best.frames[place] for place in range(len(text)) if text[place - 1 : place] in ("", " ")]
        aligned = align(model, wave, text)
        assert [word.start for word in aligned] == pytest.approx(
            [start * model.step_seconds for start in starts], abs=model.step_seconds
        )


def test_what_cannot_be_aligned_is_named(run, spoken, corpus, tmp_path):
    folder, _ = spoken
    (tmp_path / "long.txt").write_text("abcde " * 100)
    (tmp_path / "other.txt").write_text("wxyz")
    (tmp_path / "none.txt").write_text(" ")
    audio = folder / "four.wav"
    for name, part in (
        ("long", "do not fit"),
        ("other", "not among the labels"),
        ("none", "no word is left"),
    ):
        done = run_jasper("align", run, audio, tmp_path / f"{name}.txt")
        assert done.code == 2
        assert part in done.faults[0]
        assert "1 of 1 could not be aligned" in done.faults[1]
    assert_fault(run_jasper("align", run, audio, tmp_path / "nowhere.txt"), "nowhere.txt: cannot be read")
    assert_fault(run_jasper("align", run, tmp_path / "nowhere.wav", folder / "four.txt"), "nowhere.wav")
