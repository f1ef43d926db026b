"""Neural autoregressive density estimators of real numbers."""

import warnings
from typing import Any

import torch
from torch import Tensor

from ppgen.checks.switches import check_switches
from ppgen.distributions import Autoregressive, LaplaceMixtureOutput, NormalMixtureOutput
from ppgen.models.autoregressive.autoregressive_model import AutoregressiveModel
from ppgen.models.parts.arguments import number_from_zero, one_of, positive_size
from ppgen.models.parts.entries import first_rows
from ppgen.nn import NADENetwork, StandardisedMixture

_NEGLIGIBLE = 1e-12  # smallest scale of the law, beside that of the network, which is a part of each feature's spread
_REPEATED = 0.1  # values of a feature, as a part of the rows, below which they are told of
_ENOUGH = 100  # rows from which on repeated values say something

_OUTPUTS = {"normal": NormalMixtureOutput, "laplace": LaplaceMixtureOutput}


class RNADE(AutoregressiveModel):
    r"""Neural autoregressive density estimator of real numbers: each is a mixture given those before it.

    .. math:: p(x) = \prod_d \sum_k \pi_{dk} \, \frac{1}{\sigma_{dk}} f\Big(\frac{x_d - \mu_{dk}}{\sigma_{dk}}\Big),
        \quad h_d = \max(0, \rho_d a_d), \quad a_{d+1} = a_d + W_d x_d

    Weights, locations and scales are linear in h_d. Features are standardised inside by the mean and the standard
    deviation of the training rows, which are saved with the weights and shown by `preprocessing`; log p is in nats of
    the data as they are given. Site: `x`, in the plate `data`.

    References:
        | RNADE: The Real-Valued Neural Autoregressive Density-Estimator (Uria, Murray and Larochelle, 2013)
        | https://arxiv.org/abs/1306.0186

    Args:
        features: Observed variables D.
        hidden: Hidden units.
        components: Components of each mixture.
        law: Components f: `"normal"` or `"laplace"`.
        minimum_scale: The smallest scale of a component, as a part of the feature's standard deviation: without one,
            repeated values send the density to infinity.
        scaled_gradient: Whether the gradient in a component's location is multiplied by its scale.

    Raises:
        ValueError: If a number is not positive, or the law is unknown.

    Warns:
        UserWarning: When training begins, if features are constant or repeat few values: they have no density, and
            log p tells how small the smallest scale is.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> model = models.RNADE(4, hidden=3, components=2)
        >>> model.law().log_prob(torch.ones(2, 4)).shape, model.law().sample((5,)).shape
        (torch.Size([2]), torch.Size([5, 4]))
        >>> model.preprocessing
        'features are not standardised yet'
    """

    def __init__(
        self,
        features: int,
        hidden: int = 50,
        components: int = 10,
        law: str = "normal",
        minimum_scale: float = 0.001,
        scaled_gradient: bool = True,
    ) -> None:
        super().__init__()
        check_switches(scaled_gradient=scaled_gradient)
        self.features = positive_size("features", features)
        components = positive_size("components", components)
        one_of("law", law, tuple(_OUTPUTS))
        self.output = _OUTPUTS[law](components, _NEGLIGIBLE)
        inner = NADENetwork(
            self.features,
            positive_size("hidden", hidden),
            self.output.num_parameters,
            activation="relu",
            rescaled=True,
        )
        self.network = StandardisedMixture(inner, number_from_zero("minimum_scale", minimum_scale), scaled_gradient)

    @classmethod
    def example(cls) -> tuple["RNADE", Tensor]:
        """A small instance with six vectors, to try things on."""
        return cls(features=4, hidden=3, components=2, scaled_gradient=False), torch.randn(6, 4)

    def law(self) -> Any:
        """Law of a datum, with events of shape (features,)."""
        return Autoregressive(self.network, self.output)

    @property
    def preprocessing(self) -> str:
        """How features are standardised, in words."""
        mean, scale = self.network.mean, self.network.scale
        if bool((mean == 0).all()) and bool((scale == 1).all()):
            return "features are not standardised yet"
        return (
            f"features standardised: means {_range(mean)}, standard deviations {_range(scale)}; smallest scale of a "
            f"component {self.network.minimum_scale:g} of them; log p in nats of the data as given"
        )

    def extra_repr(self) -> str:
        """The preprocessing."""
        return self.preprocessing

    def initialise(self, data: Any) -> None:
        """Standardise by the training rows, and start the biases at the laws of the features by themselves."""
        rows = first_rows(data).to(self.network.mean)
        mean, scale = rows.mean(0), rows.std(0, correction=0)
        constant = scale <= 1e-6 * mean.abs()
        _tell_repeated(rows, constant)
        scale = scale.masked_fill(constant, 1.0)
        self.network.standardise(mean, scale)
        output = type(self.output)(self.output.components, self.network.minimum_scale)
        self.network.initialise(output.start((rows - mean) / scale))


def _tell_repeated(rows: Tensor, constant: Tensor) -> None:
    """Warn of features that have no density."""
    if bool(constant.any()):
        told = f"are constant: {_named(constant)}"
    elif len(rows) >= _ENOUGH:
        values = torch.tensor([len(column.unique()) for column in rows.T])
        repeated = values < _REPEATED * len(rows)
        if not bool(repeated.any()):
            return
        told = f"repeat few values in {len(rows)} rows: {_named(repeated)}"
    else:
        return
    warnings.warn(
        f"Features {told}. They have no density, so that log p tells of `minimum_scale` and not of the data: leave "
        "them out, add noise, or model whole numbers by models.MADE(..., levels=...).",
        stacklevel=4,
    )


def _range(values: Tensor) -> str:
    return f"from {float(values.min()):.4g} to {float(values.max()):.4g}"


def _named(which: Tensor) -> str:
    found = which.nonzero().flatten().tolist()
    return ", ".join(map(str, found[:5])) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
