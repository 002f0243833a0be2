"""A table is the list of its utterances, in less memory; and so are its slices and selections."""

from __future__ import annotations

import json
import pickle
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jasper.data.entry import Entry
from jasper.data.manifest import read_manifest, read_table
from jasper.data.table import Columns, UtteranceTable, durations_of
from jasper.types import Utterance

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
names = text.filter(lambda name: name not in ("", ".", ".."))
seconds = st.floats(0, 1e6)
num_bytes = st.integers(0, 2**62)
entries = st.builds(
    Entry,
    id=text,
    name=names,
    text=text,
    duration=seconds,
    offset=st.none() | seconds,
    speaker=st.none() | st.sampled_from(["a", "b", "é"]),
    line=st.integers(0, 2**31 - 1),
    member=st.none() | st.tuples(num_bytes, num_bytes),
)
folders = st.sampled_from([Path("/data"), Path("below"), "s3://bucket/set"])
manifests = st.lists(st.tuples(st.lists(entries, max_size=6), folders), max_size=4)


def table_of(manifests: list[tuple[list[Entry], Path | str]]) -> tuple[UtteranceTable, list[Utterance]]:
    columns = Columns()
    for lines, folder in manifests:
        columns.extend(lines, folder)
    return UtteranceTable(columns), [line.utterance(folder) for lines, folder in manifests for line in lines]


@given(manifests, st.slices(24))
def test_a_table_is_the_list_of_its_utterances(manifests, part):
    table, plain = table_of(manifests)
    assert list(table) == plain
    assert len(table) == len(plain)
    assert [table[index] for index in range(-len(plain), len(plain))] == plain * 2
    assert list(table[part]) == plain[part]
    assert list(table.ids) == [utterance.id for utterance in plain]
    assert list(table.texts) == [utterance.text for utterance in plain]
    assert durations_of(table).tolist() == durations_of(plain).tolist() == [u.duration for u in plain]
    assert list(pickle.loads(pickle.dumps(table))) == plain


@given(manifests, st.data())
def test_a_selection_of_a_selection_is_one_of_the_list(manifests, data):
    table, plain = table_of(manifests)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(plain), max_size=len(plain))), dtype=bool)
    kept = [utterance for utterance, wanted in zip(plain, keep, strict=True) if wanted]
    assert list(table.select(keep)) == kept
    assert list(table.select(keep)[::-1].select(np.arange(len(kept)))) == kept[::-1]
    spoken = table.select(keep).spoken_by(["a", "nobody"])
    assert spoken.tolist() == [utterance.speaker == "a" for utterance in kept]


@given(manifests)
def test_members_are_known_by_their_tar_and_their_end(manifests):
    table, plain = table_of(manifests)
    for row, utterance in enumerate(plain):
        if utterance.member is None:
            assert table.tar[row] == -1
        else:
            assert table.tars[table.tar[row]] == utterance.path
            assert table.member_ends[row] == sum(utterance.member)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(names, text, seconds), max_size=5))
def test_manifests_in_one_table_are_those_read_one_by_one(rows):
    """Ids are unique in each; that two manifests share some is for the reader of both to judge."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.jsonl")
        lines = [{"audio_filepath": name, "text": said, "duration": time} for name, said, time in rows]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert list(read_table(path, path)) == read_manifest(path) * 2
