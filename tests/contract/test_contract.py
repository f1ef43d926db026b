"""One contract test per kind of object, over every registered instance."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from example_units import COUPLINGS, PARTLY, UNITS, VISIBLE, parameter
from torch import Tensor

from ppgen import distributions, inference, models, registry, testing
from ppgen.inference.structure.machine_sites import undirected_sites


def bits(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64).lt(0.4).double()


def reals(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def counts(*shape: int) -> Tensor:
    """Documents of unequal length, none of them empty."""
    return torch.randint(0, 4, shape).double() + torch.eye(*shape, dtype=torch.float64) + 1.0 * bits(shape[0], 1)


def ratings(rows: int, items: int, scale: int) -> Tensor:
    """One-hot ratings, every other one missing, at least one in each row."""
    given = torch.randint(1, scale + 1, (rows, items)) * (torch.rand(rows, items) < 0.5)
    given[torch.arange(rows), torch.arange(rows) % items] = 1
    return torch.nn.functional.one_hot(given, scale + 1)[..., 1:].flatten(1).double()


def moved(batch: Any, *args: Any) -> Any:
    """A tensor or a tuple of them on a device or in a dtype."""
    return tuple(part.to(*args) for part in batch) if isinstance(batch, tuple) else batch.to(*args)


# Every registered name with the instances that stand for it. A name that is missing here fails.
MODELS: dict[str, list[Callable[[], tuple[Any, Any]]]] = {
    "VAE": [
        lambda: (models.VAE(5, latent=2, hidden=(4,)), bits(6, 5)),
        lambda: (models.VAE(5, latent=2, hidden=(4, 3), likelihood="gaussian"), reals(6, 5)),
        lambda: (models.VAE(3, latent=2, hidden=(), likelihood="categorical", categories=4), bits(6, 3) * 3),
    ],
    "HierarchicalVAE": [
        lambda: (models.HierarchicalVAE(5, latents=(3, 2), hidden=((4,), (3,))), bits(6, 5)),
        lambda: (models.HierarchicalVAE(4, (3, 2, 1), ((4,), (3,), (2,)), likelihood="gaussian"), reals(6, 4)),
    ],
    "RBM": [lambda: (models.RBM(visible=5, hidden=3), bits(6, 5)), lambda: (models.RBM(3, 6), bits(6, 3))],
    "GaussianRBM": [
        lambda: (models.GaussianRBM(visible=4, hidden=3), reals(6, 4)),
        lambda: (models.GaussianRBM(3, 2, learn_variance=True), reals(6, 3)),
    ],
    "ReplicatedSoftmax": [
        lambda: (models.ReplicatedSoftmax(vocabulary=4, hidden=3), counts(6, 4)),
        lambda: (models.ReplicatedSoftmax(3, 2), counts(6, 3)),
    ],
    "RatingsRBM": [
        lambda: (models.RatingsRBM(items=3, ratings=2, hidden=2), ratings(6, 3, 2)),
        lambda: (models.RatingsRBM(2, 3, 3), ratings(6, 2, 3)),
        lambda: (models.RatingsRBM(3, 3, 2, weights="ordinal"), ratings(6, 3, 3)),
        lambda: (models.RatingsRBM(3, 3, 2, hidden_units="gaussian", weights="ordinal"), ratings(6, 3, 3)),
        lambda: (models.RatingsRBM(3, 2, 2, hidden_units="gaussian"), ratings(6, 3, 2)),
    ],
    "ConvolutionalRBM": [
        lambda: (models.ConvolutionalRBM(visible=9, filters=2, filter_size=2, pool=2), bits(6, 9)),
        lambda: (models.ConvolutionalRBM(12, 1, 2, 1, (2, 3), 2, "gaussian", learn_variance=True), reals(6, 12)),
    ],
    "DBM": [
        lambda: (models.DBM(visible=5, hidden=(3, 2)), bits(6, 5)),
        lambda: (models.DBM(4, (3, 2, 3), mean_field_sweeps=3), bits(6, 4)),
    ],
    "DBN": [
        lambda: (models.DBN(visible=5, hidden=(3, 2)), bits(6, 5)),
        lambda: (models.DBN(4, (3, 2, 3)), bits(6, 4)),
    ],
    "ConvolutionalDBN": [
        lambda: (models.ConvolutionalDBN(9, (2, 2), (2, 1), (2, 1)), bits(6, 9)),
        lambda: (models.ConvolutionalDBN(18, (2, 1, 2), (2, 2, 1), None, (3, 3), 2, "gaussian", True), reals(6, 18)),
        lambda: (models.ConvolutionalDBN(15, (2, 2, 1), (2, 1, 1), (2, 1, 1), (3, 5)), bits(6, 15)),
    ],
    "SigmoidBeliefNet": [
        lambda: (models.SigmoidBeliefNet((5, 3, 2)), bits(6, 5)),
        lambda: (models.SigmoidBeliefNet((4, 3), nonlinear=True), bits(6, 4)),
        lambda: (models.SigmoidBeliefNet((4, 3, 2), autoregressive=True), bits(6, 4)),
    ],
    "HelmholtzMachine": [lambda: (models.HelmholtzMachine((5, 4, 3)), bits(6, 5))],
    "StochasticFeedforward": [
        lambda: (models.StochasticFeedforward(2, 3, (4, 3), (2, 1)), (reals(6, 2), reals(6, 3))),
        lambda: (models.StochasticFeedforward(2, 3, (4,), (2,), likelihood="bernoulli"), (reals(6, 2), bits(6, 3))),
    ],
    "DiscreteVAE": [
        lambda: (models.DiscreteVAE(5, latent=3, hidden=(4,), prior_hidden=2), bits(6, 5)),
        lambda: (models.DiscreteVAE(4, latent=2, hidden=()), bits(6, 4)),
    ],
}
OBJECTIVES = {
    "ELBO": [inference.ELBO(), inference.ELBO(num_particles=4)],
    "IWELBO": [inference.IWELBO(num_particles=1), inference.IWELBO(num_particles=5)],
    "Renyi": [inference.Renyi(num_particles=4), inference.Renyi(num_particles=3, alpha=0.2)],
    "CUBO": [inference.CUBO(num_particles=2), inference.CUBO(num_particles=3, n=1.5)],
    "WakeSleep": [inference.WakeSleep(), inference.WakeSleep(num_particles=3)],
    "ReweightedWakeSleep": [
        inference.ReweightedWakeSleep(num_particles=4),
        inference.ReweightedWakeSleep(num_particles=3, wake=False, sleep=True),
        inference.ReweightedWakeSleep(num_particles=3, sleep=True),
    ],
    "MaximumLikelihood": [inference.MaximumLikelihood()],
}
ESTIMATORS = {
    "Pathwise": [inference.Pathwise()],
    "AnalyticKL": [inference.AnalyticKL()],
    "StickTheLanding": [inference.StickTheLanding()],
    "DoublyReparameterized": [inference.DoublyReparameterized()],
    "ScoreFunction": [
        inference.ScoreFunction(),
        inference.ScoreFunction(inference.InputDependent(hidden=3, normalise=False)),
    ],
    "LeaveOneOut": [inference.LeaveOneOut()],
    "DisARM": [inference.DisARM()],
    "Relaxed": [inference.Relaxed(temperature=0.4)],
    "StraightThrough": [inference.StraightThrough(temperature=0.4)],
    "Enumerate": [inference.Enumerate(), inference.Enumerate(max_states=8)],
    "MeanField": [inference.MeanField()],
}
BASELINES = {
    "MovingAverage": [inference.MovingAverage(decay=0.8)],
    "InputDependent": [inference.InputDependent(hidden=3)],
}
SCHEDULES = {"Linear": [inference.Linear(steps=10)], "Stages": [inference.Stages({0: 1, 10: 2})]}
NEGATIVE_PHASES = {
    "ExactPartition": [inference.ExactPartition()],
    "CD": [inference.CD(), inference.CD(k=3, centred=False), inference.CD(k={0: 2, 2: 1})],
    "PCD": [inference.PCD(num_chains=30), inference.PCD(k=2, num_chains=7, centred=False, log_partition_chains=9)],
    "PseudoLikelihood": [inference.PseudoLikelihood()],
    "TemperedPCD": [
        inference.TemperedPCD(num_chains=30, num_temperatures=4),
        inference.TemperedPCD(k=3, num_chains=7, num_temperatures=2, centred=False, ladder_rate=0.5),
    ],
}
ALGORITHMS = {
    "IWAE": [inference.IWAE(num_particles=5)],
    "DReG": [inference.DReG(num_particles=5)],
    "STL": [inference.STL()],
    "NVIL": [inference.NVIL(hidden=3)],
    "VIMCO": [inference.VIMCO(num_particles=3)],
    "RLOO": [inference.RLOO(num_particles=3)],
    "RWS": [inference.RWS(num_particles=3)],
}
KERNELS = {
    "BlockGibbs": [inference.BlockGibbs, lambda machine: inference.BlockGibbs(machine, sweeps=2)],
    "ParallelTempering": [lambda machine: inference.ParallelTempering(machine, betas=(0.0, 0.5, 1.0))],
    "TrajectoryTempering": [lambda machine: inference.TrajectoryTempering([earlier(machine), machine])],
}
COVERED = {
    "model": MODELS,
    "objective": OBJECTIVES,
    "estimator": ESTIMATORS,
    "negative phase": NEGATIVE_PHASES,
    "baseline": BASELINES,
    "schedule": SCHEDULES,
    "algorithm": ALGORITHMS,
    "kernel": KERNELS
    | {"HMC": ["tests/inference/kernels/test_hmc.py"]},  # it moves latents of a pair, not states of a machine
    "unit": UNITS,
}


def instances(table: dict[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(name, item, id=f"{name}-{index}")
        for name, items in table.items()
        for index, item in enumerate(items)
    ]


@pytest.mark.parametrize("kind", [kind for kind in registry.TABLES if kind != "data set"])
def test_every_registered_name_is_covered(kind: str) -> None:
    """Catches a new model, objective or negative phase that no contract test runs over."""
    assert set(COVERED[kind]) == set(registry.TABLES[kind])
    for name in registry.TABLES[kind]:
        assert COVERED[kind][name]
        found = registry.lookup(kind, name)
        assert found.__name__ == name and found.__doc__


def test_every_public_unit_and_coupling_is_covered() -> None:
    """Catches a new unit or coupling that is exported and never compared with its states."""
    protocols = {"Units", "Coupling"}
    public = {name: getattr(distributions, name) for name in distributions.__all__ if name not in protocols}
    assert {name for name, found in public.items() if hasattr(found, "interpolated")} == set(UNITS)
    assert {name for name, found in public.items() if hasattr(found, "backward")} == set(COUPLINGS)


def test_every_public_inference_part_is_registered() -> None:
    """Catches an objective, estimator or negative phase that is exported and cannot be named or saved."""
    kinds = {
        "objective": inference.Objective,
        "negative phase": inference.NegativePhase,
        "estimator": inference.Pathwise.__mro__[1],
    }
    for kind, base in kinds.items():
        public = {
            name
            for name in inference.__all__
            if isinstance(getattr(inference, name), type)
            and issubclass(getattr(inference, name), base)
            and getattr(inference, name) is not base
        }
        assert public == set(registry.TABLES[kind])


@pytest.mark.parametrize(("name", "make"), instances(MODELS))
def test_pairs(name: str, make: Callable[[], tuple[Any, Any]], device: torch.device) -> None:
    """Catches a model with a parameter that never moves, a wrong gradient, coupled rows, a bad save."""
    pair, x = make()
    assert registry.name_of("model", type(pair)) == name
    testing.check_pair(pair.to(device, torch.float64), moved(x, device))


@pytest.mark.parametrize(("name", "make"), instances(MODELS))
def test_no_tensor_is_born_on_the_default_device(name: str, make: Callable[[], tuple[Any, Any]]) -> None:
    """Catches a constant made without a device, on any machine: here the default device holds no data at all."""
    pair, batch = make()
    x = moved(batch, torch.float32)
    layout = inference.find_layout(pair, x)
    phases = [registry.lookup("negative phase", each)() for each in NEGATIVE_PHASES] if layout.undirected else [None]
    for phase in phases:
        for objective in (inference.ELBO(num_particles=2), inference.IWELBO(num_particles=3)):
            refused = refusal(phase, layout, list(undirected_sites(pair, x).values()))
            if refused:
                with pytest.raises(ValueError, match=refused):
                    inference.Inference(objective, negative_phase=phase).bind(pair, x, num_data=len(x))
                continue
            with torch.device("meta"):
                bound = inference.Inference(objective, negative_phase=phase).bind(pair, x, num_data=len(x))
                results = [bound.step(x) for _ in range(2)]
                values = [bound.value(x), *bound.state.values(), *results[1].gradients.values()]
            assert {value.device.type for value in values} == {"cpu"}
    inputs = {"x": x[0]} if isinstance(x, tuple) else {"num_rows": 3}
    with torch.device("meta"), pair.running(), inference.attach(log_partition=0.0, sampler="exact"):
        assert inference.log_weights(pair, x, num_particles=2).local.device.type == "cpu"
        assert pair.model(**inputs).device.type == "cpu"


def repeated(device: torch.device, count: int, again: int) -> int:
    """So many draws, where what is tested is their law; fewer where they are those of the CPU once more."""
    return again if device.type == "sim" else count


def refusal(phase: Any, layout: inference.Layout, energies: list[Any]) -> str:
    """What a negative phase says to machines that it cannot serve; empty for the others."""
    if isinstance(phase, inference.PCD) and any(energy.batch_shape for energy in energies):
        return "energy of this machine depends on the datum"
    if isinstance(phase, inference.ExactPartition) and any(
        energy.num_states(energy.smaller_side) == float("inf") for energy in energies
    ):
        return "Exact enumeration needs"
    if isinstance(phase, inference.PseudoLikelihood):
        if any(layout.latent[site] != "exact posterior" for site in layout.undirected):
            return "drawn by the guide, and not from their exact posterior"
        discrete = (distributions.Bernoulli, distributions.Categorical)
        if any(not isinstance(energy.units[0], discrete) for energy in energies):
            return "The pseudo-likelihood needs"
    return ""


@pytest.mark.parametrize(("name", "objective"), instances(OBJECTIVES))
def test_objectives(name: str, objective: Any, device: torch.device) -> None:
    """Catches an objective above log p(x), one that couples rows or logs the plate's scale."""
    assert type(objective).__name__ == name
    if objective.exact:  # it takes no continuous latent, and says so
        with pytest.raises(ValueError, match="'z'.*continuous"):
            testing.check_objective(objective, device=device)
        return
    testing.check_objective(objective, device=device, num_draws=repeated(device, 150, 60))


