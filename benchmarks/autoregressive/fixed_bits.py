"""log p(x) of MNIST's fixed bits by five autoregressive models, each in under an hour of one core.

    python -m benchmarks.autoregressive.fixed_bits                  # writes results/autoregressive-fixed_bits.json
    python -m benchmarks.autoregressive.fixed_bits --rows FVBN MADE # these rows; goes on where it was stopped
    python -m benchmarks.autoregressive.fixed_bits --quick          # a trial on small digits, seconds

`mnist_fixed_binarized.npz`, one fixed draw of bits from MNIST's grey levels: 55,000 images train, 5,000 choose the
step size (after short trials) and the epoch, 10,000 are tested. Errors are standard errors over test images. The
published figures are of other bits, the fixed ones of Larochelle and Murray (2011), and of 50,000 training images;
those of `dynamic` bits, which are drawn anew for each epoch, are easier by two to three nats and stand in words.
"""

import sys
from typing import Any

import torch

from benchmarks.autoregressive.data import fixed_bits
from benchmarks.autoregressive.training import Family, chosen
from benchmarks.jobs import begin

VALID = 5000
RATES = {f"step size {lr:g}": {"lr": lr} for lr in (0.001, 0.003)}
COSINE: dict[str, Any] = {"lr_schedule": "cosine", "batch_size": 100, "compile": True}
IMAGE: dict[str, Any] = {"shape": (28, 28)}

FAMILIES: dict[str, Family] = {
    # 40 epochs end lower on validation rows (test -98.0), and so does a step size of 0.01 (test -98.6).
    "FVBN": Family(
        "FullyVisibleBeliefNet",
        {"features": 784},
        {**COSINE, "epochs": 20},
        {f"step size {lr:g}": {"lr": lr} for lr in (0.0003, 0.001, 0.003)},
        trial_epochs=4,
    ),
    "MADE": Family(
        "MADE",
        {"features": 784, "hidden": (1000,), "orders": 1},
        {**COSINE, "epochs": 40},
        {f"step size {lr:g}": {"lr": lr} for lr in (0.0003, 0.001)},
        trial_epochs=4,
    ),
    "16 orders, MADE": Family(
        "MADE",
        {"features": 784, "hidden": (1000, 1000), "orders": 16},
        {**COSINE, "epochs": 80},
        {f"step size {lr:g}": {"lr": lr} for lr in (0.0003, 0.001)},
        trial_epochs=4,
    ),
    "NADE": Family("NADE", {"features": 784, "hidden": 500}, {**COSINE, "epochs": 30}, RATES, trial_epochs=2),
    "PixelCNN": Family(
        "PixelCNN", {**IMAGE, "channels": 16, "layers": 6}, {**COSINE, "epochs": 18}, RATES, trial_epochs=1
    ),
    "gated PixelCNN": Family(
        "GatedPixelCNN", {**IMAGE, "channels": 16, "layers": 6}, {**COSINE, "epochs": 15}, RATES, trial_epochs=1
    ),
}
"""Rows, the cheapest first; none is the beginning of another's name, so that `--rows` names each."""

_SMALL: dict[str, Any] = {"shape": (8, 8), "channels": 2, "layers": 1}
_TRIAL: dict[str, Any] = {"epochs": 1, "batch_size": 64, "compile": False}
QUICK: dict[str, Family] = {
    "FVBN": Family("FullyVisibleBeliefNet", {"features": 64}, {**_TRIAL, "epochs": 2}, RATES),
    "16 orders, MADE": Family("MADE", {"features": 64, "hidden": (8,), "orders": 2}, {**_TRIAL, "lr": 0.01}),
    "NADE": Family("NADE", {"features": 64, "hidden": 4}, {**_TRIAL, "lr": 0.01}),
    "gated PixelCNN": Family("GatedPixelCNN", _SMALL, {**_TRIAL, "lr": 0.01}),
}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    job = begin(__spec__.name, __doc__, {"valid_size": VALID}, arguments)
    torch.set_num_threads(1)
    data = fixed_bits(job, VALID)
    job.keep(rows_of_data={split: len(data.split(split)) for split in ("train", "valid", "test")})
    for name, family in (QUICK if quick else FAMILIES).items():
        chosen(job, name, family, data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
