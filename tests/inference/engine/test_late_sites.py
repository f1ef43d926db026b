"""Sites that come and go: gradients against enumeration, loops over random subsamples and ragged sequences."""

import itertools
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor

import ppgen
from ppgen import inference

SIGMAS, STEPS = 4.5, 400
X = torch.tensor([0.4, 1.5])


def branching(x: Tensor) -> None:
    first = pyro.sample("first", dist.Bernoulli(0.5))
    second = pyro.sample("second", dist.Bernoulli(0.3)) if first == 1 else torch.tensor(0.0)
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(first + 2 * second, 1.0), obs=x)


def branching_guide(x: Tensor) -> None:
    first = pyro.sample("first", dist.Bernoulli(logits=pyro.param("q", torch.tensor(0.3))))
    if first == 1:
        pyro.sample("second", dist.Bernoulli(logits=pyro.param("r", torch.tensor(1.5))))


def exact() -> tuple[float, Tensor]:
    """Bound per datum and the gradient of minus it in q and r, over the three branches."""
    q, r = torch.tensor(0.3, requires_grad=True), torch.tensor(1.5, requires_grad=True)
    total: Any = 0.0
    for first, second in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)):
        one, two = torch.tensor(first), torch.tensor(second)
        drawn = dist.Bernoulli(logits=q).log_prob(one) + first * dist.Bernoulli(logits=r).log_prob(two)
        stated = dist.Bernoulli(0.5).log_prob(one) + first * dist.Bernoulli(0.3).log_prob(two)
        total = total + drawn.exp() * (stated + dist.Normal(first + 2 * second, 1.0).log_prob(X).sum() - drawn)
    gradients = torch.autograd.grad(-total / len(X), (q, r))
    return float(total.detach()) / len(X), torch.stack(gradients)


@pytest.mark.parametrize(
    "what",
    [
        inference.Inference(inference.ELBO()),
        inference.Inference(inference.ELBO(), inference.ScoreFunction(None)),
        inference.Inference(inference.ELBO(2, vectorize_particles=False)),
    ],
    ids=inference.describe,
)
def test_a_site_that_first_appears_later_has_its_score(what: inference.Inference) -> None:
    """Catches a site that is not in the plan of the first run, so that its score term is left out (or a KeyError)."""
    pair = ppgen.Pair(branching, branching_guide)
    for seed in itertools.count():
        torch.manual_seed(seed)
        with pair.running():
            if "second" not in poutine.trace(pair.guide).get_trace(X).nodes:
                break
    torch.manual_seed(seed)  # the first run does not draw it
    bound = what.bind(pair, X, num_data=len(X))
    assert list(bound.plan) == ["first"]
    steps = []
    for _ in range(STEPS):
        result = bound.step(X)
        steps.append(
            torch.stack([result.value, *(result.gradients.get(f"captured.{n}", torch.zeros(())) for n in ("q", "r"))])
        )
    value, gradient = exact()
    draws = torch.stack(steps)
    error = draws.std(0) / STEPS**0.5
    assert ((draws.mean(0) - torch.cat([torch.tensor([value]), gradient])).abs() < SIGMAS * error).all()
    assert set(bound.plan) == {"first", "second"}


def looped(x: Tensor) -> None:
    w, rows = pyro.param("w", torch.tensor(0.0)), pyro.plate("data", len(x))
    for index in pyro.plate("columns", 5, subsample_size=2):
        c = pyro.sample(f"c_{index}", dist.Bernoulli(0.5))
        with rows:
            z = pyro.sample(f"z_{index}", dist.Normal(c, 1.0))
            pyro.sample(f"x_{index}", dist.Normal(z + w, 1.0), obs=x[:, index])


def looped_guide(x: Tensor) -> None:
    logits, slope, rows = pyro.param("l", torch.zeros(5)), pyro.param("s", torch.zeros(5)), pyro.plate("data", len(x))
    for index in pyro.plate("columns", 5, subsample_size=2):
        pyro.sample(f"c_{index}", dist.Bernoulli(logits=logits[index]))
        with rows:
            pyro.sample(f"z_{index}", dist.Normal(slope[index] * x[:, index], 1.0))


@pytest.mark.parametrize(
    "what", ["elbo", inference.RLOO(3), inference.ELBO(3, vectorize_particles=False)], ids=["one", "rloo", "one by one"]
)
def test_a_loop_over_a_random_subsample(what: Any) -> None:
    """Catches a KeyError at the first column that the first run has not drawn, or one that is never trained."""
    pair = ppgen.Pair(looped, looped_guide)
    run = ppgen.fit(pair, torch.randn(20, 5), what, steps=12, batch_size=20, compile=False, progress=False)
    assert len(run.curve("train_value")) == 12
    trained = dict(pair.named_parameters())
    assert (trained["captured.l"] != 0).all() and (trained["captured.s"] != 0).all()


