"""Sound calls of the public functions and classes, cheap ones, and what kinds of argument they take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch

from ppgen import datasets, diagnostics, evaluation, inference, models, testing, training

BITS = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 1], [0, 0, 0, 1]])
QUIET = {"progress": False, "compile": False}


@dataclass(frozen=True)
class Call:
    """A call that works.

    Args:
        name: Public name, `"evaluation.log_likelihood"`.
        function: What is called.
        make: Makes sound arguments, by name.
        kinds: Kind of each argument that is tried, as `call_values.VALUES` names them; counts that begin with `+` are
            also tried with numbers that no memory holds.
        number: What of the result is compared.
    """

    name: str
    function: Callable[..., Any]
    make: Callable[[], dict[str, Any]]
    kinds: Mapping[str, str]
    number: Callable[[Any], Any] = lambda result: None
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def seeded(make: Callable[[], Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return make()


def rbm() -> Any:
    return seeded(lambda: models.RBM(visible=4, hidden=3))


def vae() -> Any:
    return seeded(lambda: models.VAE(features=4, latent=2, hidden=(3,)))


def dbn() -> Any:
    return seeded(lambda: models.DBN(visible=4, hidden=(3, 2)))


@cache
def estimate() -> Any:
    return evaluation.log_likelihood(models.ReplicatedSoftmax(vocabulary=4, hidden=2), BITS)


@cache
def chains() -> Any:
    kernel = inference.BlockGibbs(testing.boltzmann_machine((3, 2)))
    return inference.sample(kernel, 20, num_chains=4, warmup_steps=2, compile=False)


def machine() -> Any:
    return testing.boltzmann_machine((3, 2))


EVALUATE = {
    "pair": "pair",
    "x": "data",
    "method": "choice",
    "num_particles": "+count",
    "chunk": "count?",
    "num_chains": "+count",
    "betas": "ladder",
    "start": "choice",
    "kernel": "kernel",
    "seed": "seed",
    "vectorize_particles": "flag",
    "compile": "flag",
    "progress": "flag",
    "log_partition": "log_partition",
}
OF_ANNEALING = ("num_chains", "betas", "start", "kernel", "log_partition")
FIT = {
    "pair": "pair",
    "data": "data",
    "inference": "inference",
    "steps": "count",
    "batch_size": "count",
    "lr": "rate?",
    "optimizer": "choice",
    "lr_schedule": "choice",
    "seed": "seed",
    "device": "device",
    "matmul_precision": "choice",
    "compile": "flag",
    "clip_norm": "rate?",
    "early_stopping": "count?",
    "monitor": "choice",
    "restore_best": "flag",
    "folder": "path",
    "resume": "flag",
    "checkpoint_minutes": "weight",
    "callbacks": "callable",
    "progress": "flag",
}


def value(result: Any) -> float:
    return float(result.value)


def last(run: Any) -> Any:
    return torch.cat([each.detach().flatten() for each in run.pair.parameters()])


CALLS = [
    Call(
        "evaluation.log_likelihood",
        evaluation.log_likelihood,
        lambda: {"pair": vae(), "x": BITS, "num_particles": 20, "method": "importance", **QUIET},
        {key: kind for key, kind in EVALUATE.items() if key not in OF_ANNEALING},
        value,
    ),
    Call(
        "evaluation.log_likelihood of a machine",
        evaluation.log_likelihood,
        lambda: {"pair": rbm(), "x": BITS, "method": "ais", "num_chains": 5, "betas": 4, **QUIET},
        {key: EVALUATE[key] for key in ("x", "method", "num_chains", "betas", "seed", "chunk", "log_partition")},
        value,
    ),
    Call(
        "evaluation.log_partition",
        evaluation.log_partition,
        lambda: {"pair": rbm(), "method": "ais", "num_chains": 5, "betas": 4, **QUIET},
        {
            "pair": "pair",
            "site": "choice",
            "method": "choice",
            "num_chains": "+count",
            "betas": "ladder",
            "data_mean": "array?",
            "sweeps": "count",
            "target_ess": "share",
            "chunk": "count?",
            "seed": "seed",
            "compile": "flag",
            "progress": "flag",
            "distributed": "flag",
        },
        value,
    ),
    Call(
        "evaluation.bdmc",
        evaluation.bdmc,
        lambda: {"pair": vae(), "num_data": 3, "num_chains": 2, "betas": 3, "kernel": inference.HMC(num_steps=2)},
        {
            "pair": "pair",
            "num_data": "+count",
            "num_chains": "+count",
            "betas": "ladder",
            "start": "choice",
            "kernel": "kernel",
            "chunk": "count?",
            "seed": "seed",
            "progress": "flag",
        },
        lambda result: result.lower,
    ),
    Call(
        "evaluation.perplexity",
        evaluation.perplexity,
        lambda: {"estimate": estimate(), "x": BITS},
        {"estimate": "pair", "x": "table"},
        float,
    ),
    Call(
        "diagnostics.approximation_gap",
        diagnostics.approximation_gap,
        lambda: {
            "pair": vae(),
            "x": BITS[:2],
            "method": "importance",
            "num_particles": 10,
            "steps": 2,
            "num_samples": 10,
            "num_chains": 2,
            "betas": 2,
        },
        {
            "pair": "pair",
            "x": "data",
            "family": "choice",
            "method": "choice",
            "num_particles": "+count",
            "steps": "count",
            "lr": "rate",
            "num_samples": "+count",
            "seed": "seed",
            "progress": "flag",
        },
    ),
    Call(
        "diagnostics.check",
        diagnostics.check,
        lambda: {"pair": vae(), "x": BITS, "num_particles": 30, "num_samples": 30},
        {
            "pair": "pair",
            "x": "data",
            "train": "data?",
            "log_likelihood": "pair?",
            "num_particles": "+count",
            "num_samples": "+count",
            "max_rows": "count?",
            "seed": "seed",
        },
        lambda result: float(result.log_likelihood),
    ),
    Call(
        "diagnostics.compare_estimators",
        diagnostics.compare_estimators,
        lambda: {"pair": vae(), "x": BITS, "inferences": {"elbo": "elbo"}, "num_draws": 20, "warmup_steps": 1},
        {
            "pair": "pair",
            "x": "data",
            "inferences": "mapping",
            "num_draws": "count",
            "num_reference_draws": "count?",
            "objective": "kernel",
            "by": "choice",
            "num_data": "count?",
            "warmup_steps": "whole",
            "seed": "seed",
        },
    ),
    Call(
        "diagnostics.compare_inferences",
        diagnostics.compare_inferences,
        lambda: {
            "model_factory": vae,
            "data": BITS,
            "inferences": ["elbo"],
            "seeds": 1,
            "steps": 1,
            "processes": 0,
            "num_particles": 5,
            "gradient_draws": 20,
            "progress": False,
        },
        {
            "model_factory": "callable",
            "data": "table",
            "inferences": "mapping",
            "seeds": "seeds",
            "steps": "count",
            "processes": "whole",
            "test": "data?",
            "method": "choice",
            "num_particles": "+count",
            "gradient_rows": "count",
            "gradient_draws": "+count",
            "progress": "flag",
            "folder": "path",
        },
    ),
    Call(
        "diagnostics.convergence",
        diagnostics.convergence,
        lambda: {"tree": chains()},
        {"tree": "pair", "var_names": "choice", "num_superchains": "count?"},
    ),
    Call(
        "diagnostics.free_energies",
        diagnostics.free_energies,
        lambda: {"pair": rbm(), "train": BITS, "valid": BITS, "num_samples": 8, "num_chains": 2, "warmup_steps": 2},
        {
            "pair": "pair",
            "train": "data",
            "valid": "data?",
            "num_samples": "+count",
            "max_rows": "count?",
            "seed": "seed",
        },
        lambda result: result.means["train"],
    ),
    Call(
        "diagnostics.from_pyro_svi",
        diagnostics.from_pyro_svi,
        lambda: {"pair": vae(), "x": BITS, "num_samples": 5},
        {
            "pair": "pair",
            "x": "data",
            "num_samples": "+count",
            "predictions": "data?",
            "prior": "flag",
            "posterior_predictive": "flag",
            "log_likelihood": "flag",
            "coords": "mapping",
            "dims": "mapping",
            "sample_dims": "choice",
            "chunk": "count",
            "vectorize_particles": "flag",
            "seed": "seed",
        },
    ),
    Call(
        "diagnostics.from_chains",
        diagnostics.from_chains,
        lambda: {
            "chains": inference.sample_posterior(vae(), BITS, num_samples=3, warmup_steps=1),
            "pair": vae(),
            "x": BITS,
        },
        {"chains": "pair", "pair": "pair?", "x": "data?", "prior": "flag", "coords": "mapping", "seed": "seed"},
    ),
    Call(
        "diagnostics.importance_weights",
        diagnostics.importance_weights,
        lambda: {"pair": vae(), "x": BITS, "num_particles": 100},
        {
            "pair": "pair",
            "x": "data",
            "num_particles": "+count",
            "chunk": "count?",
            "vectorize_particles": "flag",
            "seed": "seed",
        },
        lambda result: float(result.log_likelihood),
    ),
    Call(
        "diagnostics.latent_units",
        diagnostics.latent_units,
        lambda: {"pair": vae(), "x": BITS, "num_samples": 5, "num_aggregate": 10},
        {
            "pair": "pair",
            "x": "data",
            "num_samples": "+count",
            "threshold": "weight",
            "num_aggregate": "+count",
            "dims": "mapping",
            "chunk": "count",
            "vectorize_particles": "flag",
            "seed": "seed",
        },
    ),
    Call(
        "diagnostics.simulation_based_calibration",
        diagnostics.simulation_based_calibration,
        lambda: {"pair": rbm(), "num_simulations": 100, "num_samples": 9},
        {
            "pair": "pair",
            "num_simulations": "+count",
            "num_samples": "+count?",
            "posterior": "choice",
            "x": "data?",
            "quantities": "mapping",
            "num_chains": "count",
            "warmup_steps": "whole",
            "level": "share",
            "chunk": "count",
            "vectorize_particles": "flag",
            "seed": "seed",
            "progress": "flag",
        },
    ),
    Call(
        "diagnostics.gradient_table",
        diagnostics.gradient_table,
        lambda: {"comparison": _comparison()},
        {"comparison": "pair"},
    ),
    Call(
        "inference.sample",
        inference.sample,
        lambda: {
            "kernel": inference.BlockGibbs(machine()),
            "num_samples": 5,
            "num_chains": 4,
            "warmup_steps": 2,
            **QUIET,
        },
        {
            "kernel": "pair",
            "num_samples": "+count",
            "num_chains": "+count",
            "num_superchains": "count?",
            "warmup_steps": "whole",
            "seed": "seed",
            "compile": "flag",
            "progress": "flag",
        },
    ),
    Call(
        "inference.sample_posterior",
        inference.sample_posterior,
        lambda: {"pair": vae(), "x": BITS, "num_samples": 3, "warmup_steps": 1},
        {
            "pair": "pair",
            "x": "data",
            "num_samples": "+count",
            "warmup_steps": "whole",
            "num_chains": "+count",
            "kernel": "kernel",
            "init": "choice",
            "seed": "seed",
        },
        lambda result: result.draws["z"],
    ),
    Call(
        "inference.resolve", inference.resolve, lambda: {"inference": "elbo", "pair": vae()}, {"inference": "inference"}
    ),
    Call("inference.describe", inference.describe, lambda: {"inference": inference.IWAE()}, {"inference": "pair"}),
    Call("inference.to_config", inference.to_config, lambda: {"inference": inference.IWAE()}, {"inference": "pair"}),
    Call(
        "inference.from_config",
        inference.from_config,
        lambda: {"config": inference.to_config(inference.IWAE())},
        {"config": "pair"},
    ),
    Call(
        "inference.round_trips",
        inference.round_trips,
        lambda: {"replica": np.zeros((1, 4, 3), int)},
        {"replica": "array"},
    ),
    Call(
        "inference.log_weights",
        _log_weights := lambda pair, batch, num_particles: inference.log_weights(pair, batch, num_particles),
        lambda: {"pair": vae(), "batch": BITS, "num_particles": 3},
        {"num_particles": "+count"},
    ),
    Call("training.fit", training.fit, lambda: {"pair": vae(), "data": BITS, "steps": 1, **QUIET}, FIT, last),
    Call(
        "training.fit of a machine",
        training.fit,
        lambda: {"pair": rbm(), "data": BITS, "steps": 1, **QUIET},
        {key: FIT[key] for key in ("data", "inference", "steps", "batch_size", "seed", "monitor", "early_stopping")},
        last,
    ),
    Call("training.load", training.load, lambda: {"folder": "/nowhere"}, {"folder": "path"}),
    Call(
        "training.pretrain",
        training.pretrain,
        lambda: {"pair": dbn(), "data": BITS, "epochs": 1, "num_chains": 5, "betas": 3, **QUIET},
        {
            "pair": "pair",
            "data": "data",
            "inference": "inference",
            "epochs": "count",
            "activities": "choice",
            "num_particles": "+count",
            "num_chains": "+count",
            "betas": "ladder",
            "seed": "seed",
            "device": "device",
            "folder": "path",
            "progress": "flag",
        },
    ),
    Call(
        "training.refine",
        training.refine,
        lambda: {"pair": vae(), "x": BITS, "steps": 2, "num_samples": 10},
        {
            "pair": "pair",
            "x": "data",
            "steps": "count",
            "lr": "rate",
            "family": "choice",
            "num_particles": "+count",
            "num_samples": "+count",
            "seed": "seed",
        },
        lambda result: result.elbo_refined,
    ),
    Call(
        "training.sample",
        training.sample,
        lambda: {"pair": vae(), "num_samples": 3},
        {
            "pair": "pair",
            "num_samples": "+count",
            "like": "data?",
            "chunk": "count?",
            "seed": "seed",
            "compile": "flag",
            "progress": "flag",
        },
        lambda result: result.samples,
    ),
    Call(
        "training.sample of a machine",
        training.sample,
        lambda: {"pair": rbm(), "num_samples": 4, "sweeps": 2, "warmup_steps": 2, "num_chains": 2, **QUIET},
        {
            "num_samples": "+count",
            "num_chains": "count",
            "sweeps": "count",
            "warmup_steps": "whole",
            "given": "data?",
            "chunk": "count?",
            "seed": "seed",
            "compile": "flag",
        },
        lambda result: result.samples,
    ),
    Call(
        "training.finetune_classifier",
        training.finetune_classifier,
        lambda: {"pair": rbm(), "data": BITS, "labels": torch.tensor([0, 1, 0, 1, 0, 1]), "epochs": 1, **QUIET},
        {"pair": "pair", "data": "data", "labels": "array", "initialise": "choice", "epochs": "count", "seed": "seed"},
    ),
    Call(
        "datasets.load",
        datasets.load,
        lambda: {"name": BITS, "valid_size": 1, "test_size": 1},
        {
            "name": "table",
            "binarize": "choice",
            "root": "path",
            "seed": "seed",
            "valid_size": "size",
            "test_size": "size",
            "num_features": "count?",
            "image_shape": "sizes?",
            "packed": "flag",
            "memory_map": "flag",
        },
        lambda result: result.train,
    ),
    Call(
        "datasets.as_dataset",
        datasets.as_dataset,
        lambda: {"data": BITS},
        {"data": "table", "valid_size": "size", "test_size": "size"},
        lambda result: result.train,
    ),
]


@cache
def _comparison() -> Any:
    return diagnostics.compare_estimators(vae(), BITS, {"elbo": "elbo"}, num_draws=20, warmup_steps=1)
