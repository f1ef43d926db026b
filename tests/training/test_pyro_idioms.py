"""Pyro's handlers and helpers around the programs of a pair: fitted, and weighed against what is known exactly."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.contrib.easyguide import easy_guide
from pyro.infer import SVI, Predictive, config_enumerate
from pyro.infer.autoguide import AutoNormal
from pyro.infer.reparam import LocScaleReparam
from pyro.nn import PyroModule, PyroSample
from pyro.optim import SGD
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import ppgen
from ppgen import diagnostics, inference

X = torch.tensor([0.4, -1.0, 2.2, 0.1, 1.3])
QUIET: dict[str, Any] = {"compile": False, "progress": False}


def chain(x: Tensor) -> None:
    """Each datum after two latents, the second after the first."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        c = pyro.sample("c", dist.Normal(z, 1.0))
        pyro.sample("x", dist.Normal(z + c, 1.0), obs=x)


def guide_of(mean: float, variance: float, slope: float) -> Callable[[Tensor], None]:
    """A normal guide of z: its posterior where c is given."""

    def guide(x: Tensor) -> None:
        a = pyro.param("a", torch.tensor(slope))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(mean + a * x, math.sqrt(variance)))

    return guide


# p(x | z) = N(z + 0.5, 1): z | x has mean (x - 0.5) / 2 and variance 1 / 2, and x has mean 0.5 and variance 2.
# c = 0.5 that was observed counts with its own law: z | x, c has mean (x - 0.5 + 0.5) / 3 and variance 1 / 3.
SET = {
    "do": (poutine.do(chain, {"c": torch.tensor(0.5)}), guide_of(-0.25, 0.5, 0.5)),
    "do, a number": (poutine.do(chain, {"c": 0.5}), guide_of(-0.25, 0.5, 0.5)),
    "do, hidden": (poutine.block(poutine.do(chain, {"c": 0.5}), hide=["c"]), guide_of(-0.25, 0.5, 0.5)),
    "condition": (pyro.condition(chain, {"c": torch.tensor(0.5)}), guide_of(0.0, 1 / 3, 1 / 3)),
}


@pytest.mark.parametrize("how", SET)
def test_a_latent_that_is_set(how: str) -> None:
    """Catches an intervention that counts what it cut off, and a condition that does not count."""
    model, guide = SET[how]
    pair = ppgen.Pair(model, guide)
    weights = inference.log_weights(pair, X, num_particles=3).local
    exact = dist.Normal(0.5, math.sqrt(2)).log_prob(X)
    if how == "condition":  # log p(x, c) = log p(c) + log p(x | c), z | c having mean 1/4 and variance 1/2
        exact = dist.Normal(0.0, math.sqrt(2)).log_prob(torch.tensor(0.5))
        exact = exact + dist.Normal(0.75, math.sqrt(1.5)).log_prob(X)
    torch.testing.assert_close(weights, exact.expand(3, -1))
    assert ppgen.fit(pair, X, "elbo", steps=2, **QUIET).curve("train_value")


def shifted(x: Tensor) -> None:
    """A latent of each datum with a law of location and scale."""
    scale = pyro.param("scale", torch.tensor(2.0), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(1.0, scale))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.mark.parametrize("centred", [0.0, 0.3, None])
def test_decentred(centred: float | None) -> None:
    """Catches a reparameterised site of another density, or its learnt part missing among the parameters."""
    model = poutine.reparam(shifted, {"z": LocScaleReparam(centred)})

    def guide(x: Tensor) -> None:
        c = 0.5 if centred is None else centred  # where Pyro starts it
        scale, width = 2.0, 2.0 ** (c - 1)
        mean = (0.2 + 0.8 * x - 1) * width + c * 1.0  # of (z - 1) 2^(c - 1) + c, z | x ~ N(0.2 + 0.8 x, 4 / 5)
        with pyro.plate("data", len(x)):
            pyro.sample("z_decentered", dist.Normal(mean, math.sqrt(scale**2 / 5) * width))

    pair = ppgen.Pair(model, guide)
    weights = inference.log_weights(pair, X, num_particles=3).local
    torch.testing.assert_close(weights, dist.Normal(1.0, math.sqrt(5)).log_prob(X).expand(3, -1))
    assert ("captured.z_centered" in dict(pair.named_parameters())) == (centred is None)
    assert ppgen.fit(pair, X, "elbo", steps=2, **QUIET).curve("train_value")


def mixture(x: Tensor) -> None:
    """A mixture whose assignments nothing marks."""
    locs = pyro.param("locs", torch.tensor([-1.0, 0.5, 2.0]))
    weights = pyro.param("weights", torch.tensor([0.2, 0.5, 0.3]), constraint=dist.constraints.simplex)
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(weights))
        pyro.sample("x", dist.Normal(locs[k], 0.7), obs=x)


MARKED = {
    "config_enumerate": config_enumerate(mixture),
    "sequential": config_enumerate(mixture, "sequential"),
    "infer_config": poutine.infer_config(
        mixture, lambda site: {"enumerate": "parallel"} if site["name"] == "k" else {}
    ),
}


@pytest.mark.parametrize("how", MARKED)
def test_marked_by_a_handler(how: str) -> None:
    """Catches marks that are heard only where the statement has them."""
    pair = ppgen.Pair(MARKED[how], lambda x: None)
    laws = dist.Normal(torch.tensor([-1.0, 0.5, 2.0]), 0.7).log_prob(X.unsqueeze(-1))
    exact = (laws + torch.tensor([0.2, 0.5, 0.3]).log()).logsumexp(-1)
    torch.testing.assert_close(inference.log_weights(pair, X).local[0], exact)
    assert ppgen.fit(pair, X, inference.MaximumLikelihood(), steps=2, **QUIET).curve("train_value")


