"""Programs that raise at absurd positions: those trajectories are rejected, and the other chains go on."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import ppgen
from ppgen import evaluation, inference

X = torch.tensor([[0.5, -0.4], [1.0, 0.3], [-0.2, 0.1]])


def truncated(z):
    """A Normal law cut off below zero, as numbers that are not there say it."""
    return torch.where(z[..., 0] > 0, -(z[..., 0] - 1).square(), torch.nan)


def raising(z):
    """The same, as the checks of a law say it: of all chains at once."""
    if (z <= 0).any():
        raise ValueError("z must be positive")
    return -(z[..., 0] - 1).square()


def factored(z):
    """The same, as a batched Cholesky factor says it, whose error is torch's own."""
    factor = torch.linalg.cholesky(z.unsqueeze(-1))[..., 0, 0]
    return -(factor.square() - 1).square()


def run(log_density, shape, num_steps=25):
    kernel, generator = inference.HMC(step_size=0.4, num_steps=4), torch.Generator().manual_seed(0)
    state, told = kernel.init(log_density, torch.ones(shape, dtype=torch.float64)), []
    for _ in range(num_steps):
        state, info = kernel.step(log_density, state, generator, adapt=True)
        told.append(info)
    return state, [torch.stack(values) for values in zip(*told, strict=True)]


@pytest.mark.parametrize("log_density", [raising, factored], ids=["check", "factor"])
@pytest.mark.parametrize("shape", [(7, 1), (3, 5, 1), (1, 1)])
def test_what_raises_is_rejected_as_what_is_no_number(log_density, shape):
    """Catches chains that end by an error of one of them, and a law other than that of the chains apart."""
    state, told = run(log_density, shape)
    expected, expected_told = run(truncated, shape)
    torch.testing.assert_close(state, expected)
    for one, other in zip(told, expected_told, strict=True):
        torch.testing.assert_close(one, other)
    diverging = told[2]
    assert diverging.any() and not diverging.all()


def test_a_traced_density_is_rejected_too():
    """Catches a density that was traced to a graph, whose factorisation raises when it is run, ending all chains."""
    traced = make_fx(factored)(torch.ones(7, 1, dtype=torch.float64))
    torch.testing.assert_close(run(traced, (7, 1))[0], run(truncated, (7, 1))[0])


def test_other_errors_and_those_at_the_start_are_raised():
    """Catches a defect of the program taken for a divergence."""
    kernel = inference.HMC(step_size=5.0)
    with pytest.raises(ValueError, match="must be positive"):
        kernel.init(raising, torch.tensor([[1.0], [-1.0]]))

    def out_of_memory(z):
        if (z <= 0).any():
            raise RuntimeError("out of memory")
        return raising(z)

    state = kernel.init(out_of_memory, torch.ones(20, 1))
    with pytest.raises(RuntimeError, match="out of memory"):
        kernel.step(out_of_memory, state)

    def for_no_chain(z):
        raise ValueError("the second call has no file")

    with pytest.raises(ValueError, match="has no file"):
        kernel.step(for_no_chain, state)

    def taken_together(z):
        if (z != 1).any(-1).all():
            raise ValueError("not all at once")
        return raising(z.abs())

    with pytest.raises(ValueError, match="not all at once"):
        kernel.step(taken_together, kernel.init(taken_together, torch.ones(20, 1)))


def model(x):
    scale = pyro.sample("scale", dist.Normal(torch.ones(2), 0.5).to_event(1))
    with pyro.plate("data", len(x)):
        factor = torch.linalg.cholesky(torch.diag_embed(scale))  # raises where a scale is negative
        pyro.sample("x", dist.MultivariateNormal(torch.zeros(2), scale_tril=factor), obs=x)


def guide(x):
    pyro.sample("scale", dist.Normal(torch.ones(2), 0.01).to_event(1))


def local_model(x):
    with pyro.plate("data", len(x)):
        scale = pyro.sample("scale", dist.Normal(torch.ones(2), 0.3).to_event(1))
        factor = torch.linalg.cholesky(torch.diag_embed(scale))
        pyro.sample("x", dist.MultivariateNormal(torch.zeros(2), scale_tril=factor), obs=x)


def local_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("scale", dist.Normal(torch.ones(2), 0.01).to_event(1))


@pytest.mark.parametrize("programs", [(model, guide), (local_model, local_guide)], ids=["joint", "rows"])
def test_chains_of_a_program_go_on(programs):
    """Catches a Cholesky factor of one chain that ends `sample_posterior`, and divergences that are not counted."""
    found = inference.sample_posterior(
        ppgen.Pair(*programs),
        X,
        num_samples=20,
        warmup_steps=5,
        num_chains=3,
        kernel=inference.HMC(step_size=0.1, num_steps=4),
    )
    assert int(found.num_diverging.sum()) > 0
    assert bool((found.draws["scale"] > 0).all()) and bool(found.info.accepted.any(1).all())


def test_annealing_goes_on():
    """Catches an error of one annealing run that ends all of them."""
    pair = ppgen.Pair(local_model, local_guide)
    found = evaluation.log_likelihood(
        pair,
        X,
        method="ais",
        num_chains=20,
        betas=15,
        start="guide",
        kernel=inference.HMC(step_size=0.1, num_steps=4),
    )
    assert torch.tensor(found.per_datum["log_likelihood"]).isfinite().all()
