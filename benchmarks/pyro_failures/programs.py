"""Programs small enough to be summed over or integrated, for Pyro's objectives and ours.

Each is a pair of plain Pyro functions with `pyro.param`, run as it is by both.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import RenyiELBO, ReweightedWakeSleep
from torch import Tensor

from ppgen import inference
from ppgen.inference.objectives.objective import average_in_log
from ppgen.pair import Pair
from ppgen.testing.enumeration import enumerated, particles

K = 2
SIZE, BATCH, COPIES = 60, 6, 100
BITS = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
REALS = torch.linspace(-2.5, 3.0, SIZE, dtype=torch.float64)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def bits_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Bernoulli(logits=pyro.param("p", number(-0.4))))
        pyro.sample("x", dist.Bernoulli(logits=pyro.param("w", number(1.7)) * z - 0.6), obs=x)


def bits_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Bernoulli(logits=pyro.param("q", number(0.5)) + pyro.param("a", number(-0.8)) * x))


def rows(x: Tensor) -> pyro.plate:
    return pyro.plate("data", SIZE) if len(x) == SIZE else pyro.plate("data", SIZE, subsample=x)


def normal_model(x: Tensor) -> None:
    with rows(x):
        z = pyro.sample("z", dist.Normal(pyro.param("m", number(0.3)), number(1.0)))
        pyro.sample("x", dist.Normal(pyro.param("w", number(1.4)) * z, number(0.7)), obs=x)


def normal_guide(x: Tensor) -> None:
    with rows(x):
        pyro.sample("z", dist.Normal(pyro.param("q", number(0.1)) + pyro.param("a", number(0.4)) * x, number(0.9)))


@dataclass(frozen=True)
class Case:
    """An objective of Pyro's beside ours on one program.

    Attributes:
        title: What is compared.
        told: What is known about it, in Markdown.
        model: The model.
        guide: The guide.
        data: All rows.
        peer: Pyro's objective.
        ours: Ours.
        guide_names: Parameters of the guide; those of the model are the others.
        subsampled: Whether each step sees some of the rows only.
    """

    title: str
    told: str
    model: Callable[[Tensor], None]
    guide: Callable[[Tensor], None]
    data: Tensor
    peer: Callable[[], Any]
    ours: inference.Inference
    guide_names: tuple[str, ...] = ("q", "a")
    subsampled: bool = False

    def pair(self) -> Pair:
        pair = Pair(self.model, self.guide)
        pair.prepare(self.data)
        return pair


def renyi(alpha: float) -> Any:
    return RenyiELBO(alpha=alpha, num_particles=K, vectorize_particles=True, max_plate_nesting=1)


CASES: Mapping[str, Case] = {
    "discrete": Case(
        "Importance-weighted bound, a Bernoulli latent",
        f"`RenyiELBO(alpha=0, num_particles={K})` on one datum. Its score term carries the factor alpha / (1 - alpha), "
        "so the guide is not trained at all ([#3104](https://github.com/pyro-ppl/pyro/issues/3104)).",
        bits_model,
        bits_guide,
        BITS[:1],
        lambda: renyi(0.0),
        inference.Inference(inference.IWELBO(K)),
    ),
    "renyi": Case(
        "Renyi bound of order 0.5, a Bernoulli latent",
        f"`RenyiELBO(alpha=0.5, num_particles={K})` on one datum: the same term at an order between 0 and 1.",
        bits_model,
        bits_guide,
        BITS[:1],
        lambda: renyi(0.5),
        inference.Inference(inference.Renyi(K, alpha=0.5)),
    ),
    "minibatch": Case(
        f"Reweighted wake-sleep, {len(BITS) * COPIES} data",
        f"`ReweightedWakeSleep(num_particles={K})`. Pyro adds up the log-weights of the whole batch before it "
        "normalises them, so data compete for particles ([#2191](https://github.com/pyro-ppl/pyro/issues/2191), "
        "[#2321](https://github.com/pyro-ppl/pyro/issues/2321)). The guide's number is that of the wake update.",
        bits_model,
        bits_guide,
        BITS.repeat(COPIES),
        lambda: ReweightedWakeSleep(num_particles=K, vectorize_particles=True, max_plate_nesting=1, insomnia=1.0),
        inference.Inference(inference.ReweightedWakeSleep(K)),
    ),
    "subsample": Case(
        f"Importance-weighted bound, {BATCH} of {SIZE} data in a batch, a Normal latent",
        f"`RenyiELBO(alpha=0, num_particles={K})`. The scale {SIZE}/{BATCH} of the subsample multiplies log-weights "
        "inside the logarithm, where those of all rows were added up ([#2220](https://github.com/pyro-ppl/pyro/issues/2220)).",
        normal_model,
        normal_guide,
        REALS,
        lambda: renyi(0.0),
        inference.Inference(inference.IWELBO(K)),
        subsampled=True,
    ),
}


def exact(case: Case) -> dict[str, float]:
    """Loss per datum and gradient of minus the objective per datum, by sums and quadrature."""
    pair, objective = case.pair(), case.ours.objective
    named = {name.rpartition(".")[2]: tensor for name, tensor in pair.named_parameters()}
    weights, mass = enumerated(pair, case.data)
    local, probability = particles(weights.local, mass, objective.num_particles)
    power = getattr(objective, "power", 1.0)
    loss = -(probability.exp() * average_in_log(power * local) / power).sum(0).mean()
    gradients = dict(zip(named, torch.autograd.grad(loss, list(named.values()), retain_graph=True), strict=True))
    if isinstance(objective, inference.ReweightedWakeSleep):  # the guide climbs something else than the bound
        density, _ = particles(weights.guide_terms["z"].expand(weights.local.shape), mass, objective.num_particles)
        followed = (probability.exp().detach() * (local.detach().softmax(0) * density).sum(0)).sum(0).mean()
        names = list(case.guide_names)
        found = torch.autograd.grad(-followed, [named[name] for name in names])
        gradients |= dict(zip(names, found, strict=True))
    return {"loss": float(loss.detach()), **{name: float(gradient) for name, gradient in gradients.items()}}
