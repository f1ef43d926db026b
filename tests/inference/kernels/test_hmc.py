"""Batched Hamiltonian Monte Carlo against closed forms and quadrature, and the errors that go with it."""

import linear_gaussian as lg
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import inference, models
from ppgen.inference.kernels.hmc import leapfrog, value_and_gradient


def quartic(position):
    """An asymmetric target without conserved quantities of its own."""
    first, second = position.unbind(-1)
    return -0.3 * first.pow(4) - 0.5 * (second - 0.7 * first.square()).square() + 0.4 * first


def run_leapfrog(position, momentum, step_size, num_steps=7):
    gradient = value_and_gradient(quartic, position)[1]
    return leapfrog(quartic, position, momentum, gradient, step_size, num_steps)


def test_leapfrog_is_reversible():
    """Catches a half step left out at either end: the trajectory run back must end where it began."""
    position, momentum = torch.randn(2, 50, 2, dtype=torch.float64)
    step_size = torch.linspace(0.02, 0.3, 50, dtype=torch.float64)
    ended, speed, value, _ = run_leapfrog(position, momentum, step_size)
    back, slow, _, _ = run_leapfrog(ended, -speed, step_size)
    torch.testing.assert_close(back, position)
    torch.testing.assert_close(slow, -momentum)
    torch.testing.assert_close(value, quartic(ended))


def test_leapfrog_keeps_volume_and_energy_to_second_order():
    """Catches position and momentum updated at once (Jacobian not 1) and a step of first order."""
    step = torch.full((), 0.2, dtype=torch.float64)

    def flow(both):
        return torch.cat(reference_flow(both[:2], both[2:], step))

    jacobian = torch.autograd.functional.jacobian(flow, torch.randn(4, dtype=torch.float64))
    assert abs(jacobian.det().item() - 1) < 1e-10
    position, momentum = torch.randn(2, 2, dtype=torch.float64)
    ours = run_leapfrog(position, momentum, step)
    torch.testing.assert_close(torch.cat(ours[:2]), flow(torch.cat([position, momentum]).requires_grad_()).detach())

    def error(size, steps):
        after, speed, value, _ = run_leapfrog(position, momentum, torch.tensor(size, dtype=torch.float64), steps)
        return abs(value - quartic(position) - (speed.square().sum() - momentum.square().sum()) / 2).item()

    assert 3.5 < error(0.02, 50) / error(0.01, 100) < 4.5


def reference_flow(position, momentum, step, num_steps=7):
    """The textbook's loop, differentiable."""
    for _ in range(num_steps):
        for half in (True, False):
            gradient = torch.autograd.grad(quartic(position), position, create_graph=True)[0]
            momentum = momentum + step / 2 * gradient
            if half:
                position = position + step * momentum
    return position, momentum


def test_moments_of_every_posterior():
    """Catches a wrong acceptance, a sign in the momentum, data mixed up, and a plate's factor counted: mean and
    covariance of each datum's chains against the closed form, within four errors from independent chains."""
    x = lg.data(3)
    found = inference.sample_posterior(lg.pair(), x, num_samples=40, warmup_steps=200, num_chains=400, seed=1)
    draws = found.draws["z"]
    assert draws.shape == (400, 40, 3, 2) and draws.dtype == torch.float64
    by_chain = draws.mean(1)  # chains are independent, so that their spread gives the error
    error = by_chain.std(0) / 400**0.5
    assert ((by_chain.mean(0) - lg.posterior_mean(x)).abs() < 4 * error).all()
    centred = draws - lg.posterior_mean(x)
    products = (centred.unsqueeze(-1) * centred.unsqueeze(-2)).mean(1)
    error = products.std(0) / 400**0.5
    assert ((products.mean(0) - lg.PRECISION.inverse()).abs() < 4 * error).all()
    assert (error < 0.02).all()  # the test can see something
    expected = lg.log_evidence(x) + torch.distributions.MultivariateNormal(
        lg.posterior_mean(x), precision_matrix=lg.PRECISION
    ).log_prob(draws)
    torch.testing.assert_close(found.log_density, expected)


