"""Discrete sites that are summed out: in the guide, in the model, in both; draws of them in parallel; in plates."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import config_enumerate
from pyro.ops.indexing import Vindex
from torch import Tensor
from torch.distributions import constraints

from pyro_programs.program import REFUSES, RUNS, WARNS, Program

SUMMED = ("TraceEnum",)
PARALLEL = {"enumerate": "parallel"}
Marks = dict[str, Any]


def probability(name: str = "p", at: float = 0.25) -> Tensor:
    """A probability that is trained."""
    return pyro.param(name, torch.tensor(at), constraint=constraints.unit_interval)


def simplex(name: str, *shape: int) -> Tensor:
    """Probabilities that are trained, far from equal ones."""
    start = torch.arange(1.0, 1.0 + torch.Size(shape).numel()).reshape(shape).cos() + 1.5
    return pyro.param(name, start / start.sum(-1, keepdim=True), constraint=constraints.simplex)


def nothing(*args: Any) -> None:
    """A guide that draws nothing."""


def single(mark: str | None) -> Program:
    """One site of the guide, marked or not: Pyro's losses warn where the mark is not for them."""

    def model() -> None:
        pyro.sample("x", dist.Bernoulli(0.4))

    def guide() -> None:
        pyro.sample("x", dist.Bernoulli(probability()), infer={"enumerate": mark})

    said = dict.fromkeys(("Trace", "TraceGraph"), WARNS if mark else RUNS)
    return Program(
        f"one site, marked {mark}",
        model,
        guide,
        losses=("Trace", "TraceGraph", "TraceEnum, strict"),
        pyro={**said, "TraceEnum, strict": RUNS if mark else WARNS},
        like_pyro=False,
    )


def two_sites(mark: str) -> Program:
    """Two sites of the guide, the second after the first."""

    def model() -> None:
        x = pyro.sample("x", dist.Bernoulli(0.4))
        y = pyro.sample("y", dist.Bernoulli(0.3 + 0.2 * x))
        pyro.sample("seen", dist.Normal(x + y, 1.0), obs=torch.tensor(0.7))

    def guide() -> None:
        x = pyro.sample("x", dist.Bernoulli(probability()))
        pyro.sample("y", dist.Bernoulli(0.5 * probability("q") + 0.2 * x))

    return Program(f"two sites of the guide, {mark}", model, config_enumerate(guide, mark), losses=SUMMED)


def one_hot() -> Program:
    """Sites of one-hot values."""

    def program(at: Callable[..., Tensor]) -> Callable[[], None]:
        def body() -> None:
            x = pyro.sample("x", dist.OneHotCategorical(at("a", 2)))
            pyro.sample("y", dist.OneHotCategorical(x @ at("b", 2, 3)))

        return body

    def constant(name: str, *shape: int) -> Tensor:
        return torch.ones(shape) / shape[-1]

    return Program("one-hot sites", program(constant), config_enumerate(program(simplex)), losses=SUMMED)


def depths(mark: str | None, expand: bool, num_samples: int | None) -> Program:
    """A site outside of plates, one in a plate, one in a plate in it."""

    def program(at: Callable[..., Tensor]) -> Callable[[], None]:
        def body() -> None:
            pyro.sample("x", dist.Categorical(at("a", 2)))
            with pyro.plate("outer", 3):
                pyro.sample("y", dist.Categorical(at("b", 3, 4)))
                with pyro.plate("inner", 2):
                    pyro.sample("z", dist.Categorical(at("c", 2, 3, 5)))

        return body

    def constant(name: str, *shape: int) -> Tensor:
        return torch.ones(shape) / shape[-1]

    guide = config_enumerate(program(simplex), mark, expand, num_samples)
    return Program(
        f"sites at three depths, {mark}, expand {expand}, samples {num_samples}",
        program(constant),
        guide,
        losses=SUMMED,
        like_pyro=None if mark else False,
    )


