"""Units and couplings where their contract does not look: limits, shapes, errors, the law's fast sampler."""

import math

import pytest
import torch

from ppgen import testing
from ppgen.distributions import (
    Bernoulli,
    BoltzmannMachine,
    Dense,
    ExactSampler,
    RectifiedGaussian,
    Spin,
    TruncatedExponential,
)
from ppgen.distributions.units.units import log2_states
from ppgen.inference.structure.support import outside
from ppgen.testing.examples import bit_vectors, state_index
from ppgen.testing.quadrature import quadrature


def test_known_numbers() -> None:
    """Catches a sign shared by energy and enumeration, which their agreement would hide."""
    units = Bernoulli(torch.tensor([2.0, -1.0], dtype=torch.float64))
    value = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert units.energy(value).item() == -2.0
    input = torch.tensor([-2.0, 1.0], dtype=torch.float64)
    testing.check_close(units.mean(input), torch.full((2,), 0.5, dtype=torch.float64), "mean")
    assert units.log_partition(input).item() == pytest.approx(2 * 0.6931471805599453)
    assert units.states(torch.tensor([0, 1, 2, 3])).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_large_inputs_do_not_overflow() -> None:
    """Catches log(1 + exp(x)) written out, which is infinite from x = 89 in float32."""
    units = Bernoulli(torch.zeros(2))
    input = torch.tensor([500.0, -500.0])
    assert units.log_partition(input).item() == 500.0
    assert units.mean(input).tolist() == [1.0, 0.0]
    assert units.sample(input.expand(1000, -1), torch.rand(1000, 2)).unique(dim=0).tolist() == [[1.0, 0.0]]


def test_spins_are_bits_of_four_times_the_weights() -> None:
    """Catches spins whose log Z, law or samples are those of units that are merely scaled."""
    torch.manual_seed(0)
    a, b, weight = (torch.randn(size, dtype=torch.float64) for size in (3, 2, (3, 2)))
    spins = BoltzmannMachine({"below": Spin(a), "above": Spin(b)}, [Dense(weight)])
    bits = BoltzmannMachine(
        {"below": Bernoulli(2 * (a - weight.sum(1))), "above": Bernoulli(2 * (b - weight.sum(0)))}, [Dense(4 * weight)]
    )
    every = bit_vectors(5)
    first, second = (
        machine.with_log_partition(machine.exact_log_partition()).log_prob(value)
        for machine, value in ((spins, 2 * every - 1), (bits, every))
    )
    testing.check_close(first, second, "log-probability of every state")
    testing.check_close(first.logsumexp(0), torch.zeros((), dtype=torch.float64), "sum")
    drawn = spins.with_sampler(ExactSampler()).sample(torch.Size([40_000]))
    testing.check_frequencies(state_index((drawn + 1) / 2), second.exp(), "exact draws")


def test_bits_in_the_place_of_spins_are_told_how_to_become_them() -> None:
    """Catches data of 0 and 1 taken for spins, of which 0 would be none at all."""
    values = torch.tensor([[1.0, 0.0]])
    inside = Spin.support.check(values)
    assert inside.tolist() == [[True, False]]
    assert "(-1 or 1): 1 of 1 rows do not" in outside(Spin.support, inside, values)
    assert outside(Spin.support, inside, values).endswith("Bits x are spins 2 x - 1.")


