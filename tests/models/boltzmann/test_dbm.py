"""Deep Boltzmann machines against sums over all their states: bounds, gradients, mean field, clamping."""

from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

import ppgen
from ppgen import evaluation, inference, models, testing
from ppgen.distributions.machines.layered_energy import ODD
from ppgen.testing.examples import bit_vectors

SIZES = [(5, (4, 3)), (4, (3, 2, 3))]


def asymmetric(visible: int, hidden: tuple[int, ...], scale: float = 1.0) -> models.DBM:
    dbm = models.DBM(visible, hidden, mean_field_sweeps=30)
    with torch.no_grad():
        for parameter in dbm.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape) - 0.2)
    return dbm.double()


def joint(dbm: models.DBM) -> tuple[Tensor, Tensor]:
    """Log-weights -E of (visible states, hidden states) and log Z, with loops over layers only."""
    states = [bit_vectors(len(bias)) for bias in dbm.biases]
    count = len(states)
    total = torch.zeros([len(each) for each in states], dtype=torch.float64)
    for layer, (bias, values) in enumerate(zip(dbm.biases, states, strict=True)):
        total = total + (values @ bias).reshape([-1 if place == layer else 1 for place in range(count)])
    for layer, weight in enumerate(dbm.weights):
        product = states[layer] @ weight @ states[layer + 1].T
        shape = [len(states[place]) if place in (layer, layer + 1) else 1 for place in range(count)]
        total = total + product.reshape(shape)
    return total.flatten(1), total.logsumexp(tuple(range(count)))


def entropy(mean: Tensor) -> Tensor:
    return -(torch.xlogy(mean, mean) + torch.xlogy(1 - mean, 1 - mean)).sum(-1)


def classical_bound(dbm: models.DBM, x: Tensor, means: list[Tensor]) -> Tensor:
    """-E(x, mu) + H(mu) of each row, written out."""
    layers = [x, *means]
    total = sum((bias * value).sum(-1) for bias, value in zip(dbm.biases, layers, strict=True))
    for weight, lower, upper in zip(dbm.weights, layers, layers[1:], strict=False):
        total = total + torch.einsum("bi,ij,bj->b", lower, weight, upper)
    return total + sum(entropy(mean) for mean in means)