def guide_in_plates(outer: bool, inner: bool, shared: bool) -> Program:
    """Sites of the guide in two plates, marked one by one; with a global one before them."""

    def model() -> None:
        s = pyro.sample("s", dist.Bernoulli(0.5)) if shared else 0.0
        with pyro.plate("outer", 2, dim=-2):
            x = pyro.sample("x", dist.Bernoulli(0.4 + 0.1 * s))
            with pyro.plate("inner", 3, dim=-1):
                y = pyro.sample("y", dist.Bernoulli(0.3 + 0.2 * x))
                pyro.sample("seen", dist.Normal(y + s, 1.0), obs=torch.arange(6.0).reshape(2, 3) / 6)

    def guide() -> None:
        if shared:
            pyro.sample("s", dist.Bernoulli(probability("r")), infer=PARALLEL)
        with pyro.plate("outer", 2, dim=-2):
            pyro.sample("x", dist.Bernoulli(probability()), infer=PARALLEL if outer else {})
            with pyro.plate("inner", 3, dim=-1):
                pyro.sample("y", dist.Bernoulli(probability("q")), infer=PARALLEL if inner else {})

    return Program(
        f"guide in plates, outer {outer}, inner {inner}, shared {shared}",
        model,
        guide,
        losses=SUMMED,
        like_pyro=None if outer and inner else False,
    )


def mixture(rows: int | None, subsample: int | None, summed: str) -> Program:
    """A mixture: assignments of the rows, summed out in the model or drawn by the guide."""
    x = torch.tensor([-1.0, 0.2, 1.4, 2.0, -0.6])

    def model() -> None:
        weights = simplex("weights", 3)
        locs = pyro.param("locs", torch.tensor([-1.0, 0.0, 1.5]))
        with pyro.plate("data", rows, subsample) as rows_at_hand:
            seen = x if rows is None else x[rows_at_hand]
            infer = PARALLEL if summed == "model" else {}
            k = pyro.sample("k", dist.Categorical(weights).expand_by([len(seen)]), infer=infer)
            pyro.sample("x", dist.Normal(locs[k], 0.7), obs=seen)

    @config_enumerate
    def guide() -> None:
        with pyro.plate("data", rows, subsample) as rows_at_hand:
            law = simplex("q", 5, 3)
            pyro.sample("k", dist.Categorical(law if rows is None else law[rows_at_hand]))

    return Program(
        f"mixture of {rows} rows, subsample {subsample}, summed in the {summed}",
        model,
        nothing if summed == "model" else guide,
        losses=SUMMED,
    )


def bayesian_mixture(subsample: int | None) -> Program:
    """A mixture with global latents: weights and locations."""
    x = torch.tensor([-1.0, 0.2, 1.4, 2.0, -0.6])

    def model() -> None:
        weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
        with pyro.plate("components", 3):
            locs = pyro.sample("locs", dist.Normal(0.0, 2.0))
        with pyro.plate("data", 5, subsample) as rows:
            k = pyro.sample("k", dist.Categorical(weights), infer=PARALLEL)
            pyro.sample("x", dist.Normal(locs[k], 0.7), obs=x[rows])

    def guide() -> None:
        pyro.sample("weights", dist.Dirichlet(simplex("w", 3) * 10))
        with pyro.plate("components", 3):
            pyro.sample("locs", dist.Normal(pyro.param("m", torch.tensor([-1.0, 0.1, 1.0])), 0.1))

    return Program(f"Bayesian mixture, subsample {subsample}", model, guide, losses=SUMMED)


def chain_of_both() -> Program:
    """Sites of the guide and of the model by turns in one chain, marked and unmarked."""

    def model() -> None:
        p = probability()
        a = pyro.sample("a", dist.Bernoulli(p))
        b = pyro.sample("b", dist.Bernoulli(p + a / 2))
        c = pyro.sample("c", dist.Bernoulli(p + b / 2), infer=PARALLEL)
        d = pyro.sample("d", dist.Bernoulli(p + c / 2), infer={})
        e = pyro.sample("e", dist.Bernoulli(p + d / 2), infer=PARALLEL)
        pyro.sample("f", dist.Bernoulli(p + e / 2), obs=torch.tensor(0.0))

    def guide() -> None:
        p = probability("q")
        a = pyro.sample("a", dist.Bernoulli(p))
        b = pyro.sample("b", dist.Bernoulli(p + a / 2), infer=PARALLEL)
        pyro.sample("d", dist.Bernoulli(p + b / 2))

    return Program("a chain of both programs", model, guide, losses=SUMMED, like_pyro=False)


