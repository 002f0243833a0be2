"""Tiny corpora of tones, made once."""

import pytest
from tones import random_texts, write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Manifest of 12 utterances of 0.4 to 0.9 s."""
    return write_corpus(tmp_path_factory.mktemp("train"), random_texts(12))


@pytest.fixture(scope="session")
def dev(tmp_path_factory):
    """Manifest of 8 other utterances."""
    return write_corpus(tmp_path_factory.mktemp("dev"), random_texts(8, seed=1), "dev")


@pytest.fixture(scope="session")
def noise(tmp_path_factory):
    """Manifest of two clips, to be mixed in as noise."""
    return write_corpus(tmp_path_factory.mktemp("noise"), ["ebe", "dada"], "noise")
