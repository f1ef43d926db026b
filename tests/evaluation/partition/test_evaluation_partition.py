"""log Z of a pair's machine: exact against brute force, annealed against exact, and every wrong argument."""

import itertools
import math

import numpy as np
import pyro
import pytest
import torch

import ppgen
from ppgen import evaluation, models, testing
from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense, PrecisionGaussian
from ppgen.evaluation.partition.partition import summarise
from ppgen.inference.annealing.annealing import AnnealedWeights


def small_rbm(visible=5, hidden=3, dtype=np.float64, seed=0):
    random = np.random.default_rng(seed)
    arrays = [random.normal(size=shape) for shape in ((visible, hidden), visible, hidden)]
    return models.RBM.from_arrays(*(array.astype(dtype) for array in arrays))


def brute_force(rbm):
    """log of the sum over all visible and hidden states, by loops over both layers."""
    weight, visible_bias, hidden_bias = (
        tensor.detach().double().numpy() for tensor in (rbm.weight, rbm.visible_bias, rbm.hidden_bias)
    )
    terms = [
        np.array(v) @ visible_bias + np.array(h) @ hidden_bias + np.array(v) @ weight @ np.array(h)
        for v in itertools.product((0, 1), repeat=len(visible_bias))
        for h in itertools.product((0, 1), repeat=len(hidden_bias))
    ]
    return np.logaddexp.reduce(terms)


@pytest.mark.parametrize("sizes", [(5, 3), (3, 5)])
def test_exact_is_the_sum_over_both_layers(sizes):
    """Catches a layer summed twice, biases of the wrong side, and an error bar on an exact number."""
    rbm = small_rbm(*sizes)
    exact = evaluation.log_partition(rbm)
    assert exact.value == pytest.approx(brute_force(rbm), abs=1e-10)
    assert (exact.se, exact.kind, exact.unit) == (0.0, "exact", "nats")
    assert exact.fingerprint == rbm.machine().fingerprint()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_annealed_error_bars_are_calibrated(dtype):
    """Catches an error bar that is off by more than a factor 1.3 or forgets log Z_A: of 100 runs about 95
    must lie within two errors of the exact value (86 is four binomial deviations below)."""
    rbm = small_rbm(6, 4, dtype)
    truth = brute_force(rbm)
    runs = [evaluation.log_partition(rbm, method="ais", num_chains=100, betas=20, seed=seed) for seed in range(100)]
    scores = np.array([(run.value - truth) / run.se for run in runs])
    assert (abs(scores) <= 2).sum() >= 86
    assert abs(scores.mean()) < 0.4
    assert 0.7 < scores.std() < 1.4
    assert runs[0].kind == "estimate"
    assert "errs high" in repr(runs[0])


def test_error_bar_is_that_of_the_delta_method():
    """Catches the error of log w, or of the sum, given as that of the log of the mean."""
    log_weights = torch.tensor([0.0, 0.5, 1.0, 3.0], dtype=torch.float64)
    found = summarise(AnnealedWeights(log_weights, torch.tensor(2.0), torch.zeros(4, 1)), "AIS")
    weights = log_weights.exp()
    assert found.value == pytest.approx(2 + weights.mean().log().item())
    assert found.se == pytest.approx((weights.std() / weights.mean() / 2).item())
    assert found.ess == pytest.approx((weights.sum() ** 2 / (weights**2).sum()).item())
    assert found.warning is None


def test_few_effective_runs_are_warned_of():
    """Catches a collapsed estimate printed without a word."""
    log_weights = torch.zeros(100, dtype=torch.float64)
    log_weights[7] = 40.0
    found = summarise(AnnealedWeights(log_weights, torch.tensor(0.0), torch.zeros(100, 1)), "AIS")
    assert "effective number of annealing runs is 1.0 of 100" in found.warning
    assert "use more betas" in repr(found)


def test_auto_takes_the_exact_sum_where_it_can():
    """Catches annealing where no error is needed, and an exact sum over 2^30 states."""
    assert evaluation.log_partition(small_rbm(), method="auto").kind == "exact"
    large = models.RBM(visible=30, hidden=25)
    assert evaluation.log_partition(large, method="auto", num_chains=3, betas=2).method == "AIS (3 chains x 2 betas)"


def test_too_large_for_the_exact_sum_says_how_large_and_what_instead():
    """Catches hours of enumeration."""
    with pytest.raises(ValueError, match=r"2\^25.*method=\"ais\""):
        evaluation.log_partition(models.RBM(visible=30, hidden=25), method="exact")


