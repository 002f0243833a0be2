"""Options of the search, as `transcribe` and `eval` have them, in; a `DecodeConfig` out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jasper.errors import ConfigError

if TYPE_CHECKING:
    from jasper.config import DecodeConfig

DEFAULT_WEIGHT = 4.0  # nats, of a hotword without one

BeamWidth = Annotated[int | None, typer.Option("--beam", help="Beam search that keeps so many texts.")]
LanguageModel = Annotated[
    Path | None, typer.Option("--lm", help="ARPA file or `jasper lm build`'s; implies beam search.")
]
Alpha = Annotated[float | None, typer.Option(help="Weight of the language model.")]
Beta = Annotated[float | None, typer.Option(help="Added for each word; scores are natural logarithms.")]
LexiconFile = Annotated[Path | None, typer.Option("--lexicon", help="File of words: find no others.")]
Hotwords = Annotated[
    list[str] | None,
    typer.Option("--hotword", help="PHRASE or PHRASE=WEIGHT to listen for; may be repeated."),
]
HotwordFile = Annotated[Path | None, typer.Option("--hotwords", help="File of these, one a line.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--decode", help="KEY=VALUE of DecodeConfig, such as cutoff_prob=1; may be repeated."),
]


def decode_config(
    beam: int | None = None,
    lm: Path | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    lexicon: Path | None = None,
    hotwords: dict[str, float] | None = None,
    settings: list[str] | None = None,
) -> DecodeConfig:
    """Settings of the search; anything that greedy search cannot do makes it a beam search."""
    from jasper.config import DecodeConfig
    from jasper.recipe import parse_config, parse_override

    given = {"beam_width": beam, "lm": lm, "alpha": alpha, "beta": beta, "lexicon": lexicon}
    raw: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if hotwords:
        raw["hotwords"] = hotwords
    for setting in settings or []:
        raw.update(parse_override(setting))
    if raw:
        raw.setdefault("search", "beam")
    return parse_config(DecodeConfig, raw, "decoding")


def read_hotwords(phrases: list[str] | None, path: Path | None) -> dict[str, float]:
    """Phrase -> weight, of the command line and of a file. Raises ConfigError for what is no weight."""
    lines = list(phrases or [])
    if path is not None:
        try:
            lines += [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    weights = {}
    for line in lines:
        phrase, equals, weight = line.partition("=")
        try:
            weights[phrase.strip()] = float(weight) if equals else DEFAULT_WEIGHT
        except ValueError:
            raise ConfigError(f"hotword {line!r}: {weight!r} is no weight; give PHRASE=NUMBER") from None
    return weights
