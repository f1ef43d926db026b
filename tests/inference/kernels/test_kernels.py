"""Markov kernels of Boltzmann machines against sums over all states: one step from exact draws stays exact."""

import itertools
from typing import Any

import pytest
import torch
from kernel_machines import (
    DEEP,
    LADDER,
    MACHINES,
    NAN,
    Exact,
    even_draws,
    held,
    joined,
    path_law,
    place,
    random,
    stacked,
)

from ppgen import inference, models, testing
from ppgen.distributions import BaseRatePath, Bernoulli, Gaussian, MaxPooled
from ppgen.distributions.machines.layered_energy import EVEN, ODD
from ppgen.distributions.machines.replicas import Replicas, accepted_swaps, exchanged
from ppgen.inference.annealing.swap_ladder import equalised
from ppgen.testing.examples import state_index

DRAWS = 40_000


@pytest.mark.parametrize("sweeps", [1, 2])
@pytest.mark.parametrize("name", MACHINES)
def test_block_gibbs_keeps_the_joint_law(name: str, sweeps: int) -> None:
    """Catches a stale side in the state, a layer given the wrong neighbours, held units that move."""
    torch.manual_seed(0)
    machine = MACHINES[name]
    exact, kernel = Exact(machine.base_energy), inference.BlockGibbs(machine, sweeps=sweeps)
    even, odd = exact.draw(DRAWS)
    start = inference.BlockGibbsState(even, odd)
    state, info = kernel.step(start)
    exact.check(state.even, state.odd, f"{name} after a step")
    assert not torch.equal(state.even, even) and not torch.equal(state.odd, odd)
    energy = machine.base_energy
    testing.check_close(info.energy, energy.energy(state.even, state.odd), "energy")
    testing.check_close(info.free_energy, energy.free_energy(state.even, EVEN), "free energy")


@pytest.mark.parametrize("parity", [0, 1])
@pytest.mark.parametrize("name", MACHINES)
def test_swaps_keep_the_product_of_the_tempered_laws(name: str, parity: int) -> None:
    """Catches beta times the free energy in the place of the tempered free energy, a sign, a pair swapped twice."""
    torch.manual_seed(1)
    energy = MACHINES[name].base_energy
    path = BaseRatePath(energy)
    states = Exact(energy).even
    laws = [path_law(path, states, beta) for beta in LADDER]
    replicas = Replicas(path, torch.tensor(LADDER, dtype=torch.float64))
    even = even_draws(laws, states, DRAWS)
    log_ratio = replicas.log_ratio(even, replicas.inputs(even)).detach()
    accepted = accepted_swaps(log_ratio, torch.tensor(parity), torch.rand(2, DRAWS, dtype=torch.float64))
    assert accepted[parity].any() and not accepted[parity].all() and not accepted[1 - parity].any()
    moved = exchanged(even, accepted)
    index, product = torch.zeros(DRAWS, dtype=torch.long), torch.ones(1, dtype=torch.float64)
    same = place(states, states)
    for value, law in zip(moved, laws, strict=True):
        index = index * len(states) + place(value, states)
        product = torch.outer(product, torch.zeros_like(law).index_add(0, same, law)).flatten()
    testing.check_frequencies(index, product, f"{name}: replicas after swaps of parity {parity}")
    assert torch.equal(moved.sum(0), even.sum(0))  # nothing is lost and nothing doubled


