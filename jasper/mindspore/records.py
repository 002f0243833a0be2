"""Utterances in, MindRecord shards out: their features and labels as the model zoo has them, or their sound.

`jasper.data.mindrecord` reads them. Every row has its line of a manifest too, so that training from shards is
training from the manifest.
"""

from __future__ import annotations

import json
import math
import secrets
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mindspore.mindrecord import FileWriter

from jasper.config import Config
from jasper.data.dataset import read_utterance
from jasper.data.encode import audio_bytes
from jasper.data.mindrecord import AUDIO, FEATURES, LABELS, LINE, num_rows
from jasper.data.shards import equal_parts
from jasper.data.table import durations_of
from jasper.errors import AudioError, ManifestError, TextError
from jasper.features import FeatureExtractor
from jasper.progress import progress_bar
from jasper.text import Tokenizer, get_normalizer
from jasper.types import Utterance

PAGE_BYTES = 1 << 25  # as in the model zoo's script; a row must fit into a page
ROWS_AT_A_TIME = 64  # made by threads, then written

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """How many shards there are, whether they have sound in place of features, and threads to make rows."""

    num_shards: int = 8  # as many as the model zoo's script writes
    waves: bool = False
    jobs: int = 4


def write_records(
    utterances: Sequence[Utterance],
    out: Path,
    config: Config,
    options: RecordOptions,
    report: Callable[[str], None] | None = None,
) -> None:
    """Write the shards of utterances, in their order, to a folder, which takes its place when it is whole.

    Features and labels are those that a training by `config` makes without augmentation. With `report`, an
    utterance that cannot be read or spelt is reported and left out; without it, that raises AudioError or
    TextError. ManifestError where the folder has something already or cannot be written.
    """
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ManifestError(f"{out}: there is something already; remove it or choose another place")
    parts = equal_parts(np.arange(len(utterances)), durations_of(utterances), options.num_shards)
    if not parts:
        raise ManifestError(f"{out}: there is no utterance to write")
    make = _RowMaker(config, options.waves, report)
    beside = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        beside.mkdir(parents=True)
        with (
            ThreadPoolExecutor(options.jobs) as pool,
            progress_bar("Writing shards", len(utterances)) as done,
        ):
            written = 0
            for number, rows in enumerate(parts):
                path = beside / f"shard-{number:06d}.mindrecord"
                written += _write_shard(path, utterances[rows[0] : rows[-1] + 1], make, pool, done)
        if not written:
            raise ManifestError(f"{out}: none of {len(utterances)} utterances can be used")
        beside.replace(out)
    except (OSError, RuntimeError) as error:  # MindSpore's are RuntimeErrors, of several lines
        raise ManifestError(f"{out}: cannot be written: {' '.join(str(error).split())}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


class _RowMaker:
    """Makes the row of an utterance; None where it cannot be used and that is reported."""

    def __init__(self, config: Config, waves: bool, report: Callable[[str], None] | None) -> None:
        self.config, self.waves, self.report = config, waves, report
        self.extractor = FeatureExtractor(config.features, patience=math.inf)  # bit for bit training's
        self.tokenizer = Tokenizer(config.text.labels, config.text.subwords)
        self.normalize = get_normalizer(config.text.normalizer)

    @property
    def schema(self) -> dict[str, Any]:
        """The fields of a row."""
        if self.waves:
            return {AUDIO: {"type": "bytes"}, LINE: {"type": "string"}}
        return {
            FEATURES: {"type": "float32", "shape": [1, self.config.features.num_features, -1]},
            LABELS: {"type": "int32", "shape": [-1]},
            LINE: {"type": "string"},
        }

    def __call__(self, utterance: Utterance) -> Row | None:
        line = {"id": utterance.id, "text": utterance.text, "duration": utterance.duration}
        if utterance.speaker is not None:
            line["speaker"] = utterance.speaker
        try:
            content = self._sound(utterance) if self.waves else self._features(utterance)
        except (AudioError, TextError) as error:
            if self.report is None:
                raise type(error)(f"{utterance.id}: {error}") from None
            self.report(f"{utterance.id}: {error}")
            return None
        return {**content, LINE: json.dumps(line, ensure_ascii=False)}

    def _sound(self, utterance: Utterance) -> Row:
        return {AUDIO: audio_bytes(utterance, "keep")[1]}

    def _features(self, utterance: Utterance) -> Row:
        data, text = self.config.data, self.normalize(utterance.text)
        rate = self.config.features.sample_rate
        wave = read_utterance(utterance, rate, channel=data.channel, trim=data.trim_silence)
        tokens = np.array(self.tokenizer.encode(text), dtype=np.int32)
        return {FEATURES: self.extractor([wave])[0], LABELS: tokens}


def _write_shard(
    path: Path,
    utterances: Sequence[Utterance],
    make: _RowMaker,
    pool: Executor,
    done: Callable[[int], None],
) -> int:
    """Write what can be used of the utterances, if anything can; returns the number of rows."""
    writer = FileWriter(str(path))
    writer.set_page_size(PAGE_BYTES)
    writer.add_schema(make.schema, json.dumps({"features": make.config.features.model_dump()}))
    writer.add_index([LINE])
    written = 0
    for start in range(0, len(utterances), ROWS_AT_A_TIME):
        chunk = utterances[start : start + ROWS_AT_A_TIME]
        rows = [row for row in pool.map(make, chunk) if row is not None]
        if rows:
            writer.write_raw_data(rows)
        written += len(rows)
        done(len(chunk))
    if not written:
        return 0
    writer.commit()
    # MindSpore leaves a row that it does not take out, and says so in a log that nobody reads.
    if num_rows(path) != written:
        raise ManifestError(f"{path.name}: MindSpore has written {num_rows(path)} of {written} rows")
    return written
