"""Annealed importance sampling against enumeration, on machines without symmetry."""

import decimal
from decimal import Decimal

import pytest
import torch

from ppgen import testing
from ppgen.distributions import BaseRatePath, Bernoulli, BoltzmannMachine, Dense
from ppgen.graphs.threefry import make_key
from ppgen.inference.annealing.annealing import Level, anneal, compiled_level, make_betas


def chain_machine(*sizes, dtype=torch.float64, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return scale * torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    layers = {f"layer{index}": Bernoulli(normal(size) - 0.3) for index, size in enumerate(sizes)}
    return BoltzmannMachine(layers, [Dense(normal(*pair)) for pair in zip(sizes, sizes[1:], strict=False)])


def relative_weights(machine, betas, num_chains, seed, mean=None):
    """w Z_A / Z of every chain, whose expectation is 1."""
    runs = anneal(
        BaseRatePath(machine.base_energy, mean),
        make_betas(betas),
        num_chains,
        torch.Generator().manual_seed(seed),
    )
    assert runs.log_weights.dtype == torch.float64
    return (runs.log_weights + runs.log_base_partition - machine.exact_log_partition()).exp()


@pytest.mark.parametrize("sizes", [(5, 3), (3, 5), (4, 3, 2), (3, 2, 3, 2)])
@pytest.mark.parametrize("with_mean", [False, True])
@pytest.mark.parametrize("betas", [1, 3, 20])
def test_mean_weight_is_the_ratio_of_partition_functions(sizes, with_mean, betas):
    """Catches moving before weighing, a wrong log Z_A, a base model that is not the one drawn from, and one
    draw shared by all chains: each makes E[w] differ from Z / Z_A, and few betas make the difference
    large."""
    machine = chain_machine(*sizes)
    mean = torch.linspace(0.2, 0.9, sum(sizes[::2]), dtype=torch.float64) if with_mean else None
    weights = relative_weights(machine, betas, 10_000, seed=1, mean=mean)
    assert abs(weights.mean() - 1) < 4 * weights.std() / len(weights) ** 0.5
    assert len(weights.unique()) > 1


def test_exact_when_the_units_are_independent():
    """Catches an energy difference taken at the wrong ends of a step: without couplings and with the
    machine's own biases as base, only the odd biases are annealed, and every weight must be Z / Z_A."""
    machine = BoltzmannMachine(
        {
            "visible": Bernoulli(torch.tensor([1.0, -2.0])),
            "hidden": Bernoulli(torch.tensor([0.5, 3.0, -1.0])),
        },
        [Dense(torch.zeros(2, 3))],
    )
    assert torch.allclose(relative_weights(machine, 7, 5, seed=0), torch.ones(5, dtype=torch.float64), atol=1e-6)


def test_single_precision_machine_agrees_with_double():
    """Catches log-weights accumulated in float32: with 2,000 small steps the sum would drift by far more."""
    single, double = (chain_machine(6, 4, dtype=dtype, scale=0.3) for dtype in (torch.float32, torch.float64))
    machine_error = (single.exact_log_partition() - double.exact_log_partition()).abs()
    assert machine_error < 1e-5
    weights = relative_weights(single, 2000, 20, seed=3)
    assert (weights - 1).abs().max() < 0.2
    assert abs(weights.mean() - 1) < 4 * weights.std() / 20**0.5 + 1e-4


def test_more_betas_narrow_the_weights():
    """Catches a ladder that is ignored: the variance of log w falls like one over the number of levels."""
    machine = chain_machine(6, 4)
    coarse, fine = (relative_weights(machine, betas, 2000, seed=2).log().var() for betas in (10, 160))
    assert 4 < coarse / fine < 64


def test_same_seed_same_weights_and_global_state_untouched():
    """Catches draws from torch's global generator."""
    machine = chain_machine(4, 3)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (relative_weights(machine, 10, 8, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_no_gradient_is_kept():
    """Catches a graph that grows with the number of levels when the weights are trainable."""
    energy = chain_machine(4, 3).base_energy
    for tensor in energy.parameters():
        tensor.requires_grad_()
    runs = anneal(BaseRatePath(energy), make_betas(5), 4, torch.Generator().manual_seed(0))
    assert not runs.log_weights.requires_grad


def test_progress_is_told_and_ends_complete():
    """Catches a bar that stops short of its end."""
    told = []
    path = BaseRatePath(chain_machine(4, 3).base_energy)
    anneal(path, make_betas(250), 2, torch.Generator().manual_seed(0), advance=told.append)
    assert told == [100, 200, 250]


def test_runs_in_blocks_are_all_there(monkeypatch):
    """Catches a block that is lost or larger than the memory it was promised to take, and a bar that starts anew."""
    path = BaseRatePath(chain_machine(4, 3).base_energy)
    ladder, told, sizes = make_betas(100), [], []
    generator = torch.Generator().manual_seed(3)
    blocks = [anneal(path, ladder, count, generator) for count in (3, 3, 1)]
    draw = BaseRatePath.sample_base
    monkeypatch.setattr(BaseRatePath, "sample_base", lambda self, n, g: sizes.append(n) or draw(self, n, g))
    runs = anneal(path, ladder, 7, torch.Generator().manual_seed(3), chunk=3, advance=told.append)
    assert torch.equal(runs.log_weights, torch.cat([block.log_weights for block in blocks]))
    assert torch.equal(runs.values, torch.cat([block.values for block in blocks]))
    assert sizes == [3, 3, 1]
    assert told == [33, 66, 100]


def test_ladders():
    """Catches a ladder without 0 or 1, one step too few, and the published steps at wrong places."""
    assert make_betas(4) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert make_betas(torch.tensor([0.5, 1.0])) == [0.0, 0.5, 1.0]
    assert make_betas([0.0, 0.1, 1.0]) == [0.0, 0.1, 1.0]
    published = torch.tensor(make_betas("salakhutdinov-2008"), dtype=torch.float64)
    steps = published.diff()
    assert len(steps) == 14_500
    for low, high, step in ((0, 0.5, 1e-3), (0.5, 0.9, 1e-4), (0.9, 1, 1e-5)):
        inside = (published[:-1] >= low - 1e-9) & (published[1:] <= high + 1e-9)
        torch.testing.assert_close(steps[inside], torch.full_like(steps[inside], step), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize(
    ("betas", "error", "message"),
    [
        (0, ValueError, "at least 1"),
        (True, TypeError, "bool"),
        ("linear", ValueError, "salakhutdinov-2008"),
        ([], ValueError, "not empty"),
        (torch.tensor(0.5), ValueError, "one-dimensional"),
        ([0.0, 0.6, 0.5, 1.0], ValueError, "increase"),
        ([0.0, 0.5, 0.5, 1.0], ValueError, "increase"),
        ([0.0, 0.5], ValueError, "end at 1"),
        ([0.5, 1.0, 1.5], ValueError, "end at 1"),
        ([-0.5, 1.0], ValueError, "increase"),
        ([0.0, float("nan"), 1.0], ValueError, "increase"),
        ({"steps": 3}, TypeError, "betas"),
    ],
)
def test_bad_ladders_are_named(betas, error, message):
    """Catches a ladder that would silently anneal to another machine."""
    with pytest.raises(error, match=message):
        make_betas(betas)


def test_compiled_levels_are_the_same_levels() -> None:
    """Catches a compiled level that draws for itself, weighs after its move, or freezes its temperatures."""
    torch.manual_seed(2)
    layers = {name: Bernoulli(torch.randn(size)) for name, size in (("low", 5), ("middle", 4), ("high", 3))}
    machine = BoltzmannMachine(layers, [Dense(torch.randn(5, 4)), Dense(torch.randn(4, 3))])
    level = Level(BaseRatePath(machine.base_energy), torch.Generator().manual_seed(3))
    values, log_weights = (torch.rand(6, 8) < 0.4).float(), torch.zeros(6, dtype=torch.float64)
    compiled = compiled_level(level, values, log_weights)
    state = level.generator.get_state()
    assert state.equal(torch.Generator().manual_seed(3).get_state())
    for betas in (torch.tensor([0.2, 0.3], dtype=torch.float64), torch.tensor([0.3, 0.9], dtype=torch.float64)):
        key = make_key(values.device, torch.Generator().set_state(level.generator.get_state()))
        expected = level(values, log_weights, betas, key)
        found = compiled(values, log_weights, betas)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)
        values, log_weights = found
    assert len(log_weights.unique()) > 1


def test_compiled_annealing_gives_the_partition_function() -> None:
    """Catches uniforms that repeat from level to level or are shared by the two sides: E[w] = Z / Z_A."""
    machine = chain_machine(5, 3)
    runs = anneal(
        BaseRatePath(machine.base_energy), make_betas(3), 10_000, torch.Generator().manual_seed(1), compile=True
    )
    weights = (runs.log_weights + runs.log_base_partition - machine.exact_log_partition()).exp()
    assert abs(weights.mean() - 1) < 4 * weights.std() / len(weights) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ratios_of_log_partitions(dtype) -> None:
    """Catches cancellation at small steps, overflow at large ones and a sign taken the wrong way."""
    bias = torch.tensor([0.0, 3.0, -3.0, 60.0, -60.0, 200.0, -200.0, 1e-3], dtype=dtype)
    units, zero = Bernoulli(bias), torch.zeros(8, dtype=dtype)
    for before, after in ((0.3, 0.3 + 1e-9), (0.5, 0.501), (0.0, 0.2), (0.0, 1.0), (0.99, 1.0)):
        low, high = torch.tensor(before, dtype=torch.float64), torch.tensor(after, dtype=torch.float64)
        each = [
            float(Bernoulli(bias[index : index + 1]).log_partition_ratio(zero[:1], low, high)) for index in range(8)
        ]
        with decimal.localcontext(prec=250):
            ends = [[(1 + (Decimal(beta) * Decimal(b)).exp()).ln() for b in bias.tolist()] for beta in (before, after)]
            expected = [float(last - first) for first, last in zip(*ends, strict=True)]
        torch.testing.assert_close(torch.tensor(each), torch.tensor(expected), rtol=2e-5, atol=1e-13)
        together = units.log_partition_ratio(zero, low, high).double()
        torch.testing.assert_close(together, torch.tensor(sum(expected)).double(), rtol=1e-4, atol=1e-7)


def test_means_of_another_machine_are_refused() -> None:
    """Catches an error of tensor shapes, and a mean of the first layer that is refused."""
    energy = testing.boltzmann_machine((4, 2, 3)).base_energy
    for size in (4, 7):
        assert BaseRatePath(energy, torch.full((size,), 0.5)).base[0].size == 4
    for shape in ((5,), (1, 7), ()):
        with pytest.raises(ValueError, match="4 units of layer 'layer0', or of all 7 units of the even side"):
            BaseRatePath(energy, torch.full(shape, 0.5))