def marked(prior, law, machine=None) -> ppgen.Pair:
    """A pair whose guide is marked, whatever its model is: data under the machine, or under bits of their own."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = prior()
            given = dist.Bernoulli(0.5 * torch.ones(4)).to_event(1)
            pyro.sample("x", given if machine is None else machine.conditional("visible", given=z), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", law, infer={"posterior": "mean field"})

    return ppgen.Pair(model, guide)


def means_of(dbm: models.DBM, x: Tensor, sweeps: int) -> list[Tensor]:
    found = dbm.machine().mean_field({"visible": x}, sweeps)
    return [found[name] for name in dbm.machine().names[1:]]


@pytest.mark.parametrize("sizes", SIZES)
def test_likelihood_and_both_bounds(sizes) -> None:
    """Catches a bound that is none, two bounds under one name, and hidden layers that are not all summed out."""
    torch.manual_seed(1)
    dbm = asymmetric(*sizes)
    x = bit_vectors(sizes[0])
    log_weights, log_z = joint(dbm)
    expected = log_weights.logsumexp(1) - log_z
    estimate = evaluation.log_partition(dbm, method="exact")
    assert estimate.value == pytest.approx(float(log_z.detach()), abs=1e-9)

    def values(method: str) -> tuple[np.ndarray, evaluation.Estimate]:
        found = evaluation.log_likelihood(dbm, x, method=method, num_particles=4000, log_partition=estimate)
        return found.per_datum["log_likelihood"], found

    exact, found = values("exact")
    np.testing.assert_allclose(exact, expected.detach().numpy(), atol=1e-9)
    assert found.kind == "exact" and float(np.exp(exact).sum()) == pytest.approx(1.0)
    np.testing.assert_allclose(values("auto")[0], exact)
    bound, found = values("bound")
    assert found.kind == "lower bound" and found.se == 0 and "mean field" in found.method
    written = classical_bound(dbm, x, means_of(dbm, x, 200)) - log_z
    np.testing.assert_allclose(bound, written.detach().numpy(), atol=1e-6)
    elbo, found = values("elbo")
    assert (bound < elbo + 4 * found.per_datum["se"]).all()
    assert (elbo < exact + 4 * found.per_datum["se"]).all()
    assert (
        bound.mean() + 0.01 < elbo.mean() < exact.mean() - 0.001
    )  # far enough apart to tell the names from each other
    annealed = evaluation.log_likelihood(dbm, x, method="ais", num_chains=200, betas=50, log_partition=estimate)
    error = np.abs(annealed.per_datum["log_likelihood"] - exact)
    assert (error < 4 * annealed.per_datum["se"] + 1e-9).all() and "hidden units" in annealed.method
    sampled, found = values("importance")
    assert (np.abs(sampled - exact) < 4 * found.per_datum["se"] + 1e-9).all()


@pytest.mark.parametrize("sizes", SIZES)
def test_gradient_is_that_of_the_classical_bound(sizes) -> None:
    """Catches a gradient through the fixed point, layers summed out twice, and log Z of another machine."""
    torch.manual_seed(2)
    dbm = asymmetric(*sizes)
    x = bit_vectors(sizes[0])[:7]
    dbm.prepare(x)
    chosen = inference.Inference(inference.ELBO(), negative_phase=inference.ExactPartition())
    result = chosen.bind(dbm, x, len(x)).step(x)
    means = means_of(dbm, x, 200)
    value = (classical_bound(dbm, x, means) - joint(dbm)[1]).mean()
    parameters = dict(dbm.named_parameters())
    expected = torch.autograd.grad(-value, list(parameters.values()))
    for (name, _), gradient in zip(parameters.items(), expected, strict=True):
        testing.check_close(result.gradients[name], gradient, name, atol=1e-5)


def test_mean_field_only_climbs() -> None:
    """Catches layers updated all at once, which can fall and oscillate, and a stale neighbour."""
    torch.manual_seed(3)
    dbm = asymmetric(5, (4, 3, 4), scale=2.0)
    x = bit_vectors(5)
    with torch.no_grad():
        rising = torch.stack([classical_bound(dbm, x, means_of(dbm, x, sweeps)) for sweeps in range(12)])
        log_weights, _ = joint(dbm)
    assert (rising[1:] >= rising[:-1] - 1e-9).all() and (rising[-1] > rising[0] + 1e-3).any()
    assert (rising[-1] <= log_weights.logsumexp(1) + 1e-9).all()


def test_gibbs_leaves_a_clamped_law_unchanged() -> None:
    """Catches held units that move, and free ones that do not see them, in one layer and in several."""
    torch.manual_seed(4)
    dbm = asymmetric(4, (3, 2))
    nan = float("nan")
    machine = dbm.machine().condition({
        "visible": torch.tensor([1.0, nan, 0.0, nan], dtype=torch.float64),
        "hidden2": torch.tensor([nan, 1.0], dtype=torch.float64),
    })  # fmt: skip
    energy = machine.base_energy
    count = int(energy.num_states(0))
    states = energy.states(0, 0, count)
    assert count == 2 ** (2 + 1) and bool((states[:, [0, 2, 5]] == torch.tensor([1.0, 0.0, 1.0])).all())
    full = dbm.machine().base_energy
    law = torch.softmax(-full.free_energy(states, 0), 0)
    start = states[torch.multinomial(law, 40_000, replacement=True)]
    moved = energy.gibbs(start, 0, 1)
    index = (moved.unsqueeze(1) == states).all(-1)
    assert bool(index.any(1).all())
    testing.check_frequencies(index.long().argmax(1), law.detach(), "one sweep from exact draws")
    expected = torch.logsumexp(-full.free_energy(states, 0), 0)
    testing.check_close(machine.exact_log_partition(), expected, "log Z of the clamped machine")


def test_log_partition_of_each_row() -> None:
    """Catches rows that share the values of the first one."""
    torch.manual_seed(5)
    dbm = asymmetric(4, (3, 2))
    x = bit_vectors(4)
    log_weights, log_z = joint(dbm)
    clamped = dbm.machine().condition({"visible": x})
    assert clamped.batch_shape == (16,)
    testing.check_close(clamped.exact_log_partition(), log_weights.logsumexp(1), "log Z of each row")
    half = x.clone()
    half[:, 2:] = float("nan")
    summed = log_weights.logsumexp(1).reshape(4, 4).logsumexp(1).repeat_interleave(4)
    testing.check_close(dbm.machine().condition({"visible": half}).exact_log_partition(), summed, "half given")


def test_training_climbs_and_its_run_is_read_back(tmp_path) -> None:
    """Catches chains of the wrong side, offsets that are left out, and a machine that cannot be saved."""
    torch.manual_seed(6)
    rows = torch.rand(200, 6) < torch.linspace(0.1, 0.9, 6)
    x = torch.cat([rows.float(), rows.float()], -1)  # pairs that no independent model knows
    dbm = models.DBM(12, (5, 3))
    before = evaluation.log_likelihood(dbm, x, method="exact").value
    options = {"epochs": 150, "batch_size": 50, "lr": 0.2, "compile": False, "progress": False}
    run = ppgen.fit(dbm, x, inference.PCD(k=2, num_chains=50), folder=tmp_path / "run", **options)
    after = evaluation.log_likelihood(run.pair, x, method="exact").value
    mean = x.mean(0)
    independent = float((mean * mean.log() + (1 - mean) * (1 - mean).log()).sum())
    assert after > before + 1 and after > independent + 0.5
    state = dbm.inference_state
    assert state["hidden.chains"].shape == (50, 12 + 3) and state["hidden.odd_offset"].shape == (5,)
    again = ppgen.load(tmp_path / "run")
    assert again.pair.config() == dbm.config()
    assert evaluation.log_likelihood(again.pair, x, method="exact").value == pytest.approx(after)
    drawn = ppgen.sample(run, 20, sweeps=5)
    assert drawn.samples.shape == (20, 12) and set(drawn.samples.unique().tolist()) <= {0.0, 1.0}


def test_the_collapsed_density_of_the_odd_side() -> None:
    """Catches an even layer that stands beside its sum."""
    dbm = asymmetric(4, (3, 2))
    energy = dbm.machine().base_energy
    h = bit_vectors(3)
    b, c1, c2 = dbm.biases
    w1, w2 = dbm.weights
    expected = -(h @ c1) - softplus(b + h @ w1.T).sum(-1) - softplus(c2 + h @ w2).sum(-1)
    testing.check_close(energy.free_energy(h, ODD), expected, "free energy of the odd side")


def test_errors() -> None:
    """Catches mistakes that would surface as shapes, or not at all."""
    with pytest.raises(ValueError, match="two layers or more"):
        models.DBM(4, (3,))
    with pytest.raises(ValueError, match="mean_field_sweeps"):
        models.DBM(4, (3, 2), mean_field_sweeps=0)
    machine = models.DBM(4, (3, 2)).machine()
    with pytest.raises(ValueError, match=r"holds 0\.5, which is no value of Bernoulli"):
        machine.condition({"visible": torch.tensor([0.5, 1.0, 0.0, 1.0])})
    with pytest.raises(ValueError, match="has 4 units"):
        machine.condition({"visible": torch.zeros(3)})
    with pytest.raises(ValueError, match="given must hold"):
        machine.mean_field({})
    ragged = torch.tensor([[1.0, float("nan"), 0.0, 1.0], [float("nan"), 1.0, 0.0, 1.0]])
    with pytest.raises(ValueError, match="cannot be enumerated together"):
        machine.condition({"visible": ragged, "hidden2": torch.ones(2)}).base_energy.num_states(0)
    sbn, x = models.SigmoidBeliefNet((4, 3)), torch.ones(5, 4)
    chosen = inference.Inference(inference.ELBO(), inference.MeanField())
    with pytest.raises(ValueError, match="'z1', which is not reparameterised: it needs a guide of mean-field means"):
        chosen.bind(sbn, x, 5)
    bits = dist.Bernoulli(torch.full((3,), 0.3)).to_event(1)
    directed = marked(lambda: pyro.sample("z", bits), bits)
    with pytest.raises(ValueError, match="no Boltzmann machine"):
        chosen.bind(directed, x, 5)
    rbm, phase = models.RBM(4, 3).machine(), inference.PCD()
    with pytest.raises(ValueError, match="'x' is no layer of the same machine"):
        replace(chosen, negative_phase=phase).bind(marked(lambda: pyro.sample("z", rbm.marginal("hidden")), bits), x, 5)
    learned = dist.Bernoulli(logits=torch.zeros(3, requires_grad=True)).to_event(1)
    whole = marked(lambda: pyro.sample("z", rbm.marginal("hidden")), learned, rbm)
    with pytest.raises(ValueError, match="means have parameters"):
        replace(chosen, negative_phase=phase).bind(whole, x, 5)
    with pytest.raises(ValueError, match="'bound' needs the means of a mean-field guide at site 'z1'"):
        evaluation.log_likelihood(sbn, x, method="bound")
