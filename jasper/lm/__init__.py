"""Language models: text or ARPA files in, log-probabilities of words in context out."""

from __future__ import annotations

from jasper.lm.arpa import read_arpa, write_arpa
from jasper.lm.ngram import NGram
from jasper.lm.store import load, read_binary, write_binary

__all__ = ["NGram", "load", "read_arpa", "read_binary", "write_arpa", "write_binary"]
