import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from jasper.config import DecodeConfig
from jasper.decode.beam import BeamSearch
from jasper.decode.rescore import rescore
from jasper.lm.build import build
from jasper.nn.causal import CausalScorer
from jasper.text import Tokenizer

TOKENIZER = Tokenizer(" ab")


class NGramScorer:
    def __init__(self, model):
        self.model = model

    def score(self, texts):
        return np.array([self.model.score(text) for text in texts])


@pytest.fixture(scope="module")
def lm():
    return build(["a ab", "ab a b", "b ab ab"] * 3 + ["ba", "a b"], 2)


def test_rescoring_all_texts_is_searching_with_the_model(lm):
    """The same n-gram model, in the search and after it, orders every text alike."""
    logits = np.random.default_rng(0).normal(0, 2, (1, 5, 4))
    log_probs = (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)
    config = DecodeConfig(
        beam_width=500, nbest=500, cutoff_prob=1.0, prune=None, unknown=0.0, alpha=0.8, beta=0.4
    )
    plain = BeamSearch(TOKENIZER, config.model_copy(update={"beta": 0.0}))
    ((*found,),) = plain(log_probs, np.array([5]))
    ((*fused,),) = BeamSearch(TOKENIZER, config, lm=lm)(log_probs, np.array([5]))
    rescored = rescore(found, TOKENIZER, NGramScorer(lm), weight=0.8, word_bonus=0.4)
    assert len(rescored) == len(fused) > 50
    expected = {one.tokens: one.score for one in fused}
    for one in rescored:
        assert one.score == pytest.approx(expected[one.tokens], abs=1e-5)
    assert rescored[0].tokens == fused[0].tokens
    assert [one.score for one in rescored] == sorted((one.score for one in rescored), reverse=True)


def test_the_searchs_own_model_may_be_taken_out(lm):
    log_probs = np.log(np.full((1, 4, 4), 0.25, np.float32))
    ((*fused,),) = BeamSearch(TOKENIZER, DecodeConfig(nbest=5), lm=lm)(log_probs, np.array([4]))
    for one in rescore(fused, TOKENIZER, NGramScorer(lm), weight=0.0, keep_added=0.0):
        (before,) = (other for other in fused if other.tokens == one.tokens)
        assert (one.score, one.added) == (pytest.approx(before.score - before.added), 0.0)
    assert rescore([], TOKENIZER, NGramScorer(lm), weight=1.0) == []


class Letters:
    """A tokenizer as `transformers` has it, of letters."""

    bos_token_id, eos_token_id = None, 6

    def encode(self, text, add_special_tokens):
        return [" abcde".index(letter) for letter in text]


class Bigrams(torch.nn.Module):
    """A causal model whose next letter depends on the last alone."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(7, 7, generator=torch.Generator().manual_seed(0)))

    def forward(self, ids, attention_mask):
        return SimpleNamespace(logits=self.table[ids])


def test_a_causal_model_scores_whole_texts_with_their_end():
    model = Bigrams()
    log_probs = model.table.detach().double().log_softmax(-1).numpy()
    texts = ["", "a", "ab cde", "bbb"]
    path = [[6, *Letters().encode(text, False), 6] for text in texts]
    expected = [sum(log_probs[one, two] for one, two in itertools.pairwise(row)) for row in path]
    assert CausalScorer(model, Letters(), batch_size=3).score(texts) == pytest.approx(expected)
    assert CausalScorer(model, Letters()).score([]).shape == (0,)


def test_a_transformer_scores_texts_alike_alone_and_in_a_batch():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=7, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    scorer = CausalScorer(transformers.GPT2LMHeadModel(config), Letters(), batch_size=3)
    texts = ["", "a", "ab cde", "b b b b", "edcba"]
    scores = scorer.score(texts)
    assert scores == pytest.approx([scorer.score([text])[0] for text in texts], abs=1e-4)
    # Of nothing, it is the probability of the end alone; of all texts of one letter with it, less than one.
    assert math.exp(scores[0]) + sum(np.exp(scorer.score(list(" abcde")))) < 1
