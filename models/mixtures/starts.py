"""Where the components of a mixture start: clusters of the training rows, or some of the rows."""

from typing import Any

import torch
from torch import Tensor

from ppgen.checks.arguments import check_tensors

LOOKED_AT = 20_000  # training rows, at most, that clusters are found in


def check_rows(data: Any, components: int, what: str) -> None:
    """Raise where a data set has fewer training rows than a mixture has components.

    Raises:
        ValueError: Names both numbers.
    """
    if data.num_train < components:
        raise ValueError(
            f"components={components}, but the data have {data.num_train} training rows: a {what} starts from as many "
            f"different ones as it has components. Give components={data.num_train} or less, or more data."
        )


def some_rows(data: Any, most: int = LOOKED_AT) -> Tensor:
    """Training rows in a random order, at most so many: (rows, features)."""
    found: Tensor = data.batch("train", torch.randperm(data.num_train)[:most])
    return found


def random_rows(data: Any, components: int) -> Tensor:
    """Different training rows, chosen at random: (components, features).

    Raises:
        ValueError: If there are fewer different ones.
    """
    looked_at = some_rows(data, max(LOOKED_AT, 2 * components))
    _, inverse = torch.unique(looked_at, dim=0, return_inverse=True)
    places = torch.arange(len(inverse), device=inverse.device)
    first = places.new_full((int(inverse.max()) + 1,), len(inverse)).scatter_reduce(0, inverse, places, "amin")
    if len(first) < components:
        raise ValueError(
            f"components={components}, but of the training rows only {len(first)} are different: two equal components "
            f"would stay equal. Give components={len(first)} or less."
        )
    return looked_at[first.sort().values[:components]]


def kmeans(x: Tensor, components: int, most_sweeps: int = 100) -> tuple[Tensor, Tensor]:
    """Centroids of the k-means clusters of data, and the cluster of each row, by scikit-learn.

    Seeded by torch's random state; from the start k-means++ and without restarts.

    References:
        | Some Methods for Classification and Analysis of Multivariate Observations (MacQueen, 1967)

    Args:
        x: Data, (rows, features).
        components: Clusters.
        most_sweeps: Sweeps of Lloyd's algorithm, at most.

    Returns:
        (components, features) and (rows,), int64.

    Raises:
        TypeError: If the data are no tensor.
    """
    check_tensors(x=x)
    from sklearn.cluster import KMeans  # slow to import

    seed = int(torch.randint(2**31 - 1, ()))
    found = KMeans(components, n_init=1, max_iter=most_sweeps, random_state=seed).fit(x.cpu().numpy())
    centroids = torch.from_numpy(found.cluster_centers_).to(x)
    return centroids, torch.from_numpy(found.labels_).long().to(x.device)
