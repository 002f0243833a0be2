"""Letters as pure tones: corpora that 5,000 weights learn in a second, and ways to compare runs."""

import json
import multiprocessing
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import torch
import yaml

from jasper.cli import main
from jasper.config import Config
from jasper.recipe import parse_config
from jasper.train.checkpoint import list_checkpoints
from jasper.train.log import read_log
from jasper.train.monitor import Made
from jasper.train.place import Place
from jasper.train.step import train_step
from jasper.train.tally import count_step

SAMPLE_RATE = 8000
HZ = {"a": 400, "b": 750, "c": 1200, "d": 1800, "e": 2600, " ": 0}
LABELS = [" ", "a", "b", "c", "d", "e"]
JASPER = Path(sys.executable).with_name("jasper")
PROCESSES = multiprocessing.get_context("forkserver")
# What a training imports only when it comes to it takes most of a short one.
PROCESSES.set_forkserver_preload(
    [
        "jasper.cli.app",
        "jasper.train",
        "jasper.report",
        "torch.utils.tensorboard",
        "torch._dynamo",
        "rich.progress",
    ]
)


def tones(text, seed=0):
    """The wave (N,) of a text: 80 ms of tone a letter, 80 ms of near silence a space."""
    rng = np.random.default_rng(seed)
    time = np.arange(SAMPLE_RATE * 8 // 100) / SAMPLE_RATE
    fade = np.hanning(time.size) ** 0.3
    wave = np.concatenate([0.3 * fade * np.sin(2 * np.pi * HZ[letter] * time) for letter in text])
    return wave + 0.003 * rng.standard_normal(wave.size)


def write_corpus(folder, texts, name="train"):
    """Speak the texts into `folder` and return their manifest; ids are name-00, name-01, …"""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, text in enumerate(texts):
        wave, file = tones(text, index), f"{name}-{index:02d}.wav"
        soundfile.write(folder / file, wave, SAMPLE_RATE)
        lines.append({"audio_filepath": file, "duration": wave.size / SAMPLE_RATE, "text": text})
    manifest = folder / f"{name}.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def repeated(manifest, times):
    """A manifest that names every utterance of another so often, under an id of its own each time."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    lines = [
        json.dumps({**row, "id": f"{Path(row['audio_filepath']).stem}-{copy}"})
        for copy in range(times)
        for row in rows
    ]
    path = manifest.with_name(f"{manifest.stem}-{times}.jsonl")
    path.write_text("\n".join(lines))
    return path


def random_texts(count, seed=0):
    """Texts of one to three words, 4 to 9 letters in all; no letter stands twice in a row."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(count):
        letters = [LABELS[1 + (place * 2 + int(rng.integers(2))) % 5] for place in range(rng.integers(4, 10))]
        for place in (5, 2):
            if place < len(letters) - 1 and rng.random() < 0.7:
                letters.insert(place, " ")
        texts.append("".join(letters))
    return texts


def raw_recipe(manifest, out, **sections):
    """A small network without dropout and augmentation; `data={…}`, `init_from=…` and so on laid over it."""
    raw = {
        "network": {
            "blocks": [
                {"filters": 16, "kernel": 5, "stride": 2},
                {"filters": 16, "kernel": 5, "repeat": 2, "residual": "dense"},
                {"filters": 24, "kernel": 1},
            ]
        },
        "features": {"sample_rate": SAMPLE_RATE, "n_fft": 256, "num_mels": 16},
        "text": {"labels": LABELS, "normalizer": "lower"},
        "data": {"train": [str(manifest)], "batch_size": 2, "num_workers": 0},
        "augment": {"freq_masks": 0, "time_masks": 0},
        "optimizer": {"name": "adamw", "learning_rate": 0.01},
        "schedule": {"name": "cosine", "warmup_epochs": 1},
        "train": {
            "out": str(out),
            "epochs": 3,
            "ema": 0.9,
            "precision": "fp32",
            "device": "cpu",
            "threads": 1,
            "log_steps": 1,
        },
    }
    for name, section in sections.items():
        raw[name] = {**raw.get(name, {}), **section} if isinstance(section, dict) else section
    return raw


def recipe(manifest, out, **sections):
    """`raw_recipe` as a Config."""
    return parse_config(Config, raw_recipe(manifest, out, **sections), "recipe")


def everything_random(noise):
    """Every source of random numbers that a training has, as sections of a recipe."""
    return {
        "network": {
            "blocks": [
                {"filters": 16, "kernel": 5, "stride": 2, "dropout": 0.1},
                {"filters": 16, "kernel": 5, "repeat": 2, "residual": "dense", "dropout": 0.1},
                {"filters": 24, "kernel": 1, "dropout": 0.2},
            ]
        },
        "features": {"sample_rate": SAMPLE_RATE, "n_fft": 256, "num_mels": 16, "dither": 1e-3},
        "augment": {
            "speed": [0.9, 1.1],
            "gain_db": [-6, 3],
            "noise": [str(noise)],
            "noise_probability": 0.7,
            "noise_only_probability": 0.2,
            "freq_width": 4,
            "time_width": 6,
        },
    }


@dataclass(frozen=True)
class Finished:
    """A command that ended; a negative `code` is the signal that ended it."""

    code: int
    stdout: str
    stderr: str

    @property
    def faults(self):
        """The lines for the user, of those on stderr."""
        return [line for line in self.stderr.splitlines() if line.startswith("jasper:")]


class Command:
    """The command line in a process of its own, forked where PyTorch is loaded already.

    `file_size` in bytes is the longest file that it may write: a full disk, for any user.
    """

    def __init__(self, *arguments, file_size=None):
        self.arguments = [*map(str, arguments)]
        self.folder = TemporaryDirectory()
        self.process = PROCESSES.Process(target=_main, args=(self.arguments, self.folder.name, file_size))
        self.process.start()

    def send(self, number):
        """Signal the process."""
        os.kill(self.process.pid, number)

    def workers(self):
        """Process ids of its children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [*map(int, children.read_text().split())]

    def _said(self, stream):
        path = Path(self.folder.name) / stream
        return path.read_text() if path.exists() else ""  # killed before its first line

    def wait_for(self, condition):
        """Wait until `condition()` holds; the process must still run."""
        while not condition():
            assert self.process.is_alive(), self._said("stderr")
            time.sleep(0.005)

    def finish(self):
        """Wait for its end."""
        self.process.join(120)
        assert self.process.exitcode is not None, f"still running: {self.arguments}"
        finished = Finished(self.process.exitcode, self._said("stdout"), self._said("stderr"))
        self.folder.cleanup()
        return finished


def run_jasper(*arguments, file_size=None):
    """Run the command line to its end."""
    return Command(*arguments, file_size=file_size).finish()


def _main(arguments, folder, file_size):
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY), number)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    multiprocessing.set_start_method(None, force=True)  # the platform's own again, for the data workers
    sys.argv = ["jasper", *arguments]
    main()


def assert_fault(finished, *parts):
    """Exit code 2, no traceback, and one line that begins with jasper:, the last one, and has the parts."""
    assert finished.code == 2, finished.stderr
    assert "Traceback" not in finished.stderr
    assert len(finished.faults) == 1, finished.stderr
    assert finished.stderr.splitlines()[-1] == finished.faults[0]
    for part in parts:
        assert str(part) in finished.faults[0]


def make_step(run, batches, rate):
    """One optimizer step of a run that trains alone, read at once: its loss and gradient norm."""
    tally = count_step(batches, run.ranks)
    outcome = train_step(run.learner, run.ranks, batches, tally, run.step + 1, rate)
    run.monitor.note(Made(run.step + 1, Place(0, 0, 1), rate, tally, outcome))
    run.monitor.settle()
    loss, norm, _ = outcome.read()
    return loss, norm


def log_rows(run, key):
    """The rows of a run's log that have a key; none where there is no log yet."""
    log = Path(run) / "log.jsonl"
    return [row for row in read_log(log) if key in row] if log.exists() else []


def write_recipe(path, corpus, out, **sections):
    """`raw_recipe` as a file."""
    path.write_text(yaml.safe_dump(raw_recipe(corpus, out, **sections)))
    return path


def newest_state(run):
    """The newest checkpoint of a run."""
    return torch.load(list_checkpoints(Path(run) / "checkpoints")[0], weights_only=True)


def assert_same_run(one, other):
    """The two runs ended with the same model and the same state, bit for bit."""
    weights = "last/model.safetensors"
    assert (Path(one) / weights).read_bytes() == (Path(other) / weights).read_bytes()
    first, second = newest_state(one), newest_state(other)
    for name in ("network", "average", "optimizer"):
        assert_same_state(first[name], second[name], name)
    for name in ("step", "epoch", "group"):
        assert first[name] == second[name]


def assert_same_state(one, other, where):
    """Equal keys, equal values, equal bits."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same_state(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same_state(*pair, f"{where}.{index}")
    else:
        assert one == other, where


def temporary_files(run):
    """What a process that ended should not have left behind."""
    return [path for path in Path(run).rglob("*") if path.name.endswith(".tmp")]