@pytest.mark.parametrize(("name", "algorithm"), instances(ALGORITHMS))
def test_algorithms(name: str, algorithm: inference.Inference, device: torch.device) -> None:
    """Catches an algorithm whose parts are no legal inference or do not survive a checkpoint."""
    assert inference.from_config(inference.to_config(algorithm)) == algorithm
    testing.check_objective(algorithm.objective, device=device, num_draws=50)
    x = reals(4).to(device)
    result = algorithm.bind(testing.conjugate_pair(device=device), x, num_data=4).step(x)
    assert len(result.gradients) == 6


@pytest.mark.parametrize(("name", "estimator"), instances(ESTIMATORS))
@pytest.mark.parametrize("objective", [inference.ELBO(3), inference.IWELBO(3)], ids=["ELBO", "IWELBO"])
def test_estimators(name: str, estimator: Any, objective: Any, device: torch.device) -> None:
    """Catches an estimator whose mean gradient is not that of the objective, and one refused without a reason."""
    assert type(estimator).__name__ == name
    x = reals(4).to(device)
    key = (type(objective).__name__, name, "reparameterised")
    legal = {(rule.objective, rule.part, rule.site): rule.legal for rule in inference.legality()}[key]
    if not legal:
        with pytest.raises(ValueError, match=name):
            inference.Inference(objective, estimator).bind(testing.conjugate_pair(device=device), x, num_data=4)
        return
    if isinstance(estimator, inference.Pathwise):  # no score term: the derivative of the value, draw by draw
        bound = inference.Inference(objective, estimator).bind(testing.conjugate_pair(device=device), x, num_data=4)
        testing.check_gradient(bound, x)
    draws, count = [], repeated(device, 80, 20)
    for each in (inference.Pathwise(), estimator):
        chosen = inference.Inference(objective, each)
        torch.manual_seed(2)
        bound = chosen.bind(testing.conjugate_pair(device=device), x.repeat(200), num_data=800)
        steps = [bound.step(x.repeat(200)).gradients for _ in range(count)]
        draws.append({name: torch.stack([step[name] for step in steps]) for name in steps[0]})
    for parameter_name, expected in draws[0].items():
        found = draws[1][parameter_name]
        error = ((expected.var(0) + found.var(0)) / count).sqrt()
        score = (found.mean(0) - expected.mean(0)).abs() / (error + 1e-12)
        assert float(score.max()) < 4.5, parameter_name