def test_the_training_mean_is_the_base_model():
    """Catches a base model that ignores the data: the machine's own mean makes the weights narrower."""
    rbm = small_rbm(6, 4)
    rbm.visible_bias.data += 4
    machine = rbm.machine()
    states = machine.base_energy.states(0, 0, 64)
    law = torch.softmax(-machine.free_energy(states), 0)
    mean = (law @ states).detach()
    wrong, right = (
        evaluation.log_partition(rbm, method="ais", num_chains=500, betas=5, data_mean=each)
        for each in (1 - mean, mean)
    )
    assert right.ess > 2 * wrong.ess
    rbm.data_mean.copy_(mean)
    assert evaluation.log_partition(rbm, method="ais", num_chains=500, betas=5).value == right.value


def test_random_state_and_training_flags_are_left_alone():
    """Catches seeding the caller's generator, a model left in evaluation mode, a seed that does nothing."""
    rbm = small_rbm()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    values = [evaluation.log_partition(rbm, method="ais", num_chains=5, betas=5, seed=seed).value for seed in (1, 1, 2)]
    assert torch.equal(before, torch.get_rng_state())
    assert rbm.training
    assert values[0] == values[1] != values[2]


def boltzmann_prior(x):
    """A directed program with a machine as its prior; it cannot run without data."""
    layers = {"visible": Bernoulli(torch.tensor([0.3, -1.0])), "hidden": Bernoulli(torch.tensor([0.7]))}
    machine = BoltzmannMachine(layers, [Dense(torch.tensor([[1.0], [-2.0]]))])
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", machine.marginal("visible"))
        pyro.sample("x", pyro.distributions.Normal(z @ torch.tensor([1.0, 2.0]), 1.0), obs=x)


def boltzmann_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", pyro.distributions.Bernoulli(torch.full((2,), 0.4)).to_event(1))


