"""Updates of the parameters as part of a compiled step: the optimiser's own equations and its own state."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Update:
    """Step of Adam, AdamW or SGD written so that it can stand in a graph, on the state of a `torch.optim` optimiser.

    The optimiser stays the owner of its state, so that checkpoints, schedules and a return to its own `step` need
    nothing else. Numbers that change from step to step enter as one tensor.

    References:
        | Adam: A Method for Stochastic Optimization (Kingma and Ba, 2015), https://arxiv.org/abs/1412.6980
        | Decoupled Weight Decay Regularization (Loshchilov and Hutter, 2019), https://arxiv.org/abs/1711.05101

    Args:
        optimizer: The optimiser, of a kind that `supports` knows.
        parameters: Parameters in training, by name.
        clip_norm: Largest norm of the gradient of all parameters together; None leaves it alone.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], clip_norm: float | None
    ) -> None:
        self.optimizer, self.parameters, self.clip_norm = optimizer, dict(parameters), clip_norm

    @property
    def group(self) -> dict[str, Any]:
        """Settings of the optimiser; another mapping after its state was loaded."""
        return self.optimizer.param_groups[0]

    @staticmethod
    def supports(optimizer: torch.optim.Optimizer) -> bool:
        """Whether the optimiser's step can stand in a graph; others take their own step beside it."""
        if len(optimizer.param_groups) != 1:
            return False
        group = optimizer.param_groups[0]
        plain = not group.get("maximize") and not group.get("amsgrad") and not isinstance(group["lr"], Tensor)
        plain = plain and not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
        return type(optimizer) in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD) and plain

    def settings(self) -> dict[str, Any]:
        """What a graph freezes: all settings but the step size."""
        return {name: value for name, value in self.group.items() if name not in ("params", "lr")}

    def slots(self, names: Sequence[str]) -> list[list[Tensor]]:
        """Tensors of the optimiser's state of each parameter, which the step changes in place."""
        keys = ("exp_avg", "exp_avg_sq") if self._adaptive else ("momentum_buffer",) if self.group["momentum"] else ()
        return [[self.optimizer.state[self.parameters[name]][key] for key in keys] for name in names]

    def ready(self, names: Sequence[str]) -> bool:
        """Whether the optimiser has taken a step of its own, which makes its state, for each parameter."""
        owned = {id(parameter) for parameter in self.group["params"]}
        if not all(id(self.parameters[name]) in owned for name in names):
            return False  # the user's optimiser leaves some where they are
        states = [self.optimizer.state.get(self.parameters[name], {}) for name in names]
        if self._adaptive:
            return all("exp_avg" in state for state in states)
        return not self.group["momentum"] or all(state.get("momentum_buffer") is not None for state in states)

    def numbers(self, names: Sequence[str]) -> Tensor:
        """Step size and bias corrections of the next step, (3,) float64 on the CPU; the step counters move on."""
        lr = float(self.group["lr"])
        if not self._adaptive:
            return torch.tensor([lr, 1.0, 1.0], dtype=torch.float64)
        counters = [self.optimizer.state[self.parameters[name]]["step"] for name in names]
        torch._foreach_add_(counters, 1)
        step, (beta1, beta2) = float(counters[0]), self.group["betas"]
        return torch.tensor([lr, 1 / (1 - beta1**step), (1 - beta2**step) ** -0.5], dtype=torch.float64)

    def apply(
        self, values: Sequence[Tensor], gradients: Sequence[Tensor], slots: list[list[Tensor]], numbers: Tensor
    ) -> None:
        """Move parameters and slots in place.

        Args:
            values: Parameters that have a gradient.
            gradients: Their gradients.
            slots: State of each, as `slots` gives it.
            numbers: As `numbers` gives them.
        """
        lr, first_scale, second_scale = (numbers[i].to(values[0].device, values[0].dtype) for i in range(3))
        if self.clip_norm is not None:
            norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
            factor = (self.clip_norm / (norm + 1e-6)).clamp(max=1.0)
            gradients = [gradient * factor for gradient in gradients]
        decay = self.group["weight_decay"]
        for value, raw, slot in zip(values, gradients, slots, strict=True):
            gradient = raw + decay * value if decay and not self._decoupled else raw
            if self._decoupled and decay:
                value.mul_(1 - lr * decay)
            if self._adaptive:
                mean, square = slot
                beta1, beta2 = self.group["betas"]
                mean.lerp_(gradient, 1 - beta1)
                square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
                value.sub_(lr * first_scale * mean / (square.sqrt() * second_scale + self.group["eps"]))
            else:
                value.sub_(lr * self._with_momentum(gradient, slot))

    def _with_momentum(self, gradient: Tensor, slot: list[Tensor]) -> Tensor:
        if not slot:
            return gradient
        momentum, buffer = self.group["momentum"], slot[0]
        buffer.mul_(momentum).add_(gradient, alpha=1 - self.group["dampening"])
        return gradient + momentum * buffer if self.group["nesterov"] else buffer

    @property
    def _adaptive(self) -> bool:
        return isinstance(self.optimizer, (torch.optim.Adam, torch.optim.AdamW))

    @property
    def _decoupled(self) -> bool:
        return isinstance(self.optimizer, torch.optim.AdamW) or bool(self.group.get("decoupled_weight_decay"))


def make_update(optimizer: Any, parameters: Mapping[str, nn.Parameter], clip_norm: float | None) -> Update | None:
    """The update of an optimiser that can stand in a graph; None for others."""
    return Update(optimizer, parameters, clip_norm) if Update.supports(optimizer) else None
