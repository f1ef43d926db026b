"""log Z followed in training: unbiased by enumeration, honest about its error, and of the same numbers in a graph."""

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import datasets, distributions, evaluation, inference, models, testing
from ppgen.inference.negative_phases import online_partition
from ppgen.inference.negative_phases.online_partition import (
    VALUES,
    VARIANCES,
    followed,
    log_weights_of,
    population,
    summary,
)
from ppgen.training.processes.world import World
from ppgen.training.steps.traced_step import TracedStep

DIGITS = datasets.load("digits", binarize="threshold")
BITS = (torch.rand(40, 12, generator=torch.Generator().manual_seed(3)) < 0.3).float()


def machines() -> list[distributions.BoltzmannMachine]:
    """A trajectory of weights from small ones to large ones, with a turn."""
    scales = (0.3, 0.8, 1.5, 1.2, 2.0, 2.5)
    made = []
    for index, scale in enumerate(scales):
        machine = testing.boltzmann_machine((4, 3))
        with torch.no_grad():
            for number, tensor in enumerate(machine.parameters()):
                tensor.mul_(scale if number != index % 2 else scale + 0.5)
        made.append(machine)
    return made


def estimates(count: int, num_chains: int, sweeps: int = 1) -> tuple[Tensor, Tensor]:
    """log Z of the last machine by independent populations, and its standard errors: both (count,)."""
    path = machines()
    found = []
    for _ in range(count):
        state = population(path[0].base_energy, num_chains)
        for machine in path[:-1]:
            state = followed(machine.base_energy, state, sweeps)
        weights = log_weights_of(path[-1].base_energy, state)
        found.append(summary(weights, state[VARIANCES])[:2])
    return tuple(torch.tensor(found, dtype=torch.float64).unbind(1))  # type: ignore[return-value]


