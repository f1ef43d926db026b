"""Draws from trained models."""

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from arviz_stats import rhat

import ppgen
from ppgen import inference, models
from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
from ppgen.distributions.machines.layered_energy import EVEN
from ppgen.graphs import compiler
from ppgen.graphs.threefry import make_key
from ppgen.inference.kernels import compiled_steps as compiled_kernel
from ppgen.inference.kernels.gibbs_chains import Sweep, gibbs_chains
from ppgen.rhat import UnitMoments, effective_sample_size, split_rhat, worst_rhat

_ROWS = (torch.arange(60 * 6).reshape(60, 6) % 5 < 2).float()


def _rbm():
    weight = torch.tensor([[1.0, -0.5], [0.3, 2.0], [-1.0, 0.2]])
    return models.RBM.from_arrays(weight, torch.tensor([0.2, -1.0, 0.5]), torch.tensor([-0.3, 0.4]))


def _two_modes():
    """All units on or all off: block Gibbs never goes from one to the other."""
    weight = torch.full((6, 6), 12.0)
    bias = torch.full((6,), -36.0)
    return models.RBM.from_arrays(weight, bias, bias + 1.0)


def _exact_law(rbm):
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    return states, torch.softmax(-rbm.machine().free_energy(states), 0)


@pytest.mark.parametrize("compile", [False, True])
def test_an_rbm_is_sampled_from_its_exact_law(compile):
    """Catches draws that repeat chain states unmoved, means taken for samples, sides mixed up, and uniforms of
    compiled sweeps that repeat or are shared by the two sides."""
    rbm = _rbm()
    before = torch.get_rng_state()
    drawn = ppgen.sample(rbm, 4000, num_chains=200, sweeps=5, warmup_steps=50, seed=1, compile=compile)
    assert torch.equal(torch.get_rng_state(), before)
    states, law = _exact_law(rbm)
    counts = torch.stack([(drawn.samples == state).all(1).sum() for state in states]).double()
    expected = 4000 * law.double()
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 7 + 4 * 14**0.5  # 7 degrees of freedom, 4 sigma; draws 5 sweeps apart are nearly independent
    error = (drawn.means.mean(0) - (law[:, None] * states).sum(0)).abs()
    assert (error < 4 * 0.5 / 4000**0.5).all()
    assert drawn.rhat < 1.01
    assert drawn.num_chains == 200


