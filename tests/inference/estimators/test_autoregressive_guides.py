"""Autoregressive guides of bits, as DARN's: their gradient against enumeration, and which estimators take them."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import ppgen
from ppgen import inference
from ppgen.distributions import Autoregressive, AutoregressiveBernoulli, BernoulliOutput
from ppgen.nn import CausalLinear
from ppgen.testing import check_close
from ppgen.testing.examples import bit_vectors
from ppgen.testing.statistics import check_mean

BITS, DATA = 3, 4


class Programs(nn.Module):
    """Bits under an autoregressive prior, data around them, and an autoregressive guide given the data."""

    def __init__(self, old: bool = False, data: int = DATA) -> None:
        super().__init__()
        self.old, self.data = old, data
        self.prior, self.posterior = CausalLinear(BITS), CausalLinear(BITS, given=data)
        self.decoder = nn.Linear(BITS, data)
        for parameter in self.parameters():
            nn.init.normal_(parameter)
        self.double()

    def law(self, network: CausalLinear, given: Tensor | None = None) -> dist.TorchDistribution:
        if not self.old:
            return Autoregressive(network, BernoulliOutput(), given=given)
        logits = network._offset(given).squeeze(-1)
        return AutoregressiveBernoulli(logits, network.weight[0])

    def model(self, x: Tensor) -> None:
        pyro.module("programs", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.law(self.prior))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("programs", self)
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.law(self.posterior, x))


def made(old: bool = False) -> tuple[ppgen.Pair, Programs]:
    torch.manual_seed(3)
    programs = Programs(old)
    return ppgen.Pair(programs.model, programs.guide), programs


def gradients(pair: ppgen.Pair, name: str, x: Tensor) -> dict[str, Tensor]:
    pair.prepare(x)
    bound = inference.resolve(name, pair).bind(pair, x, len(x))
    torch.manual_seed(5)
    return bound.step(x).gradients


@pytest.mark.parametrize("name", ["vimco", "rloo", "nvil", "rws", "wake-sleep"])
def test_gradient_is_that_of_autoregressive_bernoulli_units(name: str) -> None:
    """Catches a site that an estimator takes for another kind, and draws that do not follow the uniform numbers."""
    x = bit_vectors(DATA)[::3]
    new, old = (gradients(made(which)[0], name, x) for which in (False, True))
    assert new.keys() == old.keys()
    for parameter in new:
        check_close(new[parameter], old[parameter], parameter)


def test_gradient_has_the_mean_of_the_enumerated_one() -> None:
    """Catches a score of fewer entries than were drawn, and a signal of another row."""
    pair, programs = made()
    row = torch.tensor([[1.0, 0.0, 1.0, 1.0]], dtype=torch.double)
    z, many = bit_vectors(BITS), 4000
    log_q = programs.law(programs.posterior, row).log_prob(z)
    log_x = dist.Bernoulli(logits=programs.decoder(z)).to_event(1).log_prob(row)
    value = (log_q.exp() * (log_x + programs.law(programs.prior).log_prob(z) - log_q)).sum()
    named = dict(programs.posterior.named_parameters())
    exact = dict(zip(named, torch.autograd.grad(-value, list(named.values())), strict=True))
    pair.prepare(row)
    bound = inference.RLOO(num_particles=2).bind(pair, row, 1)
    found = [
        torch.cat(
            [g.flatten() for name, g in sorted(bound.step(row.expand(40, -1)).gradients.items()) if "posterior" in name]
        )
        for _ in range(many // 40)
    ]
    expected = torch.cat([exact[name].flatten() for name in sorted(exact)])
    check_mean(torch.stack(found), expected, "gradient of the guide")


def test_estimators_of_independent_bits_refuse_it_by_name() -> None:
    """Catches a relaxation of bits that depend on each other, as if they did not."""
    pair, x = made()[0], bit_vectors(DATA)
    pair.prepare(x)
    for estimator in (inference.Relaxed(), inference.DisARM(), inference.StraightThrough()):
        with pytest.raises(ValueError, match=r"site 'z' needs .* got Autoregressive\. Use inference\.LeaveOneOut"):
            inference.Inference(inference.ELBO(2), estimator).bind(pair, x, len(x))


def test_prior_of_bits_is_continued_to_relaxed_ones() -> None:
    """Catches relaxed bits refused under a prior whose log-density between them is known."""
    results = []
    for old in (False, True):
        _, programs = made(old)

        def guide(x: Tensor, programs: Programs = programs) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Bernoulli(logits=programs.posterior._offset(x).squeeze(-1)).to_event(1))

        results.append(gradients(ppgen.Pair(programs.model, guide), "relaxed", bit_vectors(DATA)))
    for parameter, found in results[0].items():
        check_close(found, results[1][parameter], parameter)
