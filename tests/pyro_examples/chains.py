"""Sequences: hidden Markov models of eight kinds, and a deep Markov model."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import autoguide
from pyro.ops.indexing import Vindex
from torch import Tensor, nn

import ppgen
from pyro_examples.example import Example

STATES, TONES, STEPS, SEQUENCES = 3, 4, 5, 4
SUMMED = {"enumerate": "parallel"}
LENGTHS = torch.tensor([5, 3, 4, 5])


def transitions(name: str, *plates: int) -> Tensor:
    """Latent rows of a transition matrix, which like to stay."""
    law = dist.Dirichlet(0.9 * torch.eye(STATES) + 0.1)
    return pyro.sample(name, law.expand((*plates, STATES)).to_event(len(plates) + 1))


def emissions(name: str, *shape: int) -> Tensor:
    """Latent chances of tones, by state and whatever else."""
    return pyro.sample(name, dist.Beta(0.5, 0.5).expand((*shape, TONES)).to_event(len(shape) + 1))


def one_by_one(y: Tensor, lengths: Tensor) -> None:
    """Sequences as a loop."""
    t_law, e_law = transitions("probs_x"), emissions("probs_y", STATES)
    for i in pyro.plate("sequences", len(y)):
        x: Any = 0
        for t in pyro.markov(range(int(lengths[i]))):
            x = pyro.sample(f"x_{i}_{t}", dist.Categorical(t_law[x]), infer=SUMMED)
            pyro.sample(f"y_{i}_{t}", dist.Bernoulli(e_law[x]).to_event(1), obs=y[i, t])


def together(y: Tensor, lengths: Tensor) -> None:
    """Sequences in a plate, under a mask of their lengths."""
    t_law, e_law = transitions("probs_x"), emissions("probs_y", STATES)
    with pyro.plate("sequences", len(y), dim=-1):
        x: Any = 0
        for t in pyro.markov(range(STEPS)):
            with poutine.mask(mask=t < lengths):
                x = pyro.sample(f"x_{t}", dist.Categorical(t_law[x]), infer=SUMMED)
                pyro.sample(f"y_{t}", dist.Bernoulli(e_law[x]).to_event(1), obs=y[:, t])


def autoregressive(y: Tensor, lengths: Tensor) -> None:
    """Tones that depend on those before them, too."""
    t_law, e_law = transitions("probs_x"), emissions("probs_y", STATES, 2)
    with pyro.plate("sequences", len(y), dim=-1):
        x, tone = torch.tensor(0), torch.zeros(len(y), dtype=torch.long)
        for t in pyro.markov(range(STEPS)):
            with poutine.mask(mask=t < lengths):
                x = pyro.sample(f"x_{t}", dist.Categorical(t_law[x]), infer=SUMMED)
                pyro.sample(f"y_{t}", dist.Bernoulli(Vindex(e_law)[x, tone]).to_event(1), obs=y[:, t])
                tone = y[:, t, 0].long()


def factorial(y: Tensor, lengths: Tensor) -> None:
    """Two chains that do not know of each other."""
    w_law, x_law, e_law = transitions("probs_w"), transitions("probs_x"), emissions("probs_y", STATES, STATES)
    with pyro.plate("sequences", len(y), dim=-1):
        w, x = torch.tensor(0), torch.tensor(0)
        for t in pyro.markov(range(STEPS)):
            with poutine.mask(mask=t < lengths):
                w = pyro.sample(f"w_{t}", dist.Categorical(w_law[w]), infer=SUMMED)
                x = pyro.sample(f"x_{t}", dist.Categorical(x_law[x]), infer=SUMMED)
                pyro.sample(f"y_{t}", dist.Bernoulli(Vindex(e_law)[w, x]).to_event(1), obs=y[:, t])


def coupled(y: Tensor, lengths: Tensor) -> None:
    """Two chains, of which one leads the other."""
    w_law, x_law = transitions("probs_w"), transitions("probs_x", STATES)
    e_law = emissions("probs_y", STATES, STATES)
    with pyro.plate("sequences", len(y), dim=-1):
        w, x = torch.tensor(0), torch.tensor(0)
        for t in pyro.markov(range(STEPS)):
            with poutine.mask(mask=t < lengths):
                w = pyro.sample(f"w_{t}", dist.Categorical(w_law[w]), infer=SUMMED)
                x = pyro.sample(f"x_{t}", dist.Categorical(Vindex(x_law)[w, x]), infer=SUMMED)
                pyro.sample(f"y_{t}", dist.Bernoulli(Vindex(e_law)[w, x]).to_event(1), obs=y[:, t])


def by_network(network: nn.Module) -> Callable[..., None]:
    """Tones in a plate of their own, their chances a network of the state and the tones before."""

    def model(y: Tensor, lengths: Tensor) -> None:
        pyro.module("network", network)
        t_law = transitions("probs_x")
        tones = pyro.plate("tones", TONES, dim=-1)
        with pyro.plate("sequences", len(y), dim=-2):
            x, before = torch.tensor(0), torch.zeros(len(y), TONES)
            for t in pyro.markov(range(STEPS)):
                with poutine.mask(mask=(t < lengths).unsqueeze(-1)):
                    x = pyro.sample(f"x_{t}", dist.Categorical(t_law[x]), infer=SUMMED)
                    one_hot = nn.functional.one_hot(x, STATES).float()
                    shape = torch.broadcast_shapes(one_hot.shape[:-1], (len(y), 1))
                    seen = before.unsqueeze(-2).expand(*shape, TONES)
                    chances = network(torch.cat([one_hot.expand(*shape, STATES), seen], -1)).squeeze(-2)
                    with tones:
                        pyro.sample(f"y_{t}", dist.Bernoulli(logits=chances), obs=y[:, t])
                before = y[:, t]

    return model


def second_order(y: Tensor, lengths: Tensor) -> None:
    """A chain that looks back two steps."""
    law, e_law = transitions("probs_x", STATES), emissions("probs_y", STATES)
    with pyro.plate("sequences", len(y), dim=-1):
        before, x = torch.tensor(0), torch.tensor(0)
        for t in pyro.markov(range(STEPS), history=2):
            with poutine.mask(mask=t < lengths):
                new = pyro.sample(f"x_{t}", dist.Categorical(Vindex(law)[before, x]), infer=SUMMED)
                before, x = x, new
                pyro.sample(f"y_{t}", dist.Bernoulli(e_law[x]).to_event(1), obs=y[:, t])


def as_one_law(y: Tensor, lengths: Tensor) -> None:
    """The chain as one distribution, summed by itself."""
    t_law, e_law = transitions("probs_x"), emissions("probs_y", STATES)
    with pyro.plate("sequences", len(y)):
        emission = dist.Bernoulli(e_law).to_event(1)
        law = dist.DiscreteHMM(t_law[0].log(), t_law.log(), emission, duration=STEPS)
        pyro.sample("y", law, obs=y)


def hidden_markov(name: str, model: Callable[..., None], guide: str = "AutoDelta", quick: bool = False) -> Example:
    """A hidden Markov model under an AutoGuide of its probabilities."""

    def make() -> tuple[ppgen.Pair, Any]:
        shown = poutine.block(model, expose_fn=lambda site: site["name"].startswith("probs_"))
        y = torch.rand(SEQUENCES, STEPS, TONES).lt(0.4).float()
        plate = None if model is one_by_one else "sequences"  # sequences as a loop are one datum
        return ppgen.Pair(model, getattr(autoguide, guide)(shown), plate=plate), (y, LENGTHS)

    return Example(f"hidden Markov model, {name}, {guide}", make, quick=quick)


def deep_markov() -> tuple[ppgen.Pair, Any]:
    """A deep Markov model: transitions and emissions by networks, a guide by a network that runs backwards."""
    width = 3
    move, emit = nn.Linear(width, 2 * width), nn.Linear(width, TONES)
    backwards, combine = nn.RNN(TONES, 4, batch_first=True), nn.Linear(4 + width, 2 * width)

    def law(parts: Tensor) -> Any:
        loc, scale = parts.chunk(2, -1)
        return dist.Normal(loc, nn.functional.softplus(scale)).to_event(1)

    def model(y: Tensor, lengths: Tensor) -> None:
        for name, module in (("move", move), ("emit", emit)):
            pyro.module(name, module)
        z = torch.zeros(len(y), width)
        with pyro.plate("sequences", len(y)):
            for t in pyro.markov(range(STEPS)):
                with poutine.mask(mask=t < lengths):
                    z = pyro.sample(f"z_{t}", law(move(z)))
                    pyro.sample(f"y_{t}", dist.Bernoulli(logits=emit(z)).to_event(1), obs=y[:, t])

    def guide(y: Tensor, lengths: Tensor) -> None:
        for name, module in (("backwards", backwards), ("combine", combine)):
            pyro.module(name, module)
        hidden = backwards(y.flip(1))[0].flip(1)
        z = torch.zeros(len(y), width)
        with pyro.plate("sequences", len(y)):
            for t in pyro.markov(range(STEPS)):
                with poutine.mask(mask=t < lengths):
                    shape = torch.broadcast_shapes(z.shape[:-1], hidden[:, t].shape[:-1])
                    both = torch.cat([hidden[:, t].expand(*shape, 4), z.expand(*shape, width)], -1)
                    z = pyro.sample(f"z_{t}", law(combine(both)))

    y = torch.rand(SEQUENCES, STEPS, TONES).lt(0.4).float()
    return ppgen.Pair(model, guide, plate="sequences"), (y, LENGTHS)


EXAMPLES = [
    hidden_markov("one by one", one_by_one),
    hidden_markov("together", together, quick=True),
    hidden_markov("together", together, "AutoNormal"),
    hidden_markov("autoregressive", autoregressive),
    hidden_markov("factorial", factorial),
    hidden_markov("coupled", coupled),
    hidden_markov("by a network", by_network(nn.Linear(STATES + TONES, TONES))),
    hidden_markov("of second order", second_order),
    hidden_markov("as one law", as_one_law, "AutoNormal"),
    Example("deep Markov model", deep_markov),
]
