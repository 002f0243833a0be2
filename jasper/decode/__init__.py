"""Search: log-probabilities in, hypotheses out."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from jasper.config import DecodeConfig
from jasper.decode.greedy import greedy
from jasper.text import Tokenizer
from jasper.types import Search

__all__ = ["SEARCHES", "greedy", "make_search"]

# name -> (module, function `(DecodeConfig, Tokenizer) -> Search`)
SEARCHES: dict[str, tuple[str, str]] = {
    "greedy": ("jasper.decode.greedy", "make"),
    "beam": ("jasper.decode.beam", "make"),
}


def make_search(config: DecodeConfig, tokenizer: Tokenizer) -> Search:
    """Make the search that a configuration names ready; its files are read here."""
    if config.search == "beam" and config.rescore is not None:
        from jasper.decode.rescore import Rescoring, first_pass, load_scorer  # loads a compiler

        scorer = load_scorer(config.rescore)
        return Rescoring(make_search(first_pass(config), tokenizer), tokenizer, scorer, config)
    module, function = SEARCHES[config.search]
    make: Callable[[DecodeConfig, Tokenizer], Search] = getattr(import_module(module), function)
    return make(config, tokenizer)
