"""log Z of machines whose energy depends on the datum: one for each row, found once for rows that are alike."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ppgen.distributions import Clamped
from ppgen.distributions.machines.layered_energy import EVEN, LayeredEnergy
from ppgen.evaluation.effective import filled
from ppgen.evaluation.estimate import Estimate

_AT_ONCE = 2**24  # values of chains of several rows that are held together: 128 MiB in float64
WARN_SHARE = 0.1  # share of rows with a doubtful log Z from which their mean is doubtful


def distinct_rows(energy: LayeredEnergy) -> tuple[Tensor, Tensor]:
    """Index of a row of each kind, and of its kind for each row: documents of one length have one log Z.

    Raises:
        ValueError: If the energy's batch shape is not that of one row or more.
    """
    if len(energy.batch_shape) != 1:
        raise ValueError(
            f"log Z of each row needs a machine whose batch shape is (rows,), got {tuple(energy.batch_shape)}."
        )
    (num_rows,) = energy.batch_shape
    if not num_rows:
        raise ValueError("log Z of each row needs one row or more; the machine was made for none.")
    keys = torch.cat([each.double().expand(num_rows, -1) for each in energy.conditions()], -1)
    _, kinds = torch.unique(keys, dim=0, return_inverse=True)
    order = torch.arange(num_rows - 1, -1, -1, device=kinds.device)
    first = torch.empty(int(kinds.max()) + 1, dtype=torch.long, device=kinds.device)
    first[kinds.flip(0)] = order  # the last that is written is the first row
    return first, kinds


def rows_alike(energy: LayeredEnergy) -> list[Tensor]:
    """Index of the rows in which the same units are free, for each such kind: their states are enumerated together."""
    (num_rows,) = energy.batch_shape
    held = [each.held.expand(num_rows, -1) for each in energy.units if isinstance(each, Clamped)]
    if not held:
        return [torch.arange(num_rows, device=energy.parameters()[0].device)]
    _, kinds = torch.unique(torch.cat(held, -1), dim=0, return_inverse=True)
    return [(kinds == kind).nonzero().flatten() for kind in range(int(kinds.max()) + 1)]


def row_blocks(energy: LayeredEnergy, num_chains: int) -> list[Tensor]:
    """Index of the rows that are worked on together, so that their chains fit into memory."""
    layers = [energy.units[layer] for layer in energy.sides[EVEN]]
    width = sum(max(units.size, units.num_uniforms) for units in layers)
    count = max(1, _AT_ONCE // (num_chains * width))
    return list(torch.arange(energy.batch_shape[0], device=energy.parameters()[0].device).split(count))


def each_row(
    energy: LayeredEnergy, num_chains: int, estimates: Callable[[LayeredEnergy, int], Sequence[Estimate]]
) -> tuple[list[Estimate], np.ndarray]:
    """Estimates of log Z of each kind of row, and the kind of each row.

    Args:
        energy: Energy with the batch shape (rows,).
        num_chains: Chains that are run for each row.
        estimates: From the energy of some rows, and the number of the block, to an estimate for each of them.
    """
    first, kinds = distinct_rows(energy)
    alone = energy.rows(first)
    found: list[Estimate] = []
    for block, index in enumerate(row_blocks(alone, num_chains)):
        found += estimates(alone.rows(index), block)
    return found, kinds.cpu().numpy()


def over_rows(found: Sequence[Estimate], kinds: np.ndarray, fingerprint: str) -> Estimate:
    """The mean of log Z over rows with those of all rows in it; the error is that of the mean.

    Args:
        found: Estimate of each kind of row; those of different kinds are independent.
        kinds: Kind of each row.
        fingerprint: Hash of the weights and of what tells the rows apart.
    """
    values, errors = (np.array([getattr(each, name) for each in found]) for name in ("value", "se"))
    share = np.bincount(kinds, minlength=len(found)) / len(kinds)
    known = filled(errors, float(share[np.isnan(errors)].sum()))
    doubtful = np.array([each.warning is not None for each in found])[kinds].mean()
    methods = Counter(each.method for each in found).most_common()
    kind = "exact" if all(each.kind == "exact" for each in found) else found[0].kind
    notes = ["the mean over rows, each of which has a log Z of its own", *([found[0].note] if found[0].note else [])]
    warning = next((each.warning for each in found if each.warning), None)
    return Estimate(
        float(values[kinds].mean()),
        float(math.sqrt((share * known) @ (share * known))),
        kind,
        methods[0][0],
        ess=None if found[0].ess is None else float(np.mean([each.ess for each in found])),
        num_draws=found[0].num_draws,
        num_data=len(kinds),
        bias=None if found[0].bias is None else float(np.mean([each.bias for each in found])),
        per_datum={"log_partition": values[kinds], "se": errors[kinds]},
        warning=f"of {doubtful:.0%} of rows: {warning}" if doubtful > WARN_SHARE else None,
        note="; ".join(notes),
        fingerprint=fingerprint,
    )