@pytest.mark.parametrize(("per", "tolerance"), [("datum", 0.03), ("chain", 0.1)])
@pytest.mark.parametrize("target", [0.75, 0.9])
def test_acceptance_comes_near_its_target(per, tolerance, target):
    """Catches adaptation of the wrong sign, and one step size for data whose posteriors have other widths. A chain that
    adapts by itself settles a little above its target, as acceptance is a concave function of the step size."""
    scale = torch.tensor([0.05, 1.0, 30.0], dtype=torch.float64)
    log_density = lambda z: -(z / scale[:, None]).square().sum(-1) / 2
    kernel = inference.HMC(target_accept=target, num_steps=5, step_size_per=per)
    generator = torch.Generator().manual_seed(0)
    state = kernel.init(log_density, torch.randn(200, 3, 4, dtype=torch.float64) * scale[:, None])
    for _ in range(600):
        state, _ = kernel.step(log_density, state, generator, adapt=True)
    state = kernel.adapted(state)
    rates = []
    for _ in range(100):
        state, info = kernel.step(log_density, state, generator)
        rates.append(info.acceptance_rate)
    rate = torch.stack(rates).mean((0, 1))
    assert ((rate - target).abs() < tolerance).all(), rate
    sizes = state.step_size.median(0).values / scale
    assert sizes.max() / sizes.min() < 1.1


def test_shared_step_sizes_are_common_to_the_chains_of_a_datum():
    """Catches pooling over data instead of over chains."""
    kernel = inference.HMC(step_size_per="datum")
    density = inference.LatentDensity(lg.pair(), lg.data(3), num_chains=5)
    state = kernel.init(density, density.draw())
    state, _ = kernel.step(density, state, adapt=True)
    assert (state.step_size == state.step_size[:1]).all()
    assert len(set(state.step_size[0].tolist())) == 3


def test_chains_of_different_data_do_not_mix():
    """Catches an acceptance or a step size computed over the batch: another second datum leaves the first as it is,
    bit for bit."""
    x = lg.data(3)
    other = x.clone()
    other[1] += 5.0
    first, second = (
        inference.sample_posterior(lg.pair(), data, num_samples=5, warmup_steps=20, num_chains=2).draws["z"]
        for data in (x, other)
    )
    assert torch.equal(first[:, :, 0], second[:, :, 0]) and torch.equal(first[:, :, 2], second[:, :, 2])
    assert not torch.equal(first[:, :, 1], second[:, :, 1])


@pytest.mark.parametrize("init", ["guide", "prior"])
def test_positive_latent_against_quadrature(init):
    """Catches a missing or doubled log-determinant: moments of a Gamma latent given each datum by quadrature."""
    x = torch.tensor([0.2, 1.0, 6.0], dtype=torch.float64)
    _, mean, variance = lg.positive_quadrature(x)
    found = inference.sample_posterior(
        lg.positive_pair(), x, num_samples=40, warmup_steps=200, num_chains=400, init=init
    )
    draws = found.draws["rate"]
    assert draws.shape == (400, 40, 3) and (draws > 0).all()
    for value, truth in ((draws, mean), ((draws - mean).square(), variance)):
        by_chain = value.mean(1)
        assert ((by_chain.mean(0) - truth).abs() < 4 * by_chain.std(0) / 400**0.5).all()


def several_sites(x):
    with pyro.plate("data", len(x), dim=-2):
        with pyro.plate("inner", 3, dim=-1):
            w = pyro.sample("w", dist.LogNormal(0.1, 0.5))
        a = pyro.sample("a", dist.Uniform(-1.0, 2.0))
        b = pyro.sample("b", dist.Uniform(a, a + 2.0))  # support depends on another latent
        p = pyro.sample("p", dist.Dirichlet(torch.tensor([2.0, 3.0, 4.0])))
        with pyro.plate("inner2", 3, dim=-1):
            pyro.sample("x", dist.Normal(w * a + b + p[..., 0], 0.5), obs=x)


