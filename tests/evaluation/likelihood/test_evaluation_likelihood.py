"""Log-likelihoods against closed forms, and the errors that go with them."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import evaluation, models

LOADING = torch.tensor([1.5, -0.5, 0.8], dtype=torch.float64)
OFFSET = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
NOISE = torch.tensor([0.5, 1.0, 0.7], dtype=torch.float64)


class Factor:
    """x = OFFSET + LOADING z + NOISE e with z ~ N(0, 1); the guide is the posterior, shifted and scaled."""

    def __init__(self, shift=0.3, width=1.2):
        self.shift, self.width = shift, width
        self.weights_at_once: list[int] = []

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(LOADING.new_zeros(1), 1.0).to_event(1))
            self.weights_at_once.append(z.numel())
            pyro.sample("x", dist.Normal(OFFSET + z * LOADING, NOISE).to_event(1), obs=x)

    def guide(self, x):
        precision = 1 + (LOADING / NOISE).square().sum()
        mean = ((x - OFFSET) * LOADING / NOISE.square()).sum(-1, keepdim=True) / precision
        with pyro.plate("data", len(x)):
            scale = self.width * precision.rsqrt()
            pyro.sample("z", dist.Normal(mean + self.shift * precision.rsqrt(), scale).to_event(1))

    def pair(self):
        return ppgen.Pair(self.model, self.guide)


def factor_data(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, 1, generator=generator, dtype=torch.float64)
    return OFFSET + z * LOADING + NOISE * torch.randn(rows, 3, generator=generator, dtype=torch.float64)


def factor_truth(x):
    covariance = torch.outer(LOADING, LOADING) + NOISE.square().diag()
    return torch.distributions.MultivariateNormal(OFFSET, covariance).log_prob(x)


def rbm_and_data(rows=7, dtype=np.float64):
    random = np.random.default_rng(3)
    rbm = models.RBM.from_arrays(*(random.normal(size=shape).astype(dtype) for shape in ((5, 3), 5, 3)))
    return rbm, (random.random((rows, 5)) < 0.4).astype(dtype)


def test_importance_error_bars_are_calibrated():
    """Catches an error bar of the wrong size, a missing term of the weight, and rows mixed up: of 100 seeds
    about 95 must lie within two errors of the closed form (86 is four binomial deviations below)."""
    pair, x = Factor().pair(), factor_data(4)
    truth = factor_truth(x).numpy()
    runs = [evaluation.log_likelihood(pair, x, num_particles=300, seed=seed) for seed in range(100)]
    scores = np.array([(run.value - truth.mean()) / run.se for run in runs])
    assert (abs(scores) <= 2).sum() >= 86
    assert abs(scores.mean()) < 0.4
    each = np.array([(run.per_datum["log_likelihood"] - truth) / run.per_datum["se"] for run in runs])
    assert 0.8 < each.std() < 1.25
    assert runs[0].kind == "lower bound"
    assert runs[0].method == "auto: importance (K=300)"


def test_few_particles_give_a_lower_bound_with_the_bias_told():
    """Catches log of the mean exchanged for mean of the log, and a bias of the wrong sign or size."""
    pair, x = Factor(shift=1.0).pair(), factor_data(10_000)
    found = evaluation.log_likelihood(pair, x, num_particles=10)
    error = found.value - factor_truth(x).mean().item()
    assert error < -4 * found.se
    assert error == pytest.approx(found.bias, rel=0.5)
    assert "expected bias -" in repr(found)


@pytest.mark.parametrize("chunk", [1, 7, 50, 400, 100_000])
def test_chunks_bound_the_memory_and_change_nothing(chunk):
    """Catches a chunk that is not a bound, lost or doubled particles at the seams, and rows out of order."""
    factor, x = Factor(), factor_data(5)
    found = evaluation.log_likelihood(factor.pair(), x, num_particles=50, chunk=chunk)
    assert max(factor.weights_at_once) <= chunk
    error = found.per_datum["log_likelihood"] - factor_truth(x).numpy()
    assert (abs(error) < 5 * found.per_datum["se"]).all()
    assert sum(factor.weights_at_once) >= 250


def test_one_by_one_particles_for_programs_that_cannot_broadcast():
    """Catches a flag that is not handed on."""
    x = factor_data(3)
    factor = Factor()
    found = evaluation.log_likelihood(factor.pair(), x, num_particles=40, vectorize_particles=False)
    assert max(factor.weights_at_once) == 3
    assert (abs(found.per_datum["log_likelihood"] - factor_truth(x).numpy()) < 5 * found.per_datum["se"]).all()


def test_exact_posterior_has_constant_weights():
    """Catches noise in a weight that must not have any, and a tail fitted to rounding."""
    x = factor_data(3)
    found = evaluation.log_likelihood(Factor(shift=0.0, width=1.0).pair(), x, num_particles=30)
    np.testing.assert_allclose(found.per_datum["log_likelihood"], factor_truth(x), atol=1e-10)
    np.testing.assert_allclose(found.per_datum["ess"], 30)
    np.testing.assert_array_equal(found.pareto_k, 0.0)


def test_too_narrow_guide_is_seen():
    """Catches diagnostics that praise a bad guide: a quarter of the width gives weights with k near 0.94."""
    x = factor_data(20)
    narrow = evaluation.log_likelihood(Factor(0.0, 0.25).pair(), x, num_particles=1000)
    wide = evaluation.log_likelihood(Factor(0.0, 1.3).pair(), x, num_particles=1000)
    assert 0.7 < float(narrow.pareto_k.mean()) < 1.2
    assert float(wide.pareto_k.max()) < 0.5
    assert narrow.ess < wide.ess / 2
    assert "too narrow" in narrow.warning
    assert "Pareto k > 0.7 for" in repr(narrow)
    assert wide.warning is None


def test_rbm_is_exact():
    """Catches a free energy of the wrong side, a missing log Z and a negative log-likelihood."""
    rbm, x = rbm_and_data()
    states = rbm.machine().base_energy.states(0, 0, 32)
    energies = rbm.machine().free_energy(states).detach()
    table = (-energies - torch.logsumexp(-energies, 0)).numpy()
    rows = (x @ 2 ** np.arange(4, -1, -1)).astype(int)
    found = evaluation.log_likelihood(rbm, x, method="exact", chunk=2)
    np.testing.assert_allclose(found.pointwise, table[rows], atol=1e-10)
    assert found.value == pytest.approx(table[rows].mean())
    assert (found.kind, found.se, found.method) == ("exact", 0.0, "exact")
    assert found.pointwise.dims == ("data",)
    assert found.pointwise.name == "log_likelihood"
    assert found.data_se == pytest.approx(table[rows].std(ddof=1) / 7**0.5)


def test_error_of_log_partition_is_carried_along():
    """Catches an annealed log Z whose error is lost or divided by the number of rows."""
    rbm, x = rbm_and_data(rows=100)
    ais = evaluation.log_partition(rbm, method="ais", num_chains=20, betas=10)
    exact = evaluation.log_likelihood(rbm, x).value
    found = evaluation.log_likelihood(rbm, x, log_partition={"hidden": ais})
    assert found.kind == "estimate"
    assert found.log_partition_se == found.se == ais.se
    assert found.value - exact == pytest.approx(evaluation.log_partition(rbm).value - ais.value)
    assert "common to all rows" in repr(found)
    direct = evaluation.log_likelihood(rbm, x, method="ais", num_chains=20, betas=10)
    assert direct.value == pytest.approx(found.value)
    assert direct.method == "AIS (20 chains x 10 betas)"


def test_log_partition_may_be_a_number():
    """Catches a number that is not subtracted from every row."""
    rbm, x = rbm_and_data()
    zero, two = (evaluation.log_likelihood(rbm, x, log_partition=value).value for value in (0.0, 2))
    assert zero - two == pytest.approx(2)


def test_stale_log_partition_raises():
    """Catches log Z of other weights, which would shift every log-likelihood."""
    rbm, x = rbm_and_data()
    stale = evaluation.log_partition(rbm)
    with torch.no_grad():
        rbm.hidden_bias += 1
    with pytest.raises(ValueError, match="other weights"):
        evaluation.log_likelihood(rbm, x, log_partition=stale)


class BoltzmannPrior(torch.nn.Module):
    """A machine as the prior of a directed program, with a factorised guide."""

    def __init__(self):
        super().__init__()
        self.rbm = rbm_and_data()[0]

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.rbm.machine().marginal("visible"))
            loc = (z @ torch.tensor([1.0, -2.0, 0.5, 3.0, 1.0], dtype=torch.float64)).unsqueeze(-1)
            pyro.sample("x", dist.Normal(loc, 1.5).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(torch.full((5,), 0.4, dtype=torch.float64)).to_event(1))


def test_boltzmann_prior_under_a_directed_program():
    """Catches log Z left out of, or counted K times in, weights under a machine as the prior."""
    module = BoltzmannPrior()
    pair = ppgen.Pair(module.model, module.guide)
    x = torch.tensor([[0.5], [2.0], [-1.0]], dtype=torch.float64)
    machine = module.rbm.machine()
    states = machine.base_energy.states(0, 0, 32)
    prior = torch.log_softmax(-machine.free_energy(states), 0)
    loc = states @ torch.tensor([1.0, -2.0, 0.5, 3.0, 1.0], dtype=torch.float64)
    truth = torch.logsumexp(prior + torch.distributions.Normal(loc, 1.5).log_prob(x), -1).detach().numpy()
    found = evaluation.log_likelihood(pair, x, num_particles=4000)
    assert found.kind == "lower bound"
    assert (abs(found.per_datum["log_likelihood"] - truth) < 4 * found.per_datum["se"]).all()
    annealed = evaluation.log_partition(pair, method="ais", x=x, betas=50)
    carried = evaluation.log_likelihood(pair, x, num_particles=4000, log_partition=annealed)
    assert carried.kind == "estimate"
    assert carried.se == pytest.approx(np.hypot(found.se, annealed.se))
    assert "log Z by AIS" in carried.method


def test_random_state_and_training_flags_are_left_alone():
    """Catches seeding the caller's generator, a model left in evaluation mode, dropout in an estimate, and a
    seed that does nothing."""
    vae = models.VAE(features=6, latent=2, hidden=(4,))
    vae.decoder.body.add_module("dropout", torch.nn.Dropout(0.9))
    vae.encoder.eval()
    x = (torch.rand(5, 6) < 0.5).float()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    flags = [module.training for module in vae.modules()]
    values = [evaluation.log_likelihood(vae, x, num_particles=30, seed=seed).value for seed in (1, 1, 2)]
    assert torch.equal(before, torch.get_rng_state())
    assert flags == [module.training for module in vae.modules()]
    assert values[0] == values[1] != values[2]
    assert abs(values[0] - values[2]) < 1


def test_validation_is_as_before():
    """Catches Pyro's checks left off for the caller."""
    enabled = pyro.distributions.is_validation_enabled()
    evaluation.log_likelihood(*rbm_and_data())
    assert pyro.distributions.is_validation_enabled() == enabled


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, lambda x: x.astype(bool), lambda x: x.tolist()])
def test_arrays_tensors_and_lists_are_data(kind):
    """Catches a conversion that changes values or dtype."""
    rbm, x = rbm_and_data()
    assert evaluation.log_likelihood(rbm, kind(x)).value == evaluation.log_likelihood(rbm, x).value


