"""What the state of an inference is to many processes: said by who keeps it, never read off names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ppgen import inference, models
from ppgen.distributions import UndirectedDistribution
from ppgen.inference.engine.roles import schedule_steps
from ppgen.inference.negative_phases.negative_phase import State
from ppgen.inference.state_roles import Role, persistent_chains
from ppgen.training.processes.world import World
from ppgen.training.run_folder import shards
from ppgen.training.steps.stepper import Stepper

ROWS = (torch.rand(12, 4, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def walkers() -> dict[str, Role]:
    """Roles of a phase whose names end in nothing known."""
    return {"walkers": "chains", "average": "common", "old_chains": "own", "shift_offset": "own"}


@dataclass(frozen=True)
class Walkers(inference.NegativePhase):
    """Persistent chains under other names, beside tensors whose names end as chains and offsets do."""

    num_chains: int = 6
    declared: Mapping[str, Role] = field(default_factory=walkers)

    @property
    def roles(self) -> Mapping[str, Role]:
        """As given."""
        return self.declared

    def init(self, law: UndirectedDistribution, value: Tensor) -> State:
        """Chains at rows of zeros and ones."""
        units = law.base_energy.size(0)
        start = torch.arange(float(self.num_chains)).unsqueeze(-1).expand(-1, units) % 2
        own = torch.arange(4.0)
        return {"walkers": start.clone(), "average": value.mean(0), "old_chains": own, "shift_offset": own}

    def surrogate(self, law: UndirectedDistribution, value: Tensor, state: State) -> tuple[Tensor, State]:
        """One sweep."""
        with torch.no_grad():
            moved = law.base_energy.gibbs(state["walkers"], 0, 1)
        mean = -law.base_energy.free_energy(moved, 0).mean()
        return mean - mean.detach(), {**state, "walkers": moved, "average": value.mean(0)}


def bound_to_a_machine(phase: inference.NegativePhase) -> Any:
    """The phase bound to a small machine."""
    torch.manual_seed(0)
    return inference.Inference(inference.ELBO(), negative_phase=phase).bind(models.RBM(4, 3), ROWS, num_data=12)


class _Pretended(World):
    """The second of two processes, whose reductions are recorded: the other one holds the same values."""

    def __init__(self) -> None:
        super().__init__(1, 2)
        self.averaged: list[Tensor] = []

    def average(self, tensors: Any, weight: float) -> list[Tensor]:
        self.averaged = list(tensors)
        return list(tensors)

    def gather(self, tensor: Tensor) -> Tensor:
        return torch.cat([tensor, tensor])


def test_chains_are_what_is_declared_whatever_their_names_end_in() -> None:
    """Catches chains under another name kept whole in each process, and private tensors cut in two for their names."""
    bound = bound_to_a_machine(Walkers())
    bound.step(ROWS)
    state = bound.state
    own = World(1, 2).own(state, bound.roles(state))
    assert torch.equal(own["hidden.walkers"], state["hidden.walkers"][3:])
    for name in ("hidden.old_chains", "hidden.shift_offset", "hidden.average"):
        assert torch.equal(own[name], state[name])
    checkpoint = {f"inference/{name}": value for name, value in own.items()} | {"pair/old_chains": torch.ones(4)}
    whole = shards.whole(_Pretended(), bound, checkpoint)
    assert whole["inference/hidden.walkers"].shape == (6, 4) and whole["pair/old_chains"].shape == (4,)
    assert torch.equal(shards.own(World(1, 2), bound, whole)["inference/hidden.walkers"], own["hidden.walkers"])


def test_what_is_common_is_averaged_and_nothing_else() -> None:
    """Catches a mean that drifts apart in each process, and private numbers averaged because of their names."""
    world = _Pretended()
    bound = bound_to_a_machine(Walkers())
    result = bound.step(ROWS)
    stepper: Any = object.__new__(Stepper)
    stepper.world, stepper.bound = world, bound
    stepper.parameters = {name: value for name, value in bound.pair.named_parameters() if value.requires_grad}
    stepper._averaged(result, 12)
    shared = world.averaged[1 + len(stepper.parameters) :]
    assert len(shared) == 1 and torch.equal(shared[0], bound.state["hidden.average"])


@pytest.mark.parametrize(
    ("phase", "chains", "common"),
    [
        (inference.CD(), set(), {"even_offset", "odd_offset"}),
        (
            inference.TemperedPCD(num_chains=4, num_temperatures=3, log_partition_chains=4),
            {
                *("chains", "odd_chains", "hot_chains", "weighted_chains"),
                *("log_weights_of_chains", "energies_of_chains", "variances_of_chains"),
            },
            {"even_offset", "odd_offset", "base_offset", "ladder", "rejections"},
        ),
    ],
)
def test_phases_of_the_library_say_what_their_names_said(
    phase: inference.NegativePhase, chains: set[str], common: set[str]
) -> None:
    """Catches a tensor whose role is another one than that by which runs were saved and shared out before."""
    bound = bound_to_a_machine(phase)
    bound.step(ROWS)
    roles = {name.removeprefix("hidden."): role for name, role in bound.roles(bound.state).items()}
    assert {name for name, role in roles.items() if role == "chains"} == chains
    assert {name for name, role in roles.items() if role == "common"} == common


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda roles: roles.pop("average"), "Walkers keeps 'average' in its state and does not say"),
        (lambda roles: roles.update(average="shared"), r"roles\['average'\] must be one of 'chains', 'common', 'own'"),
        (lambda roles: roles.update({"an.average": "own"}), "names 'an.average', but a dot ends"),
    ],
)
def test_a_tensor_without_a_role_is_refused(change: Callable[[dict[str, Role]], Any], words: str) -> None:
    """Catches a state that goes wrong in silence with two processes."""
    roles = walkers()
    change(roles)
    with pytest.raises(ValueError, match=words):
        bound_to_a_machine(Walkers(declared=roles)).step(ROWS)


@dataclass(frozen=True)
class Silent(inference.MovingAverage):
    """A baseline with a tensor that it does not declare."""

    def init(self, rows: Tensor) -> State:
        """One tensor more."""
        return super().init(rows) | {"late_offset": torch.rand(())}


def belief_net() -> Any:
    """A pair with a score function."""
    torch.manual_seed(0)
    return models.SigmoidBeliefNet((4, 3))


def test_a_baseline_without_roles_is_refused_at_bind() -> None:
    """Catches baselines averaged over processes because of their names; and random numbers drawn by binding."""
    with pytest.raises(ValueError, match="Silent keeps 'late_offset' in its state"):
        inference.Inference(inference.ELBO(), inference.ScoreFunction(Silent())).bind(belief_net(), ROWS, num_data=12)


def test_a_module_of_the_user_is_private_whatever_its_names_end_in() -> None:
    """Catches weights of a baseline's network cut in two, or averaged, for the names that the user gave them."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.chains, self.my_offset = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(()))

        def forward(self, rows: Tensor) -> Tensor:
            return rows @ self.chains + self.my_offset

    estimator = inference.ScoreFunction(inference.InputDependent(Net()))
    bound = inference.Inference(inference.ELBO(), estimator).bind(belief_net(), ROWS, num_data=12)
    bound.step(ROWS)
    roles = bound.roles(bound.state)
    assert set(roles.values()) == {"own"} and any(name.endswith("net/chains") for name in roles)
    assert World(1, 2).own(bound.state, roles).keys() == bound.state.keys()
    for name, value in World(1, 2).own(bound.state, roles).items():
        assert value is bound.state[name]


def test_steps_and_chains_are_asked_of_the_state() -> None:
    """Catches the steps of a baseline taken for those of a schedule, and chains of another name for persistent ones."""
    steps, chains = torch.tensor(3), torch.zeros(5, 4)
    state = {"objective.steps": steps, "baseline.z.steps": 90 * steps, "a.b.chains": chains, "a.b.odd_chains": chains}
    assert schedule_steps(state) == 3 and schedule_steps({"baseline.z.steps": steps}) == 0
    assert list(persistent_chains(state)) == ["a.b"] and not persistent_chains(None)