def test_easy_guide() -> None:
    """Catches an EasyGuide whose model's parameters are those of another store."""

    @easy_guide(shifted)
    def guide(self: Any, x: Tensor) -> None:
        slope = pyro.param("slope", torch.tensor(0.8))
        with self.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.2 + slope * x, math.sqrt(0.8)))

    pair = ppgen.Pair(shifted, guide)
    weights = inference.log_weights(pair, X, num_particles=3).local
    torch.testing.assert_close(weights, dist.Normal(1.0, math.sqrt(5)).log_prob(X).expand(3, -1))
    assert sorted(name for name, _ in pair.named_parameters()) == ["captured.scale", "captured.slope"]
    ppgen.fit(pair, X, "elbo", steps=2, **QUIET)


def test_predictive() -> None:
    """Catches a pair whose trained programs Pyro's own `Predictive` does not run with the trained parameters."""

    def model(x: Tensor, seen: bool = False) -> Tensor:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            return pyro.sample("y", dist.Normal(z, 0.1), obs=x if seen else None)

    pair = ppgen.Pair(model, lambda x, seen=False: guide_of(0.0, 1e-4, 0.3)(x))
    pair.prepare((X, True))
    with torch.no_grad():
        pair.captured.get_parameter("a").fill_(5.0)
    for parallel in (False, True):
        draws = Predictive(pair.model, guide=pair.guide, num_samples=50, parallel=parallel)(X)
        assert draws["y"].shape == (50, 5)
        torch.testing.assert_close(draws["z"].mean(0), 5 * X, atol=0.02, rtol=0)


class Sampled(PyroModule):
    """A linear layer with sampled weights; its own layer, or one that broadcasts over draws."""

    def __init__(self, broadcasts: bool) -> None:
        super().__init__()
        self.layer = PyroModule[nn.Linear](2, 1, bias=False)
        self.layer.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 2]).to_event(2))
        self.broadcasts = broadcasts

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        # A weight that is drawn for each particle stands left of the rows: (particles, 1, 1, 2).
        mean = (x * self.layer.weight.squeeze(-2)).sum(-1) if self.broadcasts else self.layer(x).squeeze(-1)
        with pyro.plate("data", len(x)):
            return pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def test_particles_of_sampled_weights() -> None:
    """Catches layers that break on a batch of weights, a warning at each step, or one where they run at once."""
    data = (torch.randn(6, 2), torch.randn(6))
    found = {}
    for broadcasts in (False, True):
        model = Sampled(broadcasts)
        pair = ppgen.Pair(model, AutoNormal(model))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pair.prepare(data)
            torch.manual_seed(0)
            weights = inference.log_weights(pair, data, num_particles=4).joint
            ppgen.fit(pair, data, inference.ELBO(num_particles=3), steps=3, **QUIET)
            tree = diagnostics.from_pyro_svi(pair, data, num_samples=5)
        told = [str(each.message) for each in caught if "run one by one" in str(each.message)]
        assert len(told) == (0 if broadcasts else 1), told
        assert tree["posterior_predictive"]["y"].shape == (1, 5, 6)
        found[broadcasts] = weights
    torch.testing.assert_close(found[True], found[False])  # of the same draws


def test_particles_of_sampled_weights_under_svi() -> None:
    """Catches a fallback that is known to pairs alone, or told anew for the two programs of each step."""
    model = Sampled(False)
    guide = AutoNormal(model)
    svi = SVI(model, guide, SGD({"lr": 1e-3}), loss=inference.IWELBO(num_particles=3))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            assert math.isfinite(svi.step(torch.randn(6, 2), torch.randn(6)))
    assert len([each for each in caught if "run one by one" in str(each.message)]) == 1
    pyro.clear_param_store()


def test_packed_sequences() -> None:
    """Catches packed sequences that are taken for the four tensors that they are made of."""
    packed = pack_sequence([torch.randn(4, 2), torch.randn(2, 2)])

    def model(x: Any) -> None:
        seen, lengths = pad_packed_sequence(x, batch_first=True)
        for t in range(4):
            with pyro.plate(f"rows{t}", 2), poutine.mask(mask=t < lengths):
                z = pyro.sample(f"z{t}", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                pyro.sample(f"x{t}", dist.Normal(z, 1.0).to_event(1), obs=seen[:, t])

    def guide(x: Any) -> None:
        seen, lengths = pad_packed_sequence(x, batch_first=True)
        for t in range(4):
            with pyro.plate(f"rows{t}", 2), poutine.mask(mask=t < lengths):
                law = dist.Normal(pyro.param("a", torch.tensor(0.5)) * seen[:, t], math.sqrt(0.5))
                pyro.sample(f"z{t}", law.to_event(1))

    pair = ppgen.Pair(model, guide)
    weights = inference.log_weights(pair, packed, num_particles=3).joint
    exact = dist.Normal(0.0, math.sqrt(2)).log_prob(packed.data).sum()  # the guide is the posterior
    torch.testing.assert_close(weights, exact.expand(3))
    assert ppgen.fit(pair, packed, "elbo", steps=2, **QUIET).curve("train_value")
