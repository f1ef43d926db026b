"""What the tensors of a bound inference's state are to many processes, as those say that keep them."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ppgen.distributions.machines.layered_energy import EVEN
from ppgen.inference.engine.surrogate import BASELINE, OBJECTIVE, TEMPERATURE
from ppgen.inference.negative_phases.negative_phase import PHASE
from ppgen.inference.state_roles import Role, check_roles, persistent_chains
from ppgen.inference.updates.update import CANDIDATES, STATISTICS, UPDATE

_COUNTERS = (OBJECTIVE, TEMPERATURE, PHASE)  # parts that keep the steps taken, where a number follows a schedule


def schedule_steps(state: Mapping[str, Tensor]) -> int:
    """Steps that the schedules of an inference have taken, by its state; reads values of tensors."""
    return max((int(state[name]) for part in _COUNTERS if (name := f"{part}.steps") in state), default=0)


def roles_of(names: Iterable[str], phases: Mapping[str, Any], baselines: Mapping[str, Any]) -> dict[str, Role]:
    """Role of each tensor of a state by its name `site.key`.

    Args:
        names: Names of the tensors.
        phases: Negative phase by undirected site.
        baselines: Baseline by site of the guide.

    Raises:
        ValueError: If a name has no role, or nobody keeps it.
    """
    found: dict[str, Role] = {}
    for name in names:
        site, _, key = name.rpartition(".")
        part, _, of = site.partition(".")
        owner = phases.get(site) or (baselines.get(of) if part == BASELINE else None)
        if owner is not None:
            check_roles(owner, [key], owner.roles)
            found[name] = owner.roles[key]
        elif site == STATISTICS:
            found[name] = "common"  # per datum, each process counting by its rows
        elif site in (*_COUNTERS, UPDATE, CANDIDATES):
            found[name] = "own"  # numbers of steps, which all processes count alike, and rows of each process
        else:
            raise ValueError(f"The state holds {name!r}, which no part of this inference keeps.")
    return found


def check_state(state: Mapping[str, Tensor], phases: Mapping[str, Any], laws: Mapping[str, Any]) -> None:
    """Raise unless a state can be gone on from.

    Args:
        state: Tensors by name `site.key`.
        phases: Negative phase by undirected site.
        laws: Machine by undirected site.

    Raises:
        ValueError: If it lacks what a negative phase goes on from, or is that of another machine; names the site.
    """
    for site, phase in phases.items():
        held = {name.rpartition(".")[2] for name in state if name.rpartition(".")[0] == site}
        missing = [name for name in phase.state_names if name not in held] if phase is not None else []
        if held and missing:
            raise ValueError(
                f"The state holds {sorted(held)} at site {site!r}, but {type(phase).__name__} goes on from "
                f"{missing} too: it was left by another inference. Load the state of this one, or none."
            )
        chains, law = persistent_chains(state).get(site), laws.get(site)
        if chains is None or law is None:
            continue
        units = law.base_energy.size(EVEN)
        if chains.dim() < 2 or not len(chains) or chains.shape[-1] != units:
            raise ValueError(
                f"The state holds chains of shape {tuple(chains.shape)} at site {site!r}, whose machine needs "
                f"(chains, {units}): it was left by another machine. Load the state of this one, or none."
            )
