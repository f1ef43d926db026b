"""Most probable states of machines: starts, batches, conditioning, layers of real units, and errors.

That they are modes at all is held against enumeration for every unit and depth by `testing.check_machine`.
"""

import math

import pytest
import torch
from feature_maps import feature_maps
from torch import Size, Tensor

from ppgen import models, testing
from ppgen.distributions import Bernoulli, BoltzmannMachine, Categorical, Dense, Gaussian, Multinomial
from ppgen.distributions.machines import mode_search as modes


def best_of(machine: BoltzmannMachine) -> tuple[Tensor, float]:
    """The event of least energy and that energy, by enumeration in loops over layers."""
    states, log_weights = testing.enumerated(machine)
    best = int(log_weights.argmax())
    return states[best], -float(log_weights[best].detach())


@pytest.mark.parametrize("sizes", [(6, 5), (4, 3, 4), (3, 4, 3, 2)])
def test_restarts_find_the_global_mode(sizes: tuple[int, ...]) -> None:
    """Catches a search that keeps the last start and not the best, and sides joined in another order."""
    machine = testing.boltzmann_machine(sizes)
    expected, lowest = best_of(machine)
    assert torch.equal(machine.mode, expected)
    found = machine.find_mode(num_starts=50)
    assert torch.equal(found, expected) and not found.requires_grad
    assert machine.energy(found).item() == pytest.approx(lowest)


def test_one_start_can_end_elsewhere() -> None:
    """Catches a search that is no search but enumeration: two wells, and a start in the shallower one."""
    weight = 4 * torch.ones(3, 2, dtype=torch.float64)
    layers = {"a": Bernoulli(torch.full((3,), -3.7).double()), "b": Bernoulli(torch.full((2,), -6.0).double())}
    machine = BoltzmannMachine(layers, [Dense(weight)])
    shallow, deep = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    starts = torch.stack([shallow, deep]).unsqueeze(1).expand(2, 7, 5)
    assert torch.equal(machine.find_mode(starts), starts)
    assert torch.equal(machine.mode, deep) and torch.equal(machine.find_mode(), deep)


def test_given_units_stay() -> None:
    """Catches a conditioned machine whose mode is that of the free one, or one mode for all rows."""
    machine = testing.boltzmann_machine((4, 3, 3))
    states, log_weights = testing.enumerated(machine)
    nan = math.nan
    given = torch.tensor([[1.0, nan, 0.0, nan], [0.0, nan, 0.0, nan], [0.0, nan, 1.0, nan]], dtype=torch.float64)
    clamped = machine.condition({"layer0": given})
    expected = []
    for row in given:
        fits = ((states[:, :4] == row) | row.isnan()).all(-1)
        expected.append(states[log_weights.masked_fill(~fits, -math.inf).argmax()])
    found = clamped.find_mode(num_starts=60)
    testing.check_close(found, torch.stack(expected), "modes found given some units")
    testing.check_close(clamped.mode, torch.stack(expected), "modes given some units")
    assert len(found.unique(dim=0)) > 1  # rows differ, so that a mix-up would show
    wide = clamped.find_mode(states[:50].unsqueeze(1))
    assert wide.shape == (50, 3, 10) and torch.equal(wide[:, :, [0, 2]], given[:, [0, 2]].expand(50, 3, 2))


def test_missing_groups_are_no_values() -> None:
    """Catches a rating that is made up for an item that a user has not seen."""
    torch.manual_seed(3)
    present = torch.tensor([[True, False, True], [True, True, False]])
    units = Categorical(torch.randn(3, 4).double(), present)
    machine = BoltzmannMachine(
        {"r": units, "h": Bernoulli(torch.randn(2).double())}, [Dense(torch.randn(12, 2).double())]
    )
    for found in (machine.mode, machine.find_mode()):
        ratings = found[:, :12].reshape(2, 3, 4)
        assert torch.equal(ratings.sum(-1), present.double())
        for row in range(2):
            alone = Categorical(units.bias, present[row])
            layers = {"r": alone, "h": machine.base_energy.units[1]}
            single = BoltzmannMachine(layers, machine.base_energy.couplings)
            assert torch.equal(found[row], single.mode)


