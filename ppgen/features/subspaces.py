"""Angles between the subspaces that linear codes span."""

import math
from typing import Any

import torch
from torch import Tensor

from ppgen.checks.arrays import as_tensor, is_array
from ppgen.coders import Coder
from ppgen.features.linear_decoder import decoder_columns


def principal_angle(pair_or_matrix: Any, data_or_matrix: Any) -> float:
    r"""Largest principal angle between two subspaces, in radians, from 0 to pi / 2.

    .. math:: \theta = \arcsin \| (I - Q_1 Q_1^T) Q_2 \|_2

    with orthonormal bases Q of the two; where their dimensions differ, of the smaller against the larger one. The
    subspace of a linear autoencoder is what its decoder spans, and at its optimum that is the subspace of principal
    component analysis (Baldi and Hornik, 1989), though its weights are not orthogonal. All is computed in float64: give
    float64 and an angle of 1e-8 can be told from 0.

    Args:
        pair_or_matrix: A model with a linear decoder, or the run that trained it; or a matrix (features, codes), whose
            columns span the subspace.
        data_or_matrix: Data, (rows, features), whose first principal components are taken, as many as the other
            subspace has dimensions; or another matrix (features, codes). What has as many columns as there are features
            is taken for data.

    Raises:
        ValueError: If a decoder is not linear, or shapes do not fit.
        TypeError: If an argument is none of those.

    References:
        | Neural Networks and Principal Component Analysis: Learning from Examples Without Local Minima (Baldi and
          Hornik, 1989)
        | https://doi.org/10.1016/0893-6080(89)90014-2

    Example:
        >>> import torch
        >>> import math
        >>> from ppgen import features
        >>> plane = torch.eye(3, dtype=torch.float64)[:, :2]
        >>> tilted = plane @ torch.ones(2, 1, dtype=torch.float64) + torch.tensor([[0.0], [0.0], [2**0.5]]).double()
        >>> math.isclose(features.principal_angle(plane, tilted), math.pi / 4, rel_tol=1e-6)
        True
    """
    spanned = _spanned(pair_or_matrix)
    other = _matrix("data_or_matrix", data_or_matrix, spanned.device)
    num_features, dimensions = spanned.shape
    if other.shape[1] == num_features:
        other = _components(other, dimensions)
    elif other.shape[0] != num_features:
        raise ValueError(
            f"data_or_matrix must be data (rows, {num_features}) or a matrix ({num_features}, codes), got shape "
            f"{tuple(other.shape)}."
        )
    larger, smaller = (_basis(each) for each in sorted((spanned, other), key=lambda each: -each.shape[1]))
    within = larger.T @ smaller
    sine = float(torch.linalg.matrix_norm(smaller - larger @ within, 2))
    if sine < math.sqrt(0.5):
        return math.asin(sine)
    return math.acos(min(1.0, float(torch.linalg.svdvals(within)[-1])))


def _spanned(candidate: Any) -> Tensor:
    pair = getattr(candidate, "pair", candidate)
    return _decoded(pair) if isinstance(pair, Coder) else _matrix("pair_or_matrix", candidate)


def _decoded(pair: Any) -> Tensor:
    """Columns to which a linear decoder sends unit codes: (features, codes)."""
    columns = decoder_columns(pair)
    if columns is None:
        raise ValueError(
            f"{type(pair).__name__} has a decoder that is not linear, so that it spans no subspace. Angles are of "
            'models such as Autoencoder(features, hidden=(10,), activation="linear").'
        )
    return columns


def _matrix(name: str, value: Any, device: torch.device | None = None) -> Tensor:
    if not (isinstance(value, (list, tuple)) or is_array(value)):
        raise TypeError(f"{name} must be a matrix or a model, got {type(value).__name__}.")
    tensor = torch.as_tensor(value) if isinstance(value, (list, tuple)) else as_tensor(value, name)
    if tensor.dim() != 2 or not tensor.numel() or not bool(tensor.isfinite().all()):
        raise ValueError(f"{name} must be a matrix of finite numbers, got shape {tuple(tensor.shape)}.")
    return tensor.to(device, torch.float64)


def _components(data: Tensor, number: int) -> Tensor:
    """First principal components of data: (features, number)."""
    if len(data) <= number:
        raise ValueError(f"data_or_matrix must have more than {number} rows for {number} components, got {len(data)}.")
    return torch.linalg.svd(data - data.mean(0), full_matrices=False).Vh[:number].T


def _basis(matrix: Tensor) -> Tensor:
    """Orthonormal basis of what the columns span."""
    rank = int(torch.linalg.matrix_rank(matrix))
    if rank < matrix.shape[1]:
        raise ValueError(f"A matrix of shape {tuple(matrix.shape)} must have independent columns; its rank is {rank}.")
    return torch.linalg.qr(matrix).Q
