"""The place in the order is found without what came before, and the workers stay."""

import os
import sys
import time

from tones import newest_state, recipe

from jasper.audio import read_audio
from jasper.data import dataset
from jasper.data.selection import read_training
from jasper.train import train
from jasper.train.checkpoint import save_checkpoint
from jasper.train.loader import load_steps
from jasper.train.order import steps_from
from jasper.train.place import Place
from jasper.types import Utterance

_opened = []
_watch = [False]


def _note(event, arguments):
    if _watch[0] and event == "open":
        _opened.append(str(arguments[0]))


sys.addaudithook(_note)  # there is no way to take one away: it looks at `_watch`


def files_opened(work):
    """The files that Python opens during `work()`, and its result."""
    _opened.clear()
    _watch[0] = True
    try:
        result = work()
    finally:
        _watch[0] = False
    return result, list(_opened)


def test_the_place_after_a_million_steps_is_found_at_once(tmp_path, corpus):
    """Resuming an epoch in its middle read and augmented all its audio up to there, for nothing."""
    config = recipe(corpus, tmp_path, data={"batch_size": 32}, train={"epochs": 10**6})
    files = tmp_path / "nowhere"
    utterances = [Utterance(str(i), files / f"{i}.flac", "a", 1 + i % 160 / 10) for i in range(280_000)]
    place = Place(114, 2500, 8750)  # step 1,000,000
    began = time.monotonic()
    (found, batches), opened = files_opened(lambda: next(steps_from(place, utterances, config, 3, 4)))
    assert time.monotonic() - began < 5  # about a second: one epoch is sorted and cut, none is gone through
    assert opened == []
    assert found.epoch == 114
    assert abs(found.start - place.start) < 1e-3
    assert len(batches) == 1


def test_a_run_resumed_at_a_million_steps_reads_only_what_is_to_come(tmp_path, corpus, monkeypatch):
    config = recipe(corpus, tmp_path, train={"epochs": 166_667, "max_steps": 3})
    train(config)
    state = {**newest_state(tmp_path), "step": 1_000_001, "epoch": 166_666, "group": 5, "num_groups": 6}
    save_checkpoint(tmp_path / "checkpoints", state, 1_000_001, keep=1)
    config = config.model_copy(update={"train": config.train.model_copy(update={"max_steps": None})})
    ((_, (last,)),) = steps_from(Place(166_666, 5, 6), read_training(config).utterances, config, 0, 1)
    files = []

    def read(path, *arguments, **options):
        files.append(path)
        return read_audio(path, *arguments, **options)

    monkeypatch.setattr(dataset, "read_audio", read)
    assert train(config).step == 1_000_002
    assert files == [utterance.path for utterance in last]


class _WhoAmI:
    """In place of a `TrainingSet`: the worker that makes a batch, and for which epoch."""

    def batch(self, utterances, epoch):
        time.sleep(0.01)
        return os.getpid(), epoch, len(utterances)


def test_the_workers_stay_over_all_epochs():
    """Each epoch began with new processes, which for small corpora took longer than the epoch."""
    steps = [(Place(epoch, group, 4), [["one", "two"]]) for epoch in range(5) for group in range(4)]
    made = list(load_steps(_WhoAmI(), iter(steps), num_workers=2))
    assert [place for place, _ in made] == [place for place, _ in steps]
    assert all(batch[1:] == (place.epoch, 2) for place, (batch,) in made)
    assert len({batch[0] for _, (batch,) in made}) == 2


def test_batches_are_cut_by_what_speed_makes_of_the_durations(tmp_path, corpus):
    """They were cut by the recordings' own, so a tenth to a quarter of a batch was padding."""
    augment = {"speed": [0.5, 2.0]}
    config = recipe(corpus, tmp_path, augment=augment, data={"batch_size": 12, "batch_seconds": 3.0})
    training_set = dataset.TrainingSet(config)
    utterances = read_training(config).utterances
    sizes = []
    for place, (batch,) in steps_from(Place(0, 0, 1), utterances, config, 0, 1):
        seconds = training_set.batch(batch, place.epoch).lengths / config.features.sample_rate
        assert len(batch) == 1 or len(batch) * seconds.max() <= 3.0 + 0.01
        sizes.append(len(batch))
    assert max(sizes) > 4