def several_sites_guide(x):
    with pyro.plate("data", len(x), dim=-2):
        with pyro.plate("inner", 3, dim=-1):
            pyro.sample("w", dist.LogNormal(0.0, 0.3))
        a = pyro.sample("a", dist.Uniform(0.0, 1.0).expand([len(x), 1]))
        pyro.sample("b", dist.Uniform(a, a + 1.0))
        pyro.sample("p", dist.Dirichlet(torch.tensor([2.0, 2.0, 2.0])))


@pytest.mark.parametrize("num_chains", [1, 4])
def test_sites_of_every_shape(num_chains):
    """Catches pieces of the flat vector that go to the wrong site, row or inner plate, with one chain and several."""
    pair = ppgen.Pair(several_sites, several_sites_guide)
    x = torch.randn(5, 3)
    density = inference.LatentDensity(pair, x, num_chains)
    assert density.dim == 3 + 1 + 1 + 2
    position = density.draw("guide")
    values = density.values(position)
    shapes = {"w": (3,), "a": (), "b": (), "p": (3,)}
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        name: (num_chains, 5, *shape) for name, shape in shapes.items()
    }
    w, a, b, p = (values[name] for name in "wabp")
    expected = (
        dist.LogNormal(0.1, 0.5).log_prob(w).sum(-1)
        + dist.Uniform(-1.0, 2.0).log_prob(a)
        - torch.log(torch.tensor(2.0))
        + dist.Dirichlet(torch.tensor([2.0, 3.0, 4.0])).log_prob(p)
    )
    mean = w * a[..., None] + b[..., None] + p[..., :1]
    terms = density.terms(position)
    torch.testing.assert_close(terms.prior, expected)
    torch.testing.assert_close(terms.likelihood, dist.Normal(mean, 0.5).log_prob(x).sum(-1))
    base, target = density.base_and_target(position, "guide")
    log_q = dist.LogNormal(0.0, 0.3).log_prob(w).sum(-1) + dist.Dirichlet(torch.tensor([2.0, 2.0, 2.0])).log_prob(p)
    torch.testing.assert_close(base - terms.log_det, log_q)
    torch.testing.assert_close(target, density(position))
    assert (density.terms(position + 0.1).prior[:, 0] != terms.prior[:, 0]).all()


def plate_left_of_the_data(x):
    with pyro.plate("data", len(x), dim=-1):
        b = pyro.sample("b", dist.Normal(0.3, 1.0))
        with pyro.plate("groups", 3, dim=-2):
            w = pyro.sample("w", dist.LogNormal(torch.tensor([[0.1], [0.5], [-0.4]]), 0.5))
        pyro.sample("x", dist.Normal(w.sum(-2, keepdim=True) * b, 0.5), obs=x)


