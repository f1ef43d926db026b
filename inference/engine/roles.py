"""What the tensors of a bound inference's state are to many processes, as those say that keep them."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ppgen.inference.engine.surrogate import BASELINE, OBJECTIVE, TEMPERATURE
from ppgen.inference.negative_phases.negative_phase import PHASE
from ppgen.inference.state_roles import Role, check_roles
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
