"""Chains, trees and grids whose sites are summed out, written with `pyro.markov`."""

from collections import defaultdict
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import config_enumerate
from pyro.ops.indexing import Vindex
from torch import Tensor
from torch.distributions import constraints

from pyro_programs.enumeration import PARALLEL, SUMMED, nothing, probability, simplex
from pyro_programs.program import REFUSES, RUNS, Program

Y = torch.tensor([[0.3, -1.0, 0.8, 2.0, 1.1], [1.2, 0.4, -0.7, 0.1, 0.5], [-1.5, -0.2, 0.9, 1.4, 0.0]])


def chain(steps: int) -> Program:
    """A chain without observations, longer than dimensions would last."""

    @config_enumerate
    def model() -> None:
        law, x = simplex("p", 2, 2), 0
        for t in pyro.markov(range(steps)):
            x = pyro.sample(f"x{t}", dist.Categorical(law[x]))

    return Program(f"a chain of {steps}", model, nothing, losses=SUMMED)


def hmm(plate: str | None, loop: str, where: str) -> Program:
    """A hidden Markov model: its sequences in a plate, in a loop, or one alone; summed in the model or the guide."""

    def steps(at: Any, seen: Any, sequence: str, of_model: bool) -> None:
        z: Any = 0
        for t in pyro.markov(range(5)) if loop == "markov" else range(5):
            infer = PARALLEL if of_model == (where == "model") else {}
            z = pyro.sample(f"z{sequence}{t}", dist.Categorical(Vindex(at)[z]), infer=infer)
            if of_model:
                locs = pyro.param("locs", torch.tensor([-1.0, 0.4, 1.5]))
                pyro.sample(f"y{sequence}{t}", dist.Normal(locs[z], 0.8), obs=seen[..., t])

    def sequences(of_model: bool) -> None:
        at = simplex("T" if of_model else "Q", 3, 3)
        if plate == "vectorised":
            with pyro.plate("sequences", 3, dim=-1):
                steps(at, Y, "", of_model)
        elif plate == "loop":
            for i in pyro.plate("sequences", 3):
                steps(at, Y[i], f"_{i}_", of_model)
        else:
            steps(at, Y[0], "", of_model)

    def model() -> None:
        sequences(True)

    def guide() -> None:
        if where == "guide":
            sequences(False)

    name = f"hidden Markov model, {plate} sequences, {loop} steps, summed in the {where}"
    return Program(name, model, guide, losses=SUMMED)


def global_hmm() -> Program:
    """A hidden Markov model with latent transitions."""

    def model() -> None:
        with pyro.plate("states", 2):
            law = pyro.sample("T", dist.Dirichlet(torch.tensor([2.0, 1.0])))
        with pyro.plate("sequences", 3, dim=-1):
            z: Any = 0
            for t in pyro.markov(range(5)):
                z = pyro.sample(f"z{t}", dist.Categorical(Vindex(law)[z]), infer=PARALLEL)
                pyro.sample(f"y{t}", dist.Normal(2.0 * z.type_as(Y), 1.0), obs=Y[:, t])

    def guide() -> None:
        with pyro.plate("states", 2):
            pyro.sample("T", dist.Dirichlet(10 * simplex("a", 2, 2)))

    return Program("hidden Markov model with latent transitions", model, guide, losses=SUMMED)


def discrete_hmm() -> Program:
    """The same law as one distribution, which needs no marks."""

    def model() -> None:
        initial, transition = simplex("a", 3).log(), simplex("T", 3, 3).log()
        locs = pyro.param("locs", torch.tensor([-1.0, 0.4, 1.5]))
        with pyro.plate("sequences", 3):
            law = dist.DiscreteHMM(initial, transition, dist.Normal(locs, 0.8), duration=5)
            pyro.sample("y", law, obs=Y)

    return Program("DiscreteHMM as a law", model, nothing, losses=("Trace", "TraceGraph"))


def factorial(markov: bool) -> Program:
    """Two states at every step, of which one forgets."""

    @config_enumerate
    def model() -> None:
        p, q, r = simplex("p", 3, 3), simplex("q", 2), simplex("r", 3, 2, 4)
        x: Any = 0
        for t in pyro.markov(range(12)) if markov else range(4):
            x = pyro.sample(f"x{t}", dist.Categorical(p[x]))
            y = pyro.sample(f"y{t}", dist.Categorical(q))
            pyro.sample(f"z{t}", dist.Categorical(Vindex(r)[x, y]), obs=torch.tensor(t % 4))

    return Program(f"factorial chain, markov {markov}", model, nothing, losses=SUMMED)


def nested() -> Program:
    """A chain of chains."""

    @config_enumerate
    def model() -> None:
        p = simplex("p", 3, 3)
        y = pyro.sample("x", dist.Categorical(p[0]))
        for i in pyro.markov(range(4)):
            z = y = pyro.sample(f"y{i}", dist.Categorical(p[y]))
            for j in pyro.markov(range(4)):
                z = pyro.sample(f"z{i}_{j}", dist.Categorical(p[z]))

    return Program("a chain of chains", model, nothing, losses=SUMMED)


