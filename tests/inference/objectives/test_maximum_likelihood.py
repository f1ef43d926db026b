"""The log-likelihood as an objective, of pairs without latents or whose latents are all summed out."""

import pyro
import pyro.distributions as dist
import torch
from structures import assert_exact
from torch import Tensor

import ppgen
from ppgen import inference, models
from ppgen.testing.enumeration import enumerated


def test_a_belief_network_of_two_layers() -> None:
    """Catches a sum over layers that depend on each other which is no longer log p(x)."""
    sbn = models.SigmoidBeliefNet((4, 3, 2)).double()
    x = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    weights, mass = enumerated(sbn, x)
    bound = inference.Inference(inference.MaximumLikelihood(), inference.Enumerate()).bind(sbn, x, num_data=2)
    assert_exact(sbn, bound.step(x), (weights.local + mass).logsumexp(0).mean())


def test_log_likelihood_without_latents() -> None:
    """Catches an objective that wants a latent, or a factor outside the data plate counted for each datum."""

    def model(x: Tensor) -> None:
        mean = pyro.param("mean", torch.tensor(0.3))
        pyro.sample("prior", dist.Normal(0.0, 1.0), obs=mean)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    pair, x = ppgen.Pair(model, lambda x: None), torch.tensor([0.5, -1.0, 2.0])
    pair.prepare(x)
    result = inference.Inference(inference.MaximumLikelihood()).bind(pair, x, num_data=6).step(x)
    torch.testing.assert_close(result.gradients["captured.mean"], torch.tensor(0.3 - 0.5 + 0.3 / 6))
    exact = dist.Normal(0.3, 1.0).log_prob(x).mean() + dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.3)) / 6
    torch.testing.assert_close(result.value, exact)


def test_log_likelihood_of_an_exact_posterior() -> None:
    """Catches a machine whose hidden units, drawn from their exact posterior, are taken for latents to be drawn."""
    rbm, x = models.RBM(4, 3).double(), torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    found = {}
    for objective in (inference.MaximumLikelihood(), inference.ELBO()):
        what = inference.Inference(objective, negative_phase=inference.ExactPartition())
        found[type(objective)] = what.bind(rbm, x, num_data=2).step(x)
    exact, other = found.values()
    torch.testing.assert_close(exact.value, other.value)
    assert set(exact.gradients) == {"weight", "visible_bias", "hidden_bias"}
    for name, gradient in other.gradients.items():
        torch.testing.assert_close(exact.gradients[name], gradient)
