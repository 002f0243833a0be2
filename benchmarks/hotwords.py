"""A model and recordings in; names forced to be misheard, how many hotwords bring back, false alarms, out.

    python benchmarks/hotwords.py MODEL MANIFEST --counts FILE [--lm FILE] [--weights 2 4 …]

A name is the rarest long word of a clip that the search hears rightly there. Where one of its letters is said
(then: two), it and the likeliest other letter exchange their probabilities. All names are hotwords in every
clip. The language model, of words, is made to lack every second name. Labels are single letters.
"""

from __future__ import annotations

import argparse
import gzip
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

import jasper
from jasper import lm
from jasper.config import DecodeConfig
from jasper.data.dataset import read_utterance
from jasper.data.manifest import read_manifest
from jasper.decode.align import align_tokens
from jasper.decode.beam import BeamSearch
from jasper.lm.ngram import NGram
from jasper.metrics import align
from jasper.text import Tokenizer
from jasper.types import FloatArray

CONFIG = DecodeConfig(search="beam", beam_width=64, alpha=0.5, beta=0.0, unknown=-12.0)
FREQUENT = 500  # so many of the commonest words are no names
MIN_LETTERS = 5


class Name(NamedTuple):
    """A word that a clip's search hears rightly: letter i is label first + i of the text that is heard."""

    word: str
    clip: int
    tokens: tuple[int, ...]  # of the whole text
    first: int


def main() -> None:
    """Print a table for each way to be misheard."""
    options = parse_options()
    model = jasper.load(options.model, device="cpu")
    utterances = read_manifest(options.manifest)
    rows = [model.recognize([read_utterance(one, model.sample_rate)])[0].log_probs for one in utterances]
    references = [model.normalize(utterance.text) for utterance in utterances]
    spoken = [reference.split() for reference in references]
    with gzip.open(options.counts, "rt", encoding="utf-8") as file:
        ranks = {line.split()[0]: rank for rank, line in enumerate(file)}
    plain = BeamSearch(model.tokenizer, CONFIG)
    names = pick(plain, rows, spoken, ranks)
    hidden = {name.word for name in names[::2]}
    models = {"no LM": None, **({"LM": without(lm.load(options.lm), hidden)} if options.lm else {})}
    for letters in (1, 2):
        forced = list(rows)
        for name in names:
            forced[name.clip] = misheard(rows[name.clip], name, letters, model.tokenizer)
        texts = heard(plain, forced)
        lost = [name for name in names if name.word not in texts[name.clip]]
        print(f"\n{letters} of a name's letters exchanged: {len(lost)} of {len(names)} names misheard")
        print("        weight  back, in vocabulary  not in it  false alarms  WER of the rest")
        for title, ngram in models.items():
            for weight in (0.0, *options.weights):
                hotwords = {name.word: weight for name in names} if weight else {}
                texts = heard(BeamSearch(model.tokenizer, CONFIG, lm=ngram, hotwords=hotwords), forced)
                known = back([name for name in lost if name.word not in hidden], texts)
                other = back([name for name in lost if name.word in hidden], texts)
                alarms, rest = false_alarms(texts, spoken, names), wer_of_the_rest(texts, spoken, names)
                print(f"{title:6}  {weight or 'none':>6}  {known:>19}  {other:>9}  {alarms:12}  {rest:15.1%}")


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a model directory")
    parser.add_argument("manifest", help="recordings with their texts")
    parser.add_argument("--counts", required=True, help="words, the commonest first, a line each, gzipped")
    parser.add_argument("--lm", help="a word model")
    parser.add_argument("--weights", type=float, nargs="+", default=[2.0, 4.0, 6.0, 8.0], help="in nats")
    return parser.parse_args()


def pick(
    search: BeamSearch, rows: Sequence[FloatArray], spoken: Sequence[list[str]], ranks: dict[str, int]
) -> list[Name]:
    """The rarest fit word of each clip that has one, none twice. ranks: of words, the commonest's is 0."""
    names: dict[str, Name] = {}
    for clip, (row, words) in enumerate(zip(rows, spoken, strict=True)):
        tokens = search(row[None], np.array([len(row)]))[0][0].tokens
        places = list(re.finditer(r"\S+", search.tokenizer.decode(tokens)))
        edits = align(words, [place.group() for place in places])
        edits = [edit for edit in edits if edit.hypothesis is not None]
        fit = [
            Name(place.group(), clip, tokens, place.start())
            for edit, place in zip(edits, places, strict=True)
            if edit.kind == "equal" and len(place.group()) >= MIN_LETTERS
            and words.count(place.group()) == 1 and place.group() not in names
            and ranks.get(place.group(), math.inf) >= FREQUENT
        ]  # fmt: skip
        if fit:
            name = max(fit, key=lambda name: ranks.get(name.word, math.inf))
            names[name.word] = name
    return list(names.values())


def misheard(log_probs: FloatArray, name: Name, letters: int, tokenizer: Tokenizer) -> FloatArray:
    """The log-probabilities (T, V) with so many letters of a name, evenly spread, exchanged for others."""
    spans = align_tokens(log_probs, name.tokens, tokenizer.blank)
    starts, ends = [*spans.starts.tolist(), len(log_probs)], [*spans.ends.tolist(), 0]
    changed: FloatArray = log_probs.copy()
    for place in range(1, letters + 1):
        index = name.first + place * len(name.word) // (letters + 1)
        beside = name.tokens[max(index - 1, 0) : index + 2]
        others = [n for n, label in enumerate(tokenizer.labels) if label.isalpha() and n not in beside]
        said = log_probs[starts[index] : ends[index]].max(axis=0)
        pair = [name.tokens[index], max(others, key=lambda label: said[label])]
        # From the letter before to the one after: it could be said beside its own steps too.
        steps = slice(ends[index - 1], starts[index + 1])
        changed[steps, pair] = log_probs[steps, pair[::-1]]
    return changed


def without(ngram: NGram, words: set[str]) -> NGram:
    """The model as if it had never seen some words: they are renamed to what nobody says."""
    return replace(ngram, words=tuple(word * 2 if word in words else word for word in ngram.words))


def heard(search: BeamSearch, rows: Sequence[FloatArray]) -> list[list[str]]:
    """The words of each row's best text."""
    found = [search(row[None], np.array([len(row)]))[0][0] for row in rows]
    return [search.tokenizer.decode(best.tokens).split() for best in found]


def back(names: list[Name], texts: list[list[str]]) -> str:
    """How many of the names are heard."""
    return f"{sum(name.word in texts[name.clip] for name in names)} of {len(names)}"


def false_alarms(texts: list[list[str]], spoken: list[list[str]], names: list[Name]) -> int:
    """How often a name is heard where it is not said, in all clips."""
    pairs = list(zip(texts, spoken, strict=True))
    return sum(max(0, text.count(n.word) - words.count(n.word)) for text, words in pairs for n in names)


def wer_of_the_rest(texts: list[list[str]], spoken: list[list[str]], names: list[Name]) -> float:
    """Word error rate of all words but those that were forced to be misheard."""
    forced = {name.clip: name.word for name in names}
    pairs = enumerate(zip(spoken, texts, strict=True))
    edits = [edit for clip, pair in pairs for edit in align(*pair) if edit.reference != forced.get(clip, "")]
    return sum(edit.kind != "equal" for edit in edits) / sum(edit.reference is not None for edit in edits)


if __name__ == "__main__":
    main()
