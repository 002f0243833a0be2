"""A small trained model and its corpus, for the commands that need one."""

import pytest
from tones import random_texts, recipe, write_corpus

from jasper.train import train


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Manifest of 12 utterances of 0.4 to 0.9 s."""
    return write_corpus(tmp_path_factory.mktemp("train"), random_texts(12))


@pytest.fixture(scope="session")
def run(tmp_path_factory, corpus):
    """A training run that has learnt something, but not everything."""
    out = tmp_path_factory.mktemp("model") / "run"
    data = {"dev": [str(corpus)], "batch_size": 4}
    return train(recipe(corpus, out, data=data, train={"epochs": 12, "eval_epochs": 4})).directory
