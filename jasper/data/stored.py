"""Utterances and a configuration in; ConfigError out where stored features cannot be what it asks for."""

from __future__ import annotations

from pathlib import Path

from jasper.config import Config
from jasper.data.mindrecord import read_shard
from jasper.data.table import UtteranceTable
from jasper.errors import ConfigError


def check_stored(table: UtteranceTable, config: Config) -> None:
    """Raise ConfigError unless the features that utterances have in place of sound fit the configuration.

    What is done to waves is done before features are made, and cannot be done after.
    """
    augment, data = config.augment, config.data
    asked = {
        "augment.speed": augment.speed != (1.0, 1.0),
        "augment.gain_db": augment.gain_db != (0.0, 0.0),
        "augment.noise": bool(augment.noise),
        "data.trim_silence": data.trim_silence,
        "data.join": data.join is not None,
    }
    for place in table.feature_shards:
        if refused := [name for name, is_asked in asked.items() if is_asked]:
            raise ConfigError(
                f"{', '.join(refused)}: not possible with the features in {place}, for it is done to sound; "
                "switch it off (augment.speed=[1,1]) or train from recordings or shards of them"
            )
        if difference := _difference(Path(place), config):
            raise ConfigError(f"{place}: its features are others than those of this training: {difference}")


def _difference(path: Path, config: Config) -> str:
    """Settings that are not those with which the features were made; of the model zoo's one is known."""
    shard, ours = read_shard(path), config.features.model_dump(mode="json")
    # Dither is in training alone, and so in no stored features.
    theirs = shard.settings or {"num_mels": shard.num_mels}
    keys = [key for key in ours if key in theirs and key != "dither" and ours[key] != theirs[key]]
    return ", ".join(f"features.{key} is {ours[key]}, there it was {theirs[key]}" for key in keys)
