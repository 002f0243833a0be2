"""The model zoo's checkpoints, read and written without MindSpore, against what MindSpore computed."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jasper
from jasper.bundle import read_weights
from jasper.convert import convert
from jasper.convert.nvidia_yaml import NVIDIA_FEATURES
from jasper.convert.protobuf import field, fields
from jasper.engines import load_engine
from jasper.errors import ConfigError, JasperError, ModelError

TOLERANCE = 1e-4  # on probabilities: golden/README.md


@pytest.fixture(scope="module")
def content(golden) -> bytes:
    return (golden / "mindspore_jasper.ckpt").read_bytes()


def value(tag: str, dims: list[int], kind: str, data: bytes) -> bytes:
    tensor = b"".join(field(1, d) for d in dims) + field(2, kind.encode()) + field(3, data)
    return field(1, field(1, tag.encode()) + field(2, tensor))


@pytest.fixture
def spoilt(content, tmp_path):
    """Convert some content."""

    def run(raw: bytes):
        (tmp_path / "x.ckpt").write_bytes(raw)
        return convert(tmp_path / "x.ckpt", tmp_path / "out", kind="mindspore")

    return run


@pytest.mark.parametrize("config", [None, "nvidia_jasper.yaml"])
def test_a_converted_model_gives_mindspores_probabilities(golden, tmp_path, config):
    theirs = np.load(golden / "mindspore_jasper.npz")
    directory = convert(
        golden / "mindspore_jasper.ckpt", tmp_path / "m", config=golden / config if config else None
    )
    log_probs, lengths = load_engine(directory).log_probs(
        theirs["features"], theirs["lengths"].astype(np.int64)
    )
    np.testing.assert_array_equal(lengths, theirs["out_lengths"])
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(
            np.exp(log_probs[row, :length]), theirs["probs"][row, :length], atol=TOLERANCE, rtol=0
        )
    assert jasper.load(directory).config.features == NVIDIA_FEATURES


def test_what_is_written_is_what_mindspore_wrote(golden, tmp_path):
    """The same names in the same order and form, to the last byte."""
    directory = convert(golden / "mindspore_jasper.ckpt", tmp_path / "m")
    written = convert(directory, tmp_path / "x.ckpt")
    assert written.read_bytes() == (golden / "mindspore_jasper.ckpt").read_bytes()


def test_a_trainings_checkpoint_has_a_prefix_and_the_optimizers_state(content, spoilt, golden, tmp_path):
    raw = b""
    for _, message in fields(memoryview(content)):
        parts = dict(fields(message))
        tag, tensor = bytes(parts[1]), bytes(parts[2])
        for prefix in (b"network.", b"adam_m.network.", b"adam_v.network."):
            raw += field(1, field(1, prefix + tag) + field(2, tensor))
    raw += value("global_step", [1], "Int32", bytes(4)) + value("learning_rate", [2], "Float32", bytes(8))
    directory = spoilt(raw)
    expected = read_weights(convert(golden / "mindspore_jasper.ckpt", tmp_path / "m"))
    for name, array in read_weights(directory).items():
        np.testing.assert_array_equal(array, expected[name])


def test_a_tensor_in_slices_is_put_together(content, spoilt, golden, tmp_path):
    """MindSpore cuts what is larger than 512 MB into values of one name."""
    first = value("encoder.layers.0.conv.1.batchnorm.gamma", [16], "Float32", bytes(range(40)))
    raw = b""
    for _, message in fields(memoryview(content)):
        raw += b"" if b"layers.0.conv.1.batchnorm.gamma" in bytes(message) else field(1, bytes(message))
    rest = value("encoder.layers.0.conv.1.batchnorm.gamma", [16], "Float32", bytes(range(40, 64)))
    weights = read_weights(spoilt(raw + first + rest))
    assert weights["blocks.0.norms.0.weight"].tobytes() == bytes(range(64))


def test_a_missing_an_extra_and_a_misshapen_weight_name_themselves(content, spoilt):
    messages = [bytes(message) for _, message in fields(memoryview(content))]
    gamma = b"encoder.layers.3.conv.5.batchnorm.gamma"
    without = b"".join(field(1, message) for message in messages if gamma not in message)
    with pytest.raises(ModelError, match=r"encoder\.layers\.3\.conv\.5\.weight is missing"):
        spoilt(without)
    with pytest.raises(ModelError, match=r"layers\.3\.conv\.5\.weight has shape \(4,\), not \(32,\)"):
        spoilt(without + value(gamma.decode(), [4], "Float32", bytes(16)))
    with pytest.raises(ModelError, match=r"1 keys have no place, such as encoder\.layers\.9\.x\.weight"):
        spoilt(content + value("encoder.layers.9.x.weight", [4], "Float32", bytes(16)))


@pytest.mark.parametrize(
    ("dims", "kind", "message"),
    [
        ([1 << 40], "Float32", "needs 4,398,046,511,104 bytes and has 16"),
        ([1 << 62, 1 << 62], "Float32", "and has 16"),
        ([4], "Complex64", "has the type Complex64"),
        ([3], "Float32", "needs 12 bytes and has 16"),
    ],
)
def test_a_declared_size_is_not_believed(spoilt, dims, kind, message):
    with pytest.raises(ModelError, match=message):
        spoilt(value("encoder.layers.0.conv.0.conv1.weight", dims, kind, bytes(16)))


def test_other_networks_need_their_configuration(content, spoilt):
    classes = b"".join(
        field(1, bytes(m)) for _, m in fields(memoryview(content)) if b"decoder.layers" not in bytes(m)
    )
    with pytest.raises(ConfigError, match=r"30 classes, so its labels are unknown.*--config"):
        spoilt(classes + value("decoder.layers.weight", [30, 48, 1, 1], "Float32", bytes(4 * 30 * 48)))


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), kept=st.floats(0, 1))
def test_damage_is_an_error_or_other_numbers(golden, tmp_path_factory, place, bit, kept):
    """A bit flipped, the end cut off: never another exception than ours, never a hang."""
    content = bytearray((golden / "mindspore_jasper.ckpt").read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "x.ckpt").write_bytes(content[: int(len(content) * kept)] if kept < 0.9 else content)
    with contextlib.suppress(JasperError):
        convert(folder / "x.ckpt", folder / "out")


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.integers(0, 2**63) | st.binary(max_size=300))))
def test_fields_are_read_as_they_were_written(content):
    message = b"".join(field(number, item) for number, item in content)
    found = [(n, v if isinstance(v, int) else bytes(v)) for n, v in fields(memoryview(message))]
    assert found == content


def test_messages_are_those_of_googles_library():
    """Against google.protobuf, through a type that it ships."""
    descriptor = pytest.importorskip("google.protobuf.descriptor_pb2")
    theirs = descriptor.FileDescriptorProto(name="a.proto", package="b" * 200, public_dependency=[1, 300])
    ours = field(1, b"a.proto") + field(2, b"b" * 200) + field(10, 1) + field(10, 300)
    assert theirs.SerializeToString() == ours


@given(st.binary(max_size=60))
def test_what_is_no_message_is_a_value_error_at_most(content):
    with contextlib.suppress(ValueError):
        list(fields(memoryview(content)))
