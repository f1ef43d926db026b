"""Convolutional machines against loops over positions: energy, pooling, log Z from every side, centring, training."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import evaluation, inference, models, testing
from ppgen.distributions import Categorical, Convolutional, MaxPooled, Multinomial
from ppgen.distributions.machines.layered_energy import EVEN, ODD
from ppgen.inference.negative_phases.centring import centred_gradients


def random_machine(*arguments: object, scale: float = 0.8, **named: object) -> models.ConvolutionalRBM:
    torch.manual_seed(len(arguments))
    machine = models.ConvolutionalRBM(*arguments, **named).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in machine.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape))
    return machine


def loops(machine: models.ConvolutionalRBM, image: np.ndarray, maps: np.ndarray) -> float:
    """-E of one image (channels, rows, columns) and its maps, term by term, for binary pixels."""
    weight, b, a = (each.detach().numpy() for each in (machine.weight, machine.visible_bias, machine.hidden_bias))
    total = float((b[:, None, None] * image).sum())
    for k, i, j in itertools.product(*map(range, maps.shape)):
        total += a[k] * maps[k, i, j]
        for c, r, s in itertools.product(*map(range, weight.shape[1:])):
            total += maps[k, i, j] * weight[k, c, r, s] * image[c, i + r, j + s]
    return total


@pytest.mark.parametrize("pool", [1, 2])
def test_the_energy_is_the_sum_over_positions(pool: int) -> None:
    """Catches a filter that is flipped or at another position, a channel or a block in another order."""
    machine = random_machine(*((24, 2, 3, 1, (4, 3), 2) if pool == 1 else (30, 2, 2, 2, (3, 5), 2)))
    energy = machine.machine().base_energy
    torch.manual_seed(0)
    x = torch.randint(2, (5, machine.num_features)).double()
    hidden = energy.sample_opposite(x, EVEN)
    assert hidden.any()
    maps = machine.maps(hidden).numpy()
    images = x.reshape(5, *machine.image_shape).numpy()
    expected = [loops(machine, image, each) for image, each in zip(images, maps, strict=True)]
    np.testing.assert_allclose(-energy.energy(x, hidden).detach().numpy(), expected, atol=1e-10)


def test_pooling_units_are_on_with_their_block() -> None:
    """Catches units of two blocks mixed up, and a pooling unit that is on without one."""
    machine = random_machine(25, 3, 2, 2)
    assert (machine.map_shape, machine.pooled_shape) == ((3, 4, 4), (3, 2, 2))
    x = torch.rand(6, 25).lt(0.5).double()
    hidden = machine.machine().base_energy.sample_opposite(x.repeat(5000, 1), EVEN)
    maps = machine.maps(hidden)
    on = torch.nn.functional.max_pool2d(maps, 2)
    assert torch.equal(on, torch.nn.functional.avg_pool2d(maps, 2) * 4)  # at most one of each block
    input = torch.nn.functional.conv2d(x.reshape(-1, 1, 5, 5), machine.weight, machine.hidden_bias)
    grown = 4 * torch.nn.functional.avg_pool2d(input.exp(), 2)
    expected = (1 - 1 / (1 + grown)).flatten(1).detach()
    testing.check_close(machine.hidden_means(x), expected, "probabilities of pooling units")
    testing.check_mean(on.flatten(1).reshape(5000, 6, -1), expected, "pooling units that are on")
    units = machine.machine().base_energy.units[ODD]
    assert isinstance(units, MaxPooled) and torch.equal(units.pooled(hidden), on.flatten(1))


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
def test_log_z_from_every_side(units: str) -> None:
    """Catches a pooled side that is annealed at another temperature than it is weighed at, in either direction."""
    machine = random_machine(9, 2, 2, 2, None, 1, units, scale=0.6)
    exact = evaluation.log_partition(machine, method="exact")
    assert exact.kind == "exact"
    index = torch.arange(25)
    states = machine.machine().base_energy.units[ODD].states(index)
    totals = []
    for hidden in states:  # the image summed out by hand
        maps = machine.maps(hidden).unsqueeze(0)
        heard = torch.nn.functional.conv_transpose2d(maps, machine.weight)[0, 0]
        each = torch.nn.functional.softplus(heard + machine.visible_bias)
        if units == "gaussian":
            each = (heard + machine.visible_bias).square() / 2 - machine.visible_bias.square() / 2
            each = each + 0.5 * math.log(2 * math.pi)
        totals.append(each.sum() + (machine.hidden_bias[:, None, None] * maps[0]).sum())
    assert exact.value == pytest.approx(float(torch.stack(totals).logsumexp(0).detach()), abs=1e-9)
    found = evaluation.log_partition(machine, method="sandwich", num_chains=300, betas=30, seed=2)
    for each in (found.lower, found.upper):
        assert abs(each.value - exact.value) < 4 * each.se
    assert found.upper.value - found.lower.value < 0.3
    annealed = evaluation.log_partition(machine, method="ais", num_chains=300, betas=30, seed=3)
    assert abs(annealed.value - exact.value) < 4 * annealed.se
    x = torch.randn(4, 9).double() if units == "gaussian" else torch.rand(4, 9).lt(0.5).double()
    machine_law = machine.machine().with_log_partition(exact).marginal("visible")
    likelihood = evaluation.log_likelihood(machine, x, log_partition=exact)
    assert float(likelihood) == pytest.approx(float(machine_law.log_prob(x).mean().detach()), abs=1e-9)


@pytest.mark.parametrize("pool", [1, 2])
def test_centred_gradient_is_that_of_centred_parameters(pool: int) -> None:
    """Catches an offset summed over positions where it is averaged, one of another map, or one too few for a filter."""
    machine = random_machine(32, 3, 3, pool, (4, 4), 2)
    energy = machine.machine().base_energy
    state = {"even_offset": torch.rand(32).double(), "odd_offset": torch.rand(energy.size(ODD)).double()}
    mu, lam = state["even_offset"].reshape(2, -1).mean(1), state["odd_offset"].reshape(3, -1).mean(1)

    def plain(weight: Tensor, beta: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Filters and biases of units that stand at their offsets: each hears whole filters."""
        return weight, beta - torch.einsum("kcrs,k->c", weight, lam), gamma - torch.einsum("kcrs,c->k", weight, mu)

    parameters = (machine.weight, machine.visible_bias, machine.hidden_bias)
    gradients = tuple(torch.randn_like(each) for each in parameters)
    _, pulled = torch.autograd.functional.vjp(plain, parameters, gradients)
    _, expected = torch.autograd.functional.jvp(plain, parameters, pulled)
    by_id = {id(p): g for p, g in zip(parameters, gradients, strict=True)}
    found = centred_gradients(energy, state, by_id)
    for name, p, e in zip(("filters", "pixels", "maps"), parameters, expected, strict=True):
        testing.check_close(found[id(p)], e, f"centred gradient of the {name}")


