"""Contract of an objective."""

import copy
import dataclasses
from typing import Any

import torch
from torch import Tensor

from ppgen import registry
from ppgen.inference import Inference, Objective, from_config, to_config
from ppgen.inference.objectives.draw_objective import DrawObjective
from ppgen.pair import Pair
from ppgen.testing.draw_objectives import check_draw_objective
from ppgen.testing.examples import conjugate_pair
from ppgen.testing.pairs import check_gradient, seeded
from ppgen.testing.statistics import check_close, check_mean, fail

_OF_GUIDE = (".a", ".b", ".log_s")  # parameters of the conjugate pair's guide
_COPIES, _STEPS, _RATE = 32, 60, 0.05  # each of Adam's steps moves a parameter by 0.05 or less
_NEARER = 0.9  # a thousand particles come to 0.8 of the distance, three that go the wrong way to 1.06


def check_objective(objective: Objective, *, device: torch.device | str = "cpu", num_draws: int = 300) -> None:
    """Raise unless an objective is per datum what it says that it is, on a model whose evidence is known.

    It is log p(x) when the guide is the exact posterior, and otherwise on the side of it that its `value_kind` names;
    the size of the data plate does not change it, nor what other rows are in the batch; its gradient is the derivative
    of its value, unless it says by itself how it is estimated; some steps along it, up or down as its `sense` says,
    bring a guide nearer to the posterior; particles one by one have the same law as particles at once; it is a value
    that can be compared, hashed, copied and written. One that compares draws with data must pass
    `check_draw_objective`.

    Args:
        objective: An objective with a pathwise gradient.
        device: Where to run.
        num_draws: Draws of the tests by sampling.

    Example:
        >>> from ppgen import inference, testing
        >>> testing.check_objective(inference.ELBO())
    """
    device = torch.device(device)
    if isinstance(objective, DrawObjective):
        check_draw_objective(objective, device=device)
        _check_value_semantics(objective)
        return
    name = type(objective).__name__
    x = torch.tensor([0.7, -1.3, 2.1], dtype=torch.float64, device=device)
    pair = conjugate_pair(device=device)
    evidence = pair.model_module.log_evidence(x).detach()  # type: ignore[operator, union-attr]

    with seeded(device):
        draws, alone = (_values(objective, pair, rows, num_draws) for rows in (x, x[1:2]))
        apart = torch.stack([_values(objective, pair, row, num_draws) for row in x.split(1)]).mean(0)
    _check_side(objective, draws, evidence.mean(), name)
    _check_side(objective, alone, evidence[1], f"{name} of one datum")
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
    if objective.own_gradient:  # its gradient is another than its value's
        trained = set(bound.step(x).gradients)
        wanted = {each for each, _ in pair.named_parameters() if objective.trains_model or each.endswith(_OF_GUIDE)}
        if trained != wanted:
            fail(f"{name} has a gradient for {sorted(trained)}, expected one for {sorted(wanted)}.")
    else:
        check_gradient(bound, x)
    _check_direction(objective, x)
    _set_exact_posterior(pair)
    check_close(_values(objective, pair, x, 1)[0], evidence.mean(), f"{name} under the exact posterior")
    _check_value_semantics(objective)


def _values(objective: Objective, pair: Pair, x: Tensor, num_draws: int) -> Tensor:
    """Independent values of the objective: (num_draws,)."""
    bound = Inference(objective).bind(pair, x, num_data=len(x))
    return torch.stack([bound.value(x) for _ in range(num_draws)])


def _check_side(objective: Objective, draws: Tensor, evidence: Tensor, what: str) -> None:
    """Values lie on the side of log p(x) that the objective names, in the mean."""
    above, error = float(draws.mean() - evidence), 4 * float(draws.std()) / len(draws) ** 0.5
    kind = objective.value_kind
    if kind in ("lower bound", "exact") and above > error or kind in ("upper bound", "exact") and above < -error:
        side = "above" if above > 0 else "below"
        fail(f"{what} gives {draws.mean():.4f} nats, {side} log p(x) = {evidence:.4f}, and says that it is {kind!r}.")


def _check_direction(objective: Objective, x: Tensor) -> None:
    """Some steps bring the guide nearer to the posterior, whatever the number of particles.

    Ascending the logarithm of the mean of w^2 takes it away with three particles or more, and keeps below log p(x) so
    long as they are few; with many particles an importance-weighted bound comes nearer slowly.
    """
    pair, rows = conjugate_pair(device=x.device), x.repeat(_COPIES)
    module: Any = pair.model_module
    moved = {each: value for each, value in pair.named_parameters() if each.endswith(_OF_GUIDE)}
    for each, value in pair.named_parameters():
        value.requires_grad_(each in moved)
    far = _divergence(module, rows)
    with seeded(x.device, 2):
        bound = Inference(objective).bind(pair, rows, num_data=len(rows))
        optimizer = torch.optim.Adam(moved.values(), lr=_RATE)
        for _ in range(_STEPS):
            gradients = bound.step(rows).gradients
            for each, value in moved.items():
                value.grad = gradients.get(each)
            optimizer.step()
    near = _divergence(module, rows)
    if not near < _NEARER * far:
        fail(
            f"{_STEPS} steps of {type(objective).__name__} took the guide from {far:.3g} to {near:.3g} nats away from "
            f"the posterior. Its sense is {objective.sense!r}: training ascends what is no upper bound, and "
            "descends upper ones."
        )


@torch.no_grad()
def _divergence(module: Any, x: Tensor) -> float:
    """KL(q || posterior) of the conjugate pair, the mean over rows, in nats."""
    noise = (2 * module.log_scale).exp()
    precision = 1 + module.slope**2 / noise
    off = module.a * x + module.b - (module.slope / noise * x + module.loc) / precision
    spread = (2 * module.log_s).exp() * precision
    return float((0.5 * (spread + precision * off**2 - 1 - spread.log())).mean())


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
