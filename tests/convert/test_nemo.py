"""NeMo's files against the log-probabilities that NeMo computed, and what its archives may hold."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import jasper
from jasper.convert import convert
from jasper.errors import JasperError, ModelError

FEATURES_TOLERANCE = 1e-4  # golden/README.md
WAVE_TOLERANCE = 2e-3
NAMES = ("nemo_jasper", "nemo_quartznet")


@pytest.fixture(scope="module")
def members(golden) -> dict[str, bytes]:
    """The files of a golden archive, to be spoilt."""
    with tarfile.open(golden / "nemo_quartznet.nemo") as tar:
        return {m.name.removeprefix("./"): tar.extractfile(m).read() for m in tar if m.isfile()}


def pack(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def with_config(members, tmp_path):
    """The golden QuartzNet with its configuration edited, converted."""

    def run(edit) -> Path:
        raw = yaml.safe_load(members["model_config.yaml"])
        edit(raw)
        spoilt = {**members, "model_config.yaml": yaml.safe_dump(raw).encode()}
        return convert(pack(tmp_path / "x.nemo", spoilt), tmp_path / "out")

    return run


@pytest.mark.parametrize("name", NAMES)
def test_a_converted_model_gives_nemos_log_probs(golden, tmp_path, name):
    theirs = np.load(golden / f"{name}.npz")
    model = jasper.load(convert(golden / f"{name}.nemo", tmp_path / "m"))
    log_probs, lengths = model.log_probs(theirs["features"], theirs["lengths"])
    np.testing.assert_array_equal(lengths, theirs["out_lengths"])
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(
            log_probs[row, :length], theirs["log_probs"][row, :length], atol=FEATURES_TOLERANCE, rtol=0
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_converted_model_gives_nemos_log_probs_from_the_wave(golden, tmp_path, name):
    theirs = np.load(golden / f"{name}.npz")
    model = jasper.load(convert(golden / f"{name}.nemo", tmp_path / "m"))
    for row, recognition in enumerate(model.recognize([theirs["wave0"], theirs["wave1"]])):
        np.testing.assert_allclose(recognition.log_probs, theirs[f"alone{row}"], atol=WAVE_TOLERANCE, rtol=0)


def test_older_archives_are_compressed_and_name_their_modules_otherwise(golden, members, tmp_path):
    """Releases before 1.0 have `cls` and `params` in place of `_target_`."""
    raw = yaml.safe_load(members["model_config.yaml"])
    for section in ("preprocessor", "encoder", "decoder"):
        kind = raw[section].pop("_target_")
        raw[section] = {"cls": kind, "params": raw[section]}
    old = {**members, "model_config.yaml": yaml.safe_dump(raw).encode()}
    directory = convert(pack(tmp_path / "old.nemo", old, "w:gz"), tmp_path / "old")
    expected = convert(golden / "nemo_quartznet.nemo", tmp_path / "new")
    for name in ("config.yaml", "model.safetensors"):
        assert (directory / name).read_bytes() == (expected / name).read_bytes()


def test_every_setting_of_the_front_end_is_taken(with_config):
    settings = {
        "window_size": 0.025,
        "window_stride": 0.0125,
        "window": "blackman",
        "n_fft": None,
        "lowfreq": 60,
        "highfreq": 7600,
        "preemph": None,
        "dither": 0.0,
        "normalize": "all_features",
        "log_zero_guard_type": "clamp",
        "log_zero_guard_value": "eps",
        "mag_power": 1.0,
        "mel_norm": None,
        "pad_to": 0,
    }
    features = jasper.load(with_config(lambda raw: raw["preprocessor"].update(settings))).config.features
    assert (features.window_length, features.hop_length, features.n_fft) == (400, 200, 512)
    assert (features.window, features.fmin, features.fmax) == ("blackman", 60, 7600)
    assert (features.preemphasis, features.dither, features.normalize) == (0, 0, "all_features")
    assert (features.log_guard, features.log_offset) == ("clamp", 2.0**-23)
    assert (features.power, features.mel_norm) == (1, "none")
    assert (features.frame_count, features.edges) == ("floor", "zeros")


@pytest.mark.parametrize("normalize", [None, False, "NA", "None", {"fixed_mean": [0.0]}])
def test_what_nemo_does_not_know_to_normalise_by_is_nothing(with_config, normalize):
    """Its demonstrations of streaming write such names."""
    settings = {"normalize": normalize}
    features = jasper.load(with_config(lambda raw: raw["preprocessor"].update(settings))).config.features
    assert features.normalize == "none"


def test_references_are_followed(with_config):
    def edit(raw):
        raw["model_defaults"] = {"repeat": 5, "again": "${model.model_defaults.repeat}"}
        raw["encoder"]["jasper"][1]["repeat"] = "${model.model_defaults.again}"

    assert jasper.load(with_config(edit)).config.network.blocks[1].repeat == 5


@pytest.mark.parametrize(("future_context", "expected"), [(-1, (16, 16)), (5, (27, 5)), (40, (16, 16))])
def test_kernels_smaller_than_their_future_see_both_sides_alike(with_config, future_context, expected):
    """As NeMo has it; its kernel is of 33 steps."""

    def edit(raw):
        raw["encoder"]["jasper"][1]["future_context"] = future_context

    assert jasper.load(with_config(edit)).config.network.blocks[1].padding == expected


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda raw: raw["encoder"].update(_target_="nemo.ConformerEncoder"), "ConformerEncoder"),
        (lambda raw: raw["decoder"].update(_target_="nemo.RNNTDecoder"), "RNNTDecoder"),
        (lambda raw: raw["encoder"].update(activation="swish"), "activation = 'swish'"),
        (lambda raw: raw["encoder"].update(surprise=1), "unknown here: surprise = 1"),
        (lambda raw: raw["encoder"].update(jasper=None), "blocks"),
        (lambda raw: raw["encoder"]["jasper"][1].update(residual_mode="max"), "residual_mode = 'max'"),
        (lambda raw: raw["encoder"]["jasper"][1].update(groups=4), "groups = 4"),
        (lambda raw: raw["encoder"]["jasper"][1].update(stride=[2]), "strides in each"),
        (lambda raw: raw["encoder"]["jasper"][1].update(filters="${a}"), "filters"),
        (lambda raw: raw["encoder"]["jasper"][1].update(future_context=[]), "is no number"),
        (lambda raw: raw["encoder"]["jasper"][1].update(future_context=1, dilation=[2]), "without dilation"),
        (lambda raw: raw["encoder"]["jasper"][1].update(kernel_size_factor="x"), "'x' is no number"),
        (lambda raw: raw["encoder"]["jasper"][1].update(kernel_size_factor=1e308), "inf is no number"),
        (lambda raw: raw["preprocessor"].update(exact_pad=True, preemph=0.0), "silences the end"),
        (
            lambda raw: raw["preprocessor"].update(exact_pad=True, window_stride=None, n_window_stride=161),
            "an even hop",
        ),
        (lambda raw: raw["preprocessor"].update(frame_splicing=2), r"not \(\d+, .*, 1\)|shape"),
        (lambda raw: raw["preprocessor"].update(use_grads=True), "use_grads = True"),
        (lambda raw: raw["preprocessor"].update(n_fft=513), "n_fft is 513"),
        (
            lambda raw: raw["preprocessor"].update(normalize={"fixed_mean": [1], "fixed_std": [1]}),
            "fixed_mean has 1 numbers for 64 features",
        ),
        (lambda raw: raw["preprocessor"].update(window="kaiser"), "window"),
        (lambda raw: raw["preprocessor"].update(sample_rate=0), "sample_rate"),
        # They would be allocated when the model is first used.
        (lambda raw: raw["preprocessor"].update(sample_rate=10**9, n_fft=1 << 18), "sample_rate"),
        (lambda raw: raw["preprocessor"].update(n_fft=2**40), "n_fft"),
        (lambda raw: raw.update(tokenizer={"type": "wpe"}), "tokenizer is a 'wpe'"),
        (
            lambda raw: raw.update(tokenizer={"type": "bpe", "model_path": "nemo:x.model"}),
            r"'x\.model' is not in",
        ),
        (
            lambda raw: raw["decoder"].update(vocabulary=["a"]),
            r"layers\.0\.weight has shape \(29, 48, 1\)",
        ),
        (lambda raw: raw["encoder"]["jasper"][1].update(repeat=6), "mconv|conv.25.weight is missing"),
        (lambda raw: raw["encoder"]["jasper"][1].update(repeat=4), "keys have no place"),
        (lambda raw: raw["encoder"]["jasper"][1].update(kernel=[35]), r"\(16, 1, 33\), not \(16, 1, 35\)"),
        (lambda raw: raw["encoder"]["jasper"][1].update(filters=2**40), "shape|no memory"),
        (lambda raw: raw["encoder"]["jasper"][1].update(filters=2**70), "no memory"),
        (lambda raw: raw["encoder"]["jasper"][1].update(repeat=10**12), "is missing"),
    ],
)
def test_what_cannot_be_converted_names_itself(with_config, tmp_path, edit, message):
    with pytest.raises(JasperError, match=message):
        with_config(edit)
    assert not (tmp_path / "out").exists()


def test_labels_of_several_letters_need_a_tokenizer(with_config):
    """The phonemes of NeMo's aligners, which nothing here could spell."""
    labels = ["AH0", *"abcdefghijklmnopqrstuvwxyz'"]
    with pytest.raises(JasperError, match="'AH0' is not one character"):
        with_config(lambda raw: raw["decoder"].update(vocabulary=labels))