def test_programs_with_several_arguments():
    """Catches batches of tuples and mappings cut in the wrong place."""

    def model(y, x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(y, 1.0), obs=x)

    def guide(y, x):
        pass

    x, y = torch.tensor([0.0, 1.0, 5.0]), torch.tensor([0.0, 3.0, 5.0])
    truth = torch.distributions.Normal(y, 1.0).log_prob(x)
    pair = ppgen.Pair(model, guide)
    for data in ((y, x), {"x": x, "y": y}):
        found = evaluation.log_likelihood(pair, data, chunk=2)
        np.testing.assert_allclose(found.pointwise, truth, atol=1e-6)
        assert found.kind == "exact"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[0], ValueError, r"\(rows, features\), got \(5,\)"),
        (lambda x: x[:, :4], ValueError, r"does not fit the model.*\(4,\)"),
        (lambda x: x[:0], ValueError, "at least one row"),
        (lambda x: 0.5 * x + 0.1, ValueError, "bits, 0 or 1.*Binarise"),
        (lambda x: np.where(np.arange(7)[:, None] == 3, np.nan, x), ValueError, "row 3 holds NaN"),
        (lambda x: "digits", TypeError, "tensor or an array"),
        (lambda x: None, TypeError, "tensor or an array"),
    ],
)
def test_bad_data_are_named(change, error, message):
    """Catches data outside the support counted as if they were legal."""
    rbm, x = rbm_and_data()
    with pytest.raises(error, match=message):
        evaluation.log_likelihood(rbm, change(x))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "nll"}, ValueError, "'importance'"),
        ({"num_particles": 0}, ValueError, "num_particles"),
        ({"num_particles": 10.0}, ValueError, "num_particles"),
        ({"chunk": 0}, ValueError, "chunk"),
        ({"log_partition": "exact"}, TypeError, "Estimate or a number"),
        ({"log_partition": float("nan")}, ValueError, "finite"),
        ({"log_partition": {"visible": 1.0}}, ValueError, r"\['hidden'\]"),
        ({"method": "ais", "num_chains": 0}, ValueError, "num_chains"),
        ({"method": "ais", "betas": [0.5]}, ValueError, "betas"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    """Catches an error that comes from the depth of the work, without the argument's name."""
    rbm, x = rbm_and_data()
    with pytest.raises(error, match=message):
        evaluation.log_likelihood(rbm, x, **arguments)


def test_methods_that_do_not_apply_say_what_does():
    """Catches an exact number from an approximate guide, and log Z of a machine that is not there."""
    pair, x = Factor().pair(), factor_data(2)
    with pytest.raises(ValueError, match="guide at site 'z' is not the exact posterior.*importance"):
        evaluation.log_likelihood(pair, x, method="exact")
    with pytest.raises(ValueError, match="no undirected site"):
        evaluation.log_likelihood(pair, x, log_partition=1.0)
    rbm, bits = rbm_and_data()
    ais = evaluation.log_partition(rbm, method="ais", num_chains=5, betas=5)
    with pytest.raises(ValueError, match="needs an exact log Z"):
        evaluation.log_likelihood(rbm, bits, method="exact", log_partition=ais)


def test_global_latents_are_refused():
    """Catches weights that share a latent across rows averaged as if they did not."""

    def model(x):
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    def guide(x):
        pyro.sample("loc", dist.Normal(0.1, 1.0))

    with pytest.raises(ValueError, match=r"\['loc'\] lie outside plate 'data'"):
        evaluation.log_likelihood(ppgen.Pair(model, guide), torch.zeros(3))


def test_not_a_number_is_not_averaged():
    """Catches a diverged model that is given a score."""
    rbm, x = rbm_and_data()
    with torch.no_grad():
        rbm.visible_bias[0] = float("nan")
    with pytest.raises(ValueError, match="NaN|finite"):
        evaluation.log_likelihood(rbm, x, log_partition=1.0)
