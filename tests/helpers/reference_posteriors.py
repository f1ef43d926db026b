"""Posteriors whose means and spreads are known from long chains, with their data and programs.

Data and figures are those of posteriordb (Magnusson, Buerkner and Vehtari, 2022, https://github.com/stan-dev/posteriordb,
BSD-3), rounded: ten chains of NUTS, 10,000 draws in all. The programs are written after the models' equations.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor


class Reference(NamedTuple):
    """A program with its data, and what long chains found.

    Attributes:
        model: The program.
        args: Its arguments.
        plate: Its data plate; None if there is none.
        moments: By name, mean, standard deviation, and the standard error of the mean.
        values: Values by these names from those of the latents, (draws, ...).
    """

    model: Callable[..., Any]
    args: tuple[Tensor, ...]
    plate: str | None
    moments: dict[str, tuple[float, float, float]]
    values: Callable[[dict[str, Tensor]], dict[str, Tensor]]


def numbers(text: str) -> Tensor:
    return torch.tensor([float(each) for each in text.split()])


SERIES = numbers("""
    0.729 0.83 0.784 1.026 0.97 1.083 0.706 0.777 0.462 0.639 0.374 0.085 -0.126 -0.293 -0.262 -0.336 -0.502 -0.642
    -0.622 -0.851 -0.868 -1.016 -1.056 -0.969 -1.067 -0.843 -0.683 -0.445 -0.592 -0.511 -0.418 -0.174 -0.107 -0.036
    0.343 0.384 0.496 0.708 0.596 0.641 0.651 0.594 0.778 0.731 0.482 0.532 0.485 0.369 0.353 0.163 0.253 0.001
    -0.016 -0.014 -0.025 -0.006 -0.319 -0.023 -0.072 -0.185 -0.235 -0.124 -0.13 -0.199 0.078 -0.163 0.023 -0.065
    0.085 0.055 0.142 0.088 -0.053 0.07 -0.101 -0.069 -0.251 -0.39 -0.168 -0.279 -0.312 -0.287 -0.412 -0.498 -0.503
    -0.739 -0.249 -0.471 -0.465 -0.446 -0.284 -0.023 -0.061 0.066 0.141 0.276 0.377 0.61 0.881 0.789 0.801 0.661
    0.81 0.821 0.981 0.724 0.932 0.85 0.481 0.509 0.416 0.315 -0.028 -0.072 -0.144 -0.522 -0.403 -0.689 -0.695
    -0.65 -0.993 -0.935 -0.897 -0.978 -1.067 -0.954 -0.757 -0.843 -0.698 -0.317 -0.388 -0.067 -0.039 0.09 0.145
    0.185 0.396 0.685 0.556 0.711 0.746 0.668 0.694 0.738 0.663 0.69 0.681 0.373 0.454 0.314 0.45 -0.034 0.005
    -0.086 0.108 -0.14 -0.043 -0.454 -0.333 -0.233 -0.201 -0.183 -0.228 -0.042 -0.121 -0.072 -0.048 0.158 0.058
    -0.112 -0.038 0.179 -0.015 0.05 -0.198 -0.14 -0.175 -0.177 -0.215 -0.414 -0.341 -0.448 -0.657 -0.355 -0.526
    -0.656 -0.525 -0.476 -0.363 -0.337 -0.325 0.001 0.208 0.002 0.112 0.349 0.472 0.591 0.605 0.933
""")


def schools(y: Tensor, error: Tensor) -> None:
    """Eight schools (Rubin, 1981), decentred."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(y)):
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(mu + tau * effect, error), obs=y)


def autoregression(lags: Tensor, y: Tensor) -> None:
    """A value of a series given five before it."""
    alpha = pyro.sample("alpha", dist.Normal(0.0, 10.0))
    beta = pyro.sample("beta", dist.Normal(torch.zeros(lags.shape[1]), 10.0).to_event(1))
    sigma = pyro.sample("sigma", dist.HalfCauchy(2.5))
    with pyro.plate("step", len(y)):
        pyro.sample("y", dist.Normal(alpha + (beta * lags).sum(-1), sigma), obs=y)


def _school_values(z: dict[str, Tensor]) -> dict[str, Tensor]:
    theta = z["mu"].unsqueeze(-1) + z["tau"].unsqueeze(-1) * z["effect"]
    return {"mu": z["mu"], "tau": z["tau"], "theta[0]": theta[:, 0], "theta[6]": theta[:, 6]}


def _regression_values(z: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"alpha": z["alpha"], **{f"beta[{k}]": z["beta"][:, k] for k in range(5)}, "sigma": z["sigma"]}


REFERENCES = {
    "eight schools": Reference(
        schools,
        (numbers("28 8 -3 7 -1 1 18 12"), numbers("15 10 16 11 9 11 10 18")),
        "school",
        {
            "mu": (4.411, 3.31, 0.033),
            "tau": (3.602, 3.20, 0.032),
            "theta[0]": (6.151, 5.62, 0.056),
            "theta[6]": (6.317, 5.00, 0.050),
        },
        _school_values,
    ),
    "autoregression": Reference(
        autoregression,
        (torch.stack([SERIES[4 - lag : 199 - lag] for lag in range(5)], -1), SERIES[5:]),
        "step",
        {
            "alpha": (-0.0007187, 0.0107, 0.00016),
            "beta[0]": (0.6922, 0.0706, 0.00071),
            "beta[1]": (0.4390, 0.0873, 0.0010),
            "beta[2]": (0.1058, 0.0931, 0.00094),
            "beta[3]": (-0.03544, 0.0860, 0.00086),
            "beta[4]": (-0.3015, 0.0699, 0.00070),
            "sigma": (0.1506, 0.00777, 0.000084),
        },
        _regression_values,
    ),
}
