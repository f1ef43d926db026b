"""An instance of every unit and coupling, in float64 on a device, with leaves that want a gradient."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from examples import own_examples
from ppgen import distributions


def parameter(*shape: int, device: torch.device) -> Tensor:
    return torch.randn(shape, dtype=torch.float64).to(device).requires_grad_()


def _on_device(example: Callable[[], Any]) -> Callable[[torch.device], Any]:
    return lambda device: example().to(device, torch.float64)


_OWN = {name: _on_device(example) for name, example in own_examples("unit").items()}
UNITS = {
    **_OWN,
    "Bernoulli": lambda device: distributions.Bernoulli(parameter(4, device=device)),
    "Spin": lambda device: distributions.Spin(parameter(4, device=device)),
    "Gaussian": lambda device: distributions.Gaussian(parameter(3, device=device), parameter(3, device=device)),
    "PrecisionGaussian": lambda device: distributions.PrecisionGaussian(
        parameter(3, device=device), parameter(3, device=device), torch.tensor(2, device=device)
    ),
    "RectifiedGaussian": lambda device: distributions.RectifiedGaussian(
        parameter(3, device=device), parameter(3, device=device)
    ),
    "Categorical": lambda device: distributions.Categorical(parameter(3, 4, device=device)),
    "Multinomial": lambda device: distributions.Multinomial(parameter(4, device=device), total=3),
    "MaxPooled": lambda device: distributions.MaxPooled(parameter(3, 4, device=device)),
    "Clamped": lambda device: distributions.Clamped(
        distributions.Bernoulli(parameter(4, device=device)),
        torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64, device=device),
        torch.tensor([True, False, False, True], device=device),
    ),
}
PARTLY = {
    "missing groups": lambda device: distributions.Categorical(
        parameter(3, 4, device=device), present=torch.tensor([True, False, True], device=device)
    ),
    "clamped blocks": lambda device: distributions.Clamped(
        distributions.MaxPooled(parameter(2, device=device), block=2, positions=2),
        torch.tensor([0.0, 1, 0, 0, 0, 0, 0, 0], dtype=torch.float64, device=device),
        torch.tensor([True, True, False, False, False, False, True, True], device=device),
    ),
    "clamped groups": lambda device: distributions.Clamped(
        distributions.Categorical(parameter(3, 3, device=device)),
        torch.tensor([0.0, 1, 0, 0, 0, 0, 1, 0, 0], dtype=torch.float64, device=device),
        torch.tensor([True, True, True, False, False, False, True, True, True], device=device),
    ),
}
# A visible layer of every type, as the even side of a small machine.
VISIBLE = {
    **_OWN,
    "Gaussian": lambda device: distributions.Gaussian(parameter(2, device=device)),
    "Gaussian of learned variance": lambda device: distributions.Gaussian(
        parameter(2, device=device), torch.tensor([-0.9, 0.5], dtype=torch.float64, device=device).requires_grad_()
    ),
    "RectifiedGaussian": lambda device: distributions.RectifiedGaussian(
        parameter(2, device=device), torch.tensor([-0.9, 0.5], dtype=torch.float64, device=device).requires_grad_()
    ),
    "Categorical": lambda device: distributions.Categorical(parameter(2, 3, device=device)),
    "missing groups": lambda device: distributions.Categorical(
        parameter(3, 3, device=device), present=torch.tensor([True, False, True], device=device)
    ),
    "Multinomial": lambda device: distributions.Multinomial(parameter(4, device=device), total=3),
}
COUPLINGS = {
    "Dense": lambda device: distributions.Dense(parameter(4, 3, device=device)),
    "Replicated": lambda device: distributions.Replicated(parameter(4, 3, device=device), parameter(3, device=device)),
    "Ordinal": lambda device: distributions.Ordinal(
        parameter(2, 2, device=device).detach(), parameter(2, 3, device=device), parameter(2, 3, device=device)
    ),
    "Convolutional": lambda device: distributions.Convolutional(parameter(3, 1, 2, 2, device=device), (2, 2)),
}
