"""Constructors and functions that were given something of another type: the error names the argument."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ppgen import (
    Pair,
    datasets,
    diagnostics,
    distributions,
    evaluation,
    inference,
    models,
    testing,
    training,
)
from ppgen.checks import arguments

ZEROS = torch.zeros
NAN = float("nan")
VAE = models.VAE(features=4, latent=2, hidden=(3,))

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "list of biases": (lambda: distributions.Bernoulli([0.0, 1.0]), "bias must be a tensor, got list"),
    "complex biases": (lambda: distributions.Spin(ZEROS(2) * 1j), "bias must be a tensor of real numbers"),
    "bool positions": (lambda: distributions.Gaussian(ZEROS(2), positions=True), "positions must be an integer"),
    "text for a length": (lambda: distributions.Multinomial(ZEROS(3), "3"), "total must be an integer"),
    "array of weights": (lambda: distributions.Dense(ZEROS(3, 2).numpy()), "weight must be a tensor, got ndarray"),
    "list of present": (lambda: distributions.Categorical(ZEROS(2, 3), [True, False]), "present must be a tensor"),
    "units by name": (lambda: distributions.Clamped("bernoulli", ZEROS(3)), "units must be units of a layer"),
    "no image": (lambda: distributions.Convolutional(ZEROS(1, 1, 2, 2), 5), "image_shape must be the rows and columns"),
    "half a pixel": (lambda: distributions.GaussianMarkovField((1.5,), 1.0), "shape must hold the numbers of pixels"),
    "list of precisions": (lambda: distributions.GaussianMarkovField((2,), 1.0, [3]), "precision must be a number"),
    "half a sweep": (lambda: distributions.GibbsSampler(1.5), "sweeps must be at least 1, got 1.5"),
    "text of states": (lambda: distributions.ExactSampler("9"), "max_states must be an integer"),
    "layers in a list": (lambda: distributions.BoltzmannMachine([], []), "layers must be a mapping"),
    "a number as coupling": (
        lambda: distributions.BoltzmannMachine(
            {"a": distributions.Bernoulli(ZEROS(2)), "b": distributions.Bernoulli(ZEROS(2))}, [1.0]
        ),
        r"couplings\[0\] must be a coupling",
    ),
    "mean in a list": (
        lambda: distributions.BaseRatePath(testing.boltzmann_machine((2, 2)).base_energy, [0.5, 0.5]),
        "mean must be a tensor",
    ),
    "value by name": (
        lambda: distributions.pseudo_log_likelihood(testing.boltzmann_machine((2, 2)).marginal("layer0"), "x"),
        "value must be a tensor",
    ),
    "decay in words": (lambda: inference.MovingAverage("0.9"), "decay must be a number"),
    "learning rate in a list": (lambda: inference.InputDependent(lr=[0.1]), "lr must be a number"),
    "rate in words": (lambda: inference.PCD(offset_rate="0.1"), "offset_rate must be a number"),
    "a truth value of chains": (lambda: inference.PCD(num_chains=True), "num_chains must be at least 1, got True"),
    "centred in words": (lambda: inference.CD(centred="no"), "centred must be True or False, got 'no'"),
    "sleep in words": (lambda: inference.ReweightedWakeSleep(sleep="no"), "sleep must be True or False"),
    "infinite temperature": (lambda: inference.Relaxed(float("inf")), "temperature must be a positive number"),
    "half a step": (lambda: inference.Linear(1.5), "steps must be an integer"),
    "start in words": (lambda: inference.Linear(3, start="0"), "start and end finite"),
    "states in words": (lambda: inference.ExactPartition("9"), "max_states must be an integer"),
    "unknown sampler": (lambda: inference.attach(sampler="exactly"), "Unknown sampler 'exactly'"),
    "no sampler": (lambda: inference.attach(sampler={"h": 3}), "sampler must be a name or a callable"),
    "log Z in words": (lambda: inference.attach(log_partition="auto"), "log_partition must be an estimate or a number"),
    "log Z of a site that is NaN": (lambda: inference.attach(log_partition={"h": NAN}), "log_partition must be"),
    "coordinates in words": (
        lambda: diagnostics.from_pyro_svi(VAE, torch.ones(3, 4), num_samples=2, coords="z"),
        "coords must be a mapping",
    ),
    "names in a number": (lambda: diagnostics.latent_units(VAE, torch.ones(3, 4), dims=3), "dims must be a mapping"),
    "dimensions by number": (
        lambda: diagnostics.from_pyro_svi(VAE, torch.ones(3, 4), num_samples=2, sample_dims=[3]),
        "sample_dims must be",
    ),
    "threshold in words": (
        lambda: diagnostics.latent_units(VAE, torch.ones(3, 4), threshold="0.01"),
        "threshold must be a number",
    ),
    "level in words": (
        lambda: diagnostics.simulation_based_calibration(VAE, level="0.05"),
        "level must be a number",
    ),
    "list of quantities": (
        lambda: diagnostics.simulation_based_calibration(VAE, quantities=["z"]),
        "quantities must be a mapping",
    ),
    "a number for an estimate": (
        lambda: diagnostics.check(VAE, torch.ones(3, 4), log_likelihood=-3.0),
        "log_likelihood must be an estimate",
    ),
    "share in words": (
        lambda: evaluation.log_partition(models.RBM(4, 2), target_ess="half"),
        "target_ess must be a number",
    ),
    "weights in words": (
        lambda: models.RBM.from_arrays(ZEROS(2, 1), "0", ZEROS(1)),
        "visible_bias must be a tensor or an array",
    ),
    "replicas in words": (lambda: inference.round_trips("x"), "replica must be a tensor or an array"),
    "replicas of one chain": (lambda: inference.round_trips(ZEROS(3, 2)), "replica must be of shape"),
    "columns in words": (lambda: datasets.load(torch.eye(3), num_features="3"), "num_features must be an integer"),
    "root of a number": (lambda: datasets.load(torch.eye(3), root=3), "root must be a path"),
    "no particles": (lambda: inference.log_weights(VAE, torch.ones(3, 4), "3"), "num_particles must be at least 1"),
    "list for a site": (lambda: evaluation.log_partition(models.RBM(4, 2), site=["h"]), "site must be one of"),
    "levels in words": (
        lambda: models.VAE(features=4, latent=2, likelihood="categorical", categories="3"),
        "categories must be at least 2, got '3'",
    ),
    "a column too many": (
        lambda: inference.sample_posterior(VAE, torch.ones(3, 5), num_samples=1),
        r"x must have shape \(rows, 4\), as VAE takes; got \(3, 5\)",
    ),
    "a column too few": (lambda: diagnostics.from_pyro_svi(VAE, torch.ones(3, 3)), r"x must have shape \(rows, 4\)"),
    "no rows": (lambda: training.refine(VAE, torch.ones(0, 4)), "x must hold at least one row"),
    "no numbers": (lambda: inference.sample_posterior(VAE, torch.ones(3, 4, device="meta"), num_samples=1), "meta"),
    "simulations": (lambda: evaluation.bdmc(VAE, num_data=10**15), "num_data is too large for this machine"),
    "run of a number": (lambda: training.load(3), "folder must be a path"),
    "a name described": (lambda: inference.describe("elbo"), "inference must be an Inference"),
    "a name written": (lambda: inference.to_config("elbo"), "inference must be an Inference"),
    "no config": (lambda: inference.from_config(None), "config must be a mapping"),
    "site of a machine": (
        lambda: inference.BlockGibbs(testing.boltzmann_machine((2, 2)), site="h"),
        "site finds the machine of a pair",
    ),
    "mean in words": (
        lambda: evaluation.log_partition(models.RBM(4, 2), method="ais", data_mean="0.5"),
        "data_mean must be a tensor or an array",
    ),
    "complex mean": (
        lambda: evaluation.log_partition(models.RBM(4, 2), method="ais", data_mean=ZEROS(4) * 1j),
        "data_mean must be a tensor of real numbers",
    ),
    "plate of no name": (lambda: Pair(print, print, plate=NAN), "plate must be the name"),
    "switch in words": (lambda: models.SigmoidBeliefNet((4, 2), nonlinear="no"), "nonlinear must be True or False"),
    "one size": (lambda: training.Classifier(4, [0, 1]), "sizes must be a sequence"),
    "labels in words": (lambda: training.Classifier((4, 3), ["cat", "dog"]), "each label in classes"),
    "path of a number": (lambda: training.CSVLog(3), "path must be a path, got 3"),
    "folder of a number": (lambda: training.TensorBoardLog(3), "folder must be a path, got 3"),
    "module of chains": (lambda: diagnostics.convergence(torch.nn.Linear(2, 2)), "tree must be a DataTree"),
    "table of nothing": (lambda: diagnostics.gradient_table([]), "comparison must be what"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_other_types(case: str) -> None:
    """Catches an AttributeError from inside, or a value that is taken for another one."""
    call, message = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_counts() -> None:
    """Catches a count that only some checks look at, or one that torch cannot hold."""
    assert arguments.check_count("n", 2) == 2 and arguments.check_count("n", None, optional=True) is None
    for wrong in (0, 1.0, True, "1", None):
        with pytest.raises(ValueError, match="n must be an integer of at least 1"):
            arguments.check_count("n", wrong)
    with pytest.raises(ValueError, match="n is too large for this machine: 9223372036854775808 would take"):
        arguments.check_count("n", 2**63)


def test_numbers() -> None:
    """Catches NaN, which no comparison refuses, and a truth value as a rate."""
    arguments.check_number("rate", 0.5, "be positive", lambda rate: rate > 0)
    for wrong in (NAN, float("inf"), -1.0, True, "1", None):
        with pytest.raises(ValueError, match="rate must be"):
            arguments.check_number("rate", wrong, "be positive", lambda rate: rate > 0)


def test_ladders_of_arrays() -> None:
    """Catches a comparison of an array with a word, which has no truth value."""
    rbm = models.RBM(4, 2)
    ladders = [0.0, 0.5, 1.0], torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.0, 0.5, 1.0]).numpy()
    found = [evaluation.log_partition(rbm, method="ais", betas=betas, num_chains=5).value for betas in ladders]
    assert found[0] == found[1] == found[2]


def test_seeds_of_numpy() -> None:
    """Catches a generator that takes no integer but Python's own."""
    x = torch.ones(3, 4)
    first, again = (evaluation.log_likelihood(VAE, x, num_particles=5, seed=seed) for seed in (3, np.int64(3)))
    assert first.value == again.value
    evaluation.bdmc(VAE, num_data=2, num_chains=2, betas=2, seed=np.int64(3))