@pytest.mark.parametrize(("name", "phase"), instances(NEGATIVE_PHASES))
def test_negative_phases(name: str, phase: Any, device: torch.device) -> None:
    """Catches a phase that is not stationary at the model, writes into its state, or loses it on loading."""
    assert type(phase).__name__ == name
    testing.check_negative_phase(phase, device=device, num_draws=2 if phase.normalised else repeated(device, 60, 30))


def earlier(machine: distributions.BoltzmannMachine) -> distributions.BoltzmannMachine:
    """The machine as if it were less trained."""
    copied = copy.deepcopy(machine)
    with torch.no_grad():
        for each in copied.parameters():
            each.mul_(0.5)
    return copied


@pytest.mark.parametrize(("name", "make"), instances(KERNELS))
def test_kernels(name: str, make: Callable[[Any], Any], device: torch.device) -> None:
    """Catches a kernel that leaves another law invariant, or whose steps depend on more than state and generator."""
    assert type(make(testing.boltzmann_machine((3, 2)))).__name__ == name
    testing.check_kernel(make, device=device)


@pytest.mark.parametrize("name", [*UNITS, *PARTLY])
def test_units(name: str, device: torch.device) -> None:
    """Catches units whose mean, log-partition function, samples or tempering contradict their energy."""
    testing.check_units({**UNITS, **PARTLY}[name](device))