def test_documents_have_modes_as_ordered_words() -> None:
    """Catches counts that follow the multinomial coefficient, which the energy does not have, and a lost length."""
    units = Multinomial(torch.tensor([0.1, 0.3, 0.0]).double(), total=torch.tensor([2, 5]))
    machine = BoltzmannMachine(
        {"w": units, "h": Bernoulli(torch.zeros(2).double())}, [Dense(torch.zeros(3, 2).double())]
    )
    expected = torch.tensor([[0.0, 2, 0], [0, 5, 0]], dtype=torch.float64)
    assert torch.equal(machine.find_mode()[:, :3], expected)
    assert torch.equal(machine.conditional("w", torch.zeros(2, 2).double()).mode, expected)


def test_conditionals_and_maps_have_modes() -> None:
    """Catches blocks with two units on, and the mode of a conditional that forgets a neighbour."""
    machine = feature_maps((1, 2, 3), (1, 2), pool=2, maps=1, top=2)
    layers = machine.split(machine.mode)
    for name, units in machine.base_energy.layers.items():
        around = {each: value for each, value in layers.items() if each != name}
        law = machine.conditional(name, around)
        assert torch.equal(law.mode, layers[name]), name
        every = units.states(torch.arange(int(units.num_states)))
        assert law.log_prob(every).max().item() == pytest.approx(law.log_prob(law.mode).item())
    rows = machine.conditional("visible", torch.zeros(5, 4).double()).mode
    assert rows.shape == (5, 6)


def test_models_and_their_dtype(device: torch.device) -> None:
    """Catches a search in another dtype than the answer, or on another device."""
    torch.manual_seed(0)
    rbm = models.GaussianRBM(4, 6, learn_variance=True).to(device)
    with torch.no_grad():
        rbm.weight.mul_(4)
    machine = rbm.machine()
    start = torch.cat([torch.randn(20, 4), torch.rand(20, 6).round()], -1).to(device)
    found = machine.find_mode(start)
    assert found.dtype == torch.float32 and found.device.type == device.type and found.shape == start.shape
    assert bool((machine.energy(found) <= machine.energy(start) + 1e-4).all())
    testing.check_close(machine.find_mode(found), found, "the mode of a mode", atol=1e-5)
    assert machine.find_mode(generator=torch.Generator(device).manual_seed(1)).shape == Size([10])


def test_real_units_next_to_each_other() -> None:
    """Catches a search that stops on the way, or that runs off without a word where there is no law."""
    a, b = (torch.tensor(values, dtype=torch.float64) for values in ([1.0, -2.0], [0.5, 0.3]))
    weight = torch.tensor([[0.6, -0.2], [0.1, 0.7]], dtype=torch.float64)

    def joined(scale: float) -> BoltzmannMachine:
        return BoltzmannMachine({"a": Gaussian(a), "b": Gaussian(b)}, [Dense(scale * weight)])

    precision = torch.eye(4, dtype=torch.float64)
    precision[:2, 2:], precision[2:, :2] = -weight, -weight.T
    expected = torch.linalg.solve(precision, torch.cat([a, b]))
    testing.check_close(joined(1).find_mode(num_starts=2), expected, "mode of a normal law", atol=1e-6)
    with pytest.warns(UserWarning, match="still falls after max_sweeps=3"):
        joined(1).find_mode(num_starts=2, max_sweeps=3)
    with pytest.raises(ValueError, match="has no minimum.*coupled too strongly"):
        joined(10).find_mode(num_starts=2)


