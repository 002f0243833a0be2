"""What the user can mend is one line that begins with jasper: and exit code 2, never a traceback."""

import json

import pytest
import yaml
from tones import Finished, assert_fault, log_rows, raw_recipe, run_jasper, write_corpus

import jasper.config


@pytest.fixture
def file(tmp_path, corpus):
    """A recipe that would train for one epoch."""
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(raw_recipe(corpus, tmp_path / "run", train={"epochs": 1})))
    return path


def assert_only_fault(finished: Finished, *parts):
    assert_fault(finished, *parts)
    assert finished.stderr.strip() == finished.faults[0]
    assert finished.stdout == ""


def test_an_unknown_key_with_those_that_are_known(file):
    """The model zoo had about 20 keys that nothing reads, and typos passed silently."""
    known = ", ".join(jasper.config.TrainConfig.model_fields)
    assert_only_fault(
        run_jasper("train", file, "train.epoch=3"), f"train.epoch: unknown key; known are {known}"
    )


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("train.epochs=some", ["train.epochs", "'some'"]),
        ("train.epochs", ["an override is section.key=value"]),
        ("data.train=[nowhere.jsonl]", ["nowhere.jsonl: cannot be read: No such file or directory"]),
        ("data.dev=[nowhere.jsonl]", ["nowhere.jsonl: cannot be read: No such file or directory"]),
        ("augment.noise=[nowhere.jsonl]", ["nowhere.jsonl: cannot be read: No such file or directory"]),
        ("data.min_duration=9", ["nothing to train on", "12 too short"]),
        ("train.device=tpu", ["device 'tpu' is unknown; known are auto, cpu, cuda, npu, mps"]),
        ("init_from=nowhere", ["nowhere: is not a directory; a model is a directory made by"]),
        ("text.normalizer=german", ["'german' is not a normalizer; known are"]),
        ("network.blocks=[]", ["network.blocks"]),
    ],
)
def test_a_setting_that_cannot_be_used(file, override, parts):
    assert_only_fault(run_jasper("train", file, override), *parts)


def test_a_recipe_that_is_none():
    assert_only_fault(
        run_jasper("train", "jasper11"), "jasper11: neither a file nor a preset", "jasper10x5dr"
    )


def test_a_manifest_line_that_is_not_json(file, tmp_path, corpus, run):
    bad = tmp_path / "bad.jsonl"
    bad.write_text(corpus.read_text().splitlines()[0] + "\n{audio_filepath: a.wav}\n")
    assert_only_fault(run_jasper("train", file, f"data.train=[{bad}]"), f"{bad}:2: not JSON")
    assert_only_fault(run_jasper("eval", run, bad), f"{bad}:2: not JSON")


@pytest.mark.parametrize("out", ["file", "file/run"])
def test_a_file_where_the_run_should_be(file, tmp_path, out):
    (tmp_path / "file").write_text("in the way")
    finished = run_jasper("train", file, f"train.out={tmp_path / out}")
    assert_only_fault(finished, tmp_path / out, "the run directory cannot be written")
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_missing_recording_in_training_is_left_out_and_in_scoring_is_fatal(file, tmp_path, run):
    manifest = write_corpus(tmp_path, ["abc", "bcd", "cde", "dea"])
    (tmp_path / "train-01.wav").unlink()
    finished = run_jasper("train", file, f"data.train=[{manifest}]", "data.num_workers=1")
    assert finished.code == 0
    where = f"{tmp_path / 'train-01.wav'}: no such file"
    assert f": train-01: {where}" in finished.stderr
    assert "1 times an utterance was left out" in finished.stderr
    assert len(log_rows(tmp_path / "run", "fault")) == 1
    assert_fault(run_jasper("eval", run, manifest), where)


def test_training_stops_at_a_damaged_recording_where_the_settings_say_so(file, tmp_path):
    manifest = write_corpus(tmp_path, ["abc", "bcd", "cde", "dea"])
    (tmp_path / "train-02.wav").write_bytes(b"not audio")
    arguments = ("train", file, f"data.train=[{manifest}]", "data.num_workers=1")
    finished = run_jasper(*arguments, "data.on_error=stop")
    assert_fault(finished, f"train-02: {tmp_path / 'train-02.wav'}: ", "data.on_error=skip would go on")
    assert len(log_rows(tmp_path / "run", "fault")) == 1
    assert run_jasper(*arguments, "data.on_error=skip").code == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--device", "tpu"], ["device 'tpu' is unknown"]),
        (["--engine", "steam"], ["engine 'steam' is unknown; known are auto, openvino, onnx, torch"]),
        (["--join", "some"], ["--join some", "MIN:MAX"]),
        (["--join", "2"], ["--join 2", "MIN:MAX"]),
        (["--join", "-1:2"], ["MIN:MAX"]),
        (["--join", "3:1"], ["--join", "min_clips 3 is more than max_clips 1"]),
        (["--join", "0:2"], ["--join", "min_clips"]),
        (["--out", "/dev/null/report"], ["--out /dev/null/report"]),
    ],
)
def test_an_option_of_eval_that_cannot_be_used(run, corpus, arguments, parts):
    assert_only_fault(run_jasper("eval", run, corpus, *arguments), *parts)


@pytest.mark.parametrize("command", ["eval", "transcribe", "info"])
def test_a_model_that_is_none(tmp_path, corpus, command):
    more = [] if command == "info" else [corpus]
    for path, what in ((tmp_path / "nowhere", "is not a directory"), (tmp_path, "has no config.yaml and")):
        assert_only_fault(run_jasper(command, path, *more), path, what)


def test_a_model_whose_weights_are_not_its_own(tmp_path, run):
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.yaml", "model.safetensors"):
        (model / name).write_bytes((run / "best" / name).read_bytes())
    raw = yaml.safe_load((model / "config.yaml").read_text())
    raw["network"]["blocks"][0]["filters"] = 20
    (model / "config.yaml").write_text(yaml.safe_dump(raw))
    write_corpus(tmp_path, ["abc"], "one")
    finished = run_jasper("transcribe", model, tmp_path / "one-00.wav")
    assert_only_fault(finished, "has shape (16, 16, 5), not (20, 16, 5)")


@pytest.mark.parametrize("as_json", [False, True])
def test_files_that_cannot_be_read_among_good_ones(tmp_path, run, as_json):
    write_corpus(tmp_path, ["abc", "bcd"], "good")
    (tmp_path / "noise.wav").write_bytes(b"RIFF and then nothing")
    names = ["good-00.wav", "missing.wav", "noise.wav", "good-01.wav"]
    files = [tmp_path / name for name in names]
    finished = run_jasper("transcribe", run, *files, *(["--json"] if as_json else []))
    assert finished.code == 1
    assert "Traceback" not in finished.stderr
    assert [line.split(": ")[1] for line in finished.faults[:2]] == [str(files[1]), str(files[2])]
    assert finished.faults[2] == "jasper: 2 of 4 files could not be transcribed"
    printed = [
        json.loads(line)["path"] if as_json else line.split("\t")[0] for line in finished.stdout.splitlines()
    ]
    assert printed == [str(files[0]), str(files[3])]
