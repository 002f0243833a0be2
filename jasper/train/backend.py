"""A configuration in, the framework that trains out: all of it that the loop, the run and the feed know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Protocol, cast

from jasper.bundle import Weights
from jasper.config import Config
from jasper.data.dataset import Batch, TrainingSet
from jasper.engines import Engine
from jasper.errors import MissingExtraError
from jasper.train.order import Group
from jasper.train.place import Place
from jasper.train.start import Start
from jasper.train.tally import Tally
from jasper.types import FloatArray

BACKENDS = {"torch": "jasper.train.with_torch", "mindspore": "jasper.train.with_mindspore"}


class Learner(Protocol):
    """A network in training."""

    start: Start | None

    def state(self) -> dict[str, Any]:
        """All that `restore` needs for the next step to be the one that would have come."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state; CheckpointError if it is of another network or optimizer."""
        ...

    def average_weights(self) -> Weights:
        """The averaged network's, as a model directory keeps them."""
        ...

    def average_engine(self) -> Engine:
        """The averaged network, to recognise with."""
        ...


class Backend(Protocol):
    """A module that trains with one framework."""

    CHECKPOINT_ENDING: str

    def start_ranks(self, device: str) -> AbstractContextManager[Any]:
        """Join the ranks that train together; see `jasper.train.ranks.Ranks` for what they do."""
        ...

    def alone(self, device: str) -> Any:
        """The ranks of a process that trains alone."""
        ...

    def use_threads(self, number: int) -> None:
        """Compute with so many threads of the CPU."""
        ...

    def make_learner(self, config: Config, ranks: Any, fresh: bool) -> Learner:
        """`fresh`: no checkpoint will be restored, so the weights begin as the configuration says."""
        ...

    def train_step(
        self, learner: Any, ranks: Any, batches: Sequence[Batch], tally: Tally, step: int, rate: float
    ) -> Any:
        """Make a step, counted from 1; see `jasper.train.step`."""
        ...

    def load_steps(
        self, training_set: TrainingSet, steps: Iterator[tuple[Place, Group]], num_workers: int
    ) -> Iterator[tuple[Place, list[Batch]]]:
        """The batches of each step, in order, read ahead."""
        ...

    def ctc_loss(self, log_probs: FloatArray, tokens: Sequence[int], blank: int) -> float:
        """Of one utterance, log_probs (T, V), in nats."""
        ...


def backend_of(config: Config) -> Backend:
    """The framework that `train.engine` names. Raises MissingExtraError where it is not installed."""
    try:
        return cast(Backend, import_module(BACKENDS[config.train.engine]))
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("torch", "threadpoolctl", "mindspore"):
            raise
        extra = "train" if config.train.engine == "torch" else "mindspore"
        raise MissingExtraError(str(error.name), extra) from None
