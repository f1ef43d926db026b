"""log p(x) of MNIST's fixed bits by mixtures of Bernoulli laws, trained by stepwise EM on one core.

    python -m benchmarks.mixtures.bits                     # writes results/mixtures-bits.json
    python -m benchmarks.mixtures.bits --rows "500 "       # these rows; goes on where it was stopped
    python -m benchmarks.mixtures.bits --quick             # a trial on small digits, seconds

`mnist_fixed_binarized.npz`, one fixed draw of bits from MNIST's grey levels: 60,000 images train and 10,000 are tested;
nothing is chosen. log p is exact; errors are standard errors over test images. Published figures (-168.95, -142.63 and
-137.64 nats with 10, 100 and 500 components) are of other bits, the fixed ones of Larochelle and Murray (2011).
"""

import sys
from pathlib import Path
from typing import Any

import torch

import ppgen
from benchmarks.autoregressive.data import fixed_bits
from benchmarks.jobs import begin
from ppgen import evaluation, inference, models

SIZES: dict[int, dict[str, Any]] = {
    10: {"epochs": 8, "batch_size": 500},
    100: {"epochs": 10, "batch_size": 500},
    500: {"epochs": 12, "batch_size": 1000},
    2000: {"epochs": 12, "batch_size": 2000},
}
QUICK: dict[int, dict[str, Any]] = {5: {"epochs": 3, "batch_size": 32}, 20: {"epochs": 3, "batch_size": 64}}
PUBLISHED = {10: -168.95, 100: -142.63, 500: -137.64}
EM = inference.EM(forgetting_rate=0.6)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    job = begin(__spec__.name, __doc__, {"inference": inference.to_config(EM)}, arguments)
    torch.set_num_threads(1)
    data = fixed_bits(job, 0)
    job.keep(published=PUBLISHED)
    for components, options in (QUICK if quick else SIZES).items():
        name = f"{components} components"
        if not job.wants(name):
            continue

        def measure(folder: Path, components: int = components, options: dict[str, Any] = options) -> dict[str, Any]:
            mixture = models.BernoulliMixture(data.num_features, components)
            run = ppgen.fit(mixture, data, EM, seed=0, folder=folder, resume="auto", progress=False, **options)
            test = evaluation.log_likelihood(mixture, data.test, method="exact")
            train = evaluation.log_likelihood(mixture, data.train[:10_000], method="exact")
            return {
                "test log p": float(test),
                "data se": float(test.data_se or 0),
                "train log p": float(train),
                "parameters": sum(each.numel() for each in mixture.parameters()) - 1,
                "used components": int((mixture.weights * data.num_train > 0.5).sum()),
                "training seconds": round(run.seconds, 1),
            }

        job.row(name, measure, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
