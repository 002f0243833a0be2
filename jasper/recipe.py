"""YAML and `key=value` in, a checked `Config` out; unknown keys are errors that list the known ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from jasper.config import Config, ModelConfig, Section
from jasper.directory import CONFIG_FILE, find_bundle
from jasper.errors import ConfigError, ModelError

C = TypeVar("C", bound=Section)

_SHORT = {"engine": "train.engine", "device": "train.device"}  # of overrides


def presets() -> tuple[str, ...]:
    """Names of the configurations that come with the package."""
    files = (resources.files("jasper") / "configs").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a preset's name or a YAML file, apply `section.key=value` overrides, check everything.

    A file may begin with `extends: NAME_OR_PATH`: its sections are laid over those of that configuration,
    key by key (lists are replaced whole). With `init_from: MODEL` the whole is laid in the same way over the
    network, features and text of that model. Paths in a file are relative to the working directory.
    """
    raw = _read_raw(source, seen=())
    for override in overrides:
        raw = _merge(raw, parse_override(override))
    return parse_config(Config, _over_model(raw), str(source))


def parse_config(kind: type[C], raw: Mapping[str, Any], source: str) -> C:
    """Check a mapping against a section; every fault becomes part of one ConfigError."""
    try:
        return kind.model_validate(dict(raw))
    except ValidationError as error:
        faults = "; ".join(_describe(kind, fault) for fault in error.errors())
        raise ConfigError(f"{source}: {faults}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that must hold a mapping."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a configuration is a mapping of sections, not {type(raw).__name__}")
    return raw


def dump_yaml(section: Section) -> str:
    """Write a section as YAML that `parse_config` reads back to an equal one."""
    raw = section.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, width=110)


def _read_raw(source: str | Path, seen: tuple[str, ...]) -> dict[str, Any]:
    name = str(source)
    if name in seen:
        raise ConfigError(f"{name}: extends itself ({' → '.join((*seen, name))})")
    if name in presets():
        path = Path(str(resources.files("jasper") / "configs" / f"{name}.yaml"))
    else:
        path = Path(source)
        if not path.is_file():
            raise ConfigError(f"{name}: neither a file nor a preset; presets are {', '.join(presets())}")
    raw = read_yaml(path)
    base = raw.pop("extends", None)
    return raw if base is None else _merge(_read_raw(str(base), (*seen, name)), raw)


def _over_model(raw: dict[str, Any]) -> dict[str, Any]:
    """A recipe laid over the configuration of the model that it starts from, if it starts from one."""
    if raw.get("init_from") is None:
        return raw
    try:
        model = read_yaml(find_bundle(str(raw["init_from"])) / CONFIG_FILE)
    except ModelError as error:
        # The recipe that a run keeps says all by itself: the run goes on when the model has been moved.
        if ModelConfig.model_fields.keys() <= raw.keys():
            return raw
        raise ConfigError(f"init_from: {error}") from None
    return _merge(model, raw)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[key] = _merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def parse_override(override: str) -> dict[str, Any]:
    path, equals, text = override.partition("=")
    path = _SHORT.get(path, path)
    if not equals or not path:
        raise ConfigError(f"{override!r}: an override is section.key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{override!r}: the value is not YAML") from None
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def _describe(kind: type[Section], fault: Any) -> str:
    where = ".".join(str(step) for step in fault["loc"]) or "configuration"
    if fault["type"] != "extra_forbidden":
        return f"{where}: {fault['msg'].removeprefix('Value error, ')} (found {fault['input']!r:.60})"
    section: Any = kind
    for step in fault["loc"][:-1]:
        if isinstance(step, str):
            section = _section_type(section.model_fields[step].annotation)
        if section is None:
            return f"{where}: unknown key"
    return f"{where}: unknown key; known are {', '.join(section.model_fields)}"


def _section_type(annotation: Any) -> type[Section] | None:
    """The Section inside `X`, `X | None` or `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section_type(inner)
        if found is not None:
            return found
    return None
