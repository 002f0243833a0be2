"""How to recognize, as the commands have it in options, in; a loaded `Model` out."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from jasper.errors import ConfigError

if TYPE_CHECKING:
    from jasper.config import DecodeConfig
    from jasper.model import Model

DEFAULT_WEIGHT = 4.0  # nats, of a hotword without one


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Options of the search; anything that greedy search cannot do makes it a beam search."""

    PANEL: ClassVar[str] = "Search"

    beam: Annotated[int | None, typer.Option(help="Beam search that keeps so many texts.")] = None
    lm: Annotated[
        Path | None, typer.Option(help="ARPA file or `jasper lm build`'s; implies beam search.")
    ] = None
    alpha: Annotated[float | None, typer.Option(help="Weight of the language model.")] = None
    beta: Annotated[
        float | None, typer.Option(help="Added for each word; scores are natural logarithms.")
    ] = None
    lexicon: Annotated[Path | None, typer.Option(help="File of words: find no others.")] = None
    hotword: Annotated[
        list[str] | None, typer.Option(help="PHRASE or PHRASE=WEIGHT to listen for; may be repeated.")
    ] = None
    hotwords: Annotated[Path | None, typer.Option(help="File of these, one a line.")] = None
    rescore: Annotated[
        Path | None,
        typer.Option(help="Order the texts found by a second model: n-grams, or a folder of transformers'."),
    ] = None
    rescore_weight: Annotated[float | None, typer.Option(help="Weight of that model.")] = None
    evidence: Annotated[
        float | None,
        typer.Option(
            help="Nats by which labels must somewhere be likelier than silence, or nothing is said, as in "
            "noise; default: what the model keeps (`jasper calibrate`)."
        ),
    ] = None
    decode: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE of DecodeConfig, such as cutoff_prob=1; may be repeated."),
    ] = None

    def config(self) -> DecodeConfig:
        """The settings. Raises ConfigError for what cannot be."""
        from jasper.config import DecodeConfig
        from jasper.recipe import parse_config, parse_override

        given: dict[str, Any] = {"beam_width": self.beam, "lm": self.lm, "lexicon": self.lexicon}
        given |= {"alpha": self.alpha, "beta": self.beta}
        given |= {"rescore": self.rescore, "rescore_weight": self.rescore_weight}
        given["hotwords"] = read_hotwords(self.hotword, self.hotwords) or None
        raw = {key: value for key, value in given.items() if value is not None}
        for setting in self.decode or []:
            raw.update(parse_override(setting))
        if raw:
            raw.setdefault("search", "beam")
        if self.evidence is not None:
            raw["evidence"] = self.evidence  # greedy search can do that
        return parse_config(DecodeConfig, raw, "decoding")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What runs the network, and where."""

    PANEL: ClassVar[str] = "Engine"

    engine: Annotated[str, typer.Option(help="auto, openvino, onnx, torch or mindspore.")] = "auto"
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, npu or mps.")] = "auto"
    precision: Annotated[
        str, typer.Option(help="fp32, bf16, fp16; or int8, which `jasper export` makes.")
    ] = "fp32"
    threads: Annotated[int | None, typer.Option(help="Of the processor; default: the engine's own.")] = None

    def load(self, model: Path, decode: DecodeConfig | None = None) -> Model:
        """The model of a directory; an engine that was not named says its name on standard error.

        Raises ModelError where there is no model.
        """
        from jasper.model import load

        loaded = load(model, self.engine, self.device, decode, precision=self.precision, threads=self.threads)
        if self.engine == "auto" and _speaks():
            print(f"engine: {loaded.engine.name}, {loaded.engine.precision}", file=sys.stderr)
        return loaded


def _speaks() -> bool:
    """Whether this process tells what all of them do: the main one, or of those of --jobs the first."""
    from multiprocessing import current_process

    name = current_process().name
    return name == "MainProcess" or name.endswith("-1")


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
