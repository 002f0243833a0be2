"""What training refuses and why; that CTC can align all that it keeps; that dev keeps everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jasper.config import Config
from jasper.data.manifest import read_table
from jasper.data.selection import fault, read_dev, read_training, suspects
from jasper.recipe import load_config
from jasper.text import Tokenizer, get_normalizer, min_frames


def settings_for(folder: Path, rows: list[dict], *overrides: str, split: str = "train") -> Config:
    """A configuration whose manifest has these rows; selection reads no audio."""
    path = folder / f"{split}.jsonl"
    lines = [
        json.dumps({"audio_filepath": f"{i}.wav", "duration": 3.0, "text": "a", **r})
        for i, r in enumerate(rows)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    # 10 ms a frame, 20 ms a step.
    model = ("network.blocks=[{filters: 8, kernel: 5, stride: 2}]", "text.normalizer=basic")
    recipe = (*model, f"data.{split}=[{path}]", "augment.speed=[1.0, 1.0]")
    return load_config("tiny", [*recipe, *overrides])


def kinds(config: Config) -> dict[str, str]:
    return {refused.utterance.id: refused.kind for refused in read_training(config).refused}


def test_each_fault_is_refused_with_its_kind_and_counted(tmp_path):
    rows = [
        {"id": "good", "text": "hello world"},
        {"id": "short", "duration": 0.05},
        {"id": "long", "duration": 16.8},
        {"id": "edge", "duration": 16.7},
        {"id": "greek", "text": "αβγ"},
        {"id": "dense", "duration": 0.2, "text": "far too many letters for that"},
    ]
    selection = read_training(settings_for(tmp_path, rows, "text.normalizer=lower"))
    assert [utterance.id for utterance in selection.utterances] == ["good", "edge"]
    assert {refused.utterance.id: refused.kind for refused in selection.refused} == {
        "short": "too short",
        "long": "too long",
        "greek": "with unknown characters",
        "dense": "too dense",
    }
    reasons = {refused.utterance.id: refused.reason for refused in selection.refused}
    assert "max_duration is 16.7 s" in reasons["long"]
    assert "'α', 'β', 'γ'" in reasons["greek"]
    summary = selection.summary()
    assert summary.startswith("training on 2 utterances, 0.01 h; refused: ")
    for part in ("1 too dense", "1 too long", "1 too short", "1 with unknown characters"):
        assert part in summary


@settings(max_examples=60, deadline=None)
@given(tokens=st.lists(st.integers(0, 2), max_size=12), steps=st.integers(1, 20))
def test_feasible_is_what_gives_torchs_ctc_a_finite_loss(tokens, steps):
    """In the superseded system a transcript longer than the output gave inf and poisoned the mean."""
    log_probs = torch.full((steps, 1, 4), 0.25).log()
    loss = torch.nn.functional.ctc_loss(
        log_probs,
        torch.tensor([tokens], dtype=torch.long),
        torch.tensor([steps]),
        torch.tensor([len(tokens)]),
        blank=3,
        reduction="none",
    )
    assert (min_frames(tokens) <= steps) == bool(torch.isfinite(loss).item())


@pytest.mark.parametrize(
    ("duration", "text", "kept"),
    [
        (0.20, "abcdefghij", True),  # 20 frames, 10 steps, 10 letters
        (0.20, "abcdefghijk", False),
        (0.20, "aabcdefghi", False),  # 10 letters and a blank between the a's
        (0.22, "aabcdefghi", True),
        (0.20, "", True),
    ],
)
def test_what_ctc_cannot_align_is_refused(tmp_path, duration, text, kept):
    """In the superseded system a transcript longer than the output gave inf and poisoned the mean."""
    config = settings_for(tmp_path, [{"id": "u", "duration": duration, "text": text}])
    assert kinds(config) == ({} if kept else {"u": "too dense"})


LETTERS = st.text(st.sampled_from("ab' Zé7\U0001f600"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(LETTERS, st.floats(0, 20) | st.sampled_from([0.1, 0.2, 16.7])), max_size=9))
def test_what_is_judged_at_once_is_what_is_judged_one_by_one(tmp_path_factory, rows):
    """Counting letters in columns is thirty times as fast; the rule is the one that gives the reasons."""
    folder = tmp_path_factory.mktemp("rows")
    lines = [{"id": str(i), "text": text, "duration": seconds} for i, (text, seconds) in enumerate(rows)]
    config = settings_for(folder, lines, "augment.speed=[0.9, 1.1]")
    tokenizer, normalize = Tokenizer(config.text.labels), get_normalizer(config.text.normalizer)
    table = read_table(folder / "train.jsonl")
    expected = [fault(u, config, tokenizer, normalize(u.text)) is not None for u in table]
    assert suspects(table, config).tolist() == expected


def test_the_highest_speed_of_augmentation_counts(tmp_path):
    row = {"id": "u", "duration": 0.2, "text": "abcdefghij"}
    assert kinds(settings_for(tmp_path, [row], "augment.speed=[0.9, 1.2]")) == {"u": "too dense"}
    assert kinds(settings_for(tmp_path, [row], "augment.speed=[0.9, 1.0]")) == {}


def test_text_is_normalised_before_it_is_judged(tmp_path):
    config = settings_for(tmp_path, [{"id": "u", "text": "Hello, WORLD!"}], "text.normalizer=basic")
    assert kinds(config) == {}


def test_an_utterance_of_two_manifests_is_used_once(tmp_path):
    config = settings_for(tmp_path, [{"id": "a"}, {"id": "b"}])
    twice = config.model_copy(
        update={"data": config.data.model_copy(update={"train": config.data.train * 2})}
    )
    selection = read_training(twice)
    assert [utterance.id for utterance in selection.utterances] == ["a", "b"]
    assert [refused.kind for refused in selection.refused] == ["given twice"] * 2


def test_excluded_speakers_are_in_neither_set(tmp_path):
    rows = [{"id": "a", "speaker": "x"}, {"id": "b", "speaker": "y"}, {"id": "c"}]
    settings_for(tmp_path, rows, split="dev")
    dev = f"data.dev=[{tmp_path}/dev.jsonl]"
    config = settings_for(tmp_path, rows, "data.exclude_speakers=[x]", dev)
    assert [utterance.id for utterance in read_training(config).utterances] == ["b", "c"]
    assert [utterance.id for utterance in read_dev(config)] == ["b", "c"]


def test_max_utterances_keeps_the_first(tmp_path):
    config = settings_for(tmp_path, [{"id": str(i)} for i in range(9)], "data.max_utterances=4")
    assert [utterance.id for utterance in read_training(config).utterances] == list("0123")


def test_dev_keeps_what_training_refuses(tmp_path):
    """The superseded system's evaluation dropped utterances over 16.7 s."""
    rows = [{"id": "a", "duration": 40.0}, {"id": "b", "duration": 0.01}, {"id": "c", "text": "αβγ" * 50}]
    config = settings_for(tmp_path, rows, split="dev")
    assert [utterance.id for utterance in read_dev(config)] == ["a", "b", "c"]