@pytest.mark.parametrize("missing", ["model_config.yaml", "model_weights.ckpt"])
def test_an_archive_without_one_of_its_files_is_an_error(members, tmp_path, missing):
    rest = {name: content for name, content in members.items() if name != missing}
    with pytest.raises(ModelError, match=f"has no {missing}"):
        convert(pack(tmp_path / "x.nemo", rest), tmp_path / "out")


def test_members_that_lead_outside_are_only_names(members, tmp_path):
    evil = {**members, "../../escaped": b"x", "/tmp/jasper-escaped": b"x"}
    convert(
        pack(tmp_path / "a" / "x.nemo" if (tmp_path / "a").mkdir() else tmp_path / "a/x.nemo", evil),
        tmp_path / "out",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "out"]
    assert not Path("/tmp/jasper-escaped").exists()


def test_a_compressed_bomb_is_refused_before_it_unfolds(members, tmp_path):
    bomb = {"zeros": bytes(64 << 20), **members}
    path = pack(tmp_path / "bomb.nemo", bomb, "w:gz")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ModelError, match="far more than its size"):
        convert(path, tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_declared_size_is_not_believed(tmp_path, kind, mode):
    """A header may claim terabytes, for a file or for a name."""
    info = tarfile.TarInfo("model_weights.ckpt")
    info.type, info.size = kind, 1 << 43
    path = pack(tmp_path / "x.nemo", {"model_config.yaml": b"a: 1"}, mode)
    content = info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)
    if mode == "w":
        path.write_bytes(content)
    else:
        path.write_bytes(gzip.compress(content))
    with pytest.raises(ModelError, match=r"x\.nemo"):
        convert(path, tmp_path / "out", kind="nemo")


