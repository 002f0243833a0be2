"""The options that choose which utterances of a manifest are scored, alone or joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from jasper.errors import ConfigError

if TYPE_CHECKING:
    from jasper.config import JoinConfig
    from jasper.types import Utterance


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """Options of which utterances are scored."""

    PANEL: ClassVar[str] = "Utterances"

    join: Annotated[
        str | None,
        typer.Option(help="MIN:MAX: join short clips of a speaker into strings of that many, each once."),
    ] = None
    join_seed: Annotated[int, typer.Option(help="Which strings --join makes.")] = 0
    exclude_speaker: Annotated[list[str] | None, typer.Option(help="Leave out; may be repeated.")] = None
    only_speaker: Annotated[list[str] | None, typer.Option(help="Keep these alone.")] = None

    def select(self, utterances: Sequence[Utterance]) -> list[Utterance]:
        """Those that are asked for, joined if that is; raises ConfigError for a --join that is none."""
        from jasper.data.join import join_clips

        kept, dropped = set(self.only_speaker or []), set(self.exclude_speaker or [])
        chosen = [u for u in utterances if (not kept or u.speaker in kept) and u.speaker not in dropped]
        return join_clips(chosen, _parse_join(self.join), self.join_seed, 0) if self.join else chosen


def _parse_join(text: str) -> JoinConfig:
    from jasper.config import JoinConfig
    from jasper.recipe import parse_config

    low, _, high = text.partition(":")
    if not (low.isdigit() and high.isdigit()):
        raise ConfigError(f"--join {text}: give the smallest and largest number of clips as MIN:MAX, 1:7 say")
    return parse_config(JoinConfig, {"min_clips": int(low), "max_clips": int(high)}, "--join")
