"""Score functions hold the costs downstream of a site alone: unbiased, and never noisier than Pyro's two losses."""

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceGraph_ELBO

from ppgen import inference
from tests.helpers.exact_moments import assignments, exact_gradient, moments
from tests.helpers.score_programs import AGAINST_PYRO, HARD, inner_guide, inner_model

pytestmark = pytest.mark.uses_pyro_store


def score_functions(program):
    """The evidence lower bound with score functions, without a baseline, at the binary sites."""
    binary = assignments(program.guide, program.data)[0]
    return inference.Inference(inference.ELBO(), dict.fromkeys(binary, inference.ScoreFunction(None)))


@pytest.mark.parametrize("name", AGAINST_PYRO)
def test_never_noisier_than_pyro(name):
    """Catches a cost that is left out though it depends on the draw, and one left in though it does not."""
    program = AGAINST_PYRO[name]
    exact = exact_gradient(*program)
    ours = moments(score_functions(program), *program)
    assert torch.allclose(ours.mean, exact, atol=1e-9)
    for loss in (Trace_ELBO(), TraceGraph_ELBO()):
        assert (ours.variance <= moments(loss, *program).variance * (1 + 1e-9) + 1e-12).all()


@pytest.mark.parametrize("name", HARD)
def test_unbiased_whatever_a_program_does(name):
    """Catches a dependence by a branch, a number, a write in place, a convolution or a draw outside that is missed."""
    program = HARD[name]
    ours = moments(score_functions(program), *program)
    assert torch.allclose(ours.mean, exact_gradient(*program), atol=1e-9)