def test_draws_go_on_from_the_persistent_chains_and_leave_them():
    """Catches sampling that starts anew though training left chains, and sampling that moves them."""
    rbm = models.RBM(6, 3)
    run = ppgen.fit(rbm, _ROWS, inference.PCD(num_chains=9), epochs=1, progress=False)
    before = {name: value.clone() for name, value in run.inference_state.items()}
    first = ppgen.sample(run, 20, sweeps=1, seed=4)
    assert first.num_chains == 9
    assert len(first) == 20
    assert all(torch.equal(value, before[name]) for name, value in run.inference_state.items())
    stuck = _two_modes()
    for mode in (torch.zeros(4, 6), torch.ones(4, 6)):
        stuck.inference_state = {"hidden.chains": mode}
        assert torch.equal(ppgen.sample(stuck, 4, sweeps=1).samples, mode)


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Runs programs as they are instead of compiling them; the list of programs."""
    programs: list[Any] = []

    def compiled(program: Any, inputs: Any) -> Any:
        programs.append(program)

        def run(*arguments: Any) -> list[torch.Tensor]:
            values, following, free_energy = program(*arguments)
            return [values, *following, free_energy]

        return run

    monkeypatch.setattr(compiler, "compiled", compiled)
    return programs


def _deep():
    """A machine of four layers, so that each side has two."""
    torch.manual_seed(6)
    sizes = {"a": 5, "b": 4, "c": 3, "d": 2}
    couplings = [Dense(torch.randn(low, high)) for low, high in ((5, 4), (4, 3), (3, 2))]
    return BoltzmannMachine({name: Bernoulli(torch.randn(size)) for name, size in sizes.items()}, couplings).base_energy


def test_a_sweep_is_that_of_the_machine():
    """Catches stale inputs, a free energy of the values before the sweep or of another side, and layers mixed up."""
    energy = _deep()
    values = (torch.rand(7, 8) < 0.4).float()
    torch.manual_seed(2)
    kept, energies = gibbs_chains(energy, values, warmup_steps=3, draws=2, sweeps=4, compile=False)
    torch.manual_seed(2)
    expected = energy.gibbs(values, EVEN, 3)
    for index in range(8):
        expected = energy.gibbs(expected, EVEN, 1)
        torch.testing.assert_close(energies[:, index], energy.free_energy(expected, EVEN))
        if index % 4 == 3:
            assert torch.equal(kept[index // 4], expected)
    assert kept.shape == (2, 7, 8)
    assert energies.shape == (7, 8)


def _square(weight):
    layers = {"visible": Bernoulli(torch.zeros(3)), "hidden": Bernoulli(torch.zeros(3))}
    return BoltzmannMachine(layers, [Dense(weight * torch.eye(3))]).base_energy


def test_sweeps_by_a_key_are_independent_of_each_other(uncompiled):
    """Catches one stream for both sides (the mean would be 0.5), one key for all sweeps, and chains that share their
    uniforms."""
    sweep = Sweep(_square(2.0))
    inputs = sweep.energy.inputs(torch.zeros(4000, 3), EVEN)
    key = make_key(torch.device("cpu"), torch.Generator().manual_seed(0))
    even = sweep(inputs, key)[0]
    assert torch.equal(sweep(inputs, key)[0], even)
    mean = (0.5 + torch.sigmoid(torch.tensor(2.0))) / 2
    assert ((even.mean(0) - mean).abs() < 4 * 0.5 / 4000**0.5).all()
    free = torch.zeros(400, 3)  # without couplings values are nothing but uniforms
    kept, _ = gibbs_chains(_square(0.0), free, warmup_steps=0, draws=2, sweeps=1, compile=True)
    assert len(uncompiled) == 1
    assert ((kept[0] == kept[1]).float().mean(0) - 0.5).abs().max() < 4 * 0.5 / 400**0.5


def test_compiled_chains_go_on_from_the_persistent_ones(uncompiled):
    """Catches compiled chains that start anew or write to the chains that they start from."""
    stuck = _two_modes()
    for mode in (torch.zeros(4, 6), torch.ones(4, 6)):
        stuck.inference_state = {"hidden.chains": mode}
        before = mode.clone()
        assert torch.equal(ppgen.sample(stuck, 8, sweeps=2, compile=True).samples, before.repeat(2, 1))
        assert torch.equal(stuck.inference_state["hidden.chains"], before)
    assert len(uncompiled) == 2


def test_sampling_without_a_compiler_warns_once(monkeypatch):
    """Catches a crash, silence, and a failed compilation that moves the random state."""

    def broken(*_: Any) -> None:
        torch.rand(3)
        raise RuntimeError("no C++ compiler\nlong story")

    monkeypatch.setattr(compiler, "compiled", broken)
    arguments = {"num_chains": 10, "sweeps": 2, "warmup_steps": 3}
    with pytest.warns(UserWarning, match="Gibbs sampling .* runs uncompiled: RuntimeError: no C.. compiler$") as warned:
        drawn = ppgen.sample(_rbm(), 30, compile=True, **arguments)
    assert len(warned) == 1
    assert torch.equal(drawn.samples, ppgen.sample(_rbm(), 30, compile=False, **arguments).samples)


def test_only_long_runs_of_large_machines_are_compiled(uncompiled, monkeypatch):
    """Catches a rule that leaves out the chains, the sweeps, the warm-up or the size of the machine."""
    monkeypatch.setattr(compiled_kernel, "WORTH_COMPILING", 10 * (3 + 2 * 4) * 6)
    for chains, sweeps, warmup, expected in ((9, 4, 3, 0), (10, 3, 3, 0), (10, 4, 2, 0), (10, 4, 3, 1)):
        ppgen.sample(_rbm(), 2 * chains, num_chains=chains, sweeps=sweeps, warmup_steps=warmup)
        assert len(uncompiled) == expected
    with pytest.raises(ValueError, match='compile must be True, False or "auto", got 1.5'):
        ppgen.sample(_rbm(), 2, compile=1.5)


def test_progress_counts_every_sweep():
    """Catches a bar that stops short of the end, or counts no warm-up."""
    told: list[int] = []
    energy = _deep()
    gibbs_chains(energy, torch.zeros(2, 8), warmup_steps=13, draws=3, sweeps=7, compile=False, advance=told.append)
    assert told[-1] == 34
    assert told == sorted(set(told))
    drawn = ppgen.sample(_rbm(), 10, sweeps=2, warmup_steps=1, progress=True)
    assert torch.equal(drawn.samples, ppgen.sample(_rbm(), 10, sweeps=2, warmup_steps=1).samples)


def test_chains_in_blocks_are_all_there_and_in_their_order(monkeypatch):
    """Catches a block that is lost, put in another's place, or larger than the memory it was promised to take."""
    energy, told, sizes = _deep(), [], []
    start = (torch.rand(7, 8, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    options = {"warmup_steps": 2, "draws": 3, "sweeps": 2, "compile": False}
    torch.manual_seed(4)
    blocks = [gibbs_chains(energy, rows, **options) for rows in (start[:3], start[3:6], start[6:])]
    call = Sweep.__call__
    monkeypatch.setattr(Sweep, "__call__", lambda self, inputs: sizes.append(len(inputs[0])) or call(self, inputs))
    torch.manual_seed(4)
    values, energies = gibbs_chains(energy, start, chunk=3, advance=told.append, **options)
    assert torch.equal(values, torch.cat([values for values, _ in blocks], 1))
    assert torch.equal(energies, torch.cat([energies for _, energies in blocks]))
    assert sizes == 8 * [3] + 8 * [3] + 8 * [1]
    assert told[-1] == 8
    drawn = ppgen.sample(_rbm(), 10, num_chains=5, sweeps=2, warmup_steps=1, chunk=2)
    assert drawn.samples.shape == (10, 3)
    assert drawn.num_chains == 5


def test_more_chains_than_persistent_ones_are_refused():
    """Catches trained chains that are dropped for new ones without a word."""
    rbm = models.RBM(6, 3)
    run = ppgen.fit(rbm, _ROWS, inference.PCD(num_chains=9), epochs=1, progress=False)
    with pytest.raises(ValueError, match="num_chains must be at most 9, the persistent .* got 10. .*inference_state"):
        ppgen.sample(run, 20, num_chains=10, sweeps=1)
    assert ppgen.sample(run, 20, num_chains=9, sweeps=1).num_chains == 9
    rbm.inference_state = None
    assert ppgen.sample(run, 20, num_chains=10, sweeps=1, warmup_steps=1).num_chains == 10


def test_chains_that_do_not_mix_are_reported():
    """Catches an R-hat that is 1 whatever the chains do: two modes that block Gibbs cannot leave."""
    rbm = _two_modes()
    even = torch.cat([torch.zeros(5, 6), torch.ones(5, 6)])
    rbm.inference_state = {"hidden.chains": even}
    assert ppgen.sample(rbm, 10, sweeps=50).rhat > 1.5


def test_sampling_is_reproducible_and_leaves_the_random_state():
    """Catches draws from the caller's random state."""
    rbm = _rbm()
    before = torch.get_rng_state()
    first = ppgen.sample(rbm, 10, sweeps=3, warmup_steps=0, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(first.samples, ppgen.sample(rbm, 10, sweeps=3, warmup_steps=0, seed=5).samples)
    assert np.array_equal(np.asarray(first), first.samples.numpy())
    assert repr(first).startswith("Samples(10 x (3,), R-hat")


def test_a_directed_model_is_sampled_from_its_prior():
    """Catches draws from the guide, or bits where means are given."""
    drawn = ppgen.sample(models.VAE(features=6, latent=2, hidden=(4,)), 50)
    assert drawn.samples.shape == drawn.means.shape == (50, 6)
    assert set(drawn.samples.unique().tolist()) == {0.0, 1.0}
    assert ((drawn.means > 0) & (drawn.means < 1)).all()
    assert drawn.rhat is None


def _model(x, shift=None):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(5.0, 0.1))
        loc = z if shift is None else z + shift
        pyro.sample("x", dist.Normal(loc, 0.1), obs=x)


def _guide(x, shift=None):
    loc = pyro.param("loc", torch.tensor(0.0))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc, 0.1))