def ragged(x: Tensor, lengths: Tensor) -> None:
    with pyro.plate("data", len(x)):
        for t in range(int(lengths.max())):
            with poutine.mask(mask=lengths > t):
                z = pyro.sample(f"z_{t}", dist.Bernoulli(torch.full((len(x),), 0.4)))
                pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])


def ragged_guide(x: Tensor, lengths: Tensor) -> None:
    slope = pyro.param("slope", torch.zeros(6))
    with pyro.plate("data", len(x)):
        for t in range(int(lengths.max())):
            with poutine.mask(mask=lengths > t):
                pyro.sample(f"z_{t}", dist.Bernoulli(logits=slope[t] * x[:, t]))


@pytest.mark.parametrize("what", [inference.ELBO(), inference.VIMCO(3)], ids=["score", "leave one out"])
def test_sequences_longer_than_those_of_the_first_batch(what: Any) -> None:
    """Catches steps of a sequence that are never trained, because the first batch was shorter or longer."""
    pair, x = ppgen.Pair(ragged, ragged_guide), torch.randn(3, 6) + 0.5
    first, longer = (x, torch.tensor([1, 2, 2])), (x, torch.tensor([1, 6, 2]))
    pair.prepare(first)
    bound = (what if isinstance(what, inference.Inference) else inference.Inference(what)).bind(pair, first, num_data=3)
    total = torch.zeros(6)
    for batch in (first, longer, first, longer, longer):
        total += bound.step(batch).gradients["captured.slope"].abs()
    assert (total > 0).all() and all(bound.plan[f"z_{t}"].scores for t in range(6))


def test_what_must_know_its_sites_beforehand_says_so() -> None:
    """Catches pairs of draws and sums over states that leave out a site of which they did not know."""
    pair, x = ppgen.Pair(ragged, ragged_guide), torch.randn(3, 6)
    first, longer = (x, torch.tensor([1, 1, 1])), (x, torch.tensor([1, 3, 1]))
    pair.prepare(first)
    for estimator in (inference.DisARM(), inference.Enumerate()):
        bound = inference.Inference(inference.ELBO(), estimator).bind(pair, first, num_data=3)
        with pytest.raises(ValueError, match=f"'z_1' of the guide first appears.*{type(estimator).__name__} must know"):
            bound.step(longer)
    bound = inference.Inference(inference.ELBO(), inference.Enumerate()).bind(pair, longer, num_data=3)
    with pytest.raises(ValueError, match="'z_1' of the guide is summed over.* not drawn at this call"):
        bound.step(first)


@pytest.mark.parametrize(
    ("drawn", "stated", "message"),
    [
        (False, True, r"guide misses the latent sites \['z_1'\]"),
        (True, False, r"guide draws the sites \['z_1'\]"),
    ],
)
def test_model_and_guide_that_part(drawn: bool, stated: bool, message: str) -> None:
    """Catches a latent drawn from the prior behind the guide's back, or one that only the guide has."""
    later = [False]

    def latents(x: Tensor, both: bool, factor: Any) -> None:
        for t in range(2 if later[0] and both else 1):
            pyro.sample(f"z_{t}", dist.Normal(factor * x, 1.0))

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            latents(x, stated, 0.0)
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            latents(x, drawn, pyro.param("slope", torch.tensor(0.1)))

    pair = ppgen.Pair(model, guide)
    pair.prepare(X)
    bound = inference.Inference(inference.ELBO()).bind(pair, X, num_data=len(X))
    bound.step(X)
    later[0] = True
    with pytest.raises(ValueError, match=message):
        bound.step(X)


def labelled(x: Tensor, y: Tensor | None = None) -> None:
    with pyro.plate("data", len(x)):
        label = pyro.sample("y", dist.Bernoulli(torch.full((len(x),), 0.4)), obs=y)
        pyro.sample("x", dist.Normal(2 * label, 1.0), obs=x)


def labelling(x: Tensor, y: Tensor | None = None) -> None:
    slope, unused = pyro.param("slope", torch.tensor(0.5)), pyro.param("offset", torch.tensor(0.1))
    with pyro.plate("data", len(x)):
        if y is None:
            pyro.sample("y", dist.Bernoulli(logits=slope * x + unused))


@pytest.mark.uses_pyro_store
def test_a_loss_called_with_and_without_labels() -> None:
    """Catches labels that are drawn at the second call without a score, because the first one observed them."""
    loss, alone = inference.ELBO(), inference.ELBO()
    numbers = []
    assert loss.loss(labelled, labelling, X, torch.tensor([0.0, 1.0])) > 0
    for each in (loss, alone):
        torch.manual_seed(0)
        value = each.differentiable_loss(labelled, labelling, X)
        numbers.append([value, *torch.autograd.grad(value, pyro.param("slope"))])
    torch.testing.assert_close(*numbers)
    assert loss.loss(labelled, labelling, X, torch.tensor([0.0, 1.0])) > 0
