"""`--rescore`: texts of a first search in the order of a second language model, through the command line."""

import json
import sys

import pytest
import soundfile
from tones import assert_fault, run_jasper

import jasper
from jasper.config import DecodeConfig
from jasper.decode.rescore import load_scorer
from jasper.errors import LanguageModelError
from jasper.lm import load as load_lm


@pytest.fixture(scope="module")
def audio(corpus):
    return corpus.parent / json.loads(corpus.read_text().splitlines()[0])["audio_filepath"]


@pytest.fixture(scope="module")
def first(run, audio):
    """What a search without any language model finds, 20 texts with their scores."""
    model = jasper.load(run, decode=DecodeConfig(search="beam", nbest=20, recombine=True))
    wave, _ = soundfile.read(audio, dtype="float32")
    found = model.recognize([wave])[0].hypotheses
    return [(model.tokenizer.decode(one.tokens).strip(), one.score) for one in found]


def rescored(run, audio, model, weight):
    """The text that the command line finds with 20 texts and a weight, and its score."""
    options = ["--rescore", model, "--rescore-weight", weight, "--decode", "rescore_nbest=20"]
    done = run_jasper("transcribe", run, audio, "--json", *options)
    assert done.code == 0, done.stderr
    result = json.loads(done.stdout)
    return result["text"], pytest.approx(result["score"], abs=1e-3)


@pytest.fixture(scope="module")
def bigrams(tmp_path_factory, corpus):
    folder = tmp_path_factory.mktemp("bigrams")
    texts = [json.loads(line)["text"] for line in corpus.read_text().splitlines()]
    (folder / "text.txt").write_text("\n".join(texts))
    run_jasper("lm", "build", folder / "text.txt", "--order", 2, "--out", folder / "two.arpa")
    return folder / "two.arpa"


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A folder of a tiny GPT-2 with random weights and a tokenizer of letters, as `transformers` saves it."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizers = pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("gpt2")
    letters = {letter: index for index, letter in enumerate(" abcdefgh")}
    spelling = tokenizers.Tokenizer(tokenizers.models.WordLevel({**letters, "<end>": 9}, unk_token="<end>"))
    spelling.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    transformers.PreTrainedTokenizerFast(tokenizer_object=spelling, eos_token="<end>").save_pretrained(folder)
    transformers.set_seed(0)
    config = transformers.GPT2Config(vocab_size=10, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    config.initializer_range = 1.0  # a random model with an opinion
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("weight", [0.5, 20])
def test_n_grams_order_what_a_search_without_them_found(run, audio, first, bigrams, weight):
    model = load_lm(bigrams)
    expected = max((score + weight * model.score(text), text) for text, score in first)
    assert rescored(run, audio, bigrams, weight) == (expected[1], expected[0])


def test_a_transformer_orders_texts_by_their_probability(run, audio, first, gpt2):
    """The library's own loss is the mean of what a text's letters and its end cost."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spelling, network = AutoTokenizer.from_pretrained(gpt2), AutoModelForCausalLM.from_pretrained(gpt2).eval()

    def log_prob(text):
        ids = torch.tensor([[9, *spelling.encode(text), 9]])
        with torch.inference_mode():
            return -network(ids, labels=ids).loss.item() * (ids.shape[1] - 1)

    for weight in (0.1, 5):
        expected = max((score + weight * log_prob(text), text) for text, score in first)
        assert rescored(run, audio, gpt2, weight) == (expected[1], expected[0])
    assert expected[1] != first[0][0]  # or the weight is worth nothing


def test_a_weight_of_nothing_changes_nothing(run, audio, first, bigrams):
    assert rescored(run, audio, bigrams, 0) == first[0]


@pytest.fixture(scope="module")
def tuned(run, corpus, bigrams):
    """Tune the weight of a second model: what is found; WER is held to `eval`'s."""

    def tune(weights):
        ranges = ["--alphas", "0:0:1", "--betas", "0:0:1", "--unknowns=-8:-8:1", "--rescore-weights", weights]
        lms = ["--lm", bigrams, "--rescore", bigrams]
        done = run_jasper("lm", "tune", run, corpus, *lms, *ranges, "--json")
        assert done.code == 0, done.stderr
        found = json.loads(done.stdout)
        scored = run_jasper("eval", run, corpus, "--json", *found["options"].split())
        assert json.loads(scored.stdout)["wer"] == pytest.approx(found["best_wer"])
        return found

    return tune


def test_tuning_finds_the_weight_that_eval_confirms(tuned):
    """The first model has no weight, so that the second one tells what the texts may be."""
    without, found = tuned("0:0:1"), tuned("0:8:1")
    assert found["best_wer"] < without["best_wer"]
    assert found["best"]["rescore_weight"] > 0
    assert found["options"].endswith(f"--rescore-weight {found['best']['rescore_weight']:g}")


def test_tuning_leaves_out_a_model_that_does_not_help(tuned):
    """It named a weight of the second model where none did any good."""
    found = tuned("0:0:1")
    assert "--rescore" not in found["options"]
    assert found["best"]["rescore_weight"] == 0


def test_a_model_that_cannot_be_used(run, corpus, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    assert_fault(run_jasper("eval", run, corpus, "--rescore", "nowhere.bin"), "nowhere.bin: cannot be read")
    pytest.importorskip("transformers", reason="transformers is not installed")
    done = run_jasper("eval", run, corpus, "--rescore", tmp_path / "empty")
    assert_fault(done, "empty: no causal language model of transformers")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(LanguageModelError, match=r"empty: .*pip install 'jasper-asr\[rescore\]'"):
        load_scorer(tmp_path / "empty")