def teacher() -> models.ConvolutionalRBM:
    """A machine whose one filter is a stroke from the upper left to the lower right."""
    machine = models.ConvolutionalRBM(25, filters=1, filter_size=2, pool=2)
    with torch.no_grad():
        machine.weight.copy_(torch.tensor([[5.0, -4.0], [-4.0, 5.0]]).reshape(1, 1, 2, 2))
        machine.visible_bias.fill_(-2.5)
        machine.hidden_bias.fill_(-2.0)
    return machine


def test_training_finds_the_filter_that_made_the_data() -> None:
    """Catches gradients of filters that lead nowhere, and shared biases that are lost."""
    torch.manual_seed(0)
    known = teacher()
    x = known.machine().marginal("visible").with_sampler("exact").sample(torch.Size([500]))
    machine = models.ConvolutionalRBM(25, filters=1, filter_size=2, pool=2)
    options = {"batch_size": 50, "lr": 0.05, "seed": 1, "progress": False, "compile": False}
    assert ppgen.fit(machine, x, inference.PCD(), epochs=30, **options).pair is machine
    learned, true = (float(evaluation.log_likelihood(each, x)) for each in (machine, known))
    mean = x.mean(0)
    independent = float((mean * mean.log() + (1 - mean) * (1 - mean).log()).sum())
    assert learned > true - 0.1 > independent + 4.0
    assert ppgen.sample(machine, 5, num_chains=5, warmup_steps=20).samples.shape == (5, 25)


