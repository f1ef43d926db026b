"""Programs with discrete sites that are eliminated, and their joint law by enumeration."""

import itertools
from collections.abc import Callable, Mapping

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from ppgen.inference.elimination.enumerated import Enumerated
from ppgen.inference.elimination.marginal import Summand, summand
from ppgen.inference.elimination.repeats import shared
from ppgen.inference.structure.plates import PARTICLES
from ppgen.inference.structure.traces import sites

MARK = {"enumerate": "parallel"}
TRANSITION = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.1, 0.6]], dtype=torch.float64)
SECOND = torch.tensor([1.0, 5.0, 2.0, 3.0, 1.0, 1.0, 2.0, 2.0, 7.0, 4.0, 1.0, 2.0, 1.0, 3.0, 3.0, 6.0, 1.0, 2.0])
LOC = torch.tensor([-3.0, 0.0, 2.0], dtype=torch.float64)


def hidden_markov(y: Tensor, transition: Tensor = TRANSITION, loc: Tensor = LOC) -> None:
    """A chain whose last steps may be missing (NaN)."""
    with pyro.plate("data", len(y), dim=-1):
        z: int | Tensor = 0
        for t in pyro.markov(range(y.shape[1])):
            with poutine.mask(mask=~y[:, t].isnan()):
                z = pyro.sample(f"z{t}", dist.Categorical(transition[z]), infer=MARK)
                pyro.sample(f"y{t}", dist.Normal(loc[z], 1.0), obs=y[:, t].nan_to_num())


def factorial(y: Tensor) -> None:
    """Two chains side by side that explain the data together."""
    with pyro.plate("data", len(y), dim=-1):
        x, w = torch.tensor(0), torch.tensor(0)
        for t in pyro.markov(range(y.shape[1])):
            x = pyro.sample(f"x{t}", dist.Categorical(TRANSITION[x]), infer=MARK)
            w = pyro.sample(f"w{t}", dist.Categorical(TRANSITION[w][..., :2]), infer=MARK)
            pyro.sample(f"y{t}", dist.Normal(LOC[x] + 0.8 * w, 1.0), obs=y[:, t])


def second_order(y: Tensor) -> None:
    """A chain in which each step depends on the two before it."""
    table = SECOND.double().reshape(3, 3, 2)
    with pyro.plate("data", len(y), dim=-1):
        before, now = torch.tensor(0), torch.tensor(0)
        for t in pyro.markov(range(y.shape[1]), history=2):
            before, now = now, pyro.sample(f"x{t}", dist.Categorical(table[before, now]), infer=MARK)
            pyro.sample(f"y{t}", dist.Normal(LOC[now], 1.0), obs=y[:, t])


def changing(y: Tensor) -> None:
    """A chain with another transition at each step."""
    with pyro.plate("data", len(y), dim=-1):
        z: int | Tensor = 0
        for t in pyro.markov(range(y.shape[1])):
            z = pyro.sample(f"z{t}", dist.Categorical(TRANSITION.roll(t, -1)[z]), infer=MARK)
            pyro.sample(f"y{t}", dist.Normal(LOC[z] * (1 + t), 1.0), obs=y[:, t])


def mixture(y: Tensor) -> None:
    """Two sites of other kinds, one of them of two variables in one site."""
    with pyro.plate("data", len(y), dim=-1):
        c = pyro.sample("c", dist.Categorical(TRANSITION[0]), infer=MARK)
        p = torch.tensor([[0.2, 0.4], [0.5, 0.1], [0.9, 0.7]], dtype=torch.float64)[c]
        b = pyro.sample("b", dist.Bernoulli(p).to_event(1), infer=MARK)
        pyro.sample("y", dist.Normal(LOC[c] + b[..., 0] - 2 * b[..., 1], 1.0), obs=y[:, 0])


# By program: the sites that are summed out, with their numbers of values (of b: 4 in all), and columns of data.
PROGRAMS: dict[str, tuple[Callable[[Tensor], None], dict[str, int], int]] = {
    "chain": (hidden_markov, {f"z{t}": 3 for t in range(6)}, 6),
    "short chain": (hidden_markov, {f"z{t}": 3 for t in range(3)}, 3),
    "chain of changing steps": (changing, {f"z{t}": 3 for t in range(5)}, 5),
    "chains side by side": (factorial, {f"{c}{t}": 3 - (c == "w") for t in range(4) for c in "xw"}, 4),
    "second order": (second_order, {f"x{t}": 2 for t in range(9)}, 9),
    "mixture": (mixture, {"c": 3, "b": 4}, 1),
}


def rows(columns: int) -> Tensor:
    """Two rows of data, different in each column."""
    generator = torch.Generator().manual_seed(5)
    return 2 * torch.randn(2, columns, generator=generator, dtype=torch.float64)


def summed(program: Callable[[Tensor], None], y: Tensor, names: Mapping[str, int]) -> Summand:
    """What is summed of a program in a plate of data."""

    def run() -> Summand:
        with Enumerated(names, -3) as enumerated:
            trace = poutine.trace(program).get_trace(y)
        return summand(sites(trace), enumerated, (PARTICLES, "data"))

    found: Summand = shared(run)
    return found


def enumerated(program: Callable[[Tensor], None], y: Tensor, names: Mapping[str, int]) -> tuple[Tensor, Tensor]:
    """Log-density of all joint values, (joint values, rows), and the places of the values, (joint values, sites)."""
    places = torch.tensor(list(itertools.product(*(range(size) for size in names.values()))))
    with pyro.plate("joint", len(places), dim=-2):
        given = {name: value_at(name, places[:, at]) for at, name in enumerate(names)}
        trace = poutine.trace(poutine.condition(program, data=given)).get_trace(y)
    trace.compute_log_prob()
    total = torch.zeros(len(places), len(y), dtype=torch.float64)
    for name, site in trace.nodes.items():
        if site["type"] == "sample" and name not in ("data", "joint"):
            total = total + (site["unscaled_log_prob"] if name in names else site["log_prob"])
    return total, places


def value_at(name: str, places: Tensor) -> Tensor:
    """Values of a site at some of its places, with a dimension of rows."""
    if name == "b":
        return torch.stack([places % 2, places // 2], -1).double().unsqueeze(1)
    return places.unsqueeze(1)
