"""Whitening of patches by the covariance of the training ones, and back."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Whitening:
    r"""Zero-phase whitening: patches whose pixels have no correlation and, over all, variance 1.

    .. math:: x = \frac{1}{\sigma} (p - m) \, U \, \mathrm{diag}(\lambda_i + \epsilon)^{-1/2} \, U^\top

    with the eigenvalues lambda and eigenvectors U of the covariance of the rows that it was fitted on. Of all whitening
    matrices this one changes the patches least, so that what comes out still looks like them.

    References:
        | The "Independent Components" of Natural Scenes are Edge Filters (Bell and Sejnowski, 1997)

    Args:
        mean: m, (pixels,).
        matrix: (pixels, pixels); `(patches - mean) @ matrix` is white.
        inverse: (pixels, pixels); `white @ inverse + mean` are the patches again, and `dictionary.T @ inverse` the
            atoms of a dictionary of white patches as pictures.

    Example:
        >>> from ppgen.datasets import Whitening
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(1000, 3)) @ np.array([[2.0, 1, 0], [0, 1, 1], [0, 0, 3]])
        >>> whitening = Whitening.fitted(rows)
        >>> white = (rows - whitening.mean) @ whitening.matrix
        >>> again = white @ whitening.inverse + whitening.mean
        >>> np.allclose(np.cov(white.T), np.eye(3), atol=0.01), np.allclose(again, rows)
        (True, True)
    """

    mean: np.ndarray
    matrix: np.ndarray
    inverse: np.ndarray

    @classmethod
    def fitted(cls, rows: np.ndarray, floor: float = 1e-4) -> "Whitening":
        """The whitening of rows (N, pixels).

        Args:
            rows: Patches, float64.
            floor: epsilon, added to the variances: directions of less are not blown up to noise.
        """
        mean = rows.mean(0)
        variances, directions = np.linalg.eigh(np.cov(rows.T))
        scales = np.sqrt(variances.clip(min=0) + floor)
        matrix = (directions / scales) @ directions.T
        spread = ((rows - mean) @ matrix).std()
        return cls(mean, matrix / spread, spread * (directions * scales) @ directions.T)