def test_computed_values_are_no_observations():
    """Catches a value computed in the plate, drawn anew with its dimension twice and taken for data."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(5.0, 0.1))
            pyro.sample("x", dist.Normal(pyro.deterministic("twice", 2 * z), 0.1), obs=x)

    drawn = ppgen.sample(ppgen.Pair(model, _guide), 4, like=torch.zeros(4)).samples
    assert drawn.shape == (4,) and (drawn - 10).abs().max() < 2


def test_a_pair_of_ones_own_needs_a_batch_or_its_run():
    """Catches observed values given back as draws, and covariates that are silently taken as zero."""
    pair = ppgen.Pair(_model, _guide)
    with pytest.raises(ValueError, match="like is needed"):
        ppgen.sample(pair, 4)
    drawn = ppgen.sample(pair, 4, like=torch.zeros(4)).samples
    assert (drawn - 5).abs().max() < 1
    shifted = ppgen.sample(pair, 4, like=(torch.zeros(4), torch.full((4,), 10.0))).samples
    assert (shifted - 15).abs().max() < 1
    with pytest.raises(ValueError, match="4 rows"):
        ppgen.sample(pair, 4, like=torch.zeros(3))
    run = ppgen.fit(pair, (torch.zeros(8),), "elbo", steps=1, progress=False)
    assert ppgen.sample(run, 3).samples.shape == (3,)
    run = ppgen.fit(pair, (torch.zeros(8), torch.zeros(8)), "elbo", steps=1, progress=False)
    with pytest.raises(ValueError, match="does not observe"):
        ppgen.sample(run, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_samples": 0},
        {"num_chains": 0},
        {"num_chains": 11},
        {"sweeps": 0},
        {"warmup_steps": -1},
        {"sweeps": 1.5},
        {"chunk": 0},
    ],
)
def test_bad_numbers_are_named(arguments):
    """Catches an empty result or a crash deep in the sampler."""
    name = next(iter(arguments))
    with pytest.raises(ValueError, match=f"^{name} must be"):
        ppgen.sample(_rbm(), **({"num_samples": 10} | arguments))


def test_split_rhat_is_that_of_arviz():
    """Catches unsplit chains, a wrong divisor, and an odd draw counted twice."""
    torch.manual_seed(0)
    for length in (4, 9, 50):
        draws = torch.randn(6, length).cumsum(1).double()
        assert split_rhat(draws) == pytest.approx(float(rhat(draws.numpy(), method="split")), rel=1e-9)
    assert np.isnan(split_rhat(draws[:, :3]))


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9, -0.5])
def test_effective_sample_size_is_that_of_arviz(memory):
    """Catches an autocovariance of the wrong lag, and a sum that does not end in noise."""
    from arviz_stats.base import array_stats

    noise = torch.randn(40, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = noise.clone()
    draws[:, 0] /= (1 - memory**2) ** 0.5  # stationary from the start
    for step in range(1, 400):
        draws[:, step] = memory * draws[:, step - 1] + noise[:, step]
    found = effective_sample_size(draws)
    expected = float(array_stats.ess(draws.numpy(), method="mean", chain_axis=0, draw_axis=1))
    assert found == pytest.approx(expected, rel=0.03)
    if memory >= 0:
        assert found == pytest.approx(draws.numel() * (1 - memory) / (1 + memory), rel=0.15)
    assert np.isnan(effective_sample_size(draws[:, :7])) and np.isnan(effective_sample_size(torch.ones(4, 20)))


def _equal_modes() -> models.RBM:
    """A machine whose states of all units off and all units on have equal weight and no way between."""
    rbm = models.RBM(visible=20, hidden=20)
    with torch.no_grad():
        rbm.weight.fill_(0.8)
        rbm.visible_bias.fill_(-8.0)
        rbm.hidden_bias.fill_(-8.0)
    return rbm


def test_two_modes_of_equal_free_energy_are_told_apart():
    """Catches chains that all start in one of two equal modes, and an R-hat of free energies alone, which is 1."""
    options = {"num_chains": 20, "sweeps": 10, "warmup_steps": 20}
    drawn = ppgen.sample(_equal_modes(), 80, seed=1, **options)
    on = drawn.samples.mean(1) > 0.5
    assert 0 < on.sum() < 80
    assert drawn.rhat > 5
    half = torch.full((1, 20), torch.nan)
    half[0, 0] = 0.0
    given = ppgen.sample(_equal_modes(), 80, given=half, seed=1, **options)
    assert given.rhat > 5 and 0 < (given.samples.mean(-1) > 0.5).sum() < 80


def test_persistent_chains_in_two_modes_are_told_apart():
    """Catches R-hat of 1 where chains that training left stand in two modes and stay there."""
    rbm = _equal_modes()
    rbm.inference_state = {"hidden.chains": torch.arange(10.0).ge(5).float()[:, None].repeat(1, 20)}
    assert ppgen.sample(rbm, 40, sweeps=5, warmup_steps=0).rhat > 5


def test_units_moments_are_those_of_the_draws():
    """Catches halves that are cut elsewhere, blocks of chains that are not joined, and units that do not move."""
    draws = torch.randn(6, 11, 3, generator=torch.Generator().manual_seed(0)).cumsum(1)
    draws[..., 2] = 0.3
    moments = UnitMoments(11)
    for block in draws.split([4, 2]):
        for step in range(11):
            moments.add(block[:, step])
        moments.end_block()
    found = moments.rhat()
    for unit in range(2):
        assert found[unit] == pytest.approx(split_rhat(draws[..., unit]), rel=1e-6)
    assert found[2].isnan()
    short = UnitMoments(3)
    short.add(draws[:, 0])
    short.end_block()
    assert short.rhat().numel() == 0 and worst_rhat(1.2, short.rhat()) == 1.2
    assert worst_rhat(float("nan"), torch.tensor([float("nan"), 3.0])) == 3.0
