"""Which steps are followed: those that can leave something out, as often as the program runs, and once in a graph."""

import pyro
import pytest
import torch

import ppgen
from ppgen import inference, models
from ppgen.inference.engine.followed_runs import FollowedRuns
from ppgen.inference.structure.dependencies import Dependencies
from ppgen.training.steps.traced_step import TracedStep
from tests.helpers.exact_moments import exact_gradient, moments
from tests.helpers.score_programs import DATA, TABLE, bits, inner_guide, inner_model, lone_guide, seen

BITS = (torch.rand(12, 6, generator=torch.Generator().manual_seed(2)) < 0.4).float()
SCORE = inference.Inference(inference.ELBO(), inference.ScoreFunction(None))


@pytest.fixture
def followed(monkeypatch):
    """Counts the runs that are followed."""
    counts = []
    follow = Dependencies.following

    def counted(self):
        counts.append(1)
        return follow(self)

    monkeypatch.setattr(Dependencies, "following", counted)
    return counts


def labelled(x):
    """A latent on which both observed sites depend, so that nothing is left out."""
    with pyro.plate("data", len(x)):
        z = bits("z", 0.3)
        seen("x", 2 * z, x)
        seen("y", 1 - z, x)


def of_labelled(x):
    logits = pyro.param("logits", lambda: torch.tensor(0.2, dtype=torch.float64))
    with pyro.plate("data", len(x)):
        bits("z", logits=logits)


def test_followed_no_more_where_nothing_is_left_out(followed, monkeypatch):
    """Catches steps that are slower for nothing, and numbers that change where nothing is left out."""
    gradients = []
    for follow in (True, False):
        if not follow:
            monkeypatch.setattr(FollowedRuns, "_useful", lambda self: False)
        bound = inference.Inference(inference.ELBO(3)).bind(ppgen.Pair(labelled, of_labelled), DATA, num_data=2)
        torch.manual_seed(3)
        gradients.append([bound.step(DATA).gradients for _ in range(3)])
    assert len(followed) == 1
    for ours, plain in zip(*gradients, strict=True):
        assert all(torch.equal(ours[name], plain[name]) for name in plain)


@pytest.mark.parametrize("what", ["vae", "one layer", "many particles", "sums", "two layers"])
def test_what_is_followed(followed, what):
    """Catches a dispatch mode in every step of programs that never need it."""
    pair, chosen, expected = {
        "vae": (models.VAE(6, latent=2, hidden=(3,)), inference.Inference(inference.ELBO()), 0),
        "one layer": (models.SigmoidBeliefNet((6, 4)), SCORE, 0),
        "many particles": (models.SigmoidBeliefNet((6, 4, 3)), inference.Inference(inference.IWELBO(3)), 0),
        "sums": (models.SigmoidBeliefNet((6, 2, 2)), inference.Inference(inference.ELBO(), inference.Enumerate()), 0),
        "two layers": (models.SigmoidBeliefNet((6, 4, 3)), SCORE, 2),
    }[what]
    pair.prepare(BITS)
    bound = chosen.bind(pair, BITS, num_data=len(BITS))
    bound.step(BITS)
    bound.value(BITS)
    bound.step(BITS)
    assert len(followed) == expected


def test_a_traced_step_is_the_eager_one(followed):
    """Catches a graph whose signals hold other costs, or in which the run is followed each time it is used."""
    net = models.SigmoidBeliefNet((6, 4, 3))
    net.prepare(BITS)
    bound = inference.Inference(inference.ELBO(2)).bind(net, BITS, num_data=len(BITS))
    bound.step(BITS)
    traced = TracedStep(bound, dict(net.named_parameters()))
    torch.manual_seed(6)
    traced(BITS)
    torch.manual_seed(6)
    before = len(followed)
    result = traced(BITS)
    assert len(followed) == before
    torch.manual_seed(6)
    expected = bound.step(BITS)
    for name, gradient in expected.gradients.items():
        torch.testing.assert_close(result.gradients[name], gradient, rtol=1e-6, atol=1e-7)


class WarmUp:
    """A model in which the datum depends on a latent from the third call on, which no tensor tells."""

    warm = False

    def __call__(self, x):
        with pyro.plate("data", len(x)):
            first, second = bits("first", 0.3), bits("second", 0.6)
            seen("x", 2 * second - (first if self.warm else 1.0), x)


@pytest.mark.uses_pyro_store
def test_dependences_that_come_later():
    """Catches what was found at the first step taken for what holds at all later ones."""
    model = WarmUp()
    loss = inference.Inference(inference.ELBO(), dict.fromkeys(("first", "second"), inference.ScoreFunction(None)))
    cold = moments(loss, model, lone_guide, DATA[:1])
    assert torch.allclose(cold.mean, exact_gradient(model, lone_guide, DATA[:1]), atol=1e-9)
    model.warm = True
    assert torch.allclose(
        moments(loss, model, lone_guide, DATA[:1]).mean, exact_gradient(model, lone_guide, DATA[:1]), atol=1e-9
    )


@pytest.mark.uses_pyro_store
def test_antithetic_pairs_in_an_inner_plate():
    """Catches pairs whose mean is taken over the elements of an inner plate, or that hold each other's costs."""
    exact = exact_gradient(inner_model, inner_guide, TABLE)
    x = TABLE.repeat(1, 100)
    loss = inference.Inference(inference.ELBO(), inference.DisARM())
    found = []
    for seed in range(30):
        torch.manual_seed(seed)
        parameter = pyro.get_param_store().get_param("strength")
        parameter.grad = None
        loss.loss_and_grads(inner_model, inner_guide, x)
        found.append(parameter.grad / 100)
    draws = torch.stack(found)
    assert abs(draws.mean() - exact) < 4 * draws.std() / len(draws) ** 0.5
    assert draws.std() < 0.2
