"""Parameters and gradients in, moved parameters out: NovoGrad and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mindspore import Parameter, Tensor, ops
from numpy.typing import NDArray

from jasper.config import OptimizerConfig

Arrays = dict[str, NDArray[np.float32]]


class Optimizer:
    """Keeps for each parameter a first moment of its shape and a second one; both begin as zeros."""

    def __init__(
        self, parameters: Sequence[Parameter], factors: Sequence[float], config: OptimizerConfig
    ) -> None:
        """`factors`: of each parameter, on the learning rate."""
        self.parameters, self.factors, self.config = parameters, factors, config
        self.steps = 0
        self.first = [_kept(ops.zeros_like(parameter)) for parameter in parameters]
        self.second = [_kept(self.no_second(parameter)) for parameter in parameters]

    def no_second(self, parameter: Parameter) -> Tensor:
        """The second moment of a parameter before the first step."""
        return ops.zeros_like(parameter)

    def move(self, grads: Sequence[Tensor], rate: float) -> None:
        """Make one step."""
        self.steps += 1
        for index, (parameter, grad) in enumerate(zip(self.parameters, grads, strict=True)):
            self.move_one(index, parameter, grad, rate * self.factors[index])

    def move_one(self, index: int, parameter: Parameter, grad: Tensor, rate: float) -> None:
        """Move a parameter and its moments."""
        raise NotImplementedError

    def state(self) -> Arrays:
        """The moments under the parameters' names, and the number of steps."""
        found: Arrays = {"steps": np.array(self.steps, np.float32)}
        for parameter, first, second in zip(self.parameters, self.first, self.second, strict=True):
            found[f"first.{parameter.name}"] = first.asnumpy()
            found[f"second.{parameter.name}"] = second.asnumpy()
        return found

    def restore(self, state: Arrays) -> None:
        """Take up a state; KeyError or ValueError if it is of other parameters."""
        self.steps = int(state["steps"])
        for index, parameter in enumerate(self.parameters):
            for name, moments in (("first", self.first), ("second", self.second)):
                value = state[f"{name}.{parameter.name}"]
                if value.shape != moments[index].shape:
                    raise ValueError(f"{name}.{parameter.name} has shape {value.shape}")
                moments[index].set_data(Tensor(value))


class NovoGrad(Optimizer):
    """Gradient descent with layer-wise normalised gradients; see `jasper.train.optimizers.NovoGrad`."""

    def no_second(self, parameter: Parameter) -> Tensor:
        """One number a tensor."""
        return ops.zeros((), parameter.dtype)

    def move_one(self, index: int, parameter: Parameter, grad: Tensor, rate: float) -> None:
        """See `Optimizer.move_one`."""
        beta1, beta2 = self.config.betas or (0.95, 0.0)
        first, second, square = self.first[index], self.second[index], (grad * grad).sum()
        ops.assign(second, ops.where(second == 0, square, beta2 * second + (1 - beta2) * square))
        scaled = grad / (ops.sqrt(second) + self.config.eps)
        ops.assign(first, beta1 * first + scaled + self.config.weight_decay * parameter)
        ops.assign(parameter, parameter - rate * first)


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019); scales and biases are not decayed.

    In one pass over memory by MindSpore's operation, which leaves the moments biased towards their beginning:
    rate, epsilon and decay are given so that the outcome is not.
    """

    def __init__(
        self, parameters: Sequence[Parameter], factors: Sequence[float], config: OptimizerConfig
    ) -> None:
        super().__init__(parameters, factors, config)
        self.fused = ops.AdamWeightDecay()

    def move_one(self, index: int, parameter: Parameter, grad: Tensor, rate: float) -> None:
        """See `Optimizer.move_one`."""
        beta1, beta2 = self.config.betas or (0.9, 0.98)
        first_share, second_share = 1 - beta1**self.steps, (1 - beta2**self.steps) ** 0.5
        decay = self.config.weight_decay if parameter.ndim > 1 else 0.0
        self.fused(
            parameter, self.first[index], self.second[index],
            rate * second_share / first_share, beta1, beta2, self.config.eps * second_share,
            decay * first_share / second_share, grad,
        )  # fmt: skip


def _kept(value: Tensor) -> Parameter:
    """A value that operations may change in place."""
    return Parameter(value, requires_grad=False)


OPTIMIZERS: dict[str, Callable[[Sequence[Parameter], Sequence[float], OptimizerConfig], Optimizer]] = {
    "novograd": NovoGrad,
    "adamw": AdamW,
}
