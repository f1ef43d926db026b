"""A dictionary of unit-norm atoms: where it starts, its best atoms given codes, and what stands in for dead ones."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

LOOKED_AT = 10_000  # training rows among which the first atoms are sought
LEAST_USE = 1e-4  # an atom is dead that is used by a smaller share of the data
EXPECTED_USES = 5  # that is only told by rows that use an atom of average use so often; of 1, 5, 20 by validation rows


def with_unit_norm(matrix: Tensor) -> Tensor:
    """The matrix (features, atoms) with each column divided by its norm; columns of zeros stay.

    Example:
        >>> with_unit_norm(torch.tensor([[3.0, 0.0], [4.0, 0.0]]))
        tensor([[0.6000, 0.0000],
                [0.8000, 0.0000]])
    """
    return matrix / torch.linalg.vector_norm(matrix, dim=0).clamp(min=torch.finfo(matrix.dtype).tiny)


def starting_atoms(data: Any, atoms: int) -> Tensor:
    """Training rows chosen at random, as the first atoms of a dictionary: (features, atoms), with unit norm.

    Rows that are zero or stand there twice are passed over, since two equal atoms would stay equal.

    Args:
        data: A `ppgen.datasets.Dataset`.
        atoms: Number of atoms.

    Raises:
        ValueError: If the data have fewer different rows.
    """
    order = torch.randperm(data.num_train)[: max(LOOKED_AT, 2 * atoms)]
    rows = data.batch("train", order)
    _, first = np.unique(rows.cpu().numpy(), axis=0, return_index=True)
    rows = rows[torch.from_numpy(np.sort(first)).to(rows.device)]
    rows = rows[rows.any(-1)]
    if len(rows) < atoms:
        raise ValueError(
            f"atoms={atoms}, but the dictionary starts from training rows, and the data have {len(rows)} that are "
            f"different and not zero. Give atoms={max(len(rows), 1)} or less, or more data."
        )
    return with_unit_norm(rows[:atoms].mT)


def best_atoms(dictionary: Tensor, products: Tensor, images: Tensor) -> Tensor:
    r"""One sweep of block coordinate descent over the atoms, each set to its best given the others, on the sphere.

    .. math:: \min_{\|D_k\| = 1} \sum_n \|x_n - D a_n\|^2: \quad
              D_k \propto \sum_n \Big(x_n - \sum_{j \ne k} a_{nj} D_j\Big) a_{nk}

    No step raises the sum. Atoms that no code uses stay.

    References:
        | Online Learning for Matrix Factorization and Sparse Coding (Mairal, Bach, Ponce and Sapiro, 2010)
        | https://arxiv.org/abs/0908.0050

    Args:
        dictionary: D, (features, atoms), with unit norm.
        products: sum_n a_n a_n', (atoms, atoms).
        images: sum_n x_n a_n', (features, atoms).

    Returns:
        (features, atoms), with unit norm.
    """
    atoms = dictionary.mT.clone(memory_format=torch.contiguous_format)  # one atom a row, beside each other in memory
    columns, tiny = atoms.mT, torch.finfo(atoms.dtype).tiny
    others = products - torch.diag(products.diagonal())
    for atom, wanted, along in zip(atoms.unbind(), images.mT.contiguous().unbind(), others.unbind(), strict=True):
        rest = torch.addmv(wanted, columns, along, alpha=-1)
        atom.copy_(rest / torch.linalg.vector_norm(rest).clamp(min=tiny))
    return torch.where(products.diagonal() > 0, atoms.mT, dictionary)


def worst_rows(x: Tensor, residual: Tensor, count: int) -> Tensor:
    """The rows that are reconstructed worst, the very worst first, (count, features); zeros where there are no more."""
    errors = residual.square().sum(-1)
    worst = x[errors.topk(min(count, len(x))).indices]
    return torch.cat([worst, worst.new_zeros(count - len(worst), x.shape[-1])])


def unused(use: Tensor, rows: Tensor, count: Tensor) -> Tensor:
    """Which atoms are dead: a mask (atoms,).

    Of few rows most use few atoms, and none is dead for that. They are enough if an atom of average use is expected to
    be used five times by them, or if they are as many as there are.

    Args:
        use: Share of the data that use each atom, (atoms,).
        rows: Number of rows of which that is known, a scalar.
        count: Rows of the data.
    """
    enough = (rows * use.mean() >= EXPECTED_USES) | (rows >= count)
    return (use < LEAST_USE) & enough


def revived(dictionary: Tensor, dead: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """The dictionary with candidates in the place of dead atoms, as far as there are some, and which atoms those are.

    Args:
        dictionary: (features, atoms).
        dead: Atoms that nothing uses, (atoms,).
        candidates: (candidates, features), rows of data.

    Returns:
        The dictionary, and a mask (atoms,).
    """
    place = (dead.cumsum(0) - 1).clamp(0, len(candidates) - 1)
    taken = candidates[place]
    new = dead & (dead.cumsum(0) <= len(candidates)) & taken.any(-1)
    return torch.where(new, with_unit_norm(taken.mT), dictionary), new