def test_steps_of_spins_between_temperatures_lose_no_digits() -> None:
    """Catches a difference of two log-partition functions, of which little is left for close temperatures."""
    units, input = Spin(torch.tensor([0.3, -2.0, 30.0], dtype=torch.float64)), torch.zeros(3, dtype=torch.float64)
    beta, step = torch.tensor(0.25, dtype=torch.float64), 2.0**-40
    expected = step * units.bias * torch.tanh(beta * units.bias)
    found = units.log_partition_ratio_terms(input, beta, beta + step)
    testing.check_close(found / expected, torch.ones(3, dtype=torch.float64), "growth", rtol=1e-9)
    far = units.log_partition_ratio_terms(100 * input + 1000, torch.zeros((), dtype=torch.float64), 1 + 0 * beta)
    testing.check_close(far, 1000 + units.bias - math.log(2), "growth by much")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_units_on_an_interval_keep_their_digits(dtype: torch.dtype) -> None:
    """Catches means and variances left over from two large numbers, where the input is far from zero or next to it."""
    rtol = 1e-9 if dtype == torch.float64 else 1e-4
    far = torch.tensor([-1e4, -100.0, -50.0], dtype=dtype)
    zero, inverse = torch.zeros(3, dtype=dtype), -1 / far.double()
    for units in (TruncatedExponential(zero), RectifiedGaussian(zero)):  # both fall like exp(x far) there
        order = 0.0 if isinstance(units, TruncatedExponential) else 1.0
        mean = inverse * (1 - order * (2 * inverse**2 - 10 * inverse**4 + 74 * inverse**6))
        testing.check_close(units.mean(far).double() / mean, torch.ones(3).double(), "mean far below", rtol=rtol)
        variance = inverse**2 * (1 - order * (6 * inverse**2 - 50 * inverse**4 + 518 * inverse**6))
        testing.check_close(units.variance(far).double() / variance, torch.ones(3).double(), "variance", rtol=rtol)
        input = torch.tensor([-1e4, 0.0, 1e-9], dtype=dtype, requires_grad=True)
        (slope,) = torch.autograd.grad(units.log_partition(input), input)
        testing.check_close(slope, units.mean(input), "gradient of the log-partition function", rtol=rtol)
        drawn = units.sample(far.expand(1000, -1), torch.rand(1000, 3, dtype=dtype))
        assert bool((drawn >= 0).all()) and bool(drawn.isfinite().all())
    near = TruncatedExponential(torch.tensor([1e-9, -1e-4, 0.0], dtype=dtype))
    expected = torch.tensor([0.5 + 1e-9 / 12, 0.5 - 1e-4 / 12, 0.5], dtype=dtype)
    testing.check_close(near.mean(zero), expected, "mean of a flat law", rtol=1e-7)


def test_inputs_of_intensities_have_a_likelihood() -> None:
    """Catches a machine on [0, 1] whose log-probability is that of bits, which is no density of grey levels."""
    torch.manual_seed(1)
    layers = {"grey": TruncatedExponential(torch.randn(2).double()), "hidden": Bernoulli(torch.randn(3).double())}
    machine = BoltzmannMachine(layers, [Dense(torch.randn(2, 3).double())])
    machine = machine.with_log_partition(machine.exact_log_partition())
    points, log_weights = quadrature(TruncatedExponential.support, 1.0, 20, torch.zeros(()).double())
    grid = torch.cartesian_prod(points, points)
    mass = machine.marginal("grey").log_prob(grid) + torch.cartesian_prod(log_weights, log_weights).sum(-1)
    testing.check_close(mass.logsumexp(0), torch.zeros(()).double(), "logarithm of the whole mass")


def test_base_rates_freeze_no_unit(device: torch.device) -> None:
    """Catches a pixel that is never on in the data and would give the annealing path an infinite bias."""
    mean = torch.tensor([0.0, 1.0, 0.3], device=device)
    base = Bernoulli(torch.ones(3, device=device)).base_rate(mean)
    assert base.bias.isfinite().all() and base.bias.device.type == device.type
    expected = torch.tensor([1e-4, 1 - 1e-4, 0.3], device=device)
    testing.check_close(base.mean(torch.zeros(3, device=device)), expected, "base rates", atol=1e-6)


def test_conditional_law_under_plates(device: torch.device) -> None:
    """Catches a fast sampler that forgets sample shapes, or is lost in `expand`."""
    law = Bernoulli(torch.tensor([0.5, -1.0, 2.0], device=device)).distribution(torch.zeros(4, 3, device=device))
    drawn = law.expand(torch.Size([5, 4])).sample(torch.Size([2000]))
    assert drawn.shape == (2000, 5, 4, 3) and drawn.device.type == device.type
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    expected = torch.sigmoid(torch.tensor([0.5, -1.0, 2.0], device=device)).expand(5, 4, 3)
    testing.check_mean(drawn, expected, "mean of the law")


def test_gradient_flows_through_log_partition_and_not_through_bits() -> None:
    """Catches bits with a gradient, which would be a biased estimator without a name."""
    bias = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    units = Bernoulli(bias)
    input = torch.tensor([0.3, -0.2], dtype=torch.float64)
    (found,) = torch.autograd.grad(units.log_partition(input), bias)
    testing.check_close(found, torch.sigmoid(input), "gradient of the log-partition function")
    assert not units.sample(input, torch.rand(2, dtype=torch.float64)).requires_grad


