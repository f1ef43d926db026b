"""Every objective, estimator and algorithm as a loss of `pyro.infer.SVI`, whose parameters Pyro's store holds."""

import copy
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from examples.algorithms import ALGORITHMS
from examples.estimators import ELSEWHERE, ESTIMATORS
from examples.objectives import OBJECTIVES
from pyro.infer import SVI
from pyro.optim import SGD
from torch import Tensor, nn

from ppgen import inference, registry

# Those that want a discrete site in the guide, and one that wants none of the sites drawn.
DISCRETE = ("ScoreFunction", "LeaveOneOut", "DisARM", "Relaxed", "StraightThrough", "Enumerate")
DISCRETE_ALGORITHMS = ("NVIL", "VIMCO", "RLOO", "RWS")


class Programs(nn.Module):
    """Plain modules, registered by `pyro.module` and called by themselves."""

    def __init__(self, discrete: bool, summed: bool = False) -> None:
        super().__init__()
        self.discrete, self.summed = discrete, summed
        self.encoder, self.decoder = nn.Linear(2, 2), nn.Linear(1, 2)

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        prior: Any = dist.Bernoulli(torch.tensor([0.4])) if self.discrete else dist.Normal(torch.zeros(1), 1.0)
        with pyro.plate("data", len(x)):
            if self.summed:
                z = pyro.sample("z", dist.Bernoulli(0.4), infer={"enumerate": "parallel"}).unsqueeze(-1)
            else:
                z = pyro.sample("z", prior.to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        if self.summed:
            return
        pyro.module("encoder", self.encoder)
        loc, scale = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            law: Any = dist.Bernoulli(logits=loc) if self.discrete else dist.Normal(loc, scale.exp())
            pyro.sample("z", law.to_event(1))

    def label_log_prob(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of rows whose first entry is positive, as if it told a class."""
        return nn.functional.logsigmoid(self.encoder(x)[:, 0]), x[:, 0] > 0


def losses() -> list[Any]:
    """Each with the kind of program that it is for."""
    found = []
    for name in registry.known("objective"):
        if registry.lookup("objective", name).compares_draws:  # which is refused as a loss
            continue
        found.append((name, OBJECTIVES[name][-1], False, name == "MaximumLikelihood"))
    for name in registry.known("estimator"):
        if name in ELSEWHERE:
            continue
        estimator = ESTIMATORS.get(name, [registry.lookup("estimator", name)()])[0]
        several = name in ("LeaveOneOut", "DisARM", "DoublyReparameterized")
        objective = inference.IWELBO(num_particles=4) if name == "DoublyReparameterized" else None
        objective = objective or inference.ELBO(num_particles=4 if several else 1)
        found.append((name, inference.Inference(objective, estimator), name in DISCRETE, False))
    for name in registry.known("algorithm"):
        made = ALGORITHMS.get(name, [registry.lookup("algorithm", name)()])[0]
        if made.update is None:  # which is refused as a loss
            found.append((name, made, name in DISCRETE_ALGORITHMS, False))
    return [pytest.param(*each[1:], id=each[0]) for each in found]


@pytest.mark.uses_pyro_store
@pytest.mark.parametrize(("loss", "discrete", "summed"), losses())
def test_every_loss_of_svi(loss: Any, discrete: bool, summed: bool) -> None:
    """Catches one that wants a pair of its own, or whose gradient is another one where Pyro's store has parameters."""
    x, programs = torch.randn(5, 2), Programs(discrete, summed)
    module = loss(programs.model, programs.guide)
    torch.manual_seed(3)
    value = module(x)
    value.backward()
    as_module = {name: each.grad.clone() for name, each in programs.named_parameters() if each.grad is not None}
    programs.zero_grad()
    torch.manual_seed(3)
    found = copy.copy(loss).loss_and_grads(programs.model, programs.guide, x)
    assert found == pytest.approx(value.item(), rel=1e-5)
    in_svi = {name: each.grad for name, each in programs.named_parameters() if each.grad is not None}
    assert set(in_svi) == set(as_module) and as_module
    for name, gradient in in_svi.items():
        torch.testing.assert_close(gradient, as_module[name])
    assert all(each.requires_grad for each in programs.parameters())
    before = {name: each.detach().clone() for name, each in programs.named_parameters()}
    SVI(programs.model, programs.guide, SGD({"lr": 0.01}), loss=loss).step(x)
    moved = {name for name, each in programs.named_parameters() if not torch.equal(each, before[name])}
    assert moved == set(in_svi)


@pytest.mark.uses_pyro_store
@pytest.mark.parametrize("name", ["STL", "DReG"])
def test_stopped_scores_of_parameters_of_the_store(name: str) -> None:
    """Catches a constrained parameter of Pyro's store that is no constant while the guide runs again."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(0.5).sqrt(), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(pyro.param("loc", x / 2), scale))

    loss = registry.lookup("algorithm", name)()
    loss.loss_and_grads(model, guide, torch.tensor([0.3, -1.0, 2.0]))
    for parameter in ("loc", "scale"):  # the guide is the posterior, where these gradients are 0 for every draw
        gradient = pyro.param(parameter).unconstrained().grad
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-5, rtol=0)
