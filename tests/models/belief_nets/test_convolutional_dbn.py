"""Convolutional belief networks against sums over all their states, and layer by layer against their machines."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import evaluation, inference, models, testing, training
from ppgen.diagnostics import figures
from ppgen.distributions import MaxPooled
from ppgen.testing.examples import bit_vectors, densities_at, state_index


def asymmetric(*arguments: object, **named: object) -> models.ConvolutionalDBN:
    dbn = models.ConvolutionalDBN(*arguments, **named).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in dbn.parameters():
            parameter.copy_(1.1 * torch.randn(parameter.shape) - 0.2)
    return dbn


def small() -> models.ConvolutionalDBN:
    """Nine pixels, two blocks of four units, their pooling units, two units at the top."""
    torch.manual_seed(1)
    return asymmetric(9, (2, 2), (2, 1), (2, 1))


def states() -> tuple[Tensor, Tensor]:
    """Every state of two blocks of four units and whether each block is on: (25, 8) and (25, 2)."""
    units = MaxPooled(torch.zeros(2, 4, dtype=torch.float64))
    hidden = units.states(torch.arange(25))
    return hidden, units.pooled(hidden)


@torch.no_grad()
def log_joint(dbn: models.ConvolutionalDBN) -> tuple[Tensor, float]:
    """log p(x, p, h) of every x and every state of the blocks, (512, 25), and log Z, in loops over units."""
    hidden, pooled = states()
    layer = dbn.layers[0]
    x, top = bit_vectors(9), bit_vectors(2)
    weight = dbn.top_weight[:, :, 0, 0]  # (units above, pooling units)
    energies = torch.tensor(
        [[float(p @ dbn.top_bias + h @ dbn.top_hidden_bias + h @ weight @ p) for h in top] for p in bit_vectors(2)],
        dtype=torch.float64,
    )
    log_z = float(energies.logsumexp((0, 1)))
    law = energies.logsumexp(1) - log_z
    table = torch.zeros(512, 25, dtype=torch.float64)
    for s, (h, p) in enumerate(zip(hidden, pooled, strict=True)):
        total = law[int(state_index(p))]
        heard = layer.bias.expand(3, 3).clone()
        for k, place in itertools.product(range(2), range(4)):
            if h[4 * k + place]:
                total = total + layer.place[k].log_softmax(-1)[place]
                i, j = place // 2, place % 2
                heard[i : i + 2, j : j + 2] += layer.weight[k, 0]
        logits = heard.flatten()
        table[:, s] = total + torch.nn.functional.logsigmoid(torch.where(x == 1, logits, -logits)).sum(-1)
    return table, log_z


def test_the_program_is_normalised() -> None:
    """Catches places in blocks that are off, filters laid down elsewhere, a log Z or a layer that is left out."""
    dbn = small()
    table, log_z = log_joint(dbn)
    testing.check_close(table.logsumexp((0, 1)), torch.zeros(()).double(), "log of the sum of p(x)")
    found = evaluation.log_partition(dbn, method="exact")
    assert found.value == pytest.approx(log_z, abs=1e-9)
    hidden, pooled = states()
    x = bit_vectors(9)[::37]
    latents = {"z1": pooled.unsqueeze(1), "h1": hidden.unsqueeze(1)}
    with torch.no_grad(), inference.attach(log_partition=found):
        log_weights, log_q = densities_at(dbn, x, {n: v.expand(-1, len(x), -1) for n, v in latents.items()})
    testing.check_close(log_weights + log_q, table[::37].T, "log p(x, p, h)")
    testing.check_close(log_q.logsumexp(0), torch.zeros(len(x)).double(), "log of the sum of q")
    estimate = evaluation.log_likelihood(dbn, x, method="importance", num_particles=5000, log_partition=found)
    error = np.abs(estimate.per_datum["log_likelihood"] - table[::37].logsumexp(1).numpy())
    assert (error <= 4 * estimate.per_datum["se"] + 1e-9).all()


def test_draws_follow_the_model() -> None:
    """Catches draws that skip the machine, the places or the filters."""
    dbn = small()
    law = log_joint(dbn)[0].logsumexp(1).exp()
    with torch.no_grad(), dbn.running(), inference.attach(sampler="exact"):
        drawn = dbn.model(num_rows=20_000)
    testing.check_frequencies(state_index(drawn), law, "images")
    chains = ppgen.sample(dbn, 50, sweeps=5, warmup_steps=20)
    assert chains.samples.shape == (50, 9) and chains.means is not None


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
def test_the_guide_is_the_posterior_of_the_machine_that_was_composed(units: str) -> None:
    """Catches places recognised in another block, filters or biases of the wrong direction, a forgotten variance."""
    torch.manual_seed(3)
    learned = units == "gaussian"
    dbn = asymmetric(9, (2, 2), (2, 1), (2, 1), None, 1, units, learned)
    rbms = [dbn.layer_rbm(1).double(), dbn.layer_rbm(2).double()]
    with torch.no_grad():
        for parameter in (*rbms[0].parameters(), *rbms[1].parameters()):
            parameter.copy_(0.8 * torch.randn(parameter.shape))
    dbn.compose(rbms)
    x = torch.randn(4, 9).double() if learned else bit_vectors(9)[::150]
    hidden, pooled = states()
    latents = {"z1": pooled.unsqueeze(1).expand(-1, 4, -1), "h1": hidden.unsqueeze(1).expand(-1, 4, -1)}
    with torch.no_grad(), inference.attach(log_partition=0.0):
        _, log_q = densities_at(dbn, x, latents)
        machine = rbms[0].machine()
        expected = machine.conditional("hidden", given=x).log_prob(hidden.unsqueeze(1))
        testing.check_close(log_q, expected, "log q(p, h | x)")
        below = machine.conditional("visible", given=hidden).log_prob(x[0])
        testing.check_close(dbn._visible(dbn.layers[0].image(hidden)).log_prob(x[0]), below, "log p(x | h)")
    top, second = dbn.machine().base_energy, rbms[1].machine().base_energy
    values = bit_vectors(2)
    testing.check_close(top.free_energy(values, 0), second.free_energy(values, 0), "free energy of the top machine")


def test_pictures_of_filters() -> None:
    """Catches a filter of an upper layer drawn at the wrong scale or place."""
    torch.manual_seed(4)
    dbn = asymmetric(64, (2, 3), (3, 2), (2, 1))
    assert torch.equal(dbn.filters(1), dbn.layers[0].weight)
    pictures = dbn.filters(2)
    assert pictures.shape == (3, 1, 6, 6)
    expected = torch.zeros(6, 6, dtype=torch.float64)
    for k, i, j, r, s in itertools.product(range(2), *[range(2)] * 4):  # a unit of a block, a quarter each
        expected[2 * i + r : 2 * i + r + 3, 2 * j + s : 2 * j + s + 3] += (
            dbn.top_weight[1, k, i, j] * dbn.layers[0].weight[k, 0] / 4
        ).detach()
    testing.check_close(pictures[1, 0], expected, "picture of a filter of the second layer")
    with pytest.raises(ValueError, match="layer must be a number from 1 to 2, got 3"):
        dbn.filters(3)
    figure = figures.filters(dbn, layer=2)
    assert figure.axes[0].get_title() == "ConvolutionalDBN: filters of layer 2 of 3 hidden units"
    machine = dbn.layer_rbm(1)
    assert torch.equal(machine.filters(), machine.weight)
    with pytest.raises(ValueError, match="layer=2 needs a convolutional model"):
        figures.filters(models.RBM(4, 2), layer=2)


def test_greedy_training_raises_the_bound() -> None:
    """Catches layers fed with units instead of pooling units, or composed in the wrong order."""
    torch.manual_seed(5)
    strokes = torch.zeros(300, 8, 8)
    for image, row, column in zip(strokes, torch.randint(6, (300,)), torch.randint(6, (300,)), strict=True):
        image[row : row + 3, column : column + 3] = torch.eye(3)
    dbn = models.ConvolutionalDBN(64, (3, 2), (3, 2), (2, 2))
    options = {"epochs": (20, 10), "batch_size": 50, "lr": 0.03, "compile": False, "progress": False}
    trained = training.pretrain(dbn, strokes, inference.PCD(num_chains=30), betas=100, **options)
    assert [type(run.pair).__name__ for run in trained.runs] == ["ConvolutionalRBM"] * 2
    assert torch.equal(dbn.layers[0].weight, trained.runs[0].pair.weight)
    assert torch.equal(dbn.top_weight, trained.runs[1].pair.weight) and dbn.data_mean.isfinite().all()
    assert trained.runs[1].pair.num_features == 27 and len(trained.bounds) == 2
    run = ppgen.fit(dbn, strokes, epochs=2, batch_size=50, compile=False, progress=False)
    assert run.pair is dbn


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.ConvolutionalDBN(9, (2,), (2,)), "two layers or more, and as many each; got 1, 1 and 1"),
        (lambda: models.ConvolutionalDBN(9, (2, 2), (2,)), "as many each; got 2, 1 and 2"),
        (
            lambda: models.ConvolutionalDBN(9, (2, 2), (2, 2), (2, 1)),
            r"A filter of \(2, 2\) does not fit into",
        ),
        (lambda: models.ConvolutionalDBN(9, (2, 0), (2, 1)), "each number in filters must be at least 1"),
    ],
)
def test_wrong_sizes_are_named(make: object, message: str) -> None:
    """Catches a size that is found wrong only in training."""
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
