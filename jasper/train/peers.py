"""Calls that other ranks answer in, a RankError out where one of them is gone, whatever the framework."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jasper.errors import RankError


@contextmanager
def peers_may_be_gone() -> Iterator[None]:
    """Raise RankError where what is called in this block fails, as it does when another rank has ended."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise RankError(
            f"another rank has ended or does not answer; its own message says why ({reason})"
        ) from None