@pytest.mark.parametrize("name", MACHINES)
def test_a_tempered_step_keeps_every_law(name: str) -> None:
    """Catches replicas moved at another's temperature, and an odd side left over from before a swap."""
    torch.manual_seed(2)
    machine = MACHINES[name]
    energy = machine.base_energy
    exact, path = Exact(energy), BaseRatePath(energy)
    for parity, sweeps in ((0, 2), (1, 1)):
        kernel = inference.ParallelTempering(machine, betas=LADDER, sweeps=sweeps)
        replicas = Replicas(path, torch.tensor(LADDER, dtype=torch.float64))
        laws = [path_law(path, exact.even, beta) for beta in LADDER]
        even = even_draws(laws, exact.even, DRAWS)
        odd = replicas.sample_odd(replicas.inputs(even)).detach()
        start = kernel.init(DRAWS)._replace(even=even, odd=odd, parity=torch.tensor(parity))
        state, info = kernel.step(start)
        exact.check(*kernel.sides(state), f"{name}: joint states at beta = 1")
        same = place(exact.even, exact.even)
        for value, law, beta in zip(state.even, laws, LADDER, strict=True):
            expected = torch.zeros_like(law).index_add(0, same, law)
            testing.check_frequencies(place(value, exact.even), expected, f"{name} at beta = {beta}")
        assert (info.replica.sort(-1).values == torch.arange(3)).all()
        swaps = (info.replica != torch.arange(3)).any(-1).double()
        testing.check_mean(swaps - info.swap_acceptance[:, parity], torch.zeros(()).double(), "share of swaps")
        assert (info.replica[:, 2 if parity == 0 else 0] == (2 if parity == 0 else 0)).all()
        testing.check_close(info.energy, energy.energy(*kernel.sides(state)), "energy")
        testing.check_close(info.free_energy, energy.free_energy(state.even[-1], EVEN), "free energy")
        assert state.parity == 1 - parity and torch.equal(state.betas, start.betas)


