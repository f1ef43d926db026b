"""Contract of a negative phase."""

import copy
from typing import Any

import torch
from torch import Tensor

from ppgen import registry
from ppgen.distributions import BaseRatePath, BoltzmannMachine, UndirectedDistribution
from ppgen.distributions.machines.layered_energy import EVEN
from ppgen.inference import ELBO, Inference, NegativePhase, from_config, to_config
from ppgen.models import RBM
from ppgen.testing.examples import boltzmann_machine, enumerated
from ppgen.testing.pairs import seeded
from ppgen.testing.statistics import check_close, check_mean, fail


def check_negative_phase(
    phase: NegativePhase, *, device: torch.device | str = "cpu", num_rows: int = 50, num_draws: int = 100
) -> None:
    """Raise unless a negative phase has the gradient of log Z where theory says so.

    Values at the site and chains are exact draws of the machine: then the gradient of every sound phase is
    that of log Z in expectation. At an even side, an odd side and a joint site, of two and of three layers. A
    phase that says it is normalised must have log Z itself as its value. State is a flat mapping to tensors,
    never written in place; a step depends on it and the random state alone.

    Args:
        phase: A negative phase.
        device: Where to run.
        num_rows: Values at the site.
        num_draws: Independent gradients of the test by sampling.

    Example:
        >>> from ppgen import inference, testing
        >>> testing.check_negative_phase(inference.ExactPartition(), num_draws=10)
    """
    device = torch.device(device)
    for sizes in ((4, 3), (3, 2, 2)):
        machine = boltzmann_machine(sizes, device=device)
        even = [name for index, name in enumerate(machine.names) if index % 2 == 0]
        laws = {
            "joint": machine,
            "even side": machine.marginal(even),
            "odd side": machine.marginal(["layer1"]),
        }
        for place, law in laws.items():
            with seeded(device):
                _check_stationary(
                    phase, machine, law, f"{type(phase).__name__}, {place} of {machine}", num_rows, num_draws
                )
    with seeded(device):
        _check_state(phase, device)
    if copy.deepcopy(phase) != phase or hash(copy.deepcopy(phase)) != hash(phase):
        fail(f"{type(phase).__name__} must equal its copy, with the same hash: a frozen value.")
    if registry.name_of("negative phase", type(phase)) is not None:
        inference = Inference(ELBO(), negative_phase=phase)
        if from_config(to_config(inference)) != inference:
            fail(f"{type(phase).__name__} is not the same after to_config and from_config.")


def _check_stationary(
    phase: NegativePhase,
    machine: BoltzmannMachine,
    law: UndirectedDistribution,
    what: str,
    num_rows: int,
    num_draws: int,
) -> None:
    phase = phase.at(0)  # of a schedule, its beginning
    states, log_weights = enumerated(machine)
    parameters = machine.parameters()
    log_partition = torch.logsumexp(log_weights, 0)
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(log_partition, parameters, retain_graph=True)])
    values = law.with_sampler("exact").sample(torch.Size([num_draws, num_rows]))
    even = [name for index, name in enumerate(machine.names) if index % 2 == 0]
    shape = phase.init(law, values[0]).get("chains", values.new_empty(0)).shape[:-1]
    chains = machine.marginal(even).with_sampler("exact").sample(torch.Size([num_draws, *shape]))
    gradients = []
    for value, exact_chains in zip(values, chains, strict=True):
        state = phase.init(law, value)
        if "chains" in state:
            state["chains"] = exact_chains
        if "hot_chains" in state:
            state["hot_chains"] = _exact_replicas(law, phase.betas(state)[:-1], len(exact_chains))  # type: ignore[attr-defined]
        kept = {name: tensor.clone() for name, tensor in state.items()}
        surrogate, following = phase.surrogate(law, value, state)
        if any(not torch.equal(kept[name], state[name]) for name in kept) or not set(kept) <= set(following):
            fail(f"{what}: surrogate must return the next state, and not write into the last one.")
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(surrogate, parameters)]))
    if surrogate.dim() != 0 or not bool(surrogate.isfinite()):
        fail(f"{what}: the surrogate must be a finite scalar, got {surrogate}.")
    if phase.normalised:
        check_close(surrogate.detach(), log_partition.detach(), f"{what}: surrogate as log Z")
        check_close(torch.as_tensor(phase.value(law)).detach(), log_partition.detach(), f"{what}: value as log Z")
    check_mean(torch.stack(gradients), exact, f"{what}: gradient of log Z from exact draws", atol=1e-8)


@torch.no_grad()
def _exact_replicas(law: UndirectedDistribution, betas: Tensor, num_chains: int) -> Tensor:
    """Exact draws of the even side at each inverse temperature: (chains, temperatures, even units)."""
    energy, path = law.base_energy, BaseRatePath(law.base_energy)
    states = energy.states(EVEN, 0, int(energy.num_states(EVEN)))
    laws = torch.stack([path.log_density(states, beta).softmax(0) for beta in betas])
    return states[torch.multinomial(laws, num_chains, replacement=True).mT]


def _check_state(phase: NegativePhase, device: torch.device) -> None:
    """A bound phase goes on from a loaded state, bit for bit."""
    weights = [tensor.detach().cpu() for tensor in boltzmann_machine((4, 3)).parameters()]
    rbm = RBM.from_arrays(weights[2], weights[0], weights[1]).to(device)
    x = torch.randint(2, (5, 4), device=device).double()
    first, second = (Inference(ELBO(), negative_phase=phase).bind(rbm, x, num_data=5) for _ in range(2))
    first.step(x)
    state = {name: tensor.clone() for name, tensor in first.state.items()}
    second.load_state(state)
    results: list[dict[str, Tensor]] = []
    for bound in (first, second):
        with seeded(device):
            results.append(bound.step(x[:3]).gradients)
    _check_same(results[0], results[1], f"{type(phase).__name__}: gradients after load_state")
    _check_same(first.state, second.state, f"{type(phase).__name__}: state after load_state")


def _check_same(found: dict[str, Any], expected: dict[str, Any], what: str) -> None:
    if set(found) != set(expected):
        fail(f"{what}: names {sorted(found)}, expected {sorted(expected)}.")
    for name, tensor in found.items():
        check_close(tensor, expected[name], f"{what}: {name!r}", atol=0, rtol=0)
