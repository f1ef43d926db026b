"""Sums that cannot be had raise before training, and say what to use."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from structures import MARK, ROWS, Mixture, Structure, X
from torch import Tensor

import ppgen
from ppgen import inference


def bits(size: int, rows_outside: bool = False, infer: dict | None = None, plate: str | None = None) -> ppgen.Pair:
    """A pair with a vector of bits, which the guide does not draw if it is marked."""

    def model(x: Tensor) -> None:
        law = dist.Bernoulli(logits=pyro.param("p", torch.zeros(size))).to_event(1)
        if rows_outside:
            b = pyro.sample("b", law, infer=infer or {})
        with pyro.plate("data", len(x)):
            if not rows_outside:
                b = pyro.sample("b", law, infer=infer or {})
            pyro.sample("x", dist.Normal(b.sum(-1), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        law = dist.Bernoulli(logits=pyro.param("q", torch.zeros(size))).to_event(1)
        if infer is None:
            with pyro.plate("data", len(x)):
                pyro.sample("b", law)

    pair = ppgen.Pair(model, guide) if plate is None else ppgen.Pair(model, guide, plate=plate)
    pair.prepare(torch.zeros(2))
    return pair


def poisson() -> ppgen.Pair:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            n = pyro.sample("n", dist.Poisson(pyro.param("p", torch.tensor(1.0))))
            pyro.sample("x", dist.Normal(n, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("n", dist.Poisson(pyro.param("q", torch.tensor(2.0))))

    pair = ppgen.Pair(model, guide)
    pair.prepare(torch.zeros(2))
    return pair


def scaled() -> ppgen.Pair:
    """A scale around the rows alone, not around what they are summed over."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            b = pyro.sample("b", dist.Bernoulli(pyro.param("p", torch.tensor(0.4))), infer=MARK)
            with poutine.scale(scale=0.5):
                pyro.sample("x", dist.Normal(b, 1.0), obs=x)

    pair = ppgen.Pair(model, lambda x: None)
    pair.prepare(torch.zeros(2))
    return pair


ELBO, SUM = inference.ELBO(), inference.Enumerate()
PAIRS = {"top": SUM, "low": inference.DisARM()}


@pytest.mark.parametrize(
    ("make", "objective", "estimator", "message"),
    [
        (lambda: bits(20), ELBO, SUM, r"\['b'\] has 1048576 joint states.*max_states=1024.*LeaveOneOut"),
        (lambda: bits(60), ELBO, SUM, r"about 10\^18 joint states"),
        (lambda: bits(3), ELBO, inference.Enumerate(max_states=7), "has 8 joint states.*max_states=7"),
        (lambda: bits(20, infer=MARK), ELBO, "auto", "1048576 joint states.*Draw them in the guide"),
        (
            lambda: bits(2, True, MARK, "data"),
            ELBO,
            "auto",
            "'b'.*outside plate 'data'.*one joint weight.*in the guide",
        ),
        (scaled, ELBO, "auto", "'x' is scaled by 0.5 and site 'b' by 1, and both are parts of a sum"),
        (scaled, inference.ELBO(vectorize_particles=False), "auto", "'x' carries a scale.*one by one"),
        (lambda: bits(2, infer={"enumerate": None}), ELBO, "auto", r"guide misses the latent sites \['b'\]"),
        (poisson, ELBO, SUM, "'n' cannot be summed over: Poisson has no finite set"),
        (lambda: bits(3), inference.IWELBO(2), SUM, "Enumerate under IWELBO is not sound at site 'b'"),
        (lambda: bits(3), inference.MaximumLikelihood(), "auto", "MaximumLikelihood.*'b'.*Enumerate"),
        (lambda: bits(3), inference.MaximumLikelihood(2), inference.LeaveOneOut(), "MaximumLikelihood.*'b'.*Enumerate"),
        (lambda: Mixture(drawn="z"), inference.MaximumLikelihood(), "auto", "MaximumLikelihood.*'z'.*continuous"),
        (lambda: Mixture(drawn="z"), ELBO, inference.AnalyticKL(), "AnalyticKL at site 'z': site 'c'.*summed out"),
        (lambda: Mixture(drawn="z"), inference.ELBO(kl_weight=0.5), "auto", "kl_weight.*'c'.*summed out"),
        (
            lambda: Structure("inner", False),
            ELBO,
            PAIRS,
            "'top' is summed over and site 'low'.*Give 'top' .*Score",
        ),
        (lambda: Structure("scale", False), inference.MaximumLikelihood(), SUM, "'low' carries a scale.*ELBO"),
        (lambda: Structure("global", False), inference.MaximumLikelihood(), SUM, "'top' lies outside plate 'data'"),
    ],
)
def test_what_cannot_be_summed_raises_before_training(make, objective, estimator, message: str) -> None:
    """Catches a sum that runs out of memory, or that stands for another number, after training has begun."""
    pair = make()
    batch = torch.zeros(2) if isinstance(pair, ppgen.Pair) else X if isinstance(pair, Mixture) else ROWS
    with pytest.raises(ValueError, match=message):
        inference.Inference(objective, estimator).bind(pair, batch, num_data=len(batch))


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_number_of_states(count: object) -> None:
    """Catches a limit that is no number of states."""
    with pytest.raises(ValueError, match="max_states must be a positive integer"):
        inference.Enumerate(max_states=count)