def chain_of_both_in_a_plate() -> Program:
    """The same with most of it in a plate."""

    def model() -> None:
        p = probability()
        a = pyro.sample("a", dist.Bernoulli(p))
        b = pyro.sample("b", dist.Bernoulli(p + a / 2))
        with pyro.plate("data", 3):
            c = pyro.sample("c", dist.Bernoulli(p + b / 2), infer=PARALLEL)
            d = pyro.sample("d", dist.Bernoulli(p + c / 2))
            e = pyro.sample("e", dist.Bernoulli(p + d / 2), infer=PARALLEL)
            pyro.sample("f", dist.Bernoulli(p + e / 2), obs=torch.tensor([0.0, 1.0, 0.0]))

    def guide() -> None:
        p = probability("q")
        a = pyro.sample("a", dist.Bernoulli(p))
        b = pyro.sample("b", dist.Bernoulli(p + a / 2), infer=PARALLEL)
        with pyro.plate("data", 3):
            pyro.sample("d", dist.Bernoulli(p + b / 2))

    return Program("a chain of both programs in a plate", model, guide, losses=SUMMED, like_pyro=False)


def plate_after_plate() -> Program:
    """Global sites of the model, each with observations in a plate of its own at the same dimension."""

    @config_enumerate
    def model() -> None:
        p = pyro.param("p", torch.tensor([0.2, 0.7]), constraint=constraints.unit_interval)
        a = pyro.sample("a", dist.Bernoulli(0.3)).long()
        with pyro.plate("first", 2):
            pyro.sample("b", dist.Bernoulli(p[a]), obs=torch.tensor([0.0, 1.0]))
        c = pyro.sample("c", dist.Bernoulli(0.4)).long()
        with pyro.plate("second", 3):
            pyro.sample("d", dist.Bernoulli(p[c]), obs=torch.tensor([0.0, 0.0, 1.0]))

    return Program("a global site a plate", model, nothing, losses=SUMMED)


def inner_plate() -> Program:
    """A topic model: a global site of each document and one of each word, both summed out."""
    words = torch.tensor([[0, 1, 2], [2, 2, 1]])

    @config_enumerate
    def model() -> None:
        topics, emission = simplex("topics", 2, 2), simplex("emission", 2, 3)
        with pyro.plate("documents", 2, dim=-2):
            kind = pyro.sample("kind", dist.Categorical(simplex("kinds", 2)))
            with pyro.plate("words", 3, dim=-1):
                topic = pyro.sample("topic", dist.Categorical(Vindex(topics)[kind]))
                pyro.sample("word", dist.Categorical(Vindex(emission)[topic]), obs=words)

    return Program("sites of documents and words", model, nothing, losses=SUMMED)


def unrolled_words() -> Program:
    """A topic model whose words are a Python loop."""
    words = torch.tensor([[0, 2], [1, 2], [2, 1]])

    @config_enumerate
    def model() -> None:
        topics, emission = simplex("topics", 2), simplex("emission", 2, 3)
        with pyro.plate("documents", 2):
            for i, row in enumerate(words):
                topic = pyro.sample(f"topic{i}", dist.Categorical(topics))
                pyro.sample(f"word{i}", dist.Categorical(Vindex(emission)[topic]), obs=row)

    return Program("words as a loop", model, nothing, losses=SUMMED)


def diamond() -> Program:
    """Two summed sites in crossed plates that meet, which no tree of plates can sum."""

    @config_enumerate
    def model() -> None:
        rows, columns = pyro.plate("rows", 2, dim=-1), pyro.plate("columns", 2, dim=-2)
        a = pyro.sample("a", dist.Categorical(simplex("pa", 2)))
        with rows:
            b = pyro.sample("b", dist.Categorical(simplex("pb", 2, 2)[a]))
        with columns:
            c = pyro.sample("c", dist.Categorical(simplex("pc", 2, 2)[a]))
        with rows, columns:
            law = Vindex(simplex("pd", 2, 2, 2))[b, c]
            pyro.sample("d", dist.Categorical(law), obs=torch.tensor([[0, 1], [0, 0]]))

    return Program("a diamond of crossed plates", model, nothing, losses=SUMMED, pyro=REFUSES)


def scales(which: str) -> Program:
    """A scale around all, or around the observation of a summed site alone."""

    def model() -> None:
        with poutine.scale(scale=2.0 if which == "all" else 1.0):
            x = pyro.sample("x", dist.Bernoulli(0.3), infer=PARALLEL).long()
            with poutine.scale(scale=1.0 if which == "all" else 2.0):
                p = pyro.param("p", torch.tensor([0.2, 0.8]), constraint=constraints.unit_interval)
                pyro.sample("y", dist.Bernoulli(p[x]), obs=torch.tensor(0.0))

    said = RUNS if which == "all" else REFUSES
    return Program(f"a scale around {which}", model, nothing, losses=SUMMED, pyro=said)