def grid() -> Program:
    """A grid, each site after the one above and the one to the left."""

    @config_enumerate
    def model() -> None:
        p = simplex("p", 2, 2, 2)
        x: Any = defaultdict(lambda: torch.tensor(0))
        columns = pyro.markov(range(3), keep=True)
        for i in pyro.markov(range(3)):
            for j in columns:
                law = Vindex(p)[x[i - 1, j], x[i, j - 1]]
                x[i, j] = pyro.sample(f"x{i}_{j}", dist.Categorical(law))

    return Program("a grid", model, nothing, losses=SUMMED)


def tree(history: int) -> Program:
    """A program that calls itself, over data that are a tree."""
    data: Any = (True, False)
    for _ in range(3):
        data = (data, data, False)

    @pyro.markov(history=history)
    def model(data: Any, state: Any = 0, address: str = "") -> None:
        if isinstance(data, bool):
            p = pyro.param("leaf", torch.linspace(0.1, 0.9, 4), constraint=constraints.unit_interval)
            pyro.sample(f"leaf_{address}", dist.Bernoulli(p[state]), obs=torch.tensor(float(data)))
            return
        p = simplex("branch", 4, 4)
        for branch, letter in zip(data, "abc", strict=False):
            name = f"branch_{address}{letter}"
            model(branch, pyro.sample(name, dist.Categorical(p[state]), infer=PARALLEL), address + letter)

    return Program(f"a tree, history {history}", model, nothing, args=(data,), losses=SUMMED)


def interleaved() -> Program:
    """A context entered again within another one."""

    def model() -> None:
        with pyro.markov() as outer, pyro.markov(), outer:
            pyro.sample("x", dist.Categorical(simplex("p", 4)), infer=PARALLEL)

    return Program("contexts of markov interleaved", model, nothing, losses=SUMMED)


def in_plates() -> Program:
    """Chains outside of plates, in each of three and in two at once."""

    @config_enumerate
    def model() -> None:
        p, q = simplex("p", 3, 3), pyro.param("q", torch.tensor([0.4, 0.7]), constraint=constraints.unit_interval)
        first, second, third = pyro.plate("a", 2, dim=-1), pyro.plate("b", 3, dim=-1), pyro.plate("c", 4, dim=-2)
        a = pyro.sample("s", dist.Bernoulli(q[0])).long()

        def steps(name: str) -> Tensor:
            b, x = pyro.sample(f"s{name}", dist.Bernoulli(q[a])).long(), 0
            for i in pyro.markov(range(3)):
                x = pyro.sample(f"x{name}{i}", dist.Categorical(p[x]))
            return b

        with first:
            b = steps("first")
        with second:
            steps("second")
        with third:
            steps("third")
        with first, third:
            pyro.sample("both", dist.Bernoulli(q[b]))

    return Program("chains in plates", model, nothing, losses=SUMMED)


def second_order(history: int) -> Program:
    """A chain that looks back two steps, in a context that keeps less or more."""

    @config_enumerate
    def model() -> None:
        p = pyro.param("p", torch.tensor([[0.2, 0.4], [0.7, 0.3]]), constraint=constraints.unit_interval)
        q = pyro.param("q", torch.tensor([0.3, 0.6]), constraint=constraints.unit_interval)
        before, now = torch.tensor(0), torch.tensor(0)
        for t in pyro.markov(range(6), history=history):
            law = p[before, now]
            before, now = now, pyro.sample(f"x{t}", dist.Bernoulli(law)).long()
            pyro.sample(f"y{t}", dist.Bernoulli(q[now]), obs=torch.tensor(float(t % 2)))

    said = REFUSES if history < 2 else RUNS
    return Program(f"second order, history {history}", model, nothing, losses=SUMMED, pyro=said)


def capture_recapture() -> Program:
    """Animals that are alive or not at each of four times, seen or not."""
    seen = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0], [1, 1, 0, 1]])

    def model() -> None:
        survival, capture = probability("survival", 0.7), probability("capture", 0.4)
        with pyro.plate("animals", 3, dim=-1):
            z, first = torch.zeros(3), torch.zeros(3).bool()
            for t in pyro.markov(range(4)):
                with pyro.poutine.mask(mask=first):
                    stays = torch.where(first, survival * z, torch.tensor(1.0))
                    z = pyro.sample(f"z{t}", dist.Bernoulli(stays), infer=PARALLEL)
                    pyro.sample(f"y{t}", dist.Bernoulli(capture * z), obs=seen[:, t])
                first = first | seen[:, t].bool()

    return Program("capture and recapture", model, nothing, losses=SUMMED)


PROGRAMS: list[Program] = [
    chain(30),
    *(
        hmm(plate, loop, where)
        for plate in (None, "vectorised", "loop")
        for loop in ("markov", "plain")
        for where in ("model", "guide")
    ),
    global_hmm(),
    discrete_hmm(),
    *(factorial(markov) for markov in (True, False)),
    nested(),
    grid(),
    *(tree(history) for history in (1, 2)),
    interleaved(),
    in_plates(),
    *(second_order(history) for history in (0, 1, 2, 3)),
    capture_recapture(),
]
