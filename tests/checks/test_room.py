"""Numbers that no machine can hold are refused by the argument, before the allocator is asked."""

import numpy as np
import pytest
import torch
from torch import nn

import ppgen
from ppgen import datasets, diagnostics, evaluation, inference, models
from ppgen.checks.room import CheckedAllocations, check_room
from ppgen.cli import main
from ppgen.commands.models import build_model

X = torch.eye(4)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: models.VAE(64, 999999999999), "latent"),
        (lambda: models.RBM(64, 10**13), "hidden"),
        (lambda: models.DBN(64, (10**13, 4)), "each number in hidden"),
        (lambda: inference.IWAE(10**13), "num_particles"),
        (lambda: inference.PCD(num_chains=10**13), "num_chains"),
        (lambda: ppgen.sample(models.VAE(64, 8), 10**12), "num_samples"),
        (lambda: ppgen.sample(models.RBM(64, 8), 10, sweeps=10**22), "sweeps"),
        (lambda: inference.sample(inference.BlockGibbs(models.RBM(4, 2)), 10**23), "num_samples"),
        (lambda: diagnostics.from_pyro_svi(models.VAE(4, 2), X, num_samples=10**13), "num_samples"),
        (lambda: evaluation.log_likelihood(models.VAE(4, 2), X, num_particles=10**13), "num_particles"),
    ],
)
def test_a_number_beyond_memory_is_named(call, name):
    """Catches an allocator that is asked for terabytes, or a system that kills the process for trying."""
    with pytest.raises(ValueError, match=f"{name} is too large for this machine: 9?9?1?[09]+ would take"):
        call()


@pytest.mark.parametrize(("features", "latent"), [(64, 10**9), (10**6, 10**6)])
def test_a_product_of_sizes_beyond_memory_is_named(features, latent):
    """Catches sizes that fit one by one, and weights between them that do not."""
    with pytest.raises(ValueError, match=r"RBM needs a tensor of shape .*iB, and this machine has .*smaller sizes"):
        models.RBM(features, latent) if latent > features else models.RBM(features, latent * 10)


def test_what_fits_is_built_as_before():
    """Catches weights of another random stream, and tensors of another shape taken for large ones."""
    torch.manual_seed(0)
    expected = nn.Linear(3, 2).weight.detach().clone()
    torch.manual_seed(0)
    with CheckedAllocations("a layer"):
        assert torch.equal(nn.Linear(3, 2).weight, expected)
        torch.full((2, 3), 10**14, dtype=torch.float64)
        torch.randint(10**15, (2,))
        torch.zeros(2, 3).new_full((2,), 10.0**20)
        torch.normal(torch.full((2,), 1e15), 1.0)
        torch.empty(10**9, 10**9, device="meta")
        with pytest.raises(ValueError, match="a layer needs a tensor of shape .1000000000, 1000000."):
            torch.zeros(10**9, 10**6)
    check_room("count", 1000, values=1000)


def test_seeds_beyond_those_of_torch(capsys):
    """Catches PyTorch's overflow in the place of the argument's name."""
    with pytest.raises(ValueError, match=r"seed must be in .0, 2\^63."):
        build_model(models.VAE, {"features": 64}, 64, seed=10**23)
    with pytest.raises(ValueError, match=r"seed must be in .0, 2\^63."):
        ppgen.sample(models.VAE(64, 2), 3, seed=10**23)
    with pytest.raises(ValueError, match=r"seed must be an int, 0 or more and below 2\^63"):
        datasets.load(np.eye(4), binarize="fixed", seed=10**23)
    common = ["fit", "VAE", "--data", "digits", "--binarize", "threshold", "--quiet"]
    for options, told in (
        (["--seed", "9" * 23], "--seed must be less than 2^63"),
        (["--latent", "9" * 12], "latent is too large for this machine"),
        (["--num-particles", "9" * 14], "--num-particles is too large for this machine"),
        (["--epochs", "9" * 23], "--epochs must be less than 2^63"),
    ):
        assert main([*common, *options]) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1