def test_wrong_arguments_are_named() -> None:
    """Catches half an event that is broadcast, and values that no unit can have."""
    machine = testing.boltzmann_machine((3, 2))
    for start, message in (
        (torch.zeros(4, 3).double(), r"events of 5 units, \(..., 5\), got shape \(4, 3\)"),
        (torch.full((5,), 0.5).double(), "values that the units cannot have"),
        (torch.full((5,), math.nan).double(), "values that the units cannot have"),
    ):
        with pytest.raises(ValueError, match=message):
            machine.find_mode(start)
    for name in ("num_starts", "max_sweeps"):
        for value in (0, 1.5, True):
            with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got {value!r}"):
                machine.find_mode(**{name: value})
    with pytest.raises(ValueError, match=r"2\^21 \(21 units\).*machine\.find_mode\(\)"):
        _ = testing.boltzmann_machine((22, 21)).mode


@pytest.mark.parametrize("sizes", [(4, 3), (3, 2, 2)])
def test_one_side_has_a_mode_of_its_own(sizes: tuple[int, ...]) -> None:
    """Catches a marginal without a mode, and one that takes its part of the joint mode, which is another state."""
    machine = testing.boltzmann_machine(sizes)
    for side in (0, 1):
        names = machine.names[side::2]
        law = machine.marginal(names)
        states = machine.base_energy.states(side, 0, int(machine.base_energy.num_states(side)))
        assert torch.equal(law.mode, states[law.unnormalised(states).argmax()]), names
        assert not law.mode.requires_grad
    # With a = 1 one state of weight 403 / 300 and hardly more; with a = 0 four states of weight 1.
    layers = {"a": Bernoulli(torch.tensor([-math.log(300.0)]).double()), "b": Bernoulli(torch.zeros(2).double())}
    machine = BoltzmannMachine(layers, [Dense(torch.full((1, 2), 3.0).double())])
    assert machine.mode.tolist() == [1, 1, 1] and machine.marginal("a").mode.tolist() == [0]


def test_one_side_given_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches one mode for all rows, and the best state of the last part of those that are enumerated."""
    machine = testing.boltzmann_machine((4, 3))
    given = torch.tensor([[1.0, math.nan, 0.0], [0.0, math.nan, math.nan]], dtype=torch.float64)
    law = machine.condition({"layer1": given}).marginal("layer0")
    states = machine.base_energy.states(0, 0, 16)
    expected = states[law.unnormalised(states.unsqueeze(1)).argmax(0)]
    monkeypatch.setattr(modes, "CHUNK", 6)
    assert torch.equal(law.mode, expected)
    with pytest.raises(ValueError, match=r"2\^21 \(21 units\).*find_mode\(\)"):
        _ = testing.boltzmann_machine((21, 2)).marginal("layer0").mode
    with pytest.raises(ValueError, match=r"infinitely many \(4 units\).*find_mode\(\)"):
        _ = models.GaussianRBM(4, 2).machine().marginal("visible").mode


def test_starts_without_rows_and_of_another_number_of_rows() -> None:
    """Catches errors of tensor shapes, and a list that is taken for a tensor."""
    machine = testing.boltzmann_machine((3, 2))
    assert machine.find_mode(torch.zeros(0, 5).double()).shape == (0, 5)
    with pytest.raises(TypeError, match=r"start must be a tensor of events, \(..., 5\), got list"):
        machine.find_mode([0.0] * 5)  # type: ignore[arg-type]
    none = machine.condition({"layer0": torch.zeros(0, 3)})
    assert none.mode.shape == (0, 5) and none.exact_log_partition().shape == (0,)
    clamped = machine.condition({"layer0": torch.tensor([[1.0], [0.0], [1.0]]).expand(3, 3).double()})
    with pytest.raises(ValueError, match=r"start must have one event for each row.*\(3,\).*got shape \(4, 5\)"):
        clamped.find_mode(torch.zeros(4, 5).double())


def test_weights_that_are_no_numbers_have_no_mode() -> None:
    """Catches zeros that are given as the mode because NaN is below everything."""
    rbm = models.RBM(3, 2)
    with torch.no_grad():
        rbm.weight[0, 0] = math.nan
    for law in (rbm.machine(), rbm.machine().marginal("visible")):
        with pytest.raises(ValueError, match="a weight is not finite"):
            _ = law.mode
