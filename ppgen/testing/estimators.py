"""Contract of a gradient estimator."""

import copy

import torch
from torch import Tensor

from ppgen import registry
from ppgen.inference import ELBO, IWELBO, Estimator, Inference, Objective, from_config, to_config
from ppgen.inference.structure.layout import DISCRETE, REPARAMETERISED
from ppgen.pair import Pair
from ppgen.testing.enumeration import enumerated, particles
from ppgen.testing.examples import bernoulli_pair, conjugate_pair
from ppgen.testing.pairs import seeded
from ppgen.testing.statistics import check_mean, fail

_ROWS = (0.7, -1.3, 2.1)
_NODES = 40  # of the quadrature for each particle of a continuous latent
_COPIES = 100  # of the rows in a batch: each has draws of its own


def check_estimator(
    estimator: Estimator, *, unbiased: bool = True, device: torch.device | str = "cpu", num_draws: int = 60
) -> None:
    r"""Raise unless the mean of an estimator's gradient is the gradient of the objective, at the sites it is sound at.

    .. math:: E[g] = \nabla \frac{1}{B} \sum_b E_{q(z_{1:K} \mid x_b)}[\mathcal{L}(w_{1:K})]

    The right side is a sum over the states of two Bernoulli latents, or quadrature over a Normal one, under
    `inference.ELBO(2)` and `inference.IWELBO(2)`, where the estimator takes them. At a site that it is not sound at,
    and under an objective that it is not sound for, training must be refused by its name before the first step. It is a
    value that can be compared, hashed, copied and, if it is registered, written.

    Args:
        estimator: An estimator for discrete sites, for reparameterised ones, or for both.
        unbiased: Whether its mean is to be compared; without that every parameter must have a finite gradient.
        device: Where to run.
        num_draws: Independent gradients, each the mean of 300.

    Raises:
        ValueError: If it is sound at neither kind of site.

    Example:
        >>> from ppgen import inference, testing
        >>> testing.check_estimator(inference.LeaveOneOut(), num_draws=30)
    """
    name, device = type(estimator).__name__, torch.device(device)
    makers = {DISCRETE: bernoulli_pair, REPARAMETERISED: conjugate_pair}
    sound = [kind for kind in makers if estimator.supports(kind)]
    if not sound:
        raise ValueError(f"{name} is sound at neither {DISCRETE} nor {REPARAMETERISED} sites; give one that is.")
    x = torch.tensor(_ROWS, dtype=torch.float64, device=device)
    served = 0
    for kind, make in makers.items():
        pair = make(device=device)
        for objective in (ELBO(2), IWELBO(2)):
            chosen, what = Inference(objective, estimator), f"{name} at a {kind} site under {objective}"
            try:
                chosen.bind(pair, x, num_data=len(x))
            except ValueError as error:
                if name not in str(error):
                    fail(f"{what} is refused without its name: {error}")
                continue
            if kind not in sound:
                fail(f"{what} must be refused: its kinds are {sorted(estimator.kinds)}.")
            served += 1
            with seeded(device):
                expected = _exact_gradients(objective, make(), x.cpu())
                _check_gradients(chosen, pair, x, expected, what, unbiased, num_draws)
    if not served:
        fail(f"{name} is refused at every site, under inference.ELBO(2) and inference.IWELBO(2) alike.")
    _check_value_semantics(estimator)


def _check_gradients(
    chosen: Inference,
    pair: Pair,
    x: Tensor,
    expected: dict[str, Tensor],
    what: str,
    unbiased: bool,
    num_draws: int,
) -> None:
    batch = x.repeat(_COPIES)
    bound = chosen.bind(pair, batch, num_data=len(batch))
    steps = [bound.step(batch).gradients for _ in range(num_draws if unbiased else 2)]
    missing = sorted(set(expected) - set(steps[0]))
    if missing:
        fail(f"{what} gives no gradient for {missing}.")
    for name, gradient in expected.items():
        found = torch.stack([step[name] for step in steps]).cpu()
        if not bool(found.isfinite().all()):
            fail(f"{what} gives a gradient in {name!r} that is not finite.")
        if unbiased:  # of a loss, which descends
            check_mean(-found, gradient, f"{what}: gradient in {name!r}", sigmas=4.5, atol=1e-8)


def _exact_gradients(objective: Objective, pair: Pair, x: Tensor) -> dict[str, Tensor]:
    """Gradient of the objective's expectation, a mean over rows, by every combination of the particles' values."""
    named = {name: tensor for name, tensor in pair.named_parameters() if tensor.requires_grad}
    total: Tensor = x.new_zeros(())
    for row in x.split(1):
        weights, log_mass = enumerated(pair, row, nodes=_NODES)
        every, mass = particles(weights.local, log_mass, objective.num_particles)
        values = [objective.value(weights.with_values(each), 1) for each in every.unbind(1)]
        total = total + (torch.stack(values) * mass.squeeze(-1).exp()).sum() / len(x)
    return dict(zip(named, torch.autograd.grad(total, list(named.values())), strict=True))


def _check_value_semantics(estimator: Estimator) -> None:
    name, again = type(estimator).__name__, copy.deepcopy(estimator)
    if again != estimator or hash(again) != hash(estimator):
        fail(f"{name} must equal its copy, with the same hash: a frozen value.")
    if registry.name_of("estimator", type(estimator)) is not None:
        inference = Inference(ELBO(2), estimator)
        if from_config(to_config(inference)) != inference:
            fail(f"{name} is not the same after to_config and from_config.")