@pytest.mark.parametrize("resample_below", [0.0, 0.5, 2.0])
def test_the_mean_weight_is_unbiased(resample_below: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches chains that move before they are weighed, weights of the wrong sign, an offset lost in resampling, a
    start that takes log Z of the first weights for that of independent units: never resampled, at times, and always."""
    monkeypatch.setattr(online_partition, "RESAMPLE_BELOW", resample_below)
    exact = machines()[-1].exact_log_partition().item()
    values, errors = estimates(500, 12)
    testing.check_mean((values - exact).exp(), torch.ones((), dtype=torch.float64), "mean weight over Z")
    assert values.mean() < exact  # Jensen: the log errs low
    if resample_below < 1:
        spread = values.std()
        assert 0.7 < errors.mean() / spread < 1.3, (float(errors.mean()), float(spread))


def test_resampling_keeps_log_z_and_follows_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches log Z that jumps when chains are resampled, chains that are drawn by other weights, and an error that
    forgets what was lost before."""
    monkeypatch.setattr(online_partition, "RESAMPLE_BELOW", 2.0)
    energy = testing.boltzmann_machine((4, 3)).base_energy
    state = population(energy, 4000)
    before = summary(log_weights_of(energy, state), state[VARIANCES])
    after = followed(energy, state, 1)
    weights = log_weights_of(energy, after)
    assert weights.std() < 1e-12
    assert summary(weights, after[VARIANCES]) == pytest.approx(before)
    # The base rates are far from the machine; resampled and moved, the chains follow it.
    states = energy.states(0, 0, 16)
    law = (-energy.free_energy(states, 0)).softmax(0)
    drawn = (after[VALUES].unsqueeze(1) == states).all(-1).double()
    testing.check_mean(drawn, law, "law of the resampled chains")


def test_effective_sample_size_is_that_of_the_weights() -> None:
    """Catches an effective sample size of the inverse weights, 3.6 in the place of 1.9 here."""
    weights = torch.tensor([1.0, 0.2, 0.1, 0.1], dtype=torch.float64)
    value, se, ess = summary(weights.log(), torch.zeros(4, dtype=torch.float64))
    assert ess == pytest.approx(float(weights.sum() ** 2 / weights.square().sum()))
    assert value == pytest.approx(math.log(weights.mean()))
    assert se == pytest.approx(float(weights.std(correction=0) / weights.mean()) / 2)
    _, more, fewer = summary(weights.log(), torch.full((4,), 0.5, dtype=torch.float64))
    assert more == pytest.approx(math.sqrt(se**2 + 0.5)) and fewer == pytest.approx(1 / (1 / ess + 0.5))


PHASES = {
    "pcd": (inference.PCD, {}),
    "cd": (inference.CD, {"k": 2}),
    "tempered": (inference.TemperedPCD, {"num_temperatures": 3}),
}


@pytest.mark.parametrize("name", PHASES)
def test_a_fit_logs_log_z(name: str) -> None:
    """Catches an estimate of the weights of a step before the last, one that the gradient's own chains bias by more
    than a nat, and a log-likelihood with the sign of log Z turned."""
    cls, options = PHASES[name]
    torch.manual_seed(2)
    rbm = models.RBM(visible=64, hidden=16)
    phase = cls(**options, log_partition_chains=100)
    run = ppgen.fit(rbm, DIGITS, phase, epochs=10, lr_schedule="constant", compile=False, progress=False)
    last, exact = run.metrics[-1], rbm.machine().exact_log_partition().item()
    error = last["online_log_partition_se"]
    assert 0.02 < error < 0.3 and abs(last["online_log_partition"] - exact) < 4 * error
    assert 1 / 100 < 1 / last["online_log_partition_ess"] == pytest.approx(error**2 + 1 / 100)
    truth = evaluation.log_likelihood(rbm, DIGITS.valid, method="exact")
    # The same rows but for the tenth that is looked at.
    gap = truth.value - last["online_valid_log_likelihood"] - (last["online_log_partition"] - exact)
    assert abs(gap) < 4 * truth.data_se
    assert last["online_train_log_likelihood"] > last["online_valid_log_likelihood"]
    annealed = evaluation.log_partition(rbm, method="ais", num_chains=100, betas=300, seed=0)
    assert abs(last["online_log_partition"] - annealed.value) < 4 * math.hypot(error, annealed.se)


def test_the_gradient_never_sees_the_population() -> None:
    """Catches chains that share their moves: the weights would then depend on the chains that measure them."""
    rbm = models.RBM(12, 4)
    bound = bound_to(rbm, inference.PCD(num_chains=6, log_partition_chains=5))
    bound.step(BITS)
    state, gradients = bound.state, []
    for population_state in (state["hidden.weighted_chains"], 1 - state["hidden.weighted_chains"]):
        bound.load_state(state | {"hidden.weighted_chains": population_state})
        torch.manual_seed(0)
        gradients.append(bound.step(BITS).gradients)
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name])


def bound_to(pair: Any, phase: Any, batch: Tensor = BITS) -> inference.BoundInference:
    pair.prepare(batch)
    return inference.resolve(phase, pair).bind(pair, batch, len(batch))


