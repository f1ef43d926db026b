"""Score functions hold the costs downstream of a site alone: unbiased, and never noisier than Pyro's two losses."""

from dataclasses import dataclass

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceGraph_ELBO
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample

from ppgen import inference
from ppgen.inference.baselines.moving_average import Baseline
from tests.helpers.exact_moments import assignments, exact_gradient, moments
from tests.helpers.score_programs import (
    AGAINST_PYRO,
    DATA,
    HARD,
    TABLE,
    Program,
    chain_model,
    forward_guide,
    inner_guide,
    inner_model,
    tied_guide,
    tied_model,
)

pytestmark = pytest.mark.uses_pyro_store
SMALL = {
    "inner plate": Program(inner_model, inner_guide, TABLE[:, :1]),
    "inner plate that meets again": Program(tied_model, tied_guide, TABLE[:, :1]),
    "chain": Program(chain_model, forward_guide, DATA[:1]),
}


def score_functions(program, estimator, **settings):
    """The evidence lower bound with an estimator at the binary sites."""
    binary = assignments(program.guide, program.data)[0]
    return inference.Inference(inference.ELBO(**settings), dict.fromkeys(binary, estimator))


@pytest.mark.parametrize("name", AGAINST_PYRO)
def test_never_noisier_than_pyro(name):
    """Catches a cost that is left out though it depends on the draw, and one left in though it does not."""
    program = AGAINST_PYRO[name]
    ours = moments(score_functions(program, inference.ScoreFunction(None)), *program)
    assert torch.allclose(ours.mean, exact_gradient(*program), atol=1e-9)
    graph, plain = (moments(loss, *program).variance for loss in (TraceGraph_ELBO(), Trace_ELBO()))
    assert (ours.variance <= graph * (1 + 1e-9) + 1e-12).all()
    # In one parameter a cost that does not belong to it can be a control variate by chance; in all of them it is noise.
    assert ours.variance.sum() <= plain.sum() * (1 + 1e-9)


@pytest.mark.parametrize("name", HARD)
def test_unbiased_whatever_a_program_does(name):
    """Catches a dependence by a branch, a number, a write in place, a convolution or a draw outside that is missed."""
    program = HARD[name]
    ours = moments(score_functions(program, inference.ScoreFunction(None)), *program)
    assert torch.allclose(ours.mean, exact_gradient(*program), atol=1e-9)


@pytest.mark.parametrize(("name", "vectorize"), [*((name, True) for name in SMALL), ("chain", False)])
def test_particles_that_are_compared(name, vectorize):
    """Catches a control variate that compares elements of a plate, each of which sees the other's draw."""
    program = SMALL[name]
    settings = {"num_particles": 2, "vectorize_particles": vectorize}
    ours = moments(score_functions(program, inference.LeaveOneOut(), **settings), *program, num_particles=2)
    assert torch.allclose(ours.mean, exact_gradient(*program), atol=1e-9)


@dataclass(frozen=True)
class OfRows(Baseline):
    """A baseline that knows the datum, another number for each."""

    def init(self, rows):
        return {}

    def centred(self, signal, rows, state):
        assert signal.dim() == 2 and signal.shape[1] in (1, len(rows))
        return signal - rows.sum(1)[: signal.shape[1]], {}


@pytest.mark.parametrize("name", ["inner plate that meets again", "plate outside the data", "global latent"])
def test_baselines_of_rows(name):
    """Catches a baseline that is asked for elements of an inner plate as if they were rows, or gives them another's."""
    program = AGAINST_PYRO[name]
    ours = moments(score_functions(program, inference.ScoreFunction(OfRows())), *program)
    assert torch.allclose(ours.mean, exact_gradient(*program), atol=1e-9)


class Scaled(Messenger):
    """Scales the terms of latent sites."""

    def _pyro_sample(self, msg):
        if not msg["is_observed"] and not site_is_subsample(msg):
            msg["scale"] = 0.3 * msg["scale"]


@pytest.mark.parametrize("name", SMALL)
def test_weighted_terms(name):
    """Catches weights of latent terms that the costs downstream do not know."""
    program = SMALL[name]
    ours = moments(score_functions(program, inference.ScoreFunction(None), kl_weight=0.3), *program)
    exact = exact_gradient(Scaled()(program.model), Scaled()(program.guide), program.data)
    assert torch.allclose(ours.mean, exact, atol=1e-9)


def test_a_thousand_draws_in_a_datum():
    """Catches a signal that holds the costs of all elements of an inner plate: a deviation of 18 instead of 0.03."""
    x = torch.linspace(-2, 2, 2000, dtype=torch.float64).reshape(1000, 2)
    loss = inference.Inference(inference.ELBO(), inference.ScoreFunction(None))
    found = []
    for seed in range(20):
        torch.manual_seed(seed)
        loss.loss_and_grads(inner_model, inner_guide, x)
        parameter = pyro.get_param_store().get_param("strength")
        found.append(parameter.grad.item() / x.numel())
        parameter.grad = None
    assert torch.tensor(found).std() < 0.1