# Layers above whose biases have another shape than their values: groups, biases that positions share, rows held.
TOPS = {
    "categorical": DEEP["categorical on top"],
    "multinomial": DEEP["multinomial on top"],
    "shared": stacked(Bernoulli(random(2)), Bernoulli(random(2)), Bernoulli(random(2), 2)),
    "pooled": stacked(Bernoulli(random(2)), Bernoulli(random(2)), MaxPooled(random(2), 2)),
    "rows": held((3, 2, 2), "layer2", [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
}


@pytest.mark.parametrize("name", TOPS)
def test_the_mean_of_the_data_is_that_of_the_visible_layer(name: str) -> None:
    """Catches base rates of the layers above it that are none of their own biases, or in the shape of those."""
    torch.manual_seed(7)
    machine = TOPS[name]
    energy = machine.base_energy
    visible, top = energy.units[0], energy.units[2]
    mean = visible.mean(random(visible.size))
    kernel = inference.ParallelTempering(machine, betas=LADDER, data_mean=mean)
    state, _ = kernel.step(kernel.init(DRAWS))
    base = kernel.step(state)[0].even[0]  # after a round in which the second pair is offered a swap, and the first not
    testing.check_mean(base[..., : visible.size].flatten(0, -2), mean, "visible units at base rates")
    own = top.mean(torch.zeros(top.size, dtype=torch.float64))
    testing.check_mean(base[..., visible.size :], own, "units on top at base rates")


def test_swap_ratio_of_every_pair() -> None:
    """Catches neighbours of other pairs in the ratio: it is written with loops over pairs here."""
    machine = testing.boltzmann_machine((4, 3))
    path = BaseRatePath(machine.base_energy, torch.tensor([0.1, 0.5, 0.8, 0.3], dtype=torch.float64))
    betas = torch.tensor([0.0, 0.2, 0.5, 1.0], dtype=torch.float64)
    even = torch.randint(2, (4, 7, 4)).double()
    replicas = Replicas(path, betas)
    found = replicas.log_ratio(even, replicas.inputs(even))
    for pair in range(3):
        low, high = betas[pair], betas[pair + 1]
        expected = path.log_density(even[pair + 1], low) + path.log_density(even[pair], high)
        expected = expected - path.log_density(even[pair], low) - path.log_density(even[pair + 1], high)
        testing.check_close(found[pair], expected, f"pair {pair}")


@pytest.mark.parametrize("kind", ["gibbs", "tempering"])
def test_real_valued_units(kind: str) -> None:
    """Catches a variance that is tempered, or the offset between two bases lost: visible units are Gaussian here."""
    torch.manual_seed(3)
    visible = Gaussian(random(3), 0.3 * random(3))
    machine = joined(visible, Bernoulli(random(2)))
    energy = machine.base_energy
    states = energy.states(ODD, 0, 4)
    law = (-energy.free_energy(states, ODD)).softmax(0)
    odd = states[torch.multinomial(law, DRAWS, replacement=True)]
    even = energy.sample_opposite(odd, ODD)
    if kind == "gibbs":
        kernel: Any = inference.BlockGibbs(machine)
        state = inference.BlockGibbsState(even, odd)
    else:
        kernel = inference.ParallelTempering(machine, betas=(0.0, 1.0), data_mean=torch.tensor([0.5, -0.5, 0.1]))
        state = kernel.moved_to(kernel.init(DRAWS), even, odd)
    state, _ = kernel.step(state)
    found, hidden = kernel.sides(state)
    testing.check_frequencies(state_index(hidden), law, "hidden units")
    means = torch.stack([visible.mean(energy.inputs(each, ODD)[0]) for each in states])
    testing.check_mean(found, law @ means, "mean of real units")
    spread = law @ (means.square() + visible.variance(means[0]))
    testing.check_mean(found.square(), spread, "second moment of real units")


@pytest.mark.parametrize("make", [inference.BlockGibbs, inference.ParallelTempering], ids=["gibbs", "tempering"])
def test_rows_are_simulated_by_themselves(make: Any) -> None:
    """Catches a row conditioned on another row's values, and swaps that carry values between rows."""
    torch.manual_seed(4)
    given = torch.tensor([[1.0, NAN, NAN], [NAN, 0.0, NAN], [NAN, NAN, NAN]], dtype=torch.float64)
    whole = testing.boltzmann_machine((3, 2, 2))
    kernel = make(whole.condition({"layer0": given}))
    state = kernel.init(4000)
    for _ in range(25):
        state, info = kernel.step(state)
    values = kernel.values(state)
    assert {name: value.shape for name, value in values.items()} == {
        "layer0": (4000, 3, 3),
        "layer1": (4000, 3, 2),
        "layer2": (4000, 3, 2),
    }
    assert info.energy.shape == info.free_energy.shape == (4000, 3)
    states, log_weights = testing.enumerated(whole)
    found = state_index(torch.cat(list(values.values()), -1))
    for row in range(3):
        fits = ((states[:, :3] == given[row]) | given[row].isnan()).all(-1)
        law = log_weights.detach().masked_fill(~fits, -torch.inf).softmax(0)
        testing.check_frequencies(found[:, row], law, f"row {row}")


def two_modes() -> models.RBM:
    """All units on or all off, the one twice as likely: block Gibbs never goes from one to the other."""
    weight = torch.full((6, 6), 12.0)
    rbm = models.RBM.from_arrays(weight, torch.full((6,), -36.0), torch.full((6,), -36.0))
    with torch.no_grad():
        rbm.visible_bias += torch.log(torch.tensor(2.0)) / 6
    return rbm


def test_tempering_goes_between_modes() -> None:
    """Catches replicas that never leave their temperature, and a ladder that warm-up makes worse."""
    rbm = two_modes()
    kernel = inference.ParallelTempering(rbm, num_temperatures=12, data_mean=torch.full((6,), 0.5))
    tree = inference.sample(kernel, 400, num_chains=50, warmup_steps=400, seed=1)
    on = torch.as_tensor(tree.posterior["visible"].values).double().mean(-1)
    assert ((on > 0.9) | (on < 0.1)).double().mean() > 0.99
    testing.check_mean(on.mean(1), torch.tensor(2 / 3).double(), "share of the larger mode")
    acceptance = tree.sample_stats["swap_acceptance"].mean(("chain", "draw")).values
    assert acceptance.max() - acceptance.min() < 0.12
    equal = inference.ParallelTempering(rbm, betas=[step / 11 for step in range(12)], data_mean=torch.full((6,), 0.5))
    fixed = inference.sample(equal, 400, num_chains=50, warmup_steps=100, seed=1).sample_stats
    assert fixed["temperature"].values.tolist() == pytest.approx([step / 11 for step in range(12)])
    assert fixed["swap_acceptance"].mean(("chain", "draw")).values.min() < acceptance.min()
    trips = [inference.round_trips(each["replica"]).double().mean() for each in (tree.sample_stats, fixed)]
    assert trips[0] > trips[1] > 0
    stuck = inference.sample(inference.BlockGibbs(rbm), 100, num_chains=50, warmup_steps=400, seed=1)
    assert (torch.as_tensor(stuck.posterior["visible"].values).double().mean(-1).round().std(1) == 0).all()


def test_an_equalised_ladder_has_equal_steps_of_its_barrier() -> None:
    """Catches a ladder that spaces temperatures by the wrong pair's rejections, or loses its order or its ends."""
    betas = torch.tensor([0.0, 0.1, 0.4, 0.6, 1.0], dtype=torch.float64)
    rejections = torch.tensor([0.4, 0.1, 0.25, 0.05], dtype=torch.float64)
    found = equalised(betas, rejections)
    # Barrier 0.8 in steps of 0.2: 0.2 halfway in the first pair, 0.4 at its end, 0.6 where 0.1 of 0.25 are gone.
    expected = torch.tensor([0.0, 0.05, 0.1, 0.4 + 0.2 * 0.1 / 0.25, 1.0], dtype=torch.float64)
    testing.check_close(found, expected, "ladder")
    testing.check_close(equalised(betas, torch.full((4,), 0.3).double()), betas, "ladder of equal rejections")
    testing.check_close(equalised(betas, torch.zeros(4).double()), betas, "ladder of no rejections")
    assert (equalised(betas, torch.tensor([1.0, 0, 0, 0]).double()).diff() > 0).all()


def test_round_trips() -> None:
    """Catches a trip counted halfway, or one counted for the wrong replica."""
    orders = [(0, 1, 2), (0, 2, 1), (2, 0, 1), (2, 1, 0), (1, 2, 0), (1, 0, 2), (0, 1, 2), (0, 2, 1)]
    still = [(0, 1, 2)] * len(orders)
    # Replica 2 goes from the top to the base and back; 1 and 0 each miss one of the ends afterwards.
    found = inference.round_trips(torch.tensor([orders, still]))
    assert found.tolist() == [2, 0]  # 2 at the sixth draw, 1 at the last


def test_pyro_runs_a_kernel() -> None:
    """Catches an adapter that Pyro cannot drive: warm-up, several chains at once, initial values, arguments."""
    from pyro.infer import MCMC

    from ppgen import diagnostics

    torch.manual_seed(5)
    machine = testing.boltzmann_machine((3, 2, 2))
    _, log_weights = testing.enumerated(machine)
    for kernel in (inference.BlockGibbs(machine, sweeps=20), inference.ParallelTempering(machine, 3, sweeps=8)):
        mcmc = MCMC(kernel.to_pyro(num_chains=200), num_samples=20, warmup_steps=10, disable_progbar=True)
        mcmc.run()
        tree = diagnostics.from_pyro(mcmc)
        assert dict(tree.posterior.sizes) == {
            "chain": 200,
            "draw": 20,
            "layer0_dim_0": 3,
            "layer1_dim_0": 2,
            "layer2_dim_0": 2,
        }
        assert tree.attrs["kernel"] == type(kernel).__name__
        drawn = torch.cat([torch.as_tensor(tree.posterior[name].values) for name in machine.names], -1)
        testing.check_frequencies(state_index(drawn), log_weights.detach().softmax(0), "draws by Pyro")
    single = inference.BlockGibbs(machine).to_pyro()
    mcmc = MCMC(
        single,
        num_samples=3,
        warmup_steps=0,
        initial_params={name: torch.ones(units.size) for name, units in machine.base_energy.layers.items()},
        disable_progbar=True,
    )
    mcmc.run()
    assert {name: value.shape for name, value in mcmc.get_samples().items()} == {
        "layer0": (3, 3),
        "layer1": (3, 2),
        "layer2": (3, 2),
    }
    with pytest.raises(ValueError, match="takes no arguments: condition the machine"):
        mcmc.run(torch.zeros(3))


def test_a_kernel_follows_training(device: torch.device) -> None:
    """Catches a kernel that keeps a copy of the weights, or draws on another device."""
    rbm = models.RBM(visible=4, hidden=2).to(device)
    kernel = inference.BlockGibbs(rbm)
    with torch.no_grad():
        rbm.visible_bias.fill_(30.0)
    generator = torch.Generator(device=device).manual_seed(0)
    state, _ = kernel.step(kernel.init(50, generator), generator)
    assert (kernel.values(state)["visible"] == 1).all() and state.even.device.type == device.type


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: inference.BlockGibbs(models.VAE(4, 2, (3,))), ValueError, "VAE has no undirected site"),
        (lambda: inference.BlockGibbs(3), TypeError, "Expected a BoltzmannMachine, or a pair or run with one, got int"),
        (lambda: inference.BlockGibbs(models.RBM(4, 2), sweeps=0), ValueError, "sweeps must be an integer of at least"),
        (lambda: inference.BlockGibbs(models.RBM(4, 2), site="x"), ValueError, "site must be one of"),
        (lambda: inference.BlockGibbs(models.RBM(4, 2)).init(0), ValueError, "num_chains must be an integer of at"),
        (lambda: inference.ParallelTempering(models.RBM(4, 2), 1), ValueError, "num_temperatures must be an integer"),
        (lambda: inference.ParallelTempering(models.RBM(4, 2), betas=[0.5]), ValueError, "betas must increase"),
        (
            lambda: inference.ParallelTempering(models.RBM(4, 2), data_mean=torch.zeros(3)),
            ValueError,
            "data_mean must hold the means of the 4 visible units",
        ),
        (lambda: inference.sample(inference.HMC(), 10), TypeError, "kernel must be an inference.BlockGibbs"),
        (lambda: inference.sample(inference.BlockGibbs(models.RBM(4, 2)), 0), ValueError, "num_samples must be an"),
        (lambda: inference.TemperedPCD(num_temperatures=1), ValueError, "num_temperatures must be at least 2"),
        (lambda: inference.TemperedPCD(ladder_rate=2.0), ValueError, "ladder_rate must lie in"),
    ],
)
def test_wrong_use(call: Any, error: type[Exception], message: str) -> None:
    """Catches a wrong call that goes through, or one refused without saying what to do."""
    with pytest.raises(error, match=message):
        call()