@pytest.mark.parametrize("name", COUPLINGS)
def test_couplings(name: str, device: torch.device) -> None:
    """Catches a coupling whose two directions are no adjoints."""
    testing.check_coupling(COUPLINGS[name](device), 4, 3)


@pytest.mark.parametrize("sizes", [(4, 3), (2, 5), (3, 2, 4), (2, 3, 2, 2)])
def test_machines(sizes: tuple[int, ...], device: torch.device) -> None:
    """Catches sides mixed up in a deep machine, a Gibbs sweep with stale values, a wrong free energy."""
    testing.check_machine(testing.boltzmann_machine(sizes, device=device))


@pytest.mark.parametrize("name", VISIBLE)
def test_machines_of_every_unit(name: str, device: torch.device) -> None:
    """Catches units that are right by themselves and wrong beside others: statistics, tempering, sums over states."""
    torch.manual_seed(len(name))
    visible = VISIBLE[name](device)
    layers = {"visible": visible, "hidden": distributions.Bernoulli(parameter(3, device=device))}
    weight = (0.7 * parameter(visible.size, 3, device=device)).detach().requires_grad_()
    testing.check_machine(distributions.BoltzmannMachine(layers, [distributions.Dense(weight)]))


@pytest.mark.parametrize("name", ["TruncatedExponential", "RectifiedGaussian"])
def test_machines_with_hidden_units_on_an_interval(name: str, device: torch.device) -> None:
    """Catches hidden units whose tempered sums leave out that their values end somewhere."""
    torch.manual_seed(3)
    layers = {"visible": distributions.Bernoulli(parameter(3, device=device)), "hidden": VISIBLE[name](device)}
    weight = (0.7 * parameter(3, 2, device=device)).detach().requires_grad_()
    testing.check_machine(distributions.BoltzmannMachine(layers, [distributions.Dense(weight)]))