def scaled_rows(inner: int | None) -> Program:
    """A scale around summed sites of rows, or a plate in the rows that takes some of its own."""
    x = torch.tensor([[0.5, -1.0, 2.0], [0.1, 0.2, 1.5]])

    def model() -> None:
        weights, locs = simplex("weights", 2), pyro.param("locs", torch.tensor([-1.0, 1.0]))
        with poutine.scale(scale=1.0 if inner else 2.5), pyro.plate("data", 2, dim=-2):
            with pyro.plate("inner", 3, inner, dim=-1) as at:
                k = pyro.sample("k", dist.Categorical(weights), infer=PARALLEL)
                pyro.sample("x", dist.Normal(locs[k], 1.0), obs=x[:, at])

    return Program(f"scaled rows, subsample {inner}", model, nothing, losses=SUMMED)


def outside_and_inside(which: str) -> Program:
    """A summed site outside of the plate of the rows beside one inside of it; the rows depend on it or not."""
    x = torch.tensor([0.5, -1.0, 2.0])

    def model() -> None:
        weights, locs = simplex("weights", 2), pyro.param("locs", torch.tensor([-1.0, 1.0]))
        with poutine.scale(scale=0.5 if which == "scaled" else 1.0):
            g = pyro.sample("g", dist.Categorical(weights), infer=PARALLEL)
            pyro.sample("o", dist.Normal(locs[g], 1.0), obs=torch.tensor(0.3))
            with pyro.plate("data", 3, 2 if which == "subsampled" else None) as at:
                k = pyro.sample("k", dist.Categorical(simplex("inner", 2)), infer=PARALLEL)
                shift = 0.0 if which == "apart" else 0.5 * locs[g]
                pyro.sample("x", dist.Normal(locs[k] + shift, 1.0), obs=x[at])

    said = REFUSES if which == "subsampled" else RUNS
    return Program(f"a summed site outside beside one inside, {which}", model, nothing, losses=SUMMED, pyro=said)


def sequential_in_the_model() -> Program:
    """A mark in the model that Pyro knows in guides alone."""

    def model() -> None:
        pyro.sample("a", dist.Bernoulli(probability()), infer={"enumerate": "sequential"})

    return Program("sequential mark in the model", model, nothing, losses=SUMMED, pyro=REFUSES)


def unplated_batch() -> Program:
    """A batch of draws that lies in no plate."""

    def model() -> None:
        pyro.sample("x", dist.Bernoulli(0.5).expand_by([5]))

    @config_enumerate
    def guide() -> None:
        pyro.sample("x", dist.Bernoulli(probability()).expand_by([5]))

    return Program("a batch without a plate, summed", model, guide, losses=SUMMED, pyro=REFUSES)


CHOICES: tuple[tuple[str | None, bool, int | None], ...] = (
    (None, False, None),
    ("sequential", False, None),
    ("sequential", True, None),
    ("parallel", False, None),
    ("parallel", True, None),
    ("parallel", True, 3),
)
MARKS = (None, "sequential", "parallel")

PROGRAMS: list[Program] = [
    *(single(mark) for mark in MARKS),
    *(two_sites(mark) for mark in ("sequential", "parallel")),
    one_hot(),
    *(depths(*choice) for choice in CHOICES),
    *(guide_in_plates(o, i, s) for o in (False, True) for i in (False, True) for s in (False, True)),
    *(
        mixture(rows, subsample, summed)
        for rows, subsample in ((None, None), (5, None), (5, 2))
        for summed in ("model", "guide")
    ),
    *(bayesian_mixture(size) for size in (None, 2)),
    chain_of_both(),
    chain_of_both_in_a_plate(),
    plate_after_plate(),
    inner_plate(),
    unrolled_words(),
    diamond(),
    *(scales(which) for which in ("all", "the observation")),
    *(scaled_rows(inner) for inner in (None, 2)),
    *(outside_and_inside(which) for which in ("joined", "apart", "scaled", "subsampled")),
    sequential_in_the_model(),
    unplated_batch(),
]