def test_a_compiled_step_is_the_program() -> None:
    """Catches filters or blocks that machine code treats in another way."""
    found, x = [], torch.rand(60, 25, generator=torch.Generator().manual_seed(1)).lt(0.3).float()
    for compile in (False, True):
        torch.manual_seed(0)
        machine = models.ConvolutionalRBM(25, filters=1, filter_size=2, pool=2)
        options = {"batch_size": 20, "seed": 1, "progress": False, "compile": compile}
        run = ppgen.fit(machine, x, inference.ExactPartition(), epochs=2, **options)
        found.append([each.detach() for each in machine.parameters()])
    assert run.state["execution"]["stage"] == "compiled"
    for compiled, eager in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.ConvolutionalRBM(10, 2, 3), "10 pixels are no square image of 1 channel"),
        (lambda: models.ConvolutionalRBM(12, 2, 3, shape=(3, 3)), r"shape must be \(rows, columns\) of images of 1 x"),
        (lambda: models.ConvolutionalRBM(9, 2, 4), r"A filter of \(4, 4\) does not fit into an image of \(3, 3\)"),
        (lambda: models.ConvolutionalRBM(16, 2, 2, 2), "which blocks of 2 x 2 do not fill"),
        (lambda: models.ConvolutionalRBM(9, 0, 2), "filters must be at least 1, got 0"),
        (lambda: models.ConvolutionalRBM(9, 2, 2, units="poisson"), 'units must be "bernoulli" or "gaussian"'),  # type: ignore[arg-type]
        (lambda: models.ConvolutionalRBM(9, 2, 2, learn_variance=True), 'learn_variance needs units="gaussian"'),
        (lambda: Convolutional(torch.zeros(3, 3), (4, 4)), r"weight must have shape \(upper maps, channels"),
        (lambda: MaxPooled(torch.zeros(3)), r"bias must have shape \(blocks, units of a block\), got \(3,\)"),
        (lambda: MaxPooled(torch.zeros(3, 2), block=2), r"bias must have shape \(maps,\)"),
    ],
)
def test_errors(make: object, message: str) -> None:
    """Catches sizes that do not fit and are found out deep inside, or not at all."""
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("shape", [4, "44"])
def test_a_shape_is_a_pair_of_numbers(shape: object) -> None:
    """Catches a side given in place of the shape, which Python's own words about len() or products answer."""
    with pytest.raises(TypeError, match=r"shape must be \(rows, columns\), such as \(28, 28\), got"):
        models.ConvolutionalRBM(16, 2, 2, shape=shape)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "channels", "shape"), [((6, 6, 3), 3, (6, 6)), ((4, 6), 1, (6, 4)), ((4, 4), 4, (2, 2))]
)
@pytest.mark.parametrize("deep", [False, True])
def test_images_of_another_shape_are_refused(
    images: tuple[int, ...], channels: int, shape: tuple[int, int], deep: bool
) -> None:
    """Catches channels that come last, or rows of another length, on which filters would be trained as on noise."""
    rows, size = np.zeros((20, *images), np.float32), math.prod(images)
    rows[::2] = 1
    pair = (
        models.ConvolutionalDBN(size, (2, 2), (2, 1), shape=shape, channels=channels)
        if deep
        else models.ConvolutionalRBM(size, 2, 2, shape=shape, channels=channels)
    )
    with pytest.raises(ValueError, match="The images of the data have shape .*, the model takes .*channels first"):
        ppgen.fit(pair, rows, steps=1, compile=False)


def test_images_of_the_shape_of_the_model_are_taken() -> None:
    """Catches a check of shapes that refuses one channel, channels that come first, or rows of no known shape."""
    for images, channels in ((4, 4), 1), ((4, 4, 1), 1), ((3, 4, 4), 3), ((48,), 3):
        rows = np.zeros((20, *images), np.float32)
        rows[::2] = 1
        pair = models.ConvolutionalRBM(math.prod(images), 2, 2, shape=(4, 4), channels=channels)
        assert ppgen.fit(pair, rows, inference.CD(), steps=1, compile=False).pair is pair


def test_blocks_groups_and_counts_are_discrete() -> None:
    """Catches units that pass for continuous ones, whose energy Hamiltonian Monte Carlo would follow between states."""
    for units in (
        MaxPooled(torch.zeros(2, 4)),
        Categorical(torch.zeros(2, 3)),
        Multinomial(torch.zeros(5), torch.ones(1)),
    ):
        assert units.event_support.is_discrete
