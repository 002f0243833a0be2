"""Parameters in, an optimizer out: NovoGrad, written here, and PyTorch's AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from jasper.config import OptimizerConfig

Groups = Sequence[dict[str, Any]]


class NovoGrad(Optimizer):
    """Gradient descent with layer-wise normalised gradients (Ginsburg et al. 2019, arXiv 1905.11286).

    The second moment is one number a tensor: v ← β₂ v + (1 − β₂) ‖g‖², begun with ‖g‖². The first is
    m ← β₁ m + g / (√v + ε) + d w, with weight decay d decoupled from the norm; then w ← w − λ m.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Groups,
        lr: float,
        betas: tuple[float, float] = (0.95, 0.0),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    # A truth value () as a float, set before a step: where it is 1 nothing moves. PyTorch's own name, too.
    found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._move(params, group)

    def _move(self, params: list[Tensor], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        grads = [p.grad for p in params if p.grad is not None]
        for param in params:
            if not self.state[param]:
                self.state[param]["moment"] = torch.zeros_like(param)
                self.state[param]["velocity"] = torch.zeros((), dtype=param.dtype, device=param.device)
        moments = [self.state[p]["moment"] for p in params]
        velocities = [self.state[p]["velocity"] for p in params]
        before, squares = torch.stack(velocities), torch.stack(torch._foreach_norm(grads)).square()
        skip = torch.zeros_like(before[0]) if self.found_inf is None else self.found_inf.to(before.dtype)
        # Zero is where no gradient was yet: the average begins with the first.
        after = torch.where(before == 0, squares, beta2 * before + (1 - beta2) * squares)
        after = torch.where(skip > 0, before, after)
        torch._foreach_copy_(velocities, list(after.unbind()))
        scales = (after.sqrt() + group["eps"]).unbind()
        if params[0].device.type == "cpu" and params[0].dtype == torch.float32:
            self._move_fused(params, moments, list(scales), group)
            return
        scaled = torch._foreach_div(grads, list(scales))
        torch._foreach_add_(scaled, params, alpha=group["weight_decay"])
        for each in scaled:
            each.masked_fill_(skip > 0, 0.0)
        torch._foreach_mul_(moments, torch.lerp(torch.full_like(skip, beta1), torch.ones_like(skip), skip))
        torch._foreach_add_(moments, scaled)
        rate = [group["lr"] * (1 - skip)] * len(params)
        torch._foreach_addcmul_(params, moments, rate, value=-1)

    def _move_fused(
        self, params: list[Tensor], moments: list[Tensor], scales: list[Tensor], group: dict[str, Any]
    ) -> None:
        """Each tensor in one pass over memory, a quarter of the time on a CPU; leaves its gradient divided.

        Given √v + ε, the rest of the formula is that of gradient descent with momentum and loss scale.
        """
        for param, moment, scale in zip(params, moments, scales, strict=True):
            assert param.grad is not None
            torch._fused_sgd_(
                [param], [param.grad], [moment],
                weight_decay=group["weight_decay"], momentum=group["betas"][0], lr=group["lr"], dampening=0.0,
                nesterov=False, maximize=False, is_first_step=False,
                grad_scale=scale, found_inf=self.found_inf,
            )  # fmt: skip


def _novograd(groups: Groups, config: OptimizerConfig) -> Optimizer:
    betas = config.betas or (0.95, 0.0)  # NVIDIA's recipe; the paper has 0.95, 0.98
    return NovoGrad(groups, config.learning_rate, betas, config.eps, config.weight_decay)


def _adamw(groups: Groups, config: OptimizerConfig) -> Optimizer:
    split: list[dict[str, Any]] = []
    for group in groups:
        # Scales and biases are not decayed.
        split.append({**group, "params": [p for p in group["params"] if p.ndim > 1]})
        rest = [p for p in group["params"] if p.ndim <= 1]
        split.append({**group, "params": rest, "weight_decay": 0.0})
    return torch.optim.AdamW(
        split,
        lr=config.learning_rate,
        betas=config.betas or (0.9, 0.98),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,  # the one that heeds `found_inf`
    )


OPTIMIZERS: dict[str, Callable[[Groups, OptimizerConfig], Optimizer]] = {
    "novograd": _novograd,
    "adamw": _adamw,
}


def build_optimizer(groups: Groups, config: OptimizerConfig) -> Optimizer:
    """The configured optimizer over groups of parameters, each a dict of `params` and what goes with them."""
    return OPTIMIZERS[config.name](groups, config)
