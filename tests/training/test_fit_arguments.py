"""Bad arguments of `fit`: one clear error each, before anything is trained or written."""

import pytest
import torch
from torch import nn

import ppgen
from ppgen import models

_ROWS = (torch.arange(60 * 6).reshape(60, 6) % 5 < 2).float()

CASES = [
    ({"epochs": None}, ValueError, "exactly one of epochs and steps"),
    ({"steps": 3}, ValueError, "exactly one of epochs and steps"),
    ({"epochs": 0}, ValueError, "epochs must be 1 or more, got 0"),
    ({"epochs": 1.5}, TypeError, "epochs must be an int, got float"),
    ({"batch_size": 0}, ValueError, "batch_size must be 1 or more"),
    ({"batch_size": None}, TypeError, "batch_size must be an int"),
    ({"lr": -1.0}, ValueError, "lr must be positive"),
    ({"lr": float("nan")}, ValueError, "lr must be positive"),
    ({"lr": "fast"}, TypeError, "lr must be a number"),
    ({"optimizer": "adan"}, ValueError, "Unknown optimizer 'adan'. Known: adam"),
    ({"optimizer": 3}, TypeError, "optimizer must be a name"),
    ({"optimizer": {"name": "adam", "lr": 0.1}}, ValueError, "give the step size as"),
    ({"optimizer": {"name": "adam", "momentum": 0.1}}, ValueError, "does not take the options"),
    ({"optimizer": lambda p: torch.optim.SGD(p, 0.1), "lr": 0.1}, ValueError, "lr is given beside"),
    ({"optimizer": lambda p: None}, TypeError, "must return a torch.optim.Optimizer"),
    ({"optimizer": torch.optim.LBFGS}, TypeError, "step without a closure, and LBFGS"),
    ({"optimizer": {"name": "sgd", "momentum": -1}}, ValueError, "options {'momentum': -1}: Invalid momentum"),
    ({"optimizer": {"name": "adam", "betas": [2, 3]}}, ValueError, "does not take the options {'betas': .2, 3.}"),
    ({"optimizer": {"name": "sgd", "momentum": float("nan")}}, ValueError, "option 'momentum' must be finite, got nan"),
    ({"lr_schedule": lambda progress: -1.0}, ValueError, "finite and at least 0, but function .* gave -1.0"),
    ({"lr_schedule": lambda progress: 1 - 2 * progress}, ValueError, "gave -0.02.* at progress 0.51"),
    ({"lr_schedule": lambda progress: float("nan")}, ValueError, "gave nan at progress 0"),
    ({"lr_schedule": lambda progress: None}, ValueError, "gave None"),
    ({"lr_schedule": torch.optim.lr_scheduler.StepLR}, TypeError, "PyTorch's StepLR, which steps an optimiser of its"),
    ({"restore_best": "maybe"}, TypeError, "restore_best must be True, False or None, got 'maybe'"),
    ({"progress": "no"}, TypeError, "progress must be True or False, got 'no'"),
    ({"seed": 10**23}, ValueError, "seed must be in"),
    ({"lr_schedule": "cos"}, ValueError, "Unknown lr_schedule 'cos'. Known: constant"),
    ({"lr_schedule": 0.5}, TypeError, "lr_schedule must be a name"),
    ({"seed": -1}, ValueError, "seed must be in"),
    ({"seed": 0.5}, TypeError, "seed must be an int"),
    ({"device": "gpu"}, ValueError, "device must be 'auto', 'cpu' or an accelerator .* such as 'cuda:N', .* got 'gpu'"),
    ({"device": "cuda:99"}, ValueError, "is not there: this machine has"),
    ({"device": "meta"}, ValueError, "device must be"),
    ({"device": 3}, TypeError, "device must be"),
    ({"matmul_precision": "fp8"}, ValueError, "matmul_precision must be one of 'ieee', 'tf32', 'bf16'"),
    ({"clip_norm": 0}, ValueError, "clip_norm must be positive"),
    ({"early_stopping": 0}, ValueError, "early_stopping must be 1 or more"),
    ({"monitor": "loss"}, ValueError, "Unknown monitor 'loss'. Known for this inference: train_value"),
    ({"monitor": 3}, TypeError, "monitor must be the name"),
    ({"checkpoint_minutes": -1}, ValueError, "checkpoint_minutes must be 0 or more"),
    ({"callbacks": [3]}, TypeError, "callbacks must be functions"),
    ({"folder": 3}, TypeError, "folder must be a path"),
    ({"pair": nn.Linear(2, 2)}, TypeError, "Expected a model of ppgen.models or a ppgen.Pair, got Linear"),
    ({"inference": "elbow"}, ValueError, "Unknown inference 'elbow'"),
    ({"inference": 3}, TypeError, "inference must be"),
    ({"data": 3}, TypeError, "got int"),
    ({"data": (torch.ones(3), torch.ones(4))}, ValueError, "one common, positive number of rows"),
    ({"data": ([1, 2], [3, 4])}, TypeError, "must hold tensors with one row a datum"),
    ({"data": ()}, ValueError, "data is empty"),
]


# Names without addresses of functions, which differ from one process of the tests to another.
NAMES = [f"{', '.join(changed)}: {message}"[:60] for changed, _, message in CASES]


@pytest.mark.parametrize(("changed", "error", "message"), CASES, ids=NAMES)
def test_a_bad_argument_is_named_before_any_work(changed, error, message, tmp_path):
    """Catches a bad argument that is ignored, found only after training, or found by somebody else's code."""
    pair = models.VAE(features=6, latent=2, hidden=(4,))
    before = {name: value.clone() for name, value in pair.state_dict().items() if "decoder" not in name}
    arguments = {"pair": pair, "data": _ROWS, "inference": "elbo", "epochs": 1, "progress": False}
    with pytest.raises(error, match=message):
        ppgen.fit(**(arguments | changed))
    assert all(torch.equal(pair.state_dict()[name], value) for name, value in before.items())


def test_grey_data_are_refused_wherever_they_are():
    """Catches a check of the first batch only: one grey pixel in the last row, or in a validation row."""
    for split in ("train", "valid"):
        data = {"train": _ROWS.clone(), "valid": _ROWS.clone()}
        data[split][-1, -1] = 0.5
        vae = models.VAE(features=6, latent=2, hidden=(4,))
        with pytest.raises(ValueError, match="Binarise"):
            ppgen.fit(vae, data, "elbo", epochs=1, batch_size=10, progress=False)


def test_a_pair_without_parameters_is_refused():
    """Catches a training that silently trains nothing."""
    vae = models.VAE(features=6, latent=2, hidden=(4,)).requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter to train"):
        ppgen.fit(vae, _ROWS, "elbo", epochs=1, progress=False)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    """Catches a crash inside the lock."""
    (tmp_path / "file").touch()
    vae = models.VAE(features=6, latent=2, hidden=(4,))
    with pytest.raises(ValueError, match="must be a directory"):
        ppgen.fit(vae, _ROWS, "elbo", epochs=1, folder=tmp_path / "file", progress=False)