def guide_left_of_the_data(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("b", dist.Normal(x, 1.0))
        with pyro.plate("groups", 3, dim=-2):
            pyro.sample("w", dist.LogNormal(0.0, 0.5))


@pytest.mark.parametrize("num_chains", [1, 4])
def test_plates_left_of_the_data_plate(num_chains):
    """Catches rows taken for the entries of another plate, where the data are not next to the chains."""
    x = torch.linspace(-1, 2, 5)
    density = inference.LatentDensity(ppgen.Pair(plate_left_of_the_data, guide_left_of_the_data), x, num_chains)
    position = density.draw("guide")
    values = density.values(position)
    b, w = values["b"], values["w"]
    assert b.shape == (num_chains, 5) and w.shape == (num_chains, 5, 3)
    expected = dist.Normal(0.3, 1.0).log_prob(b)
    expected = expected + dist.LogNormal(torch.tensor([0.1, 0.5, -0.4]), 0.5).log_prob(w).sum(-1)
    terms = density.terms(position)
    torch.testing.assert_close(terms.prior, expected)
    torch.testing.assert_close(terms.likelihood, dist.Normal(w.sum(-1) * b, 0.5).log_prob(x))
    torch.testing.assert_close(terms.log_det, w.log().sum(-1))
    moved = position.clone()
    moved[:, 2] += 0.1
    changed = (density(moved) != density(position)).all(0)
    assert changed.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("num_chains", [1, 3])
def test_a_plate_of_one_is_a_plate(num_chains):
    """Catches a dimension of the draws that comes and goes with the size of an inner plate."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            b = pyro.sample("b", dist.Normal(0.3, 1.0))
            with pyro.plate("groups", 1, dim=-2):
                w = pyro.sample("w", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(w.sum(-2, keepdim=True) + b, 0.5), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("b", dist.Normal(x, 1.0))
            with pyro.plate("groups", 1, dim=-2):
                pyro.sample("w", dist.Normal(0.0, 1.0))

    density = inference.LatentDensity(ppgen.Pair(model, guide), torch.zeros(5), num_chains)
    values = density.values(density.draw())
    assert values["b"].shape == (num_chains, 5) and values["w"].shape == (num_chains, 5, 1)


def test_divergences_are_told_and_rejected():
    """Catches a NaN proposal that is accepted, or that spoils the chains beside it."""
    log_density = lambda z: torch.where(z[..., 0] > 0, z[..., 0].log() - z[..., 0], torch.nan)
    kernel = inference.HMC(step_size=0.01, num_steps=3)
    state = kernel.init(log_density, torch.ones(50, 1))
    state = state._replace(step_size=torch.cat([torch.full((25,), 50.0), torch.full((25,), 0.01)]))
    state, info = kernel.step(log_density, state)
    assert state.position.isfinite().all() and info.energy.isfinite().all()
    assert info.diverging[:25].any() and not info.accepted[info.diverging].any()
    assert not info.diverging[25:].any() and (info.acceptance_rate[25:] > 0.99).all()


def test_the_pair_and_the_random_state_are_left_alone():
    """Catches a pair left in evaluation mode, gradients in its parameters, and draws from the caller's generator."""
    vae = models.VAE(features=4, latent=2, hidden=(3,))
    before = torch.get_rng_state()
    runs = [inference.sample_posterior(vae, torch.ones(3, 4), num_samples=3, warmup_steps=3) for _ in range(2)]
    assert torch.equal(runs[0].draws["z"], runs[1].draws["z"])
    assert torch.equal(torch.get_rng_state(), before) and vae.training
    assert all(parameter.grad is None for parameter in vae.parameters())
    assert repr(runs[0]).startswith("PosteriorSamples(z: 1 chain x 3 draws of 3 rows, acceptance ")


def observed_only(x):
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)


def nothing(x):
    with pyro.plate("data", len(x)):
        pass


def exponential(x):
    with pyro.plate("data", len(x)):
        rate = pyro.sample("rate", dist.Exponential(x.new_ones(()), validate_args=False))
        pyro.sample("x", dist.Normal(rate, 1.0), obs=x)


def off_support_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.Normal(x.new_zeros(()), 1.0))


