"""Annealing down from each datum: unbiased for the annealing model, and close to the machine on a long ladder."""

import itertools
import math

import numpy as np
import pytest
import torch

from ppgen import evaluation, models
from ppgen.distributions import BaseRatePath
from ppgen.evaluation.likelihood.method import Annealing
from ppgen.evaluation.likelihood.reverse_annealing import raised
from ppgen.evaluation.program import VisibleLayer
from ppgen.inference.annealing.annealing import make_betas
from ppgen.testing.examples import bit_vectors


def machine_pair(kind: str, scale: float = 1.0):
    torch.manual_seed(0)
    pair = models.RBM(4, 3) if kind == "rbm" else models.DBM(4, (3, 2))
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape) - 0.2)
    return pair.double()


def annealing_model(path: BaseRatePath, betas: list[float]) -> torch.Tensor:
    """Probability of each even state at the end of annealing upwards, by the matrices of all its sweeps."""
    energy = path.energy
    even, odd = (energy.states(side, 0, int(energy.num_states(side))) for side in (0, 1))
    joint = -energy.energy(even.unsqueeze(1), odd.unsqueeze(0))
    base = path.log_density(even, 0.0)
    law = (base - base.logsumexp(0)).exp()
    own = [sum(-units.energy(part) for units, part in zip(side, energy.split(even, 0).values(), strict=True))
           for side in (path.even, path.base)]  # fmt: skip
    for beta in betas[1:]:
        tilted = (1 - beta) * own[1].unsqueeze(1) + beta * joint
        up, down = tilted.softmax(1), tilted.softmax(0)
        law = law @ up @ down.T
    return law


@pytest.mark.parametrize("kind", ["rbm", "dbm"])
def test_the_mean_weight_is_the_annealing_models(kind: str) -> None:
    """Catches levels off by one, a weight before its move, and hidden layers that are drawn and not weighed."""
    pair = machine_pair(kind)
    energy = pair.machine().base_energy
    path = BaseRatePath(energy, torch.full((energy.size(0),), 0.4, dtype=torch.float64))
    betas = make_betas(3)
    with torch.no_grad():
        expected = annealing_model(path, betas).view(16, -1).sum(1)
    x = bit_vectors(4)
    site = VisibleLayer("hidden", 0, 0)
    found = raised(path, site, lambda a, b: x[a:b], 16, Annealing(betas, num_chains=20_000, chunk=100_000), seed=1)
    assert float(expected.sum()) == pytest.approx(1.0)
    error = np.abs(np.exp(found.log_likelihood) / expected.numpy() - 1) / found.se
    assert (error < 4).all()


@pytest.mark.parametrize("kind", ["rbm", "dbm"])
def test_it_climbs_to_log_p_and_stays_below(kind: str) -> None:
    """Catches a figure that lies above the machine's own draws, or that does not arrive."""
    pair = machine_pair(kind, scale=1.5)
    x = bit_vectors(4)
    log_p = evaluation.log_likelihood(pair, x, method="exact").per_datum["log_likelihood"]
    law = np.exp(log_p)
    short, long = (
        evaluation.log_likelihood(pair, x, method="raise", num_chains=chains, betas=betas, chunk=100_000)
        for chains, betas in ((20_000, 2), (400, 1000))
    )
    means = [float(law @ each.per_datum["log_likelihood"]) for each in (short, long)]
    exact = float(law @ log_p)
    assert means[0] < exact - 0.01
    error = math.sqrt(float(law**2 @ long.per_datum["se"] ** 2))
    assert abs(means[1] - exact) < 4 * error + 0.01
    assert "annealing model" in str(long.note) and long.log_partition_se is None


def documents() -> tuple[models.ReplicatedSoftmax, torch.Tensor, list[slice]]:
    """A model of three words, and all documents of one and of three words in all their orders."""
    orders = [*itertools.product(range(3), repeat=1), *itertools.product(range(3), repeat=3)]
    counts = [torch.bincount(torch.tensor(each), minlength=3) for each in orders]
    return models.ReplicatedSoftmax(3, 2), torch.stack(counts).double(), [slice(0, 3), slice(3, 30)]


def ratings() -> tuple[models.RatingsRBM, torch.Tensor, list[slice]]:
    """A model of two items on a scale of three, and all ratings of the first item alone and of both."""
    pair = models.RatingsRBM(items=2, ratings=3, hidden=2)
    one = torch.eye(3)
    alone = [torch.cat([each, torch.zeros(3)]) for each in one]
    both = [torch.cat(each) for each in itertools.product(one, repeat=2)]
    return pair, torch.stack([*alone, *both]).double(), [slice(0, 3), slice(3, 12)]


@pytest.mark.parametrize("kind", [documents, ratings])
def test_machines_of_each_datum_are_annealed_by_themselves(kind) -> None:
    """Catches a base model of another length, absent ratings that are drawn, and rows under each other's machine."""
    torch.manual_seed(0)
    pair, x, alike = kind()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    pair = pair.double()
    exact = evaluation.log_likelihood(pair, x, method="exact").per_datum["log_likelihood"]
    short, long = (
        evaluation.log_likelihood(pair, x, method="raise", num_chains=chains, betas=betas, chunk=20_000).per_datum
        for chains, betas in ((20_000, 2), (1000, 500))
    )
    for part in alike:  # the annealing model is a law, on all that have the same length or the same items
        weights = np.exp(short["log_likelihood"][part])
        assert abs(weights.sum() - 1) < 4 * math.sqrt(((weights * short["se"][part]) ** 2).sum())
        assert float(np.exp(exact[part]).sum()) == pytest.approx(1.0)
    np.testing.assert_array_less(np.abs(long["log_likelihood"] - exact), 4 * long["se"] + 0.02)
    assert np.abs(short["log_likelihood"] - exact).max() > 0.02


def test_directed_models_are_refused() -> None:
    """Catches an error out of the middle of an annealing run."""
    with pytest.raises(ValueError, match="method='raise' anneals a Boltzmann machine"):
        evaluation.log_likelihood(models.VAE(4, 2, (3,)), torch.ones(2, 4), method="raise")


def test_what_is_of_no_use_is_refused() -> None:
    """Catches a log Z that is ignored, and an error or an advice that is about another model."""
    with pytest.raises(ValueError, match="method='raise' needs no log Z.*Leave log_partition out"):
        evaluation.log_likelihood(models.RBM(4, 2), torch.ones(2, 4), method="raise", log_partition=1.0)
    with pytest.raises(ValueError, match=r"this model is none. Use method='importance'\.$"):
        evaluation.log_likelihood(models.DBN(4, (3, 2)), torch.ones(2, 4), method="raise")


def test_machine_code_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a compiler that is called for every block of rows, and for machines that are another one in each."""
    calls = []

    def compiler(program, inputs):
        calls.append(inputs[0].shape)
        return program

    monkeypatch.setattr("ppgen.graphs.compiler.compiled", compiler)
    monkeypatch.setattr("ppgen.inference.annealing.annealing.make_key", lambda device, generator: None)
    x = bit_vectors(4)[:5].float()
    options = {"method": "raise", "num_chains": 3, "betas": 4, "chunk": 6}
    found = [evaluation.log_likelihood(models.RBM(4, 2), x, compile=each, **options) for each in (True, False)]
    assert calls == [(6, 4)] and np.isfinite([each.value for each in found]).all()
    evaluation.log_likelihood(models.ReplicatedSoftmax(4, 2), x + 1, compile=True, **options)
    assert len(calls) == 1
