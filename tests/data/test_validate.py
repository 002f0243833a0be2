"""Every kind of fault, each on its own line, and none where nothing is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from jasper.config import FeatureConfig, TextConfig
from jasper.data.validate import KINDS, validate
from jasper.errors import ManifestError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
TEXT = TextConfig(normalizer="lower")
FEATURES = FeatureConfig()


def manifest(tmp_path, *entries):
    """One recording of 1 s for all, unless an entry has its own, and a line for each entry."""
    soundfile.write(tmp_path / "a.flac", 0.3 * np.sin(np.arange(16000) / 5), 16000)
    path = tmp_path / "m.jsonl"
    good = {"audio_filepath": "a.flac", "duration": 1.0, "text": "good words"}
    path.write_text(
        "\n".join(entry if isinstance(entry, str) else json.dumps({**good, **entry}) for entry in entries)
        + "\n"
    )
    return path


def kinds(report):
    return [(fault.line, fault.kind) for fault in report.faults]


def check(path):
    return validate(path, TEXT, FEATURES, stride=2, min_duration=0.1, max_duration=16.7)


def test_a_good_manifest_has_no_faults(tmp_path):
    report = check(manifest(tmp_path, {"id": "a"}, {"id": "b", "text": "don't"}))
    assert (report.num_utterances, report.faults, report.by_kind) == (2, (), {})


def test_every_fault_is_found_with_its_line(tmp_path):
    def record(name, wave):
        soundfile.write(tmp_path / name, wave, 16000)
        return {"audio_filepath": name, "duration": len(wave) / 16000}

    tone = 0.3 * np.sin(np.arange(320_000) / 5)
    record("cut.flac", tone)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "cut.flac").read_bytes()[:20_000])
    path = manifest(
        tmp_path,
        {"id": "a"},
        "{not json",
        {"id": "a"},
        {"audio_filepath": "none.flac"},
        {"audio_filepath": "cut.flac", "duration": 20.0},
        record("zero.flac", np.zeros(16000)),
        record("quiet.flac", tone[:16000] / 1000),
        record("constant.flac", np.full(16000, 0.5)),
        record("short.flac", tone[:800]) | {"text": "x"},
        record("long.flac", tone),
        record("other.flac", tone[:16000]) | {"duration": 1.2},
        {"text": "  "},
        {"text": "naïve words"},
        {"text": "a" * 26},
        {"text": "ab" * 25},
        {"duration": -3},
        {"offset": 0.9, "duration": 0.5, "text": "hi"},
        {"offset": 5.0, "text": "hi"},
    )
    report = check(path)
    assert kinds(report) == [
        (2, "syntax"),
        (3, "duplicate_id"),
        (4, "missing"),
        (5, "unreadable"),
        (6, "silent"),
        (7, "silent"),
        (8, "silent"),
        (9, "too_short"),
        (10, "too_long"),
        (11, "wrong_duration"),
        (12, "empty_text"),
        (13, "unknown_characters"),
        (14, "too_dense"),  # 26 equal letters need 51 steps; 1 s gives 50
        (16, "syntax"),
        (17, "wrong_duration"),
        (18, "wrong_duration"),
    ]
    assert report.num_utterances == 18
    assert report.by_kind["silent"] == 3
    assert set(report.by_kind) == set(KINDS) - {"damaged_shard"}  # tests/data/test_shards.py has that
    messages = {fault.line: fault.message for fault in report.faults}
    assert "'ï'" in messages[13]
    assert "needs 51 output steps, 1.000 s give 50" in messages[14]


def test_several_stretches_of_one_file_are_no_fault(tmp_path):
    parts = [{"offset": start, "duration": 0.5, "text": "hi"} for start in (0.0, 0.5)]
    assert check(manifest(tmp_path, *parts)).faults == ()


def test_texts_are_judged_after_normalisation(tmp_path):
    path = manifest(tmp_path, {"text": "GOOD"})
    assert check(path).faults == ()
    assert kinds(validate(path, TextConfig(normalizer="none"))) == [(1, "unknown_characters")]
    assert validate(path).faults == ()


def test_a_stated_duration_is_not_needed(tmp_path):
    assert check(manifest(tmp_path, {"duration": None})).faults == ()


def test_a_missing_manifest_is_an_error(tmp_path):
    with pytest.raises(ManifestError):
        validate(tmp_path / "none.jsonl")


def test_the_command_says_by_its_exit_code_whether_there_are_faults(tmp_path):
    from jasper.cli.data import app

    good, run = manifest(tmp_path, {"id": "a"}), CliRunner().invoke
    assert run(app, ["validate", str(good), "--config", "tiny"]).exit_code == 0
    bad = manifest(tmp_path, {"id": "a"}, "{")
    assert run(app, ["validate", str(bad)]).exit_code == 1
    result = run(app, ["validate", str(bad), "--json"])
    assert result.exit_code == 1
    printed = json.loads(result.stdout)
    assert printed["by_kind"] == {"syntax": 1}
    assert printed["faults"][0]["line"] == 2


def test_the_other_commands_print_json(tmp_path):
    from jasper.cli.data import app

    path = manifest(tmp_path, {"id": "a"})
    stats = CliRunner().invoke(app, ["stats", str(path), "--json"])
    assert json.loads(stats.stdout)["num_utterances"] == 1
    assert CliRunner().invoke(app, ["stats", str(path)]).exit_code == 0
    (tmp_path / "a.txt").write_text("words")
    out = tmp_path / "out.jsonl"
    folder = CliRunner().invoke(app, ["folder", str(tmp_path), str(out), "--json"])
    assert json.loads(folder.stdout) == {"manifest": str(out), "num_utterances": 1, "left_out": []}
    assert json.loads(out.read_text())["text"] == "words"
    (tmp_path / "dev-clean/1/2").mkdir(parents=True)
    soundfile.write(tmp_path / "dev-clean/1/2/1-2-0.flac", np.ones(800), 16000)
    (tmp_path / "dev-clean/1/2/1-2.trans.txt").write_text("1-2-0 HI\n")
    arguments = ["librispeech", "--root", str(tmp_path), "--subset", "dev-clean", "--no-download", "--json"]
    written = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert written == {"manifests": {"dev-clean": str(tmp_path / "dev-clean.jsonl")}}


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real speech at ../shared/data")
def test_real_speech_has_no_faults():
    assert check(SHARED / "librispeech-test-clean-mini/test.jsonl").faults == ()
