"""Contract of an objective."""

import copy
import dataclasses
from typing import Any

import torch
from torch import Tensor

from ppgen import registry
from ppgen.inference import Inference, Objective, from_config, to_config
from ppgen.pair import Pair
from ppgen.testing.examples import conjugate_pair
from ppgen.testing.pairs import check_gradient, seeded
from ppgen.testing.statistics import check_close, check_mean, fail


def check_objective(objective: Objective, *, device: torch.device | str = "cpu", num_draws: int = 300) -> None:
    """Raise unless an objective is a bound per datum, on a model whose evidence is known.

    It is log p(x) when the guide is the exact posterior, and no more than that otherwise; the size of the
    data plate does not change it, nor what other rows are in the batch; its gradient is the derivative of its
    value, unless it says by itself how it is estimated; particles one by one have the same law as particles at
    once; it is a value that can be compared, hashed, copied and written.

    Args:
        objective: An objective with a pathwise gradient.
        device: Where to run.
        num_draws: Draws of the tests by sampling.

    Example:
        >>> from ppgen import inference, testing
        >>> testing.check_objective(inference.ELBO())
    """
    device = torch.device(device)
    name = type(objective).__name__
    x = torch.tensor([0.7, -1.3, 2.1], dtype=torch.float64, device=device)
    pair = conjugate_pair(device=device)
    evidence = pair.model_module.log_evidence(x).detach()  # type: ignore[operator, union-attr]

    with seeded(device):
        draws, alone = (_values(objective, pair, rows, num_draws) for rows in (x, x[1:2]))
        apart = torch.stack([_values(objective, pair, row, num_draws) for row in x.split(1)]).mean(0)
    if float(draws.mean() - evidence.mean()) > 4 * float(draws.std()) / num_draws**0.5:
        fail(f"{name} gives {draws.mean():.4f} nats, above log p(x) = {evidence.mean():.4f}.")
    if float(alone.mean() - evidence[1]) > 4 * float(alone.std()) / num_draws**0.5:
        fail(f"{name} of one datum gives {alone.mean():.4f} nats, above log p(x) = {evidence[1]:.4f}.")
    zero = torch.zeros((), dtype=x.dtype, device=device)
    check_mean(draws - apart, zero, f"{name} of a batch less that of its rows one by one")
    one_by_one = dataclasses.replace(objective, vectorize_particles=not objective.vectorize_particles)
    with seeded(device, 1):
        others = _values(one_by_one, pair, x, num_draws)
    check_mean(draws - others, zero, f"{name} of particles at once less that of particles one by one")

    with seeded(device):
        expected = _values(objective, pair, x, 1)
    with seeded(device):
        found = _values(objective, conjugate_pair(full_size=30, device=device), x, 1)
    check_close(found, expected, f"{name} with a data plate of size N")
    bound = Inference(objective).bind(pair, x, num_data=3)
    if objective.own_gradient:  # it climbs something else than its value
        missing = {name for name, _ in pair.named_parameters()} - set(bound.step(x).gradients)
        if missing:
            fail(f"{name} has no gradient for {sorted(missing)}.")
    else:
        check_gradient(bound, x)
    _set_exact_posterior(pair)
    check_close(_values(objective, pair, x, 1)[0], evidence.mean(), f"{name} under the exact posterior")
    _check_value_semantics(objective)


def _values(objective: Objective, pair: Pair, x: Tensor, num_draws: int) -> Tensor:
    """Independent values of the objective: (num_draws,)."""
    bound = Inference(objective).bind(pair, x, num_data=len(x))
    return torch.stack([bound.value(x) for _ in range(num_draws)])


@torch.no_grad()
def _set_exact_posterior(pair: Pair) -> None:
    module: Any = pair.model_module
    slope, noise = module.slope, (2 * module.log_scale).exp()
    precision = 1 + slope**2 / noise
    module.a.copy_(slope / noise / precision)
    module.b.copy_(module.loc / precision)
    module.log_s.copy_(-0.5 * precision.log())


def _check_value_semantics(objective: Objective) -> None:
    name = type(objective).__name__
    again = copy.deepcopy(objective)
    if again != objective or hash(again) != hash(objective):
        fail(f"{name} must equal its copy, with the same hash: a frozen value.")
    if registry.name_of("objective", type(objective)) is not None:
        config = to_config(Inference(objective))
        if from_config(config).objective != objective:
            fail(f"{name} is not the same after to_config and from_config.")
