"""What a sound call is, and the small models, machines and chains that such calls take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyro
import pyro.distributions as dist
import torch

import ppgen
from ppgen import diagnostics, evaluation, inference, models, testing

BITS = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 1], [0, 0, 0, 1]])
QUIET = {"progress": False, "compile": False}


@dataclass(frozen=True)
class Call:
    """A call that works.

    Args:
        name: Public name, `"evaluation.log_likelihood"`.
        function: What is called.
        make: Makes sound arguments, by name.
        kinds: Kind of each argument that is tried, as `values.VALUES` names them; counts that begin with `+` are
            also tried with numbers that no memory holds.
        number: What of the result is compared.
    """

    name: str
    function: Callable[..., Any]
    make: Callable[[], dict[str, Any]]
    kinds: Mapping[str, str]
    number: Callable[[Any], Any] = lambda result: None
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def built(module: Any, name: str, make: Callable[[], dict[str, Any]] = dict, **kinds: str) -> Call:
    return Call(f"{module.__name__.rpartition('.')[2]}.{name}", getattr(module, name), make, kinds)


def seeded(make: Callable[[], Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return make()


def rbm() -> Any:
    return seeded(lambda: models.RBM(visible=4, hidden=3))


def vae() -> Any:
    return seeded(lambda: models.VAE(features=4, latent=2, hidden=(3,)))


def vq_vae() -> Any:
    return seeded(lambda: models.VQVAE((2, 2), codes=3, code_size=2, channels=2, prior_hidden=3))


def mixture() -> Any:
    """A mixture of two classes, whose logits are common to all rows."""

    def model(x: Any) -> None:
        logit = pyro.sample("logit", dist.Normal(pyro.param("mean", torch.tensor(0.0)), 1.0))
        with pyro.plate("data", len(x)):
            label = pyro.sample("label", dist.Categorical(torch.ones(2)), infer={"enumerate": "parallel"})
            law = dist.Bernoulli(logits=(logit * (2 * label - 1)).unsqueeze(-1) * torch.ones(4))
            pyro.sample("x", law.to_event(1), obs=x)

    return ppgen.Pair(model, lambda x: pyro.sample("logit", dist.Normal(0.5, 0.8)))


def hierarchy() -> Any:
    """Rows of bits with a logit that is common to all of them, and one of its own for each."""

    def model(x: Any) -> None:
        common = pyro.sample("common", dist.Normal(pyro.param("mean", torch.tensor(0.0)), 1.0))
        with pyro.plate("data", len(x)):
            own = pyro.sample("own", dist.Normal(common, 1.0))
            pyro.sample("x", dist.Bernoulli(logits=own.unsqueeze(-1) * torch.ones(4)).to_event(1), obs=x)

    def guide(x: Any) -> None:
        pyro.sample("common", dist.Normal(0.0, 0.8))
        with pyro.plate("data", len(x)):
            pyro.sample("own", dist.Normal(x.mean(-1) - 0.5, 0.8))

    return ppgen.Pair(model, guide)


def dbn() -> Any:
    return seeded(lambda: models.DBN(visible=4, hidden=(3, 2)))


@cache
def estimate() -> Any:
    return evaluation.log_likelihood(models.ReplicatedSoftmax(vocabulary=4, hidden=2), BITS)


@cache
def chains() -> Any:
    kernel = inference.BlockGibbs(testing.boltzmann_machine((3, 2)))
    return inference.sample(kernel, 20, num_chains=4, warmup_steps=2, compile=False)


def machine() -> Any:
    return testing.boltzmann_machine((3, 2))


def value(result: Any) -> float:
    return float(result.value)


def last(run: Any) -> Any:
    return torch.cat([each.detach().flatten() for each in run.pair.parameters()])


@cache
def comparison() -> Any:
    return diagnostics.compare_estimators(vae(), BITS, {"elbo": "elbo"}, num_draws=20, warmup_steps=1)
