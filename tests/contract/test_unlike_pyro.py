"""Mean gradients that are not those of Pyro's losses, against all values that the draws may have."""

import itertools
from collections.abc import Iterator
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.poutine.messenger import Messenger
from pyro_programs.changes import branch
from pyro_programs.enumerated_plates import drawn_then_summed
from pyro_programs.masks import drawn_outside

from ppgen import inference

pytestmark = pytest.mark.uses_pyro_store
NODES = ((-(3**0.5), 1 / 6), (0.0, 2 / 3), (3**0.5, 1 / 6))  # of a standard normal: exact up to the fifth power


class Given(Messenger):
    """Gives the sites of some laws their values in turn, and knows how probable they are."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        super().__init__()
        self.values, self.chance = iter(values), 1.0

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or msg["value"] is not None or msg["infer"].get("enumerate"):
            return
        if isinstance(msg["fn"], dist.Normal):
            node, weight = next(self.values)
            msg["value"], self.chance = msg["fn"].loc + node * msg["fn"].scale, self.chance * weight
        elif getattr(msg["fn"], "has_enumerate_support", False):
            value = torch.full(msg["fn"].shape(), next(self.values))
            self.chance *= float(msg["fn"].log_prob(value).detach().exp())
            msg["value"] = value
        msg["done"] = msg["value"] is not None


def gradients() -> dict[str, float]:
    """Gradients of the parameters, which are then taken away."""
    found = {}
    for name, value in pyro.get_param_store().named_parameters():
        found[name] = 0.0 if value.grad is None else float(value.grad)
        value.grad = None
    return found


def mean_gradients(loss: Any, program: Any, outcomes: Iterator[tuple[Any, ...]]) -> dict[str, float]:
    """Gradients of a loss, their means over the draws that are given."""
    total: dict[str, float] = {}
    for values in outcomes:
        with Given(values) as given:
            loss.loss_and_grads(program.model, program.guide)
        for name, gradient in gradients().items():
            total[name] = total.get(name, 0.0) + given.chance * gradient
    return total


def bound(loss: Any, program: Any) -> Any:
    """A loss that has looked at a program."""
    pyro.clear_param_store()
    loss.loss_and_grads(program.model, program.guide)
    gradients()
    return loss


def plain(**settings: Any) -> inference.Inference:
    return inference.Inference(inference.ELBO(**settings), {"a": inference.ScoreFunction(None)})


def test_draws_before_sums() -> None:
    """Catches a score of draws in one plate that lacks the costs of what is summed in another."""
    program = drawn_then_summed("parallel", drawn=1, summed=1)
    loss = bound(plain(vectorize_particles=False), program)
    found = mean_gradients(loss, program, itertools.product((0.0, 1.0), repeat=4))  # a draw for each of four states
    pw, pa, pb = (torch.tensor(0.25).logit().requires_grad_() for _ in range(3))
    total: Any = 0.0
    for w, a, b in itertools.product(torch.tensor([0.0, 1.0]), repeat=3):
        log_q, log_p = (
            sum(dist.Bernoulli(p).log_prob(x) for p, x in ((of_w, w), (of_a, a), ((1 + a) / 4 * of_b * 1.5, b)))
            for of_w, of_a, of_b in ((pw.sigmoid(), pa.sigmoid(), pb.sigmoid()), torch.full((3,), 0.5))
        )
        total = total - log_q.exp() * (log_p - log_q)
    exact = torch.autograd.grad(total, [pw, pa, pb])
    assert found == pytest.approx(dict(zip(("pw", "pa", "pb"), map(float, exact), strict=True)), abs=1e-5)


def test_branch() -> None:
    """Catches a score that lacks the costs which a branch of Python chooses."""
    program = branch(summed=False)
    loss = bound(inference.Inference(inference.ELBO(), {"x": inference.ScoreFunction(None)}), program)
    outcomes = [(0.0,), *((1.0, node) for node in NODES)]
    found = mean_gradients(loss, program, iter(outcomes))
    p, m = torch.tensor(0.25).logit().requires_grad_(), torch.tensor(0.3, requires_grad=True)
    q, posterior = p.sigmoid(), dist.Normal(m, 1.0)
    seen = dist.Normal(0.5, 1.0).log_prob(m) - 0.5 - torch.distributions.kl_divergence(posterior, dist.Normal(1.0, 1.0))
    taken, other = (0.4 / q).log() + seen, (0.6 / (1 - q)).log() + dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.5))
    exact = torch.autograd.grad(-(q * taken + (1 - q) * other), [p, m])
    assert found == pytest.approx({"p": float(exact[0]), "m": float(exact[1])}, abs=1e-5)
    assert found["p"] == pytest.approx(-0.0100, abs=1e-4)


def test_draw_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a factor that has no costs, or not its own, as that of draws that no site makes."""
    program = drawn_outside()
    loss, found = inference.Inference(inference.ELBO(), inference.ScoreFunction(None)), 0.0
    bound(loss, program)
    for value, chance in ((0.0, 0.75), (1.0, 0.25)):
        monkeypatch.setattr(dist.Bernoulli, "sample", lambda law, *_, value=value: 0 * law.probs.detach() + value)
        loss.loss_and_grads(program.model, program.guide)
        found += chance * gradients()["m"]
    assert found == pytest.approx(-0.2238, abs=1e-4)
