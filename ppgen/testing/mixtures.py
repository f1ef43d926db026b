"""A mixture of two Normal laws, its parameters in closed form, and rows for it."""

from collections.abc import Mapping
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.closed_form import Draw
from ppgen.pair import GenerativeModel


class _Mixture(GenerativeModel):
    """Two Normal laws of unequal weight and width; the guide is the exact posterior of which one a datum is from."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.3, -0.2], dtype=dtype))
        self.means = nn.Parameter(torch.tensor([[-1.0, -0.2], [0.7, 1.5]], dtype=dtype))
        self.log_variances = nn.Parameter(torch.tensor([0.1, 0.6], dtype=dtype))

    @property
    def num_features(self) -> int:
        return 2

    def _scales(self) -> Tensor:
        return (0.5 * self.log_variances).exp().unsqueeze(-1).expand_as(self.means)

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Any:
        means, scales = self.means, self._scales()
        with pyro.plate(self.plate, len(x) if x is not None else num_rows or 1):
            z = pyro.sample("z", dist.Categorical(logits=self.logits))
            return pyro.sample("x", dist.Normal(means[z], scales[z]).to_event(1), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> Any:
        means, scales = self.means, self._scales()
        with pyro.plate(self.plate, len(x)):
            logits = self.logits.log_softmax(-1) + dist.Normal(means, scales).to_event(1).log_prob(x.unsqueeze(-2))
            return pyro.sample("z", dist.Categorical(logits=logits))

    def sufficient_statistics(self, guide: Mapping[str, Draw], x: Tensor) -> dict[str, Tensor]:
        weights = guide["z"].law.probs
        return {"count": weights.sum(0), "sum": weights.T @ x, "square": weights.T @ x.square().sum(-1)}

    def maximise(self, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        count, total, square = (statistics[name] for name in ("count", "sum", "square"))
        means = total / count.unsqueeze(-1)
        variances = (square / count - means.square().sum(-1)) / self.num_features
        return {"logits": (count / count.sum()).log(), "means": means, "log_variances": variances.log()}


def mixture_pair(dtype: torch.dtype = torch.float64) -> GenerativeModel:
    """A mixture of two Normal laws in the plane that says how its parameters follow from statistics.

    Its parameters are `logits`, (2,), `means`, (2, 2), and `log_variances`, (2,), of the same in both directions.

    Example:
        >>> mixture_pair().num_features
        2
    """
    return _Mixture(dtype)


def two_clusters(num_rows: int = 60, features: int = 2) -> Tensor:
    """Rows of two clusters of different size and width, float64 that float32 can hold: (rows, features).

    Example:
        >>> two_clusters(6).shape
        torch.Size([6, 2])
    """
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(num_rows, features, generator=generator)
    shift = (torch.arange(num_rows) % 3 == 0).unsqueeze(-1)
    return torch.where(shift, 2 + 0.5 * drawn, -0.5 + drawn).double()
