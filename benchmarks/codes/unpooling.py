"""Unpooling by switches, by repetition and by a transposed convolution, at equal budgets.

    python -m benchmarks.codes.unpooling            # a few minutes on two cores: digits, three seeds
    python -m benchmarks.codes.unpooling mnist      # 10,000 training images of MNIST

Squared errors are summed over pixels and averaged over test images. Switches carry bits beside the numbers of the code,
which stand in their own column: errors of rows with other bits do not compare as compressions.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import ppgen
from benchmarks import record
from benchmarks.codes.rows import measured
from ppgen import datasets, features, models
from ppgen.undisturbed import CPU, forked

UNPOOLINGS = ("switches", "repetition", "transposed")
EPOCHS = {"digits": 30, "mnist": 10}
CHANNELS = (8,)


def trained(name: str, unpooling: str, seed: int) -> Mapping[str, Any]:
    """One row: an autoencoder of one layer of maps, trained and tried on test images."""
    data = datasets.load(name)
    train = data.train[:10_000]
    side = round(data.num_features**0.5)
    with forked(CPU, seed):
        model = models.ConvolutionalAutoencoder((side, side), CHANNELS, unpooling=unpooling)
    ppgen.fit(model, train, epochs=EPOCHS[name], batch_size=100, lr=3e-3, seed=seed, progress=False, compile=False)
    return {
        "error": features.reconstruction_error(model, data.test),
        "numbers": model.network.num_values,
        "switch_bits": model.switch_bits,
        "parameters": sum(each.numel() for each in model.parameters()),
    }


def main(name: str = "digits") -> None:
    """Measure all rows of a data set."""
    jobs: dict[str, Callable[[], Mapping[str, Any]]] = {
        f"{unpooling}, seed {seed}": partial(trained, name, unpooling, seed)
        for seed in range(3)
        for unpooling in UNPOOLINGS
    }
    measured(record.RESULTS / f"codes-unpooling-{name}.json", jobs, f"python -m benchmarks.codes.unpooling {name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
