"""Sites outside the data plate that look at latents inside of it: rows are joined, and have no weights of their own."""

import itertools
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

import ppgen
from ppgen import evaluation, inference

X = torch.tensor([[0.0, 2.0], [3.0, 1.0]], dtype=torch.float64)
STEPS, SIGMAS = 800, 4.5


class Joined(ppgen.GenerativeModel):
    """Bits of rows, and outside of their plate a label of the first row, a latent that the guide draws last, or none.

    `aside` is a factor of the parameters alone, beside dropout, which joins nothing.
    """

    def __init__(self, how: str, marked: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.how, self.marked = how, marked
        for name, size in {"prior": 1, "mean": 2, "tie": 1, "up": 2, "top_up": 2}.items():
            self.register_parameter(name, nn.Parameter(torch.randn(size, generator=generator, dtype=torch.float64)))

    @pyro.nn.module.pyro_method
    def model(self, x: Tensor) -> None:
        shift: Any = 0.0
        if self.how == "latent":
            shift = pyro.sample("top", dist.Bernoulli(logits=self.prior[0]))
        with pyro.plate("data", len(x)):
            b = pyro.sample("b", dist.Bernoulli(logits=self.prior + shift), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(b.unsqueeze(-1) * self.mean, 1.0).to_event(1), obs=x)
        if self.how == "label":
            with pyro.plate("labelled", 1):
                pyro.sample("y", dist.Bernoulli(logits=2 * self.tie * b[..., :1] - 1.0), obs=x.new_ones(1))
        if self.how == "aside":
            pyro.factor("decay", -nn.functional.dropout(self.tie, training=True).square().sum())

    @pyro.nn.module.pyro_method
    def guide(self, x: Tensor) -> None:
        if self.marked:
            return
        with pyro.plate("data", len(x)):
            b = pyro.sample("b", dist.Bernoulli(logits=x @ self.up))
        if self.how == "latent":
            count = b.sum(-1, keepdim=b.dim() > 1)
            pyro.sample("top", dist.Bernoulli(logits=self.top_up[0] + 4 * self.top_up[1] * count))


def expected(pair: Joined, objective: inference.Objective) -> tuple[Tensor, dict[str, Tensor]]:
    """Objective per datum and its gradient, by sums over the bits of all rows and all particles."""
    weights, masses = [], []
    for bits in itertools.product([0.0, 1.0], repeat=3 if pair.how == "latent" else 2):
        data = {"b": X.new_tensor(bits[:2]), **({"top": X.new_tensor(bits[2])} if pair.how == "latent" else {})}
        with pair.running():
            model, guide = (poutine.trace(poutine.condition(f, data)).get_trace(X) for f in (pair.model, pair.guide))
        masses.append(guide.log_prob_sum())
        weights.append(model.log_prob_sum() - guide.log_prob_sum())
    total: Any = 0.0
    for choice in itertools.product(range(len(weights)), repeat=objective.num_particles):
        log_weights = torch.stack([weights[at] for at in choice])
        inner = log_weights.mean() if isinstance(objective, inference.ELBO) else log_weights.logsumexp(0)
        total = total + torch.stack([masses[at] for at in choice]).sum().exp() * inner / len(X)
    if not isinstance(objective, inference.ELBO):
        total = total - torch.tensor(float(objective.num_particles)).log() / len(X)
    names = dict(pair.named_parameters())
    found = torch.autograd.grad(-total, list(names.values()), allow_unused=True)
    return total.detach(), {name: g for name, g in zip(names, found, strict=True) if g is not None}


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("label", inference.Inference(inference.ELBO(), inference.ScoreFunction())),
        ("label", inference.Inference(inference.ELBO(2), inference.LeaveOneOut())),
        ("label", inference.Inference(inference.ELBO(), inference.DisARM())),
        ("latent", inference.Inference(inference.ELBO(2), inference.LeaveOneOut())),
        ("latent", inference.Inference(inference.ELBO(), inference.DisARM())),
        ("latent", inference.VIMCO(2)),
    ],
    ids=str,
)
def test_a_draw_is_scored_by_all_that_it_changes(how: str, what: inference.Inference) -> None:
    """Catches a score of a row that sees its own log-weight, not the label or the latent that depend on its draw."""
    pair = Joined(how)
    value, gradients = expected(pair, what.objective)
    torch.manual_seed(6)
    bound = what.bind(pair, X, num_data=len(X))
    steps = [bound.step(X) for _ in range(STEPS)]
    every = {"value": (torch.stack([step.value for step in steps]), value)}
    every |= {n: (torch.stack([step.gradients[n] for step in steps]), g) for n, g in gradients.items()}
    for name, (draws, exact) in every.items():
        error = draws.std(0) / STEPS**0.5
        assert bool(((draws.mean(0) - exact).abs() < SIGMAS * error + 1e-9).all()), name


@pytest.mark.parametrize(
    ("what", "marked", "message"),
    [
        (inference.IWAE(2), False, "Site 'y' lies outside plate 'data' and depends on latents inside of it"),
        (inference.VIMCO(2), False, "Site 'y' lies outside plate 'data' and depends on latents inside of it"),
        (inference.RWS(2), False, "Site 'y' lies outside plate 'data' and depends on latents inside of it"),
        (inference.Inference(inference.ELBO(), inference.Enumerate()), False, "'y' outside plate 'data' joins"),
        (inference.Inference(inference.ELBO()), True, "'b' of the model.*'y' outside plate 'data' joins the rows"),
        (inference.Inference(inference.MaximumLikelihood()), True, "Site 'y' lies outside plate 'data' and depends"),
    ],
    ids=str,
)
def test_what_takes_rows_by_themselves_is_refused(what: inference.Inference, marked: bool, message: str) -> None:
    """Catches a logarithm or a sum of each row where the model has one for all rows, so that the value is no bound."""
    with pytest.raises(ValueError, match=message):
        what.bind(Joined("label", marked), X, num_data=len(X))


def test_a_datum_has_no_likelihood_of_its_own() -> None:
    """Catches a label of the rows that is left out of their log-likelihood without a word."""
    with pytest.raises(ValueError, match="Site 'y' lies outside plate 'data'.*no likelihood of its own"):
        evaluation.log_likelihood(Joined("label"), X, method="importance", num_particles=5)


def test_a_prior_of_the_parameters_joins_nothing() -> None:
    """Catches a factor outside the plate, or dropout, that is taken for a dependence on the rows' latents."""
    bound = inference.VIMCO(2).bind(Joined("aside"), X, num_data=len(X))
    assert bound.layout.coupled == ()
