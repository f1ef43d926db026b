"""Relaxed draws beside sums, scores, pairs and paths at another site, and under bounds of several particles."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from structures import check, measured
from torch import Tensor, nn

import ppgen
from ppgen import inference
from ppgen.inference.objectives.objective import average_in_log

ROWS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
COPIES, STEPS, TEMPERATURE = 1400, 24, 0.7


class Program(ppgen.GenerativeModel):
    """A bit z beside a site s, one-hot, a bit or Normal, that the guide draws after or before it."""

    structure = "beside a relaxed bit"

    def __init__(self, kind: str, bit_first: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(9)

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))

        size = 3 if kind == "one-hot" else 1
        self.kind, self.bit_first = kind, bit_first
        self.prior, self.tilt, self.bit_prior = weights(size), weights(size), weights()
        self.visible, self.shown, self.bias = weights(size, 2), weights(2), weights(2)
        self.up, self.up_bias, self.across = weights(2, size), weights(size), weights(size)
        self.bit_up, self.bit_bias = weights(2), weights()

    def law(self, logits: Tensor, scale: float) -> dist.TorchDistribution:
        if self.kind == "one-hot":
            return dist.OneHotCategorical(logits=logits)
        if self.kind == "bit":
            return dist.Bernoulli(logits=logits).to_event(1)
        return dist.Normal(0.5 * logits, scale).to_event(1)

    def stated(self, z: Tensor) -> dist.TorchDistribution:
        return self.law(self.prior + z.unsqueeze(-1) * self.tilt, 1.2)

    def observed(self, z: Tensor, s: Tensor) -> Tensor:
        return s @ self.visible + z.unsqueeze(-1) * self.shown + self.bias

    def guessed(self, x: Tensor, z: Tensor | None) -> dist.TorchDistribution:
        logits = x @ self.up + self.up_bias
        return self.law(logits if z is None else logits + z.unsqueeze(-1) * self.across, 0.7)

    def bit_logits(self, x: Tensor, s: Tensor | None) -> Tensor:
        logits = x @ self.bit_up + self.bit_bias
        return logits if s is None else logits + s @ self.across

    @pyro.nn.module.pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(logits=self.bit_prior))
            s = pyro.sample("s", self.stated(z))
            pyro.sample("x", dist.Bernoulli(logits=self.observed(z, s)).to_event(1), obs=x)

    @pyro.nn.module.pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            if self.bit_first:
                z = pyro.sample("z", dist.Bernoulli(logits=self.bit_logits(x, None)))
                pyro.sample("s", self.guessed(x, z))
            else:
                s = pyro.sample("s", self.guessed(x, None))
                pyro.sample("z", dist.Bernoulli(logits=self.bit_logits(x, s)))


def bit_density(logits: Tensor, z: Tensor) -> Tensor:
    return z * logits - nn.functional.softplus(logits)


def expected(pair: Program, objective: inference.Objective) -> tuple[Tensor, dict[str, Tensor]]:
    """Objective of a relaxed z by quadrature in its noise, with s summed or integrated; gradient of minus it."""
    noise = torch.linspace(-22, 22, 100, dtype=torch.float64)
    log_mass = -noise - 2 * nn.functional.softplus(-noise) + math.log(float(noise[1] - noise[0]))
    noise, log_mass = noise[:, None, None], log_mass[:, None, None]  # (noise, values of s, rows)
    if pair.kind == "normal":
        points, mass = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(24))
        mass = mass / mass.sum()
    else:
        points = torch.eye(3).double() if pair.kind == "one-hot" else torch.tensor([[0.0], [1.0]]).double()

    def drawn_s(z: Tensor | None) -> tuple[Tensor, Tensor]:
        law = pair.guessed(ROWS, z)
        if pair.kind == "normal":
            loc, scale = law.base_dist.loc, law.base_dist.scale
            return loc + scale * points[:, None, None], mass.log()[:, None]
        s = points.unsqueeze(1)
        return s, law.log_prob(s)

    def drawn_z(s: Tensor | None) -> Tensor:
        return torch.sigmoid((pair.bit_logits(ROWS, s) + noise) / TEMPERATURE)

    if pair.bit_first:
        z = drawn_z(None)
        s, probability = drawn_s(z)
    else:
        s, probability = drawn_s(None)
        z = drawn_z(s)
    log_q = bit_density(pair.bit_logits(ROWS, None if pair.bit_first else s), z)
    log_q = log_q + pair.guessed(ROWS, z if pair.bit_first else None).log_prob(s)
    scores = pair.observed(z, s)
    log_p = bit_density(pair.bit_prior, z) + pair.stated(z).log_prob(s) + bit_density(scores, ROWS).sum(-1)
    local = (log_p - log_q).flatten(0, 1)
    probability = (probability + log_mass).expand(log_p.shape).flatten(0, 1)
    if isinstance(objective, inference.ELBO):
        value = (probability.exp() * local).sum(0).mean()
    else:  # two particles
        pairs = torch.stack(torch.broadcast_tensors(local.unsqueeze(1), local.unsqueeze(0)))
        power = getattr(objective, "power", 1.0)
        chance = (probability.unsqueeze(1) + probability.unsqueeze(0)).exp()
        value = (chance * average_in_log(power * pairs) / power).sum((0, 1)).mean()
    named = dict(pair.named_parameters())
    gradients = torch.autograd.grad(-value, list(named.values()))
    return value.detach(), dict(zip(named, gradients, strict=True))


CASES = [
    ("one-hot", inference.ELBO(1), inference.Enumerate()),
    ("one-hot", inference.ELBO(2), inference.Enumerate()),
    ("bit", inference.ELBO(1), inference.Enumerate()),
    ("bit", inference.ELBO(2), inference.LeaveOneOut()),
    ("bit", inference.ELBO(1), inference.ScoreFunction()),
    ("bit", inference.ELBO(1), inference.DisARM()),
    ("bit", inference.IWELBO(2), inference.LeaveOneOut()),
    ("bit", inference.Renyi(2, alpha=0.5), inference.ScoreFunction()),
    ("normal", inference.ELBO(1), inference.Pathwise()),
    ("normal", inference.ELBO(2), inference.ScoreFunction()),
    ("normal", inference.IWELBO(2), inference.Pathwise()),
]


@pytest.mark.parametrize("bit_first", [True, False], ids=["relaxed first", "relaxed last"])
@pytest.mark.parametrize(("kind", "objective", "beside"), CASES, ids=str)
def test_each_site_by_its_own(kind: str, objective: inference.Objective, beside, bit_first: bool) -> None:
    """Catches states that lose the path through a relaxed draw, a score of values that were relaxed, a bound of one
    particle where several are averaged."""
    pair = Program(kind, bit_first)
    what = inference.Inference(objective, {"z": inference.Relaxed(TEMPERATURE), "s": beside})
    check(measured(pair, what, ROWS.repeat(COPIES, 1), STEPS), expected(pair, objective))
