"""MindRecord shards, ours and the model zoo's: MindSpore reads them alike, training goes as ever."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mindspore.dataset import MindDataset
from mindspore.mindrecord import FileReader, FileWriter
from tones import (
    assert_fault,
    assert_same_run,
    log_rows,
    random_texts,
    recipe,
    run_jasper,
    write_corpus,
    write_recipe,
)

from jasper.data.dataset import TrainingSet
from jasper.data.manifest import read_manifest, read_table
from jasper.data.selection import read_training
from jasper.errors import ConfigError
from jasper.features import FeatureExtractor, num_frames
from jasper.text import Tokenizer
from jasper.train.order import steps_from
from jasper.train.place import Place

SETTINGS = {"features": {"sample_rate": 8000, "n_fft": 256, "num_mels": 16, "dither": 0.0}}
ZOO = {
    "batch_spect": {"type": "float32", "shape": [1, 16, -1]},
    "batch_script": {"type": "int32", "shape": [-1]},
}


def jasper(*words):
    """Run a command in a process of its own, which imports MindSpore or not as a user's would."""
    command = [sys.executable, "-m", "jasper", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Twelve tones; the first has a speaker and an id that SQL and JSON must quote."""
    manifest = write_corpus(tmp_path_factory.mktemp("records"), random_texts(12))
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[0] |= {"id": 'it\'s "é" 語;--', "speaker": "O'Neil"}
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


@pytest.fixture(scope="module")
def shards(corpus):
    """Folders of shards by kind, written by the command."""
    recipe_file = write_recipe(corpus.with_name("r.yaml"), corpus, "unused", **SETTINGS)
    words = ["data", "mindrecord", corpus, "--config", recipe_file, "--num-shards", 3, "--out"]
    found = {"features": corpus.with_name("features"), "waves": corpus.with_name("waves")}
    jasper(*words, found["features"])
    jasper(*words, found["waves"], "--waves")
    return found


def write_zoo_shard(path, examples, schema=ZOO):
    """A shard as the zoo's create_mindrecord.py makes it: features (1, F, T), labels, nothing else."""
    writer = FileWriter(str(path), 1)
    writer.set_page_size(1 << 25)
    writer.add_schema(schema, "jasper_json")
    for features, labels in examples:
        content = np.asarray(features, np.float32)[None], np.array(labels, np.int32)
        writer.write_raw_data([dict(zip(schema, content, strict=True))])
    writer.commit()
    return path


def test_mindspore_reads_what_the_manifest_has(corpus, shards):
    """Its own reader finds the features that recognition computes, the labels, and every file as it is."""
    config = recipe(corpus, "unused", **SETTINGS)
    extract, tokenizer = FeatureExtractor(config.features), Tokenizer(config.text.labels)
    rows = {kind: rows_of(folder) for kind, folder in shards.items()}
    utterances = read_manifest(corpus)
    assert len(rows["features"]) == len(rows["waves"]) == len(utterances)
    for utterance, features, waves in zip(utterances, rows["features"], rows["waves"], strict=True):
        example = TrainingSet(config).example(utterance, 0)
        np.testing.assert_array_equal(features["batch_spect"], extract([example.wave])[0], strict=True)
        assert tokenizer.decode(features["batch_script"]) == utterance.text
        assert waves["audio"] == Path(utterance.path).read_bytes()
        line = {"id": utterance.id, "text": utterance.text, "duration": utterance.duration}
        line |= {"speaker": utterance.speaker} if utterance.speaker else {}
        assert json.loads(waves["utterance"]) == json.loads(features["utterance"]) == line


def test_the_zoos_own_reader_takes_features_and_labels(shards):
    """Its create_train_dataset opens shards so: all at once, these two columns."""
    paths, columns = (
        [*map(str, sorted(shards["features"].glob("*.mindrecord")))],
        ["batch_spect", "batch_script"],
    )
    found = MindDataset(paths, columns_list=columns, shuffle=False).create_tuple_iterator(output_numpy=True)
    found = sorted((spect.tobytes(), script.tolist()) for spect, script in found)
    rows = rows_of(shards["features"])
    assert found == sorted((row["batch_spect"].tobytes(), row["batch_script"].tolist()) for row in rows)


def rows_of(folder):
    return [row for path in sorted(folder.glob("*.mindrecord")) for row in FileReader(str(path)).get_next()]


@pytest.mark.parametrize("kind", ["features", "waves"])
def test_training_from_shards_is_training_from_the_manifest(corpus, shards, tmp_path, kind):
    """To the last bit, stopped on the way and resumed as well; MindSpore need not be there."""

    def train(source, out, **section):
        section = {"epochs": 2, **section}
        config = write_recipe(tmp_path / "r.yaml", source, tmp_path / out, **SETTINGS, train=section)
        assert run_jasper("train", config).code == 0

    train(corpus, "whole")
    train(shards[kind], "stopped", max_steps=5)
    train(shards[kind], "stopped")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    assert [row["loss"] for row in log_rows(tmp_path / "whole", "loss")] == [
        row["loss"] for row in log_rows(tmp_path / "stopped", "loss")
    ]
    code = f"import sys\nfrom jasper.data.manifest import read_table\nread_table({str(shards[kind])!r})\n"
    code += "assert 'mindspore' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_mindspore_trains_from_shards_as_from_the_manifest(corpus, shards, tmp_path):
    losses = []
    for name, source in {"manifest": corpus, **shards}.items():
        out = tmp_path / name
        config = write_recipe(tmp_path / "r.yaml", source, out, **SETTINGS, train={"max_steps": 3})
        jasper("train", config, "engine=mindspore")
        losses.append([row["loss"] for row in log_rows(out, "loss")])
    assert losses[0] == losses[1] == losses[2]
    assert len(losses[0]) == 3


def test_ranks_and_epochs_split_shards_as_they_split_the_manifest(corpus, shards):
    """Each of two ranks gets the utterances that it would get of the manifest, in the same batches."""

    def ids(source, rank):
        config = recipe(source, "unused", **SETTINGS)
        steps = steps_from(Place(1, 1, 6), read_training(config).utterances, config, rank, 2)
        return [[utterance.id for batch in group for utterance in batch] for _, group in steps]

    for rank in (0, 1):
        assert ids(corpus, rank) == ids(shards["features"], rank) == ids(shards["waves"], rank)
    assert ids(corpus, 0) != ids(corpus, 1)


def test_old_shards_are_read_with_their_true_lengths_and_labels(tmp_path):
    """The zoo filled features with zeros up to a multiple of 16 frames, and trained on those as if said."""
    rng = np.random.default_rng(0)
    lengths, labels = [33, 48, 17, 32], [[1, 2, 3], [5, 0, 5, 5], [4], [2, 0, 1]]
    examples = []
    for length, tokens in zip(lengths, labels, strict=True):
        features = np.zeros((16, -(-length // 16) * 16))
        features[:, :length] = rng.standard_normal((16, length))
        examples.append((features, tokens))
    write_zoo_shard(tmp_path / "jasper_tr10.md", examples[2:])
    write_zoo_shard(tmp_path / "jasper_tr9.md", examples[:2])
    config = recipe(tmp_path / "jasper_tr*.md", tmp_path / "out", **SETTINGS)
    selection = read_training(config)
    assert selection.refused == ()
    batch = TrainingSet(config).batch(selection.utterances, 0)
    assert num_frames(config.features, batch.lengths).tolist() == lengths
    for row, (features, tokens) in enumerate(examples):
        assert batch.tokens[row, : batch.token_lengths[row]].tolist() == tokens
        np.testing.assert_array_equal(
            batch.features[row, :, : lengths[row]], features[:, : lengths[row]].astype(np.float32)
        )
        assert not batch.features[row, :, lengths[row] :].any()
    written = write_recipe(tmp_path / "r.yaml", tmp_path / "jasper_tr*.md", tmp_path / "out", **SETTINGS)
    jasper("train", written, "train.max_steps=2", "engine=mindspore")
    assert len(log_rows(tmp_path / "out", "loss")) == 2


def test_labels_of_any_size_are_what_was_written(tmp_path):
    """MindRecord keeps each number in as few bytes as it can be kept in."""
    labels = [chr(0x4E00 + index) for index in range(1000)]
    rng = np.random.default_rng(0)
    wanted = [rng.integers(0, high, count).tolist() for high in (5, 300, 1000) for count in (0, 1, 4, 9, 400)]
    path = write_zoo_shard(tmp_path / "x.md", [(np.ones((16, 3)), tokens) for tokens in wanted])
    texts = read_table(path, tokenizer=Tokenizer(labels)).texts
    assert [[ord(char) - 0x4E00 for char in text] for text in texts] == wanted


@pytest.fixture
def old(tmp_path):
    """Two shards of the zoo's, and the recipe to train on the first."""
    rng = np.random.default_rng(0)
    examples = [(rng.standard_normal((16, 48)), [1, 2, 3]) for _ in range(40)]
    write_zoo_shard(tmp_path / "tr0.md", examples)
    return tmp_path / "tr0.md"


def train_on(source, **sections):
    config = write_recipe(source.with_name("r.yaml"), source, source.with_name("out"), **SETTINGS | sections)
    return run_jasper("train", config, "train.max_steps=1")


def test_of_a_shard_that_is_cut_off_the_rest_is_used_or_nothing(old):
    with old.open("r+b") as file:
        file.truncate((1 << 24) + 50_000)
    config = recipe(old, old.with_name("out"), **SETTINGS)
    selection = read_training(config)
    num_lost = sum(1 for refused in selection.refused if refused.kind == "in a damaged shard")
    assert len(selection.utterances) + num_lost == 40
    assert 0 < num_lost < 40
    assert "cut off" in selection.damaged[0]
    assert train_on(old).code == 0
    shutil.rmtree(old.with_name("out"))
    assert_fault(train_on(old, data={"on_error": "stop"}), "tr0.md: cut off", "data.on_error=skip")


def test_a_missing_or_damaged_index_is_named(old):
    index = old.with_name("tr0.md.db")
    content = index.read_bytes()
    index.write_bytes(content[: len(content) // 2])
    assert_fault(train_on(old), "tr0.md.db: damaged")
    index.unlink()
    assert_fault(train_on(old), "tr0.md.db: no such file", "copy this one too")


def test_a_damaged_header_is_named(old):
    with old.open("r+b") as file:
        file.seek(40)
        file.write(b"\xff" * 9)
    assert_fault(train_on(old), "tr0.md", "header", "damaged")


def test_another_schema_is_named_with_those_that_are_read(tmp_path):
    schema = {"image": ZOO["batch_spect"], "label": ZOO["batch_script"]}
    path = write_zoo_shard(tmp_path / "x.mindrecord", [(np.ones((16, 3)), [1])], schema)
    assert_fault(train_on(path), "x.mindrecord: its rows have image, label", "batch_spect")


def test_a_label_outside_the_vocabulary_is_named(tmp_path):
    path = write_zoo_shard(tmp_path / "x.md", [(np.ones((16, 9)), [1]), (np.ones((16, 9)), [1, 6, 9])])
    assert_fault(train_on(path), "x.md: row 2", "[6, 9]", "6 labels")


def test_features_of_other_settings_are_refused(old, shards):
    """What is trained on features that recognition does not compute recognises nothing."""
    other = {"features": {**SETTINGS["features"], "num_mels": 20}}
    assert_fault(train_on(old, **other), "tr0.md", "features.num_mels is 20, there it was 16")
    other = {"features": {**SETTINGS["features"], "preemphasis": 0.9}}
    config = recipe(shards["features"], "unused", **other)
    with pytest.raises(ConfigError, match=r"features\.preemphasis is 0\.9, there it was 0\.97"):
        read_training(config)


def test_what_is_done_to_sound_is_refused_for_features(shards):
    augment = {"speed": [0.9, 1.1], "freq_masks": 0, "time_masks": 0}
    sections = {**SETTINGS, "augment": augment, "data": {"trim_silence": True}}
    with pytest.raises(ConfigError, match=r"augment\.speed, data\.trim_silence: not possible"):
        read_training(recipe(shards["features"], "unused", **sections))
    assert read_training(recipe(shards["waves"], "unused", **sections)).utterances


def test_features_are_not_scored(corpus, shards):
    sections = {**SETTINGS, "data": {"dev": [str(shards["features"])]}}
    config = write_recipe(corpus.with_name("dev.yaml"), corpus, corpus.with_name("dev"), **sections)
    assert_fault(run_jasper("train", config), "data.dev", "has features")
    assert jasper("data", "validate", next(shards["waves"].glob("*.mindrecord"))).returncode == 0


def test_what_fails_leaves_nothing_half_written(corpus, tmp_path):
    """A recording that is gone, a text that cannot be spelt, a full disk; and nothing is written over."""
    config = write_recipe(tmp_path / "r.yaml", corpus, "unused", **SETTINGS)
    rows = [json.loads(line) for line in corpus.read_text().splitlines()][:3]
    rows = [{**row, "audio_filepath": str(corpus.parent / row["audio_filepath"])} for row in rows]
    rows[1]["audio_filepath"], rows[2]["text"] = "gone.wav", "xyz"
    bad = tmp_path / "bad.jsonl"
    bad.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    words = ["data", "mindrecord", "--config", config, "--out", out]
    assert_fault(run_jasper(*words, bad), "gone.wav")
    assert_fault(run_jasper(*words, corpus, file_size=1 << 22), f"{out}: cannot be written")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "r.yaml"]
    bad.write_text("".join(json.dumps(row) + "\n" for row in rows[1:]))
    assert_fault(run_jasper(*words, bad, "--skip-faulty"), f"{out}: none of 2 utterances")
    bad.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run_jasper(*words, bad, "--skip-faulty")
    assert "1 utterances written, 2 left out" in done.stdout
    assert "'x'" in done.stderr
    assert_fault(run_jasper(*words, corpus), "something already")