@settings(max_examples=60, deadline=None)
@given(
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
    kept=st.floats(0, 1),
    mode=st.sampled_from(["w", "w:gz"]),
)
def test_damage_is_an_error_or_other_numbers(members, tmp_path_factory, place, bit, kept, mode):
    """A bit flipped, the end cut off: never another exception than ours."""
    path = pack(tmp_path_factory.mktemp("fuzz") / "x.nemo", members, mode)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content[: int(len(content) * kept)] if kept < 0.7 else content)
    with contextlib.suppress(JasperError):
        convert(path, path.with_name("out"), kind="nemo")


@settings(max_examples=80, deadline=None)
@given(
    data=st.data(),
    value=st.sampled_from(
        [None, -1, 0, 3, 2**70, 1e308, float("inf"), float("nan"), "x", "${a.b}", [], [2], {"a": 1}, True]
    ),
)
def test_a_setting_of_any_value_is_an_error_at_most(members, tmp_path_factory, data, value):
    raw = yaml.safe_load(members["model_config.yaml"])
    place = data.draw(
        st.sampled_from([raw, raw["preprocessor"], raw["encoder"], raw["decoder"], *raw["encoder"]["jasper"]])
    )
    key = data.draw(st.sampled_from([*place, "n_window_size", "window_stride", "kernel_size_factor", "se"]))
    place[key] = value
    spoilt = {**members, "model_config.yaml": yaml.safe_dump(raw).encode()}
    folder = tmp_path_factory.mktemp("fuzz")
    with contextlib.suppress(JasperError):
        convert(pack(folder / "x.nemo", spoilt), folder / "out")


def test_yaml_that_unfolds_is_refused(members, tmp_path):
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    spoilt = {**members, "model_config.yaml": laughs.encode()}
    with pytest.raises(ModelError, match="aliases"):
        convert(pack(tmp_path / "x.nemo", spoilt), tmp_path / "out")


def test_a_view_larger_than_its_data_is_refused(members, tmp_path):
    """A tensor of stride 0 has any shape with one number behind it."""
    state = torch.load(io.BytesIO(members["model_weights.ckpt"]), weights_only=True)
    state["decoder.decoder_layers.0.weight"] = torch.zeros(1).expand(1 << 20, 1 << 10, 1)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    spoilt = {**members, "model_weights.ckpt": buffer.getvalue()}
    with pytest.raises(ModelError, match=r"is larger than its data|claims"):
        convert(pack(tmp_path / "x.nemo", spoilt), tmp_path / "out")