def test_errors() -> None:
    """Catches a bad shape that broadcasts into a wrong machine."""
    with pytest.raises(ValueError, match=r"bias must have shape \(units,\), got \(2, 3\)"):
        Bernoulli(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"weight must have shape \(lower units, upper units\), got \(3,\)"):
        Dense(torch.zeros(3))
    with pytest.raises(TypeError, match="base must be Bernoulli units, got Dense"):
        Bernoulli(torch.zeros(2)).interpolated(Dense(torch.zeros(2, 2)), 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at most 4 states to be enumerated, got 8"):
        testing.check_units(Bernoulli(torch.zeros(3)), max_states=4)
    for units in (Spin, TruncatedExponential):
        with pytest.raises(ValueError, match=r"bias must have shape \(units,\), got \(2, 3\)"):
            units(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"must have shape \(units,\), got \(3,\) and \(2,\)"):
        RectifiedGaussian(torch.zeros(3), torch.zeros(2))
    with pytest.raises(TypeError, match="base must be RectifiedGaussian units, got Bernoulli"):
        RectifiedGaussian(torch.zeros(2)).interpolated(Bernoulli(torch.zeros(2)), 0.5)  # type: ignore[arg-type]
    for continuous in (TruncatedExponential(torch.zeros(2)), RectifiedGaussian(torch.zeros(2))):
        with pytest.raises(ValueError, match="no states to enumerate"):
            continuous.states(torch.arange(2))
    with pytest.raises(TypeError, match="base must be Spin units, got Bernoulli"):
        Spin(torch.zeros(2)).interpolated(Bernoulli(torch.zeros(2)), 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="holds 0, which is no value of Spin units"):
        BoltzmannMachine({"a": Spin(torch.zeros(2)), "b": Spin(torch.zeros(1))}, [Dense(torch.ones(2, 1))]).condition(
            {"a": torch.tensor([0.0, 1.0])}
        )
    assert log2_states([Bernoulli(torch.zeros(700)), Bernoulli(torch.zeros(500))]) == 1200.0


class _Shifted(Bernoulli):
    """Units with a wrong mean."""

    def mean(self, input: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.bias + 1.1 * input)


class _Halved(Dense):
    """A coupling whose way back is not the adjoint."""

    def backward(self, upper: torch.Tensor) -> torch.Tensor:
        return 0.5 * super().backward(upper)


class _Hot(TruncatedExponential):
    """Units of an interval whose inverse temperature is squared."""

    def scaled(self, factor: float | torch.Tensor) -> "_Hot":
        return _Hot(factor * factor * self.bias)

    def log_partition_ratio_terms(self, input: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return 1.01 * super().log_partition_ratio_terms(input, before, after)


class _Escaping(TruncatedExponential):
    """Units of an interval whose samples leave it."""

    def sample(self, input: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        return super().sample(input, uniform) - 1e-3


def test_contracts_see_wrong_units_and_couplings() -> None:
    """Catches contract functions that pass whatever they are given."""
    with pytest.raises(AssertionError, match=r"_Shifted\.mean: found"):
        testing.check_units(_Shifted(torch.tensor([0.3, -0.8], dtype=torch.float64)))
    for wrong, message in ((_Hot, "_Hot.log_partition_ratio_terms"), (_Escaping, "_Escaping.sample gives values out")):
        with pytest.raises(AssertionError, match=message):
            testing.check_units(wrong(torch.tensor([0.3, -0.8], dtype=torch.float64)))
    with pytest.raises(AssertionError, match=r"_Halved\.backward as the adjoint"):
        testing.check_coupling(_Halved(torch.randn(3, 2, dtype=torch.float64)), 3, 2)
    with pytest.raises(AssertionError, match="standard errors away"):
        testing.check_mean(torch.randn(1000) + 0.3, torch.tensor(0.0), "shifted")
    with pytest.raises(AssertionError, match="degrees of freedom"):
        testing.check_frequencies(torch.randint(4, (1000,)), torch.tensor([0.4, 0.2, 0.2, 0.2]), "uneven")


def test_units_keep_arguments_of_their_own() -> None:
    """Catches scaled, moved or interpolated units that fall back to what a constructor takes by default."""

    class Labelled(Bernoulli):
        def __init__(self, bias: torch.Tensor, positions: int = 1, label: str = "none") -> None:
            super().__init__(bias, positions)
            self.label = label

        def with_bias(self, bias: torch.Tensor, positions: int = 1) -> "Labelled":
            return Labelled(bias, positions, self.label)

    units = Labelled(torch.tensor([0.5, -1.0]), positions=2, label="given")
    for changed in (units.scaled(0.5), units.interpolated(units, 0.5), units.to(torch.float64)):
        assert changed.label == "given" and changed.size == 4