def angle(law):
    def program(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", law)
            pyro.sample("x", dist.Normal(z.sum(-1) if z.dim() > 1 else z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", law)

    return ppgen.Pair(program, guide)


@pytest.mark.parametrize(
    ("pair", "x", "message"),
    [
        (lambda: angle(dist.VonMises(torch.tensor(0.0), 1.0)), torch.ones(2), r"'z' \(VonMises\) lies on a circle"),
        (lambda: angle(dist.ProjectedNormal(torch.ones(2))), torch.ones(2), r"'z' \(ProjectedNormal\).*sphere"),
        (lambda: models.RBM(visible=4, hidden=3), torch.ones(2, 4), "'hidden' is discrete.*importance"),
        (lambda: models.SigmoidBeliefNet((4, 3)), torch.ones(2, 4), r"'z1' is discrete \(ThresholdBernoulli\)"),
        (lambda: ppgen.Pair(observed_only, nothing), torch.ones(2), "no latent site"),
        (lambda: ppgen.Pair(exponential, off_support_guide), torch.ones(20).double(), "'rate'.*support"),
        (lambda: models.VAE(features=4, latent=2, hidden=(3,)), 2 * torch.ones(2, 4), "'x' must lie.*bits"),
        (lambda: models.VAE(features=4, latent=2, hidden=(3,)), torch.ones(4), r"\(rows, features\).*x\[None\]"),
    ],
)
def test_pairs_without_continuous_latents_are_refused(pair, x, message):
    """Catches a trajectory through bits, a crash without a name, a periodic density on the real line, which has no
    integral (log p(x) erred by 0.2 nats), and draws given data that the model does not know or the features of one row
    taken for rows."""
    with pytest.raises(ValueError, match=message):
        inference.sample_posterior(pair(), x, num_samples=2, warmup_steps=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "num_samples"),
        ({"warmup_steps": -1}, "warmup_steps"),
        ({"num_chains": 0}, "num_chains"),
        ({"init": "posterior"}, "init.*'guide', 'prior'"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    """Catches numbers that would run nothing and return empty draws."""
    with pytest.raises(ValueError, match=message):
        inference.sample_posterior(lg.pair(), lg.data(2), **({"num_samples": 2, "warmup_steps": 1} | options))


@pytest.mark.parametrize(
    "options",
    [
        {"num_steps": 0},
        {"step_size": 0.0},
        {"step_size": "large"},
        {"target_accept": 1.0},
        {"target_accept": None},
        {"jitter": 1.0},
        {"step_size_per": "all"},
    ],
)
def test_bad_kernels_are_refused(options):
    """Catches a kernel that could never move or never be accepted."""
    with pytest.raises(ValueError, match=next(iter(options))):
        inference.HMC(**options)


def test_arrays_are_data_too():
    """Catches NumPy data that fail inside a program with words about something else, or in another dtype."""
    vae, x = models.VAE(features=4, latent=2, hidden=(3,)), torch.eye(4)
    kept = {"num_samples": 3, "warmup_steps": 2}
    expected = inference.sample_posterior(vae, x, **kept).draws["z"]
    assert torch.equal(inference.sample_posterior(vae, x.double().numpy(), **kept).draws["z"], expected)
    with pytest.raises(TypeError, match="x must be a tensor or an array"):
        inference.sample_posterior(vae, [[0.0] * 4], **kept)


def test_wrong_densities_are_refused():
    """Catches a log-density summed over the chains, which would give each the energy of all, and a start outside it."""
    with pytest.raises(ValueError, match="one value a chain"):
        inference.HMC().init(lambda z: -z.square().sum(), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="not finite at the start of 3 of 3"):
        inference.HMC().init(lambda z: z.sum(-1).log(), torch.zeros(3, 2))


def test_a_short_warmup_of_a_lone_chain_comes_near_its_target():
    """Catches adaptation so jumpy that the step size kept is far below the one asked for: 0.94 for 0.8."""
    scale = torch.logspace(-1, 1, 6, dtype=torch.float64)
    log_density = lambda z: -(z / scale).square().sum(-1) / 2
    kernel, generator = inference.HMC(), torch.Generator().manual_seed(0)
    state = kernel.init(log_density, torch.randn(60, 6, dtype=torch.float64, generator=generator) * scale)
    for _ in range(100):
        state, _ = kernel.step(log_density, state, generator, adapt=True)
    state = kernel.adapted(state)
    rates = [kernel.step(log_density, state, generator)[1].acceptance_rate for _ in range(30)]
    assert abs(float(torch.stack(rates).mean()) - 0.8) < 0.07
