"""A linear autoencoder beside principal component analysis, and with a prior beside probabilistic PCA.

    python -m benchmarks.codes.linear            # some minutes: ten components of the embedded digits, float64

Both are trained by `ppgen.fit` with Adam on whole batches; log p(x) of the training rows is exact where the guide is
the posterior, which the standard error of the importance weights tells.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

import ppgen
from benchmarks import record
from benchmarks.codes.rows import measured
from ppgen import datasets, evaluation, features, models
from ppgen.undisturbed import CPU, forked

CODES, STEPS = 10, 1500


def principal_log_likelihood(x: Tensor, codes: int) -> float:
    """Mean log p(x) of probabilistic principal component analysis at its maximum, nats (Tipping and Bishop, 1999)."""
    values = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)
    noise = values[codes:].mean()
    features = x.shape[1]
    logs = values[:codes].log().sum() + (features - codes) * noise.log()
    return float(-0.5 * (features * math.log(2 * math.pi) + logs + features))


def trained(prior: str) -> Mapping[str, Any]:
    """One row, with or without a prior of the code."""
    x = torch.as_tensor(datasets.load("digits").train[:]).double()
    with forked(CPU, 0):
        model = models.Autoencoder(x.shape[1], (CODES,), activation="linear", prior=prior).double()
    options: dict[str, Any] = {"lr": 3e-2, "lr_schedule": "cosine", "progress": False, "compile": False}
    # Sticking the landing has no gradient noise where the guide is the posterior, so that it gets there.
    how = "stl" if prior == "normal" else "elbo"
    ppgen.fit(model, x, how, steps=STEPS, batch_size=len(x), **options)
    found: dict[str, Any] = {
        "angle": features.principal_angle(model, x),
        "error": features.reconstruction_error(model, x),
        "error of PCA": float(torch.linalg.eigvalsh(torch.cov(x.T, correction=0))[:-CODES].sum()),
    }
    if prior == "normal":
        estimate = evaluation.log_likelihood(model, x, num_particles=100)
        found |= {"log_likelihood": record.figure(estimate), "PPCA": principal_log_likelihood(x, CODES)}
    return found


def main() -> None:
    """Measure both rows."""
    jobs = {f"prior {prior}": lambda prior=prior: trained(prior) for prior in ("flat", "normal")}
    measured(record.RESULTS / "codes-linear.json", jobs, "python -m benchmarks.codes.linear")


if __name__ == "__main__":
    main()
