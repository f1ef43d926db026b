"""Networks: modules with parameters or sampled weights, amortised guides; data of any kind."""

from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoDiagonalNormal, AutoNormal
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from pyro_programs.guides import TRACES, X, Y, made
from pyro_programs.program import Program


class BayesianRegression(PyroModule):
    """A linear layer with sampled weights."""

    def __init__(self, hidden: int = 0) -> None:
        super().__init__()
        self.first = PyroModule[nn.Linear](2, hidden or 1)
        self.second = PyroModule[nn.Linear](hidden, 1) if hidden else nn.Identity()
        for layer in (self.first, self.second):
            if isinstance(layer, nn.Linear):
                layer.weight = PyroSample(dist.Normal(0.0, 1.0).expand(layer.weight.shape).to_event(2))
                layer.bias = PyroSample(dist.Normal(0.0, 1.0).expand(layer.bias.shape).to_event(1))

    def forward(self, x: Tensor, y: Tensor) -> None:
        sigma = pyro.sample("sigma", dist.LogNormal(0.0, 0.3))
        mean = self.second(self.first(x).tanh()).squeeze(-1)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(mean, sigma), obs=y)


class Scaled(PyroModule):
    """A positive parameter, and a latent that depends on another."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = PyroParam(torch.tensor(0.8), constraint=constraints.positive)
        self.mean = PyroSample(dist.Normal(0.0, 1.0))
        self.slope = PyroSample(lambda self: dist.Normal(self.mean, 1.0))

    def forward(self, x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(self.slope * x[:, 0], self.scale), obs=y)


class Autoencoder(nn.Module):
    """A variational autoencoder of plain modules, registered by `pyro.module`."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.decoder, self.scale = nn.Linear(2, 2), nn.Linear(1, 2), scale

    def model(self, x: Tensor, *rest: Any) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)), poutine.scale(scale=self.scale):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor, *rest: Any) -> None:
        pyro.module("encoder", self.encoder)
        loc, scale = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)), poutine.scale(scale=self.scale):
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


def autoencoder(scale: float, losses: tuple[str, ...] = TRACES) -> Program:
    """Methods of a module as model and guide."""

    def both() -> Any:
        module = Autoencoder(scale)
        return module.model, module.guide

    return made(f"autoencoder, scale {scale}", None, both, losses)


def bayesian(hidden: int, losses: tuple[str, ...]) -> Program:
    """A network with sampled weights under an AutoGuide."""

    def both() -> Any:
        model = BayesianRegression(hidden)
        return model, AutoDiagonalNormal(model)

    return made(f"network of sampled weights, {hidden} hidden", None, both, losses)


def scaled() -> Program:
    """A module with a parameter and latents."""

    def both() -> Any:
        model = Scaled()
        return model, AutoNormal(model)

    return made("module with a parameter and latents", None, both, TRACES)


def semi_supervised(given: bool) -> Program:
    """Labels that are observed or summed out in the guide."""

    def both() -> Any:
        encoder, decoder, head = nn.Linear(2, 2), nn.Linear(3, 2), nn.Linear(2, 2)
        labels = torch.tensor([0, 1, 1, 0, 1])

        def model(x: Tensor, y: Tensor) -> None:
            pyro.module("decoder", decoder)
            with pyro.plate("data", len(x)):
                k = pyro.sample("k", dist.OneHotCategorical(torch.ones(len(x), 2)), obs=seen)
                z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 1), 1.0).to_event(1))
                rows = torch.broadcast_shapes(z.shape[:-1], k.shape[:-1])
                code = torch.cat([z.expand(*rows, 1), k.expand(*rows, 2)], -1)
                pyro.sample("x", dist.Normal(decoder(code), 1.0).to_event(1), obs=x)

        def guide(x: Tensor, y: Tensor) -> None:
            pyro.module("encoder", encoder)
            pyro.module("head", head)
            with pyro.plate("data", len(x)):
                if not given:
                    law = dist.OneHotCategorical(logits=head(x))
                    pyro.sample("k", law, infer={"enumerate": "parallel"})
                loc, scale = encoder(x).chunk(2, -1)
                pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))

        seen = nn.functional.one_hot(labels, 2).float() if given else None
        return model, guide

    found = made(f"semi-supervised, labels given {given}", None, both, ("TraceEnum",))
    return replace(found, like_pyro=None if given else False)


def packed() -> Program:
    """Sequences of different length, packed, with a latent at each step."""
    data = pack_padded_sequence(torch.arange(12.0).reshape(2, 3, 2) / 12, torch.tensor([3, 2]), batch_first=True)

    def both() -> Any:
        network = nn.GRU(2, 2, batch_first=True)

        def model(x: PackedSequence) -> None:
            seen, lengths = pad_packed_sequence(x, batch_first=True)
            z = torch.zeros(2, 2)
            with pyro.plate("sequences", 2):
                for t in pyro.markov(range(3)):
                    with poutine.mask(mask=t < lengths):
                        z = pyro.sample(f"z{t}", dist.Normal(0.5 * z, 1.0).to_event(1))
                        pyro.sample(f"x{t}", dist.Normal(z, 1.0).to_event(1), obs=seen[:, t])

        def guide(x: PackedSequence) -> None:
            pyro.module("network", network)
            hidden, lengths = pad_packed_sequence(network(x)[0], batch_first=True)
            with pyro.plate("sequences", 2):
                for t in pyro.markov(range(3)):
                    with poutine.mask(mask=t < lengths):
                        pyro.sample(f"z{t}", dist.Normal(hidden[:, t], 0.7).to_event(1))

        return model, guide

    return made("packed sequences", None, both, ("Trace", "TraceGraph", "MeanField"), args=(data,))


def arguments(name: str, *args: Any) -> Program:
    """A program whose arguments are of other kinds than tensors."""

    def model(*args: Any) -> None:
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(Y)):
            pyro.sample("y", dist.Normal(m, 1.0), obs=Y)

    def guide(*args: Any) -> None:
        pyro.sample("m", dist.Normal(pyro.param("a", torch.tensor(0.2)), 0.7))

    return Program(f"arguments: {name}", model, guide, args=args, losses=("Trace",))


PROGRAMS: list[Program] = [
    *(bayesian(hidden, TRACES) for hidden in (0, 3)),
    scaled(),
    autoencoder(1.0, (*TRACES, "MeanField", "Trace, 10 at once")),
    autoencoder(0.1),
    *(semi_supervised(given) for given in (True, False)),
    packed(),
    arguments("none"),
    arguments("a number and a word", 3, "words"),
    arguments("a list and a mapping", [X, Y], {"x": X}),
    arguments("nothing for labels", X, None),
]
