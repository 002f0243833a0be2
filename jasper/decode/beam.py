"""Log-probabilities of a batch in, its N best hypotheses out: beam search, made ready once and run often."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from jasper.config import DecodeConfig
from jasper.decode.align import align_tokens, label_starts, text_log_prob
from jasper.decode.fusion import (
    HOT,
    LABEL,
    PLACE,
    Float64Array,
    Fusion,
    IndexArray,
    PlaceArray,
    Records,
    Rule,
)
from jasper.decode.greedy import check_log_probs
from jasper.decode.hotwords import hotword_automaton
from jasper.decode.lexicon import Lexicon, spelt_lexicon
from jasper.decode.nbest import best_texts, path_to
from jasper.decode.prefixes import retreat, search
from jasper.errors import LanguageModelError
from jasper.lm import load
from jasper.lm.ngram import END, SPECIAL_WORDS, UNKNOWN, Level, NGram, from_levels
from jasper.text import Tokenizer, min_frames
from jasper.types import FloatArray, Hypothesis, IntArray

SPACE_NAMES = (" ", "<space>", "|", "▁")  # how language models of labels write the space


class BeamSearch:
    """Prefix beam search with a language model, a lexicon and hotwords, each of them optional.

    A text's score is ln P(text | sound) + alpha · ln P(text) by the language model + beta for each word
    + `unknown` for each word outside the vocabulary + the weight of each hotword in it. With a beam that is
    wide enough, nothing cut off and nothing recombined, they are exactly the texts of the highest scores.
    A text is its words: alignments with several spaces in place of one are its own too, unless a language
    model of characters counts them.

    Where the sound breaks off and the lexicon lets no text of the beam end, what is found is the beginning of
    one: as long as may be, up to a word that is complete.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: DecodeConfig,
        *,
        lm: NGram | None = None,
        lexicon: Sequence[str] | None = None,
        hotwords: Mapping[str, float] | None = None,
    ) -> None:
        """Make the search ready.

        Raises LanguageModelError for a vocabulary that the labels cannot spell, TextError for such hotwords.
        """
        self.config = config
        self.tokenizer = tokenizer
        by_token = lm is not None and config.lm_unit == "character"
        letters = _letters(tokenizer)
        ngram = lm or _no_language_model()
        vocabulary = list(lexicon) if lexicon is not None else [] if by_token else list(ngram.words[3:])
        unknown = -math.inf if lexicon is not None else config.unknown if vocabulary else 0.0
        hotwords = hotwords or {}
        # A hotword is no unknown word, whatever the vocabulary.
        named = {word for phrase in hotwords for word in phrase.split()} if vocabulary else set()
        words = sorted({*vocabulary, *named})
        self._rule = Rule(
            beam_width=config.beam_width,
            cutoff_top_n=config.cutoff_top_n,
            cutoff_prob=config.cutoff_prob,
            prune=math.inf if config.prune is None else config.prune,
            recombine=config.nbest == 1 if config.recombine is None else config.recombine,
            alpha=config.alpha,
            beta=config.beta if config.beta is not None else float(lm is not None),
            unknown=unknown,
            blank=tokenizer.blank,
            gap=-1 if by_token or " " not in tokenizer.labels else tokenizer.labels.index(" "),
            space=letters.labels.index(" ") if " " in letters.labels else -1,
            by_token=by_token,
            start=ngram.start,
            end=END,
        )
        automaton = hotword_automaton(hotwords, letters)
        trie = spelt_lexicon(words, letters)
        word_ids = np.array([ngram.ids.get(word, UNKNOWN) for word in words], np.int64)
        labels, spelling = _spelling(tokenizer, letters)
        if by_token:
            labels["word"][:-1] = _token_words(ngram, tokenizer)
        places = np.recarray(trie.num_places + 1, PLACE)
        places["first"] = trie.first
        places["word"][:-1] = np.where(trie.word >= 0, np.append(word_ids, 0)[trie.word], -1)
        places["expected"][:-1] = self._expected(trie, ngram, word_ids)
        hot = np.recarray(len(automaton.bonus), HOT)
        hot["bonus"], hot["expected"] = automaton.bonus, automaton.expected
        place_letters = _frozen(trie.label)
        self._fusion = Fusion(ngram.table, labels, spelling, places, place_letters, automaton.next, hot)

    def __call__(self, log_probs: FloatArray, lengths: IntArray) -> list[list[Hypothesis]]:
        """The N best hypotheses of each row, best first; each row's depend on its own valid steps alone.

        log_probs: (B, T, V), natural logarithm. lengths: (B,), valid steps of each row.
        Raises ModelError for shapes and lengths that do not fit, and for a valid step that is not a number.
        """
        check_log_probs(log_probs, lengths, self.tokenizer.blank)
        log_probs, lengths = np.ascontiguousarray(log_probs), lengths.astype(np.int64)
        threads = min(len(lengths), self.config.threads or os.cpu_count() or 1)
        if threads <= 1:
            return self._search(log_probs, lengths)
        longest_first = np.argsort(-lengths, kind="stable")
        shares = [longest_first[thread::threads] for thread in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            found = pool.map(lambda rows: self._search(log_probs[rows], lengths[rows]), shares)
        by_row = dict(zip(np.concatenate(shares).tolist(), chain.from_iterable(found), strict=True))
        return [by_row[row] for row in range(len(lengths))]

    def _search(self, log_probs: FloatArray, lengths: IntArray) -> list[list[Hypothesis]]:
        """What `__call__` gives, on one thread; all rows in one call where one text of each is wanted."""
        if self.config.nbest > 1:
            return [self._nbest(log_probs[row, :length]) for row, length in enumerate(lengths)]
        texts = search(log_probs, lengths, self._fusion, self._rule).texts
        num_tokens = np.maximum(texts.num_tokens, 0)
        tokens = texts.tokens[:, : num_tokens.max(initial=0)]
        starts = label_starts(log_probs, lengths, tokens, num_tokens, self.tokenizer.blank)
        columns = tokens.tolist(), starts, texts.score.tolist(), texts.added.tolist()
        hypotheses = [
            [Hypothesis(tuple(labels[: len(frames)]), frames, score, added)]
            for labels, frames, score, added in zip(*columns, strict=True)
        ]
        for row in np.flatnonzero(texts.num_tokens < 0):
            hypotheses[row] = self._nbest(log_probs[row, : lengths[row]])
        return hypotheses

    def _nbest(self, log_probs: FloatArray) -> list[Hypothesis]:
        """The N best of one row (T, V)."""
        _, tree, beam, tried = search(log_probs[None], np.array([len(log_probs)]), self._fusion, self._rule)
        if not np.isfinite(beam["rank"]).any():
            beam = self._beginnings(tree, beam, log_probs)
        found = best_texts(tree, beam, self.config.nbest, partial(self._frames, log_probs))
        if self.config.nbest > 1:  # what is known of texts that were recombined is rough
            exact = [one._replace(acoustic=self._acoustic(tried, one.tokens)) for one in found]
            found = sorted((one for one in exact if math.isfinite(one.score)), key=lambda one: -one.score)
        texts = [Hypothesis(one.tokens, one.frames, one.score, one.added) for one in found]
        return texts or [Hypothesis((), (), -math.inf)]

    def _beginnings(self, tree: Records, beam: Records, log_probs: FloatArray) -> Records:
        """Where a lexicon lets no text of the beam end: the longest beginning of each that may, as a beam."""
        retreat(tree, beam, self._fusion, self._rule)
        beam = beam[np.unique(beam["node"], return_index=True)[1]]
        for entry in beam:
            entry["total"] = self._acoustic(log_probs, tree["token"][path_to(tree, entry["node"])[1:]])
        return beam

    def _acoustic(self, log_probs: FloatArray, tokens: Sequence[int]) -> float:
        text = np.array(tokens, np.int64)
        return float(text_log_prob(log_probs, text, self._rule.blank, self._rule.gap))

    def _frames(self, log_probs: FloatArray, tokens: Sequence[int]) -> tuple[int, ...] | None:
        """When each label begins; None where they do not fit into the steps."""
        if min_frames(tokens) > len(log_probs):
            return None
        return tuple(align_tokens(log_probs, tokens, self.tokenizer.blank).starts.tolist())

    def _expected(self, trie: Lexicon, ngram: NGram, word_ids: IndexArray) -> Float64Array:
        """(P,) what the unfinished word will add at best, going by the words' unigrams."""
        by_token = self._rule.by_token
        alpha, beta = (0.0, 0.0) if by_token else (self._rule.alpha, self._rule.beta)
        scores = alpha * ngram.table.log_prob[1 + word_ids].astype(np.float64) + beta
        expected = trie.best_below(scores)
        expected[0] = 0.0
        expected[-1] = alpha * float(ngram.table.log_prob[1 + UNKNOWN]) + beta + self._rule.unknown
        return expected


def make(config: DecodeConfig, tokenizer: Tokenizer) -> BeamSearch:
    """The search of `jasper.decode.SEARCHES`, with the files that the configuration names."""
    return BeamSearch(
        tokenizer,
        config,
        lm=load(config.lm) if config.lm else None,
        lexicon=_read_words(config.lexicon) if config.lexicon else None,
        hotwords=config.hotwords,
    )


def _read_words(path: Path) -> list[str]:
    try:
        words = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise LanguageModelError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    if not words:
        raise LanguageModelError(f"{path}: the lexicon has no words")
    return words


def _no_language_model() -> NGram:
    """Every word has the probability 1."""
    zeros = np.zeros(len(SPECIAL_WORDS), np.float32)
    ids = np.arange(len(SPECIAL_WORDS), dtype=np.int32)[:, None]
    return from_levels(SPECIAL_WORDS, [Level(ids, zeros, zeros)])


def _letters(tokenizer: Tokenizer) -> Tokenizer:
    """The letters that labels are made of, as labels; the labels themselves where each is a letter."""
    single = all(len(label) == 1 for label in tokenizer.labels)
    return tokenizer if single else Tokenizer(sorted(set("".join(tokenizer.labels))))


def _spelling(tokenizer: Tokenizer, letters: Tokenizer) -> tuple[Records, IndexArray]:
    """(V + 1,) of LABEL, and the letters that the labels are made of; the blank is made of none."""
    spelt = [letters.encode(label.removeprefix(" ")) for label in tokenizer.labels]
    labels = np.zeros(len(spelt) + 2, LABEL).view(np.recarray)
    labels["first"][1:] = np.cumsum([*map(len, spelt), 0])
    labels["opens"][: len(spelt)] = [label.startswith(" ") for label in tokenizer.labels]
    return labels, np.array([letter for word in spelt for letter in word], np.int64)


def _frozen(column: IndexArray) -> PlaceArray:
    """An array of the same kind as a language model's, so that one compiled function reads both."""
    frozen = column.astype(np.int32)
    frozen.flags.writeable = False
    return frozen


def _token_words(ngram: NGram, tokenizer: Tokenizer) -> IndexArray:
    """(V,) the word of a model of labels for each of them; the blank is none."""
    names = [[label.replace(" ", space) for space in SPACE_NAMES] for label in tokenizer.labels]
    found = [next((ngram.ids[name] for name in choices if name in ngram.ids), UNKNOWN) for choices in names]
    if not any(found):
        raise LanguageModelError("the language model has none of the labels; is it one of words?")
    return np.array([*found, UNKNOWN], np.int64)
