"""PyTorch's files as an attacker would make them."""

from __future__ import annotations

import codecs
import io
import pickle
import pickletools
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jasper.convert import convert
from jasper.convert.torch_file import load, named_tensors
from jasper.errors import JasperError, ModelError


def saved(content: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


class Make:
    """Has a pickle call something that PyTorch allows it to."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Make(bytearray, 900_000), "bytearray"),
        (Make(torch.FloatTensor, 1 << 40), "torch.FloatTensor"),
        (Make(torch.FloatTensor, 900_000, 900_000), "torch.FloatTensor"),
        (Make(codecs.encode, "x" * 900_000, "latin1"), "_codecs.encode"),
    ],
)
def test_what_makes_memory_of_a_number_is_not_called(call, name, legacy):
    """Small numbers many times: a file of 6 kB filled 270 MB with bytearrays."""
    content = saved({"state_dict": {}, "many": [call] * 3}, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ModelError, match=f"asks for .*{name}"):
        load(io.BytesIO(content), "x.pt")


@pytest.mark.parametrize("place", range(5))
def test_every_pickle_of_a_legacy_file_is_looked_at(place):
    file = io.BytesIO(saved({"a": torch.zeros(2)}, _use_new_zipfile_serialization=False))
    ends = [0]
    for _ in range(5):
        list(pickletools.genops(file))
        ends.append(file.tell())
    content = file.getvalue()
    hostile = pickle.dumps([Make(bytearray, 900_000)], protocol=2)
    with pytest.raises(ModelError, match="asks for"):
        load(io.BytesIO(content[: ends[place]] + hostile + content[ends[place + 1] :]), "x.pt")


def test_a_legacy_storage_of_any_size_is_not_allocated():
    content = saved({"state_dict": {"a": torch.zeros(3000)}}, _use_new_zipfile_serialization=False)
    numel = b"M" + (3000).to_bytes(2, "little")  # BININT2
    assert content.count(numel) >= 1
    hostile = content.replace(numel, b"\x8a\x06" + (1 << 42).to_bytes(6, "little"), 1)  # LONG1
    with pytest.raises(ModelError, match="claims 4,398,046,511,104"):
        load(io.BytesIO(hostile), "x.pt")


def test_compressed_members_are_refused():
    packed, stored = io.BytesIO(), io.BytesIO(saved({"a": torch.zeros(1 << 20)}))
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    assert packed.tell() < 1 << 16
    with pytest.raises(ModelError, match="compressed"):
        load(packed, "x.pt")


def test_members_that_overlap_are_refused():
    """Many names may share the bytes of one member, and unpack to any size."""
    content = saved({"a": torch.zeros(1 << 12)})
    end = content.rindex(b"PK\x05\x06")
    directory = content[content.index(b"PK\x01\x02") : end]
    tail = bytearray(content[end:])
    many = 40
    count = int.from_bytes(tail[8:10], "little") * many
    tail[8:12] = count.to_bytes(2, "little") * 2
    tail[12:16] = (len(directory) * many).to_bytes(4, "little")
    hostile = content[: content.index(b"PK\x01\x02")] + directory * many + bytes(tail)
    with pytest.raises(ModelError, match=r"claim|not a readable"):
        load(io.BytesIO(hostile), "x.pt")


@pytest.mark.parametrize("legacy", [False, True])
def test_an_honest_file_is_read(legacy):
    content = {"state_dict": {"a": torch.arange(6.0).reshape(2, 3)}, "epoch": 440}
    found = load(io.BytesIO(saved(content, _use_new_zipfile_serialization=not legacy)), "x.pt")
    assert found["epoch"] == 440
    assert torch.equal(found["state_dict"]["a"], content["state_dict"]["a"])


def test_half_precision_becomes_single_and_counters_are_left_out():
    state = {
        "a": torch.ones(2, dtype=torch.float16),
        "b": torch.ones(2, dtype=torch.bfloat16),
        "n": torch.tensor(3),
    }
    tensors = named_tensors(load(io.BytesIO(saved(state)), "x.pt"), "x.pt")
    assert {name: str(value.dtype) for name, value in tensors.items()} == {"a": "float32", "b": "float32"}


@settings(max_examples=100, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), legacy=st.booleans())
def test_a_flipped_bit_is_an_error_or_another_number(tmp_path_factory, place, bit, legacy):
    content = bytearray(
        saved({"state_dict": {"a": torch.zeros(9)}}, _use_new_zipfile_serialization=not legacy)
    )
    content[int(place * len(content))] ^= 1 << bit
    path = tmp_path_factory.mktemp("fuzz") / "x.pt"
    path.write_bytes(content)
    with pytest.raises(JasperError, match=r"x\.pt"):
        convert(path, path.with_name("out"), kind="nvidia")


def test_what_else_checkpoints_hold_is_read():
    content = {"weight": torch.nn.Parameter(torch.ones(2)), "shape": torch.Size([3]), "type": torch.float16}
    assert load(io.BytesIO(saved(content)), "x.pt")["shape"] == (3,)
