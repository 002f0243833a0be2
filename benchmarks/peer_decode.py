"""Log-probabilities and settings of `decode.py` in, seconds and texts of pyctcdecode or flashlight-text out.

It runs in the other toolkit's environment and imports nothing of this project.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Work = dict[str, Any]
Decode = Callable[[Any], str]

# As probability below which pyctcdecode leaves a label out: its own default.
TOKEN_MIN_LOGP = -5.0
LN_10 = math.log(10)


def pyctcdecode(work: Work) -> Decode:
    """pyctcdecode, with the words of the ARPA file as its unigrams."""
    from pyctcdecode import build_ctcdecoder

    decoder = build_ctcdecoder(
        [*work["labels"], ""],
        kenlm_model_path=work["arpa"],
        unigrams=words_of(work["arpa"]) if work["arpa"] else None,
        alpha=work["alpha"],
        beta=work["beta"],
    )

    def decode(log_probs: Any) -> str:
        return str(
            decoder.decode(
                log_probs,
                beam_width=work["beam_width"],
                beam_prune_logp=-work["prune"],
                token_min_logp=TOKEN_MIN_LOGP,
            )
        )

    return decode


def flashlight(work: Work) -> Decode:
    """flashlight-text: with the language model by its lexicon and smearing, else free of a lexicon."""
    from flashlight.lib.text.decoder import (
        CriterionType,
        LexiconFreeDecoder,
        LexiconFreeDecoderOptions,
        ZeroLM,
    )

    labels = [*work["labels"], "<blank>"]
    blank, space = len(labels) - 1, labels.index(" ")
    count = min(len(labels), 40)
    if work["arpa"]:
        decoder = _with_lexicon(work, labels, blank, space, count)
    else:
        options = LexiconFreeDecoderOptions(
            work["beam_width"], count, work["prune"], 0.0, work["beta"], True, CriterionType.CTC
        )
        decoder = LexiconFreeDecoder(options, ZeroLM(), space, blank, [])  # beta: for each space

    def decode(log_probs: Any) -> str:
        log_probs = np.ascontiguousarray(log_probs, np.float32)
        best = decoder.decode(log_probs.ctypes.data, *log_probs.shape)[0]
        merged = [label for label, _ in itertools.groupby(best.tokens)]
        return " ".join("".join(labels[label] for label in merged if label != blank).split())

    return decode


def _with_lexicon(work: Work, labels: list[str], blank: int, space: int, count: int) -> Any:
    from flashlight.lib.text.decoder import (
        CriterionType,
        LexiconDecoder,
        LexiconDecoderOptions,
        SmearingMode,
        Trie,
    )
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import create_word_dict

    words = [word for word in words_of(work["arpa"]) if set(word) <= set(labels)]
    dictionary = create_word_dict({**{word: [list(word)] for word in words}, "<unk>": []})
    lm = KenLM(work["arpa"], dictionary)
    trie, start = Trie(len(labels), space), lm.start(False)
    for word in words:
        _, score = lm.score(start, dictionary.get_index(word))
        spelt = [labels.index(letter) for letter in word] + [space]
        trie.insert(spelt, dictionary.get_index(word), score)
    trie.smear(SmearingMode.MAX)
    # KenLM's logarithms have base 10 here. It has no word but those of the lexicon.
    options = LexiconDecoderOptions(
        work["beam_width"], count, work["prune"], work["alpha"] * LN_10, work["beta"], -math.inf, 0.0,
        True, CriterionType.CTC,
    )  # fmt: skip
    return LexiconDecoder(options, trie, lm, space, blank, dictionary.get_index("<unk>"), [], False)


def words_of(arpa: str) -> list[str]:
    """The words of an ARPA file, but for its special ones."""
    words = []
    with Path(arpa).open(encoding="utf-8") as file:
        for line in file:
            if line.startswith(("\\2-grams", "\\end")):
                break
            fields = line.rstrip("\n").split("\t")
            if len(fields) > 1 and not fields[1].startswith("<"):
                words.append(fields[1])
    return words


def main() -> None:
    """Decode all rows, several times, and print the fastest round."""
    work = json.load(sys.stdin)
    decode = {"pyctcdecode": pyctcdecode, "flashlight": flashlight}[sys.argv[1]](work)
    with np.load(work["rows"]) as file:
        rows = [file[name] for name in file.files]
    decode(rows[0])
    seconds = []
    for _ in range(work["rounds"]):
        begin = time.perf_counter()
        texts = [decode(row) for row in rows]
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": min(seconds), "texts": texts}))


if __name__ == "__main__":
    main()
