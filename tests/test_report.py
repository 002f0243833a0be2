import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from jasper.errors import MissingExtraError
from jasper.metrics import score, score_utterance
from jasper.report import (
    Spectrogram,
    confusions,
    score_dict,
    score_text,
    write_score_lines,
    write_score_report,
    write_training_report,
)

SCORED = [
    score_utterance("good", "the cat", "the cat", "anna", 1.5),
    score_utterance("bad", "a dog ran", "a dock ran off", "bert", 2.0),
    score_utterance("worse", "a dog", "a dock", "bert", 1.0),
    score_utterance("worst", "hello", "", None, 0.5),
]
SCORE = score(SCORED)
CURVES = [{"step": 10, "loss": 3.5}, {"step": 20, "loss": 2.5, "grad_norm": 1.0}]
DEV_ROW = {"step": 20, "dev_loss": 2.75, "dev_wer": 0.5, "dev_cer": 0.25}
SPECTROGRAM = Spectrogram(np.arange(640, dtype=np.float32).reshape(64, 10), 0.01)


class Page(HTMLParser):
    """Collects what a browser would: tags that are open at the end, addresses, and the text."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self, html):
        super().__init__()
        self.open, self.addresses, self.tags, self.text = [], [], set(), []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def read_page(path):
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def write_training_page(path, curves=(*CURVES, DEV_ROW), details=None):
    details = details or {"network": "3x1"}
    write_training_report(path, "A <training>", curves, SCORE, SPECTROGRAM, SCORED[1], details)
    return read_page(path)


def test_confusions_are_the_commonest_first():
    assert confusions(SCORE) == [("dog", "dock", 2), ("", "off", 1), ("hello", "", 1)]
    assert confusions(SCORE, most=1) == [("dog", "dock", 2)]


def test_score_dict_is_json():
    found = json.loads(json.dumps(score_dict(SCORE)))
    assert found == {
        "wer": 4 / 8,
        "cer": SCORE.cer,
        "substitutions": 2,
        "deletions": 1,
        "insertions": 1,
        "words": 8,
        "character_substitutions": SCORE.characters.substitutions,
        "character_deletions": SCORE.characters.deletions,
        "character_insertions": SCORE.characters.insertions,
        "characters": 7 + 9 + 5 + 5,
        "wer_interval": list(SCORE.wer_interval),
        "utterances": 4,
        "duration": 5.0,
    }


def test_score_lines_have_every_utterance_in_order(tmp_path):
    path = tmp_path / "new" / "score.jsonl"
    write_score_lines(path, score([*SCORED, score_utterance("é", "\u2028 né", "né")]))
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert [row["id"] for row in rows] == ["good", "bad", "worse", "worst", "é"]
    assert rows[1]["reference"] == "a dog ran"
    assert rows[1]["hypothesis"] == "a dock ran off"
    assert (rows[1]["wer"], rows[1]["words"], rows[1]["insertions"]) == (2 / 3, 3, 1)
    assert (rows[1]["speaker"], rows[3]["speaker"], rows[1]["duration"]) == ("bert", None, 2.0)


def test_score_text():
    text = score_text(SCORE)
    assert "WER 50.00 %" in text
    assert "2 substitutions, 1 deletions, 1 insertions\n8 words of 4 utterances, 5.0 s" in text
    assert "      2  dog → dock" in text
    aligned = [
        "bad  WER 66.67 %",
        "  REF:  a DOG  ran ***",
        "  HYP:  a DOCK ran OFF",
        "  Eval:   S        I",
    ]
    assert "\n".join(aligned) in text
    assert text.index("worst") < text.index("bad") < text.index("worse  ")
    assert "good" not in text


def test_long_alignments_fold():
    words = [f"word{number}" for number in range(60)]
    lines = score_text(score([score_utterance("u", " ".join(words), " ".join(words[1:]))])).split("\n")
    references = [line.removeprefix("  REF: ") for line in lines if line.startswith("  REF:")]
    assert max(map(len, lines)) <= 110
    assert " ".join(references).lower().split() == words


def test_score_report(tmp_path):
    path = tmp_path / "score.html"
    write_score_report(path, SCORE, "dev & test")
    page = read_page(path)
    assert "<title>dev &amp; test</title>" in path.read_text(encoding="utf-8")
    assert "Word error rate 50.00 %" in page.words
    assert "Substitutions said heard times dog dock 2" in page.words
    assert "Deletions said times hello 1" in page.words
    assert "Insertions heard times off 1" in page.words
    assert "bert 60.00 %" in page.words
    assert page.words.index("bert 60.00") < page.words.index("anna 0.00")
    ids = [page.words.index(f"{name} · WER") for name in ("worst", "bad", "worse", "good")]
    assert ids == sorted(ids)
    assert "a dog dock ran off" in page.words
    assert page.addresses == []


def test_report_without_speakers_or_errors(tmp_path):
    write_score_report(tmp_path / "score.html", score([score_utterance("u", "a", "a")]), "clean")
    words = read_page(tmp_path / "score.html").words
    assert "Speakers" not in words
    assert "Commonest" not in words
    write_score_report(tmp_path / "none.html", score([]), "nothing")
    assert "Word error rate 0.00 %" in read_page(tmp_path / "none.html").words


def test_transcripts_cannot_write_html(tmp_path):
    evil = "<script>alert(1)</script>"
    scored = score_utterance(evil, evil, f"x {evil}{evil}", speaker=evil)
    write_score_report(tmp_path / "score.html", score([scored]), evil)
    page = read_page(tmp_path / "score.html")
    assert "script" not in page.tags
    assert page.words.count("alert(1)") >= 5
    assert "script" not in write_training_page(tmp_path / "t.html", details={evil: evil}).tags


def test_training_report_is_one_file_with_three_figures(tmp_path):
    page = write_training_page(tmp_path / "training.html")
    html = (tmp_path / "training.html").read_text(encoding="utf-8")
    assert html.count("<svg") == 3
    for label in (
        "training step",
        "CTC loss",
        "error rate (%)",
        "time (s)",
        "mel band",
        "dev WER",
        "dev CER",
    ):
        assert label in page.words
    assert "network 3x1" in page.words
    assert "said a dog ran heard a dock ran off" in page.words
    assert "Word error rate 50.00 %" in page.words
    outside = [a for a in page.addresses if not a.startswith(("#", "data:image/png;base64,"))]
    assert outside == []
    assert any(address.startswith("data:image/png") for address in page.addresses)
    assert "url(http" not in html


def test_references_inside_figures_are_unambiguous(tmp_path):
    """Three SVGs share the page's identifiers, so a reference must find the same thing wherever it looks."""
    write_training_page(tmp_path / "training.html")
    html = (tmp_path / "training.html").read_text(encoding="utf-8")
    used = set(re.findall(r"url\(#([^)]+)\)", html)) | set(re.findall(r'xlink:href="#([^"]+)"', html))
    assert used
    for identifier in used:
        assert html.count(f'id="{identifier}"') == 1


def test_figures_take_the_page_s_text_colour(tmp_path):
    write_training_page(tmp_path / "training.html")
    html = (tmp_path / "training.html").read_text(encoding="utf-8")
    assert "currentColor" in html
    assert "#010203" not in html
    assert not re.search(r"fill: (#000000|black)", html)


@pytest.mark.parametrize("curves", [[], CURVES, [DEV_ROW], [{"step": 1, "loss": float("nan")}]])
def test_training_report_of_a_short_run(tmp_path, curves):
    assert "CTC loss" in write_training_page(tmp_path / "t.html", curves).words


def test_the_same_training_gives_the_same_page(tmp_path):
    write_training_page(tmp_path / "a.html")
    write_training_page(tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_missing_library_says_how_to_install_it(tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{module} is not installed.*jasper-asr\[report\]"):
        write_training_page(tmp_path / "t.html")
