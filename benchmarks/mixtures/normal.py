"""A mixture of Normal laws by EM, beside scikit-learn's from the same start: log p and seconds.

    python -m benchmarks.mixtures.normal           # writes results/mixtures-normal.json
    python -m benchmarks.mixtures.normal --quick   # a trial on few rows, seconds

60,000 rows of 50 variables, the leading principal components of MNIST's training images, in float64; both take the
parameters after k-means, and the same number of sweeps over all rows, on one thread. The seconds are those of the
sweeps, without imports and starts; ours hold the metrics of each epoch.
"""

import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as PeerMixture

import ppgen
from benchmarks.jobs import Job, begin
from ppgen import evaluation, models

SETTINGS: dict[str, Any] = {"rows": 60_000, "features": 50, "components": 10, "sweeps": 20, "regularisation": 1e-6}
QUICK: dict[str, Any] = {**SETTINGS, "rows": 400, "features": 5, "components": 3, "sweeps": 5}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    settings = QUICK if quick else SETTINGS
    job = begin(__spec__.name, __doc__, settings, arguments)
    torch.set_num_threads(1)
    for covariance, peer in (("full", "full"), ("tied", "tied"), ("diagonal", "diag"), ("spherical", "spherical")):
        if job.wants(covariance):
            job.row(covariance, lambda folder, kinds=(covariance, peer): _measured(job, settings, *kinds, folder))
    return 0


def _measured(job: Job, settings: dict[str, Any], covariance: Any, peer: str, folder: Path) -> dict[str, Any]:
    x = _rows(job, settings)
    components = settings["components"]
    mixture = models.GaussianMixture(x.shape[1], components, covariance, settings["regularisation"]).double()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mixture.initialise(ppgen.datasets.as_dataset(x))
    mixture.initialised = True
    precisions = torch.linalg.inv(mixture.covariances)
    start = {
        "full": precisions,
        "tied": precisions[0],
        "diag": precisions.diagonal(dim1=1, dim2=2),
        "spherical": precisions[:, 0, 0],
    }
    other = PeerMixture(
        components,
        covariance_type=peer,
        reg_covar=settings["regularisation"],
        tol=0,
        max_iter=settings["sweeps"],
        weights_init=mixture.weights.numpy(),
        means_init=mixture.means.detach().numpy(),
        precisions_init=start[peer].numpy(),
    )
    begun = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        other.fit(x.numpy())
    theirs = time.perf_counter() - begun[0], time.process_time() - begun[1]
    begun = time.perf_counter(), time.process_time()
    ppgen.fit(mixture, x, "em", epochs=settings["sweeps"], batch_size=len(x), seed=0, progress=False)
    ours = time.perf_counter() - begun[0], time.process_time() - begun[1]
    found = evaluation.log_likelihood(mixture, x, method="exact")
    return {
        "log p": float(found),
        "scikit-learn log p": float(other.score(x.numpy())),
        "largest difference": float(np.abs(found.per_datum["log_likelihood"] - other.score_samples(x.numpy())).max()),
        "processor seconds": round(ours[1], 2),
        "scikit-learn processor seconds": round(theirs[1], 2),
        "time ratio": round(ours[1] / theirs[1], 3),
    }


def _rows(job: Job, settings: dict[str, Any]) -> torch.Tensor:
    """Principal components of images, which float32 can hold."""
    images = torch.as_tensor(job.images().train[: settings["rows"]]).numpy()
    found = PCA(settings["features"], random_state=0).fit_transform(images)
    return torch.from_numpy(found).float().double()


if __name__ == "__main__":
    sys.exit(main())