def test_machine_inside_a_users_program():
    """Catches a search for the machine that only knows the zoo's RBM."""
    pair = ppgen.Pair(boltzmann_prior, boltzmann_guide)
    with pytest.raises(ValueError, match="few rows as x="):
        evaluation.log_partition(pair)
    found = evaluation.log_partition(pair, x=torch.zeros(1), site="z")
    joint = [0.3 * a - b + 0.7 * h + a * h - 2 * b * h for a, b, h in itertools.product((0, 1), repeat=3)]
    assert found.value == pytest.approx(math.log(sum(map(math.exp, joint))), abs=1e-6)
    with pytest.raises(ValueError, match=r"undirected sites \['z'\]; got 'hidden'"):
        evaluation.log_partition(pair, x=torch.zeros(1), site="hidden")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "annealed"}, "'ais'"),
        ({"method": "ais", "num_chains": 1}, "at least 2"),
        ({"method": "ais", "num_chains": 2.5}, "integer"),
        ({"method": "ais", "betas": 0}, "betas"),
        ({"method": "ais", "chunk": 0}, "chunk must be a positive integer, got 0"),
        ({"method": "ais", "compile": "yes"}, "compile must be"),
        ({"method": "ais", "data_mean": torch.zeros(4)}, r"5 visible units.*\(4,\)"),
        ({"method": "ais", "data_mean": torch.full((5,), 1.5)}, "1.5 to 1.5"),
        ({"method": "ais", "data_mean": torch.full((5,), float("nan"))}, "finite|means"),
        ({"site": "visible"}, r"\['hidden'\]"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Catches an error that comes from the depth of the work, without the argument's name."""
    with pytest.raises(ValueError, match=message):
        evaluation.log_partition(small_rbm(), **arguments)


def test_pairs_without_a_machine_are_refused():
    """Catches a log Z of nothing."""
    with pytest.raises(ValueError, match="no undirected site"):
        evaluation.log_partition(models.VAE(features=4, latent=2, hidden=(3,)))
    with pytest.raises(TypeError, match=r"ppgen\.Pair"):
        evaluation.log_partition(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("sizes", [(6, 4), (4, 3, 3)])
@pytest.mark.parametrize("method", ["exact", "ais", "sandwich"])
def test_probability_of_a_part_given_the_rest(sizes, method):
    """Catches a row annealed under what another row is given, units that are moved though they are given, and a base
    model whose log Z counts those units as free."""
    machine = testing.boltzmann_machine(sizes)
    visible = sizes[0]
    x = torch.tensor([[1.0, 0, 1, 1, 0, 1], [0, 0, 1, 0, 1, 1], [1, 1, 0, 1, 0, 0]], dtype=torch.float64)[:, :visible]
    rest = x.clone()
    rest[0, 2:], rest[1, :1], rest[2, :] = math.nan, math.nan, math.nan
    states, log_weights = testing.enumerated(machine)
    expected = []
    for given in (x, rest):
        fits = ((states[:, :visible] == given.unsqueeze(1)) | given.isnan().unsqueeze(1)).all(-1)
        expected.append(log_weights.detach().masked_fill(~fits, -math.inf).logsumexp(1).numpy())
    exact = expected[0] - expected[1]
    if method == "exact":
        for how in ("exact", "auto"):  # rows with other missing units are enumerated in turn
            together = evaluation.log_partition(machine.condition({"layer0": rest}), method=how)
            assert together.kind == "exact" and together.fingerprint is not None
            np.testing.assert_allclose(together.per_datum["log_partition"], expected[1], atol=1e-10)
        for row, log_p in enumerate(exact):
            whole, part = (machine.condition({"layer0": given[row]}) for given in (x, rest))
            found = evaluation.log_partition(whole).value - evaluation.log_partition(part).value
            assert found == pytest.approx(log_p, abs=1e-10)
        return
    found = [
        evaluation.log_partition(machine.condition({"layer0": given}), method=method, num_chains=400, betas=100)
        for given in (x, rest)
    ]
    values, errors = (np.stack([each.per_datum[name] for each in found]) for name in ("log_partition", "se"))
    log_p = values[0] - values[1]
    assert (exact < 0).all()
    np.testing.assert_array_less(np.abs(log_p - exact), 4 * np.hypot(*errors) + 1e-9)
    if method == "sandwich":
        upper = found[1].upper
        np.testing.assert_array_less(
            np.abs(upper.per_datum["log_partition"] - expected[1]), 4 * upper.per_datum["se"] + 1e-9
        )


def test_real_hidden_units_that_are_given():
    """Catches an annealing that counts, at every level, the part of the energy that temperatures leave alone."""
    torch.manual_seed(0)
    hidden = PrecisionGaussian(torch.randn(2).double(), torch.zeros(2).double(), torch.tensor(3.0).double())
    layers = {"visible": Bernoulli(torch.randn(3).double()), "hidden": hidden}
    machine = BoltzmannMachine(layers, [Dense(torch.randn(3, 2).double())])
    given = torch.tensor([[0.5, math.nan], [1.0, -2.0]]).double()
    exact = evaluation.log_partition(machine.condition({"hidden": given}), method="exact")
    both = evaluation.log_partition(machine.condition({"hidden": given}), method="sandwich", num_chains=200, betas=50)
    for side in (both.lower, both.upper):
        apart = np.abs(side.per_datum["log_partition"] - exact.per_datum["log_partition"])
        np.testing.assert_array_less(apart, 4 * side.per_datum["se"] + 1e-9)


def test_one_row_beside_several():
    """Catches a layer given one row that is asked for the second of another layer's."""
    machine = testing.boltzmann_machine((3, 2))
    given = {"layer0": torch.tensor([[1.0, math.nan, 0.0]]).double(), "layer1": torch.tensor([[1.0, 0.0], [0.0, 1.0]])}
    found = evaluation.log_partition(machine.condition(given)).per_datum["log_partition"]
    for row, hidden in zip(found, given["layer1"], strict=True):
        alone = machine.condition({"layer0": given["layer0"][0], "layer1": hidden})
        assert row == pytest.approx(float(alone.exact_log_partition().detach()))
    with pytest.raises(ValueError, match="needs one row or more"):
        evaluation.log_partition(machine.condition({"layer0": torch.zeros(0, 3)}))


def test_a_machine_is_its_own_site():
    """Catches arguments that find the machine of a pair and are ignored where a machine is given."""
    machine = testing.boltzmann_machine((3, 2))
    assert evaluation.log_partition(machine).value == pytest.approx(float(machine.exact_log_partition().detach()))
    for argument in ({"x": torch.zeros(1, 3)}, {"site": "layer0"}):
        with pytest.raises(ValueError, match="a machine itself takes neither: condition it"):
            evaluation.log_partition(machine, **argument)
