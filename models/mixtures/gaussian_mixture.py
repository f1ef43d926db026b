"""Mixture of Normal laws."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ppgen.models.mixtures.components import GaussianComponent, rows_at_once
from ppgen.models.mixtures.mixture_model import MixtureModel, smallest_count
from ppgen.models.mixtures.starts import kmeans, random_rows, some_rows
from ppgen.models.parts.arguments import number_from_zero, one_of

Covariance = Literal["full", "diagonal", "tied", "spherical"]


class GaussianMixture(MixtureModel):
    r"""Mixture of Normal laws, whose covariances are full, diagonal, spherical, or full and the same for all.

    .. math:: p(x) = \sum_k \pi_k \, N(x; \mu_k, \Sigma_k)

    Its likelihood is known, and by default it is trained by EM, as `sklearn.mixture.GaussianMixture`: in float64
    (`.double()`) with all rows as one batch the two agree from the same start. `regularisation` is added to the
    diagonal of each covariance, without which a component on one row would have an infinite density. Trained in
    batches, covariances need the rows of many: give `inference.EM(warmup_steps=...)` or larger ones. Components that no
    row is from any more have no weight; `weights` says which. Sites: `z`, the component, and `x`, shape (features,),
    real values, in the plate `data`.

    References:
        | Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster, Laird and Rubin, 1977)
        | Pattern Recognition and Machine Learning (Bishop, 2006)

    Args:
        features: Observed variables.
        components: Components.
        covariance: `"full"`, `"diagonal"`, `"tied"` (full, one for all) or `"spherical"`.
        regularisation: Added to each variance, as scikit-learn's `reg_covar`.
        start: Where components start at the first fit: at the `"kmeans"` clusters of the training rows, as
            scikit-learn's do; or at `"rows"` chosen at random with the covariance of all.

    Raises:
        ValueError: If a size is not positive, the covariance unknown or the regularisation negative; at the first fit,
            if there are more components than different training rows.

    Example:
        >>> import ppgen, torch
        >>> from ppgen import evaluation, models
        >>> x = torch.cat([torch.randn(100, 2) - 4, 0.5 * torch.randn(200, 2) + 4])
        >>> mixture = models.GaussianMixture(features=2, components=2)
        >>> run = ppgen.fit(mixture, x, "em", epochs=10, batch_size=300, progress=False)
        >>> mixture.weights.sort().values.round(decimals=2)
        tensor([0.3300, 0.6700])
        >>> evaluation.log_likelihood(mixture, x).kind, mixture.covariances.shape
        ('exact', torch.Size([2, 2, 2]))
    """

    def __init__(
        self,
        features: int,
        components: int,
        covariance: Covariance = "full",
        regularisation: float = 1e-6,
        start: Literal["kmeans", "rows"] = "kmeans",
    ) -> None:
        super().__init__(features, components, start)
        self.covariance = one_of("covariance", covariance, get_args(Covariance))
        self.regularisation = number_from_zero("regularisation", regularisation)
        size, number = self.features, self.components
        self.means = nn.Parameter(torch.randn(number, size))
        shapes = {"full": (number, size, size), "tied": (1, size, size), "diagonal": (number, size)}
        self.factors = nn.Parameter(torch.zeros(shapes.get(self.covariance, (number, 1))))
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(size))

    @property
    def whitening(self) -> Tensor:
        """W, with W'W the inverse of the covariance: lower triangular matrices, or their diagonals."""
        if self.factors.dim() == 2:
            return self.factors.exp()
        diagonal = self.factors.diagonal(dim1=-2, dim2=-1).exp()
        return self.factors.tril(-1) + torch.diag_embed(diagonal)

    @property
    def covariances(self) -> Tensor:
        """Sigma of each component: (components, features, features)."""
        whitening = self.whitening.detach()
        if whitening.dim() == 2:
            return torch.diag_embed(whitening.pow(-2).expand(self.components, self.features))
        inverse = torch.linalg.solve_triangular(whitening, torch.eye(self.features).to(whitening), upper=False)
        return (inverse @ inverse.mT).expand(self.components, -1, -1)

    def set_components(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        """Set all parameters, from which the next fit starts.

        Args:
            weights: (components,), which are divided by their sum.
            means: (components, features).
            covariances: (components, features, features), of which a diagonal, spherical or tied mixture takes what it
                has: the diagonal, its mean, the mean of all.

        Raises:
            ValueError: If a shape is another, or a covariance is not positive definite.
        """
        shapes = {"weights": (self.components,), "means": (self.components, self.features)}
        shapes["covariances"] = (*shapes["means"], self.features)
        for (name, shape), value in zip(shapes.items(), (weights, means, covariances), strict=True):
            if tuple(torch.as_tensor(value).shape) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {tuple(torch.as_tensor(value).shape)}.")
        like = self.means
        weights, means, covariances = (torch.as_tensor(each).to(like) for each in (weights, means, covariances))
        if not bool((weights > 0).all()) or bool(torch.linalg.cholesky_ex(covariances).info.any()):
            raise ValueError("weights must be positive, and covariances positive definite.")
        diagonal = covariances.diagonal(dim1=-2, dim2=-1)
        kinds = {"full": covariances, "tied": covariances.mean(0, keepdim=True), "diagonal": diagonal}
        with torch.no_grad():
            self.weight_logits.copy_(weights.log().log_softmax(-1))
            self.means.copy_(means)
            self.factors.copy_(_factors(kinds.get(self.covariance, diagonal.mean(-1, keepdim=True))))
        self.initialised = True

    def component(self, index: Tensor) -> GaussianComponent:
        """The law of data given their components (..., rows)."""
        return GaussianComponent(index, self.means, self.whitening)

    def start_from(self, data: Any) -> None:
        """Start components at clusters, or at rows with the covariance of all data."""
        x = some_rows(data).to(self.means)
        self.centre.copy_(x.mean(0))
        if self.start == "kmeans":
            check = random_rows(data, self.components)  # enough different ones
            labels = kmeans(x, len(check))[1]
            self.set_from(self.sums(one_hot(labels, self.components).to(x), x))
            return
        self.set_from(self.sums(x.new_full((len(x), self.components), 1 / self.components), x))
        self.means.copy_(random_rows(data, self.components).to(x))

    def sums(self, shares: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Expected rows of each component, sums of them and of their squares or products, around `centre`."""
        x = x - self.centre
        found = {"count": shares.sum(0), "sums": shares.mT @ x}
        if self.covariance == "full":
            found["products"] = _weighted_products(shares, x)
        elif self.covariance == "tied":
            found["products"] = (x.mT @ x).unsqueeze(0)
        elif self.covariance == "diagonal":
            found["products"] = shares.mT @ x.square()
        else:
            found["products"] = shares.mT @ x.square().mean(-1, keepdim=True)
        return found

    def maximise(self, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights, means and covariances of the highest likelihood; each variance has its regularisation added."""
        count = smallest_count(statistics["count"]).unsqueeze(-1)
        means, products = statistics["sums"] / count, statistics["products"]
        if self.covariance == "full":
            spread = products / count.unsqueeze(-1) - means.unsqueeze(-1) * means.unsqueeze(-2)
        elif self.covariance == "tied":
            spread = (products - ((count * means).mT @ means)) / count.sum()
        elif self.covariance == "diagonal":
            spread = products / count - means.square()
        else:
            spread = products / count - means.square().mean(-1, keepdim=True)
        return {
            "weight_logits": count.squeeze(-1).log().log_softmax(-1),
            "means": means + self.centre,
            "factors": _factors(self._regularised(spread)),
        }

    def _regularised(self, spread: Tensor) -> Tensor:
        """Covariances, or variances, with the regularisation; what rounding made negative is no variance."""
        tiny = 10 * torch.finfo(spread.dtype).tiny
        if spread.dim() == 2:
            return (spread.clamp(min=0) + self.regularisation).clamp(min=tiny)
        return spread + self.regularisation * torch.eye(self.features, dtype=spread.dtype, device=spread.device)


def _weighted_products(shares: Tensor, x: Tensor) -> Tensor:
    """sum_n r_nk x_n x_n' of each component: (components, features, features)."""
    components, features = shares.shape[1], x.shape[1]
    found = x.new_zeros(components * features, features)
    at_once = rows_at_once(components * features)
    for some, share in zip(x.split(at_once), shares.split(at_once), strict=True):
        weighted = (share.unsqueeze(-1) * some.unsqueeze(1)).reshape(len(some), -1)
        found = torch.addmm(found, weighted.mT, some)
    return found.reshape(components, features, features)


def _factors(spread: Tensor) -> Tensor:
    """What the parameters `factors` are for covariances, or for variances."""
    if spread.dim() == 2:
        return -0.5 * spread.log()
    lower, failed = torch.linalg.cholesky_ex(spread)
    # Rounding, or a component of fewer rows than there are variables: its variances are what is known.
    variances = spread.diagonal(dim1=-2, dim2=-1).clamp(min=torch.finfo(spread.dtype).tiny)
    lower = torch.where((failed > 0)[:, None, None], torch.diag_embed(variances.sqrt()), lower)
    eye = torch.eye(spread.shape[-1], dtype=spread.dtype, device=spread.device).expand_as(spread)
    whitening = torch.linalg.solve_triangular(lower, eye, upper=False)
    diagonal = whitening.diagonal(dim1=-2, dim2=-1).log()
    return whitening.tril(-1) + torch.diag_embed(diagonal)
