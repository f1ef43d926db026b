"""What the tensors of a state are to many processes: chains to share out, common to all, or each process's own."""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from torch import Tensor

Role = Literal["chains", "common", "own"]
"""What processes that share each batch do with a tensor of the state.

`"chains"`: each has a part of its rows, and a checkpoint holds all of them. `"common"`: it is averaged after every
step, as gradients are, each process counting by its rows. `"own"`: it stays where it is, and a checkpoint holds that of
each process; so is what all processes count alike.
"""

Roles = Mapping[str, Role]


CHAINS = "chains"
"""Key of persistent chains in the state of an undirected site: their even side, (chains, even units)."""


def persistent_chains(state: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Persistent chains that a training left, by undirected site: their even side at the machine.

    Args:
        state: State of an inference by names `site.key`, as `pair.inference_state` holds it.

    Example:
        >>> import torch
        >>> list(persistent_chains({"hidden.chains": torch.zeros(5, 3), "hidden.offset": torch.zeros(3)}))
        ['hidden']
    """
    keys = {name: name.rpartition(".") for name in state or {}}
    return {site: state[name] for name, (site, _, key) in keys.items() if state and key == CHAINS}


def check_roles(part: object, names: Iterable[str], roles: Roles) -> None:
    """Raise ValueError unless each tensor of a state has a role, and each role is one.

    Args:
        part: The negative phase or baseline whose state it is, for the message.
        names: Names of the tensors.
        roles: Role by name.

    Example:
        >>> check_roles(object(), ["mean"], {"mean": "own"})
    """
    known, label = get_args(Role), type(part).__name__
    for name, role in roles.items():
        if role not in known:
            raise ValueError(f"{label}.roles[{name!r}] must be one of {', '.join(map(repr, known))}, got {role!r}.")
        if "." in name:
            raise ValueError(
                f"{label}.roles names {name!r}, but a dot ends the name of the site in a state. Use another sign."
            )
    missing = [name for name in names if name not in roles]
    if missing:
        raise ValueError(
            f"{label} keeps {missing[0]!r} in its state and does not say what that is to many processes. Declare it in "
            f'{label}.roles: "chains" for rows that processes share out, "common" for what is averaged over them, '
            '"own" for what stays in each.'
        )
