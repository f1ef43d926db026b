"""A Normal law whose mean is a linear image of latents, which it remembers, so that expectations are known."""

from collections.abc import Sequence
from typing import Any

from pyro.distributions import Normal
from torch import Tensor

from ppgen.checks.arguments import check_tensors


class LinearNormal(Normal):
    r"""Independent Normal variables around a linear image of latents.

    .. math:: x_i \sim N\Big(\sum_k D_{ik} a_k + c_i, \; \sigma_i^2\Big), \qquad
              E_{a \sim N(m, \mathrm{diag}(v))}[\log p(x_i \mid a)] =
              \log N\Big(x_i; (D m + c)_i, \sigma_i^2\Big) - \frac{1}{2 \sigma_i^2} \sum_k D_{ik}^2 v_k

    It is `pyro.distributions.Normal` in all but that it keeps what its mean is made of: under the estimator
    `inference.AnalyticELBO` the likelihood of a Normal guide is then known in closed form.

    Args:
        inputs: a, the value of the latent site as it was drawn, (..., latents).
        matrix: D, (features, latents).
        scale: sigma, which broadcasts against (..., features).
        offset: c, (features,); zero by default.

    Raises:
        ValueError: If the shapes of `inputs` and `matrix` do not fit.

    Example:
        >>> import torch
        >>> from ppgen.distributions import LinearNormal
        >>> law = LinearNormal(torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), 0.5)
        >>> law.mean
        tensor([3., 6., 1.])
        >>> law.expected_log_prob(law.mean, law.inputs, torch.tensor([0.0, 0.5])) - law.log_prob(law.mean)
        tensor([-1., -9.,  0.])
    """

    def __init__(
        self,
        inputs: Tensor,
        matrix: Tensor,
        scale: Tensor | float,
        offset: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        check_tensors(inputs=inputs, matrix=matrix)
        if matrix.dim() != 2 or inputs.dim() < 1 or inputs.shape[-1] != matrix.shape[1]:
            raise ValueError(
                "matrix must have shape (features, latents), and inputs as many latents in their last dimension; got "
                f"{tuple(matrix.shape)} and {tuple(inputs.shape)}."
            )
        self.inputs, self.matrix, self.offset = inputs, matrix, offset
        super().__init__(self._image(inputs), scale, validate_args=validate_args)

    def _image(self, latents: Tensor) -> Tensor:
        image = latents @ self.matrix.mT
        return image if self.offset is None else image + self.offset

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "LinearNormal":
        """Independent variables, as many as a larger batch shape says, around the same latents."""
        new = self._get_checked_instance(LinearNormal, _instance)
        new.inputs, new.matrix, new.offset = self.inputs, self.matrix, self.offset
        expanded: LinearNormal = super().expand(batch_shape, _instance=new)
        return expanded

    def expected_log_prob(self, value: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """E[log p(x_i | a)] under independent Normal latents, nats: (..., features).

        Args:
            value: x, (..., features).
            mean: Means of the latents, (..., latents).
            variance: Their variances, (..., latents).
        """
        at_mean = Normal(self._image(mean), self.scale, validate_args=False).log_prob(value)
        spread: Tensor = variance @ self.matrix.square().mT / (2 * self.scale.square())
        return at_mean - spread
