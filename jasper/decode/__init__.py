"""Search: log-probabilities in, hypotheses out."""

from jasper.decode.greedy import greedy

__all__ = ["greedy"]
