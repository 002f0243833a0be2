"""Configurations: what is wrong is named, what is right survives a round trip, and every key is read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from small_networks import small_config, write_small_model

import jasper
from jasper.config import (
    AdaptConfig,
    AugmentConfig,
    BlockConfig,
    CalibrationConfig,
    Config,
    DataConfig,
    DecodeConfig,
    EngineConfig,
    FeatureConfig,
    JoinConfig,
    LossConfig,
    ModelConfig,
    NetworkConfig,
    OptimizerConfig,
    ScheduleConfig,
    Section,
    SubwordConfig,
    TextConfig,
    TrainConfig,
)
from jasper.errors import ConfigError
from jasper.recipe import dump_yaml, load_config, parse_config, presets, read_yaml

PACKAGE = Path(jasper.__file__).parent


def written(folder: Path, text: str, name: str = "c.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("override", "typo", "known"),
    [
        ("traim.epochs=3", "traim", ", ".join(Config.model_fields)),
        ("train.epoch=3", "train.epoch", ", ".join(TrainConfig.model_fields)),
        ("optimizer.lr=1", "optimizer.lr", "name, learning_rate, betas, eps, weight_decay, clip_norm"),
        ("data.join.clips=3", "data.join.clips", "min_clips, max_clips, pause, utterances"),
        ("network.blocks=[{size: 1}]", "network.blocks.0.size", "filters, kernel, repeat, stride"),
    ],
)
def test_a_typo_is_an_error_at_any_depth_and_lists_the_known_keys(override, typo, known):
    """In the superseded system typos in the configuration passed silently."""
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", [override])
    assert f"{typo}: unknown key; known are {known}" in str(caught.value)


def test_a_typo_in_a_file_is_named_with_the_file(tmp_path):
    """In the superseded system typos in the configuration passed silently."""
    path = written(tmp_path, "extends: tiny\naugment: {sped: [0.9, 1.1]}\n")
    with pytest.raises(ConfigError, match=r"c\.yaml: augment\.sped: unknown key; known are speed,"):
        load_config(path)


def test_every_fault_is_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", ["train.epochs=0", "optimizer.name=sgd", "data.batch_sise=3"])
    for part in ("train.epochs", "optimizer.name", "data.batch_sise"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "train.epochs=many",
        "train.epochs=2.5",
        "train=3",
        "train.ema=1.0",
        "optimizer.learning_rate=-1",
        "optimizer.learning_rate=.nan",
        "augment.speed=1.1",
        "augment.speed=[1.1, 0.9]",
        "augment.speed=[0, 1]",
        "augment.noise_probability=2",
        "features.frame_count=round",
        "features.window_ms=40",  # longer than n_fft
        "features.fmax=9000",  # above half the sample rate
        "features={fmin: 4000, fmax: 3000}",
        "network.blocks=[]",
        "network.blocks=[{filters: 4, kernel: 4}]",
        "network.blocks=[{filters: 4, kernel: 3, stride: 2, dilation: 2}]",
        "network.blocks=[{filters: 4, kernel: 3, stride: 2, residual: dense}]",
        "network.blocks=[{filters: 4, kernel: 3, squeeze: 8}]",
        "network.blocks=[{filters: 4, kernel: 3, future_context: 3}]",
        "network.blocks=[{filters: 4, kernel: 3, dilation: 2, future_context: 1}]",
        "text.subwords={algorithm: bpe, scores: [1.0]}",
        "data.join={min_clips: 3, max_clips: 2}",
        "text.labels=[a, b, a]",
    ],
)
def test_an_impossible_value_is_an_error_that_names_its_key(override):
    key = override.partition("=")[0]
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", [override])
    assert str(caught.value).startswith(f"tiny: {key.partition('.')[0]}")
    assert key.rpartition(".")[2] in str(caught.value)


@pytest.mark.parametrize("override", ["train.epochs", "=3", "train.epochs=[", "train..epochs=3", ".=3"])
def test_an_override_of_another_form_is_an_error(override):
    with pytest.raises(ConfigError):
        load_config("tiny", [override])


def test_overrides_are_yaml_and_the_last_one_counts():
    config = load_config(
        "tiny",
        [
            "train.epochs=3",
            "optimizer.learning_rate=1e-3",
            "augment.speed=[0.9, 1.0]",
            "train.epochs=4",
            "train.out=some/where=else",
            "data.join.max_clips=2",
        ],
    )
    assert config.train.epochs == 4
    assert config.optimizer.learning_rate == 0.001
    assert config.augment.speed == (0.9, 1.0)
    assert config.train.out == Path("some/where=else")
    assert config.data.join == JoinConfig(max_clips=2)
    assert config.optimizer.name == load_config("tiny").optimizer.name


def test_extends_lays_sections_over_each_other(tmp_path):
    written(tmp_path, "extends: tiny\ntrain: {epochs: 7, ema: 0.5}\ntext: {labels: [a, b]}\n", "base.yaml")
    path = written(tmp_path, f"extends: {tmp_path}/base.yaml\ntrain: {{epochs: 8}}\ntext: {{labels: [c]}}\n")
    config = load_config(path)
    assert (config.train.epochs, config.train.ema) == (8, 0.5)
    assert config.text.labels == ("c",)  # lists are replaced whole
    assert config.network == load_config("tiny").network


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_loop_of_extends_is_an_error(tmp_path, length):
    for number in range(length):
        written(tmp_path, f"extends: {tmp_path}/{(number + 1) % length}.yaml\n", f"{number}.yaml")
    with pytest.raises(ConfigError, match="extends itself"):
        load_config(tmp_path / "0.yaml")


def test_a_base_that_is_not_there_is_an_error_that_lists_the_presets(tmp_path):
    with pytest.raises(
        ConfigError, match=r"nowhere: neither a file nor a preset; presets are digits, jasper10x5dr"
    ):
        load_config(written(tmp_path, "extends: nowhere\n"))


def test_what_a_recipe_leaves_open_is_that_of_the_model_it_starts_from(tmp_path):
    model = small_config(sample_rate=8000, num_mels=32)
    source = write_small_model(tmp_path / "run" / "best", sample_rate=8000, num_mels=32).parent
    path = written(tmp_path, f"init_from: {source}\nfeatures: {{dither: 0}}\ntext: {{labels: [a, b]}}\n")
    config = load_config(path)
    assert config.network == model.network
    assert config.features == model.features.model_copy(update={"dither": 0.0})
    assert (config.text.labels, config.text.normalizer) == (("a", "b"), model.text.normalizer)
    assert load_config("tiny", [f"init_from={source}"]).network == load_config("tiny").network


def test_the_recipe_that_a_run_keeps_needs_its_model_no_more(tmp_path):
    source = write_small_model(tmp_path / "model")
    config = load_config(written(tmp_path, f"init_from: {source}\n"))
    kept = written(tmp_path, dump_yaml(config), "kept.yaml")
    source.rename(tmp_path / "moved")
    assert load_config(kept) == config
    with pytest.raises(ConfigError, match=r"init_from: .*model: is not a directory; a model is a directory"):
        load_config(written(tmp_path, f"init_from: {source}\n"))


@pytest.mark.parametrize("frozen", [[0, 6], [2, 2], [3, 1]])
def test_blocks_that_are_not_there_cannot_be_frozen(frozen):
    settings = ["init_from=some/model", "text.labels=[a]", "features.dither=0"]
    with pytest.raises(ConfigError, match=rf"adapt\.freeze: \[{frozen[0]}, {frozen[1]}\] is no range of"):
        load_config("tiny", [*settings, f"adapt.freeze={frozen}"])
    assert load_config("tiny", [*settings, "adapt.freeze=[0, 5]"]).adapt.frozen_blocks(5) == range(5)


def test_random_weights_cannot_be_frozen():
    with pytest.raises(ConfigError, match=r"adapt\.freeze without init_from"):
        load_config("tiny", ["adapt.freeze=encoder"])


@pytest.mark.parametrize(
    "text", ["", "- a", "a", "a: [", "\ttrain: 3", "1: 2", "network: {blocks: [{1: 2}]}", "train: null"]
)
def test_a_file_that_is_no_configuration_is_an_error(tmp_path, text):
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        load_config(written(tmp_path, text))


def test_a_binary_file_is_an_error(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(tmp_path / "c.yaml")


@pytest.mark.parametrize("name", presets())
def test_every_preset_survives_a_round_trip(tmp_path, name):
    config = load_config(name)
    for kind, section in ((Config, config), (ModelConfig, config.model)):
        path = written(tmp_path, dump_yaml(section))
        assert parse_config(kind, read_yaml(path), "again") == section


def test_unusual_values_survive_a_round_trip(tmp_path):
    config = load_config(
        "digits",
        [
            "text.labels=[' ', \"'\", 'y', 'n', 'ö', '1', '-', ':', '\\']",
            "features.log_offset=1e-20",
            "train.out=a folder/ö",
            "data.train=[a.jsonl, b.jsonl]",
            "data.exclude_speakers=['61', 'no']",
        ],
    )
    path = written(tmp_path, dump_yaml(config))
    assert load_config(path) == config


def test_a_configuration_is_frozen():
    config = load_config("tiny")
    for section, key in ((config, "train"), (config.train, "epochs"), (config.network.blocks[0], "filters")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, key, 1)


def test_what_is_said_of_calibration_is_before_what_the_model_keeps():
    own = CalibrationConfig(evidence=3, confidence=(0.5, 1.0))
    assert DecodeConfig().calibrated(own) == own
    assert DecodeConfig(evidence=0).calibrated(own) == CalibrationConfig(evidence=0, confidence=(0.5, 1.0))
    said = DecodeConfig(evidence=2, calibration=(1.0, 0.0))
    assert said.calibrated(own) == CalibrationConfig(evidence=2)


def test_loading_twice_gives_the_same():
    assert load_config("jasper10x5dr") == load_config("jasper10x5dr")


# Which names stand for a section where it is read; `config` only in a file that annotates one of that kind.
SECTIONS: dict[type[Section], str] = {
    FeatureConfig: "features",
    BlockConfig: "block",
    NetworkConfig: "network",
    TextConfig: "text",
    SubwordConfig: "subwords",
    JoinConfig: "join",
    DataConfig: "data",
    AugmentConfig: "augment",
    AdaptConfig: "adapt",
    LossConfig: "loss",
    OptimizerConfig: "optimizer",
    ScheduleConfig: "schedule",
    TrainConfig: "train",
    CalibrationConfig: "calibration",
    DecodeConfig: "decode",
    EngineConfig: "settings",
}


def reads() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Every `receiver.key` that some code reads, with the sections that its file or class names `config`."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name == "config.py":
            yield from _own_reads(tree)
            continue
        arguments = (node for node in ast.walk(tree) if isinstance(node, ast.arg) and node.arg == "config")
        kinds = frozenset(ast.unparse(node.annotation) for node in arguments if node.annotation)
        yield from ((*pair, kinds) for pair in _attributes(tree))


def _own_reads(tree: ast.Module) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Of config.py only what its properties and methods read; that a validator looks at a key is no use."""
    for section in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for method in (node for node in section.body if isinstance(node, ast.FunctionDef)):
            if not any("validator" in ast.unparse(decorator) for decorator in method.decorator_list):
                kinds = frozenset({section.name})
                yield from (("config" if r == "self" else r, key, kinds) for r, key in _attributes(method))


def _attributes(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            receiver = node.value
            if isinstance(receiver, ast.Name):
                yield receiver.id, node.attr
            elif isinstance(receiver, ast.Attribute):
                yield receiver.attr, node.attr


def unread_keys(sections: dict[type[Section], str]) -> set[str]:
    found = set(reads())
    return {
        f"{kind.__name__}.{key}"
        for kind, name in sections.items()
        for key in kind.model_fields
        if not any(
            attribute == key and (receiver == name or (receiver == "config" and kind.__name__ in kinds))
            for receiver, attribute, kinds in found
        )
    }


def test_every_key_is_read_by_some_code():
    """The superseded system had about 20 keys that nothing read."""
    assert unread_keys(SECTIONS) == set()


def test_an_unread_key_would_be_found():
    class Extended(TrainConfig):
        never_read: int = 0

    assert unread_keys({Extended: "train"}) == {"Extended.never_read"}


def test_every_section_is_looked_at():
    kinds = {kind for kind in Section.__subclasses__() if kind.__module__ == "jasper.config"}
    assert kinds - {ModelConfig} == set(SECTIONS)
