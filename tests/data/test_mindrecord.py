"""A shard that MindSpore wrote is read where there is no MindSpore; damaged, it is named and never a crash.

golden_zoo.md.xz and its index are what mindspore.mindrecord.FileWriter (2.10) wrote under the schema of the
model zoo's create_mindrecord.py, with pages of 32 KB so that they are several: of each of `ROWS` the features
of `features`, filled up with zeros to a multiple of 16 frames, and the labels.
"""

import lzma
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_networks import write_small_model
from tones import LABELS, assert_fault, log_rows, recipe, run_jasper, write_corpus, write_recipe

from jasper.data.dataset import TrainingSet
from jasper.data.manifest import read_table
from jasper.data.selection import read_training
from jasper.data.validate import validate
from jasper.errors import JasperError, ManifestError
from jasper.features import num_frames
from jasper.text import Tokenizer

ROWS = 5 * [(33, [1, 2, 3]), (48, [5, 0, 4, 4]), (130, [2] * 12), (17, [])]  # frames and labels
SETTINGS = {"features": {"sample_rate": 8000, "n_fft": 256, "num_mels": 16}, "data": {"min_duration": 0.05}}
TOKENIZER = Tokenizer(LABELS)


def features(row, length):
    """Features (16, T) of a row, none of them zero."""
    mel, frame = np.mgrid[0:16, 0:length]
    return ((7 * mel + 3 * frame + 5 * row) % 11 - 5.5).astype(np.float32)


@pytest.fixture(scope="module")
def golden_shard(tmp_path_factory):
    """The shard as it was written."""
    folder = tmp_path_factory.mktemp("golden")
    for packed in Path(__file__).parent.glob("golden_zoo.md*.xz"):
        (folder / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    return folder / "golden_zoo.md"


@pytest.fixture
def shard(golden_shard, tmp_path):
    """A copy of it to damage."""
    for path in (golden_shard, golden_shard.with_name("golden_zoo.md.db")):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / golden_shard.name


def test_every_row_has_its_labels_and_true_length_in_any_order(golden_shard):
    config = recipe(golden_shard, "unused", **SETTINGS)
    utterances = read_training(config).utterances
    assert [u.text for u in utterances] == [TOKENIZER.decode(labels) for _, labels in ROWS]
    order = np.random.default_rng(0).permutation(len(ROWS)).tolist()
    batch = TrainingSet(config, with_features=True).batch([utterances[row] for row in order], 0)
    assert batch.faults == ()
    assert num_frames(config.features, batch.lengths).tolist() == [ROWS[row][0] for row in order]
    for place, row in enumerate(order):
        length, labels = ROWS[row]
        expected = np.zeros_like(batch.features[place])
        expected[:, :length] = features(row, length)
        np.testing.assert_array_equal(batch.features[place], expected)
        assert batch.tokens[place, : batch.token_lengths[place]].tolist() == labels


def test_pytorch_trains_from_it(golden_shard, tmp_path):
    config = write_recipe(tmp_path / "r.yaml", golden_shard.parent, tmp_path / "out", **SETTINGS)
    done = run_jasper("train", config, "train.max_steps=2")
    assert done.code == 0, done.stderr
    assert len(log_rows(tmp_path / "out", "loss")) == 2
    assert validate(golden_shard.parent).by_kind == {"empty_text": 5}


def test_recordings_and_stored_features_make_one_batch(golden_shard, tmp_path):
    """Also where the device makes the features of recordings: those that are stored it cannot make."""
    manifest = write_corpus(tmp_path, ["abc", "de"])
    config = recipe(manifest, "unused", **SETTINGS)
    both = [*read_table(manifest), read_table(golden_shard)[1]]
    for with_features in (True, False):
        training_set = TrainingSet(config, with_features)
        batch = training_set.batch(both, 0)
        assert num_frames(config.features, batch.lengths).tolist() == [24, 16, 48]
        np.testing.assert_array_equal(batch.features[2], features(1, 48))
        alone = training_set.extractor([training_set.example(both[0], 0).wave])[0][0]
        np.testing.assert_array_equal(batch.features[0, :, :24], alone)


def test_features_are_no_sound(golden_shard, tmp_path):
    model = write_small_model(tmp_path / "model")
    assert_fault(run_jasper("eval", model, golden_shard), "has features", "no sound")
    assert_fault(run_jasper("data", "shard", golden_shard, tmp_path / "out"), "has features", "no sound")


@pytest.mark.parametrize("where", ["header", "rows", "index"])
@given(data=st.data())
@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_is_damaged_is_an_error_that_names_the_shard(golden_shard, shard, where, data):
    """Or goes unnoticed where it is a value like any other; never a crash, never memory that is not there."""
    path = shard.with_name("golden_zoo.md.db") if where == "index" else shard
    start, end = {"header": (0, 900), "rows": (1 << 24, 16_907_504), "index": (0, 16_384)}[where]
    shutil.copy(golden_shard.with_name(path.name), path)
    with path.open("r+b") as file:
        for _ in range(data.draw(st.integers(1, 4))):
            file.seek(data.draw(st.integers(start, end - 9)))
            file.write(data.draw(st.binary(min_size=1, max_size=9)))
    config = recipe(shard, "unused", **SETTINGS)
    error: JasperError | None = None
    try:
        utterances = read_training(config).utterances
        TrainingSet(config).batch(list(utterances), 0)
    except JasperError as raised:
        error = raised
    assert error is None or "golden_zoo.md" in str(error)


def test_a_pattern_that_names_nothing_is_an_error(tmp_path):
    with pytest.raises(ManifestError, match="names no file"):
        read_table(tmp_path / "jasper_tr*.md")
    with pytest.raises(ManifestError, match="without MindRecord shards"):
        read_table(tmp_path)


def test_writing_needs_mindspore_and_says_so(tmp_path):
    """Where MindSpore is, tests/mindspore/test_records.py writes."""
    installed = find_spec("mindspore")  # without it, at most the folder of its tests
    if installed is not None and installed.origin is not None:
        pytest.skip("MindSpore is here")
    done = run_jasper("data", "mindrecord", tmp_path / "m.jsonl", "--out", tmp_path / "out")
    assert_fault(done, "mindspore is not installed", "jasper-asr[mindspore]")