def test_pairs_of_temperatures_take_turns() -> None:
    """Catches rounds that offer the same pairs again and again, so that no replica goes further than one step."""
    kernel = inference.ParallelTempering(models.RBM(4, 2), 4)
    state = kernel.init(100)
    seen = []
    for _ in range(3):
        state, info = kernel.step(state)
        seen.append(info.replica.clone())
    for before, after in itertools.pairwise(seen):
        assert not torch.equal(before, after)
    assert (seen[2][:, 3] != 3).any() and (seen[2][:, 3] < 2).any()


def test_draws_as_arviz_reads_them() -> None:
    """Catches chains and draws mixed up, a seed that is not used, and statistics of other states than the draws."""
    import arviz_stats

    torch.manual_seed(6)
    machine = testing.boltzmann_machine((3, 2, 2))
    before = torch.get_rng_state()
    kernel = inference.BlockGibbs(machine, sweeps=20)
    tree, again = (inference.sample(kernel, 40, num_chains=60, warmup_steps=5, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert tree.posterior.equals(again.posterior) and tree.sample_stats.equals(again.sample_stats)
    assert not tree.posterior.equals(inference.sample(kernel, 40, num_chains=60, warmup_steps=5, seed=4).posterior)
    assert list(tree.posterior.data_vars) == list(machine.names)
    assert (
        tree.posterior["layer0"].dims == ("chain", "draw", "layer0_unit") and tree.posterior["layer0"].dtype == "int8"
    )
    values = torch.cat([torch.as_tensor(tree.posterior[name].values) for name in machine.names], -1).double()
    assert values.shape == (60, 40, 7)
    energies = torch.as_tensor(tree.sample_stats["energy"].values)
    testing.check_close(energies, machine.energy(values).detach(), "energy of each draw")
    _, log_weights = testing.enumerated(machine)
    testing.check_frequencies(state_index(values), log_weights.detach().softmax(0), "draws")
    assert float(arviz_stats.rhat(tree, group="sample_stats")["free_energy"]) < 1.02
    half = machine.condition({"layer0": torch.tensor([[1.0, NAN, NAN], [0.0, 1.0, NAN]], dtype=torch.float64)})
    rows = inference.sample(inference.ParallelTempering(half, 3), 5, num_chains=4, warmup_steps=2)
    assert rows.posterior["layer1"].dims == ("chain", "draw", "data", "layer1_unit")
    assert rows.sample_stats["swap_acceptance"].dims == ("chain", "draw", "data", "pair")
    assert (rows.posterior["layer0"][:, :, 1, :2] == [0, 1]).all()
    real = inference.sample(inference.BlockGibbs(joined(Gaussian(random(2)), Bernoulli(random(2)))), 5, num_chains=2)
    assert real.posterior["below"].dtype == "float64" and real.posterior["above"].dtype == "int8"