def test_a_graph_follows_log_z_as_the_program_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a branch on the weights that a graph freezes, and machine code that drops the population."""
    monkeypatch.setattr(TracedStep, "faithful", True)
    rbm = models.RBM(12, 4)
    with torch.no_grad():
        rbm.weight.mul_(4)  # so that the chains are resampled at first, and not later
    bound = bound_to(rbm, inference.PCD(num_chains=6, log_partition_chains=40))
    bound.step(BITS)
    assert bool((bound.state["hidden.variances_of_chains"] > 0).all())
    traced = TracedStep(bound, dict(rbm.named_parameters()))
    state, found = bound.state, {}
    with torch._inductor.config.patch(fallback_random=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler's own imports
        traced.compile(BITS)
        for way in ("eager", "graph", "compiled"):
            bound.load_state(state)
            torch.manual_seed(0)
            for step in range(3):
                with torch.no_grad():
                    rbm.weight.mul_(0.3 if step == 1 else 1.01)
                bound.step(BITS) if way == "eager" else traced(BITS, compiled=way == "compiled")
            with torch.no_grad():
                rbm.weight.div_(0.3 * 1.01**2)
            found[way] = bound.state
    assert (found["eager"]["hidden.variances_of_chains"] > state["hidden.variances_of_chains"]).all()
    for name, value in found["eager"].items():
        torch.testing.assert_close(found["graph"][name], value, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found["compiled"][name], value, rtol=1e-4, atol=1e-4)


def test_log_z_of_weights_that_are_made_of_parameters() -> None:
    """Catches free energies of the weights at which the step was traced: a learned variance is exp of a parameter."""
    torch.manual_seed(0)
    x = torch.randn(200, 3) * torch.tensor([1.0, 2.0, 0.5])
    pair = models.GaussianRBM(visible=3, hidden=2, learn_variance=True)
    bound = bound_to(pair, inference.PCD(num_chains=6, log_partition_chains=2000), x)
    bound.step(x)
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.1)
    ((weights, variances),) = bound.log_partition_weights(x).values()
    value, se, _ = summary(weights, variances)
    assert abs(value - pair.machine().exact_log_partition().item()) < 4 * se < 0.4


def test_a_bound_is_not_called_a_likelihood() -> None:
    """Catches the bound of a deep machine under the name of its log-likelihood."""
    dbm = models.DBM(64, (8, 4))
    phase = inference.PCD(num_chains=10, log_partition_chains=200)
    run = ppgen.fit(dbm, DIGITS.train[:200], phase, epochs=2, progress=False)
    last, exact = run.metrics[-1], dbm.machine().exact_log_partition().item()
    assert {"online_train_value"} == {name for name in last if name.startswith("online_") and "partition" not in name}
    assert abs(last["online_log_partition"] - exact) < 4 * last["online_log_partition_se"]
    whole = evaluation.log_likelihood(dbm, DIGITS.train[:200], method="exact")
    assert last["online_train_value"] < whole.value + 4 * whole.data_se
    assert "online_log_partition" not in ppgen.fit(dbm, DIGITS.train[:200], "pcd", epochs=1, progress=False).metrics[-1]


@pytest.mark.parametrize("count", [-1, 1, 2.5, True, "many"])
def test_wrong_numbers_of_chains_are_refused(count: Any) -> None:
    """Catches a population of one chain, which has no error, and a flag in the place of a number."""
    for cls, _ in PHASES.values():
        with pytest.raises(ValueError, match="log_partition_chains must be the number of chains that estimate log Z"):
            cls(log_partition_chains=count)


def test_no_log_z_for_all_where_each_datum_has_its_own() -> None:
    """Catches one log Z for documents of different lengths."""
    documents = torch.tensor([[2.0, 0, 1], [0, 1, 0]])
    pair = models.ReplicatedSoftmax(vocabulary=3, hidden=2)
    with pytest.raises(ValueError, match=r"log_partition_chains follow the one log Z.*depends on the datum"):
        bound_to(pair, inference.CD(log_partition_chains=10), documents)


def test_processes_share_the_population() -> None:
    """Catches as many chains in every process as all were to have together, and one that has a single chain."""
    for cls in (inference.PCD, inference.CD):
        whole = inference.Inference(inference.ELBO(), negative_phase=cls(log_partition_chains=40))
        assert World(1, 4).sharded(whole).negative_phase.log_partition_chains == 10
        for count, instead in ((42, 44), (4, 8)):
            refused = inference.Inference(inference.ELBO(), negative_phase=cls(log_partition_chains=count))
            with pytest.raises(ValueError, match=f"log_partition_chains must be.*Take {instead}"):
                World(0, 4).sharded(refused)
    bound = bound_to(models.RBM(12, 4), inference.CD(log_partition_chains=6))
    bound.step(BITS)
    own = World(1, 2).own(bound.state, bound.roles(bound.state))
    assert {name: len(value) for name, value in own.items() if "of_chains" in name} == {
        f"hidden.{name}_of_chains": 3 for name in ("log_weights", "energies", "variances")
    }
