"""Sound calls of the public constructors: inferences, kernels, schedules, units, couplings and laws."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from fuzz.tables.autoregressive import AUTOREGRESSIVE
from fuzz.tables.call import Call, built, machine
from fuzz.tables.flows import FLOWS
from fuzz.tables.implicit import IMPLICIT
from fuzz.tables.judges import JUDGES
from fuzz.tables.mixtures import MIXTURES
from fuzz.tables.models import MODELS
from ppgen import Pair, datasets, distributions, inference, models, registry, testing, training

ZEROS = torch.zeros


PARTICLES = {"num_particles": "count", "vectorize_particles": "flag"}
CHAINED = {"k": "count", "centred": "flag", "offset_rate": "rate", "log_partition_chains": "whole"}


def _targets() -> list[Any]:
    first, second = machine(), machine()
    second.parameters()[0].data.add_(0.5)
    return [first, second]


def model(x: torch.Tensor) -> None:
    """A program without a site."""


OBJECTS = [
    Call(
        "ppgen.Pair",
        Pair,
        lambda: {"model": model, "guide": model},
        {"model": "callable", "guide": "callable", "plate": "name", "model_kwargs": "mapping?"},
    ),
    built(inference, "ELBO", kl_weight="weight", free_bits="weight", sparsity_weight="weight", **PARTICLES),
    built(inference, "IWELBO", **PARTICLES),
    built(inference, "MaximumLikelihood", **PARTICLES),
    built(inference, "Renyi", alpha="number", **PARTICLES),
    built(inference, "CUBO", n="number", **PARTICLES),
    built(inference, "ReweightedWakeSleep", wake="flag", sleep="flag", fantasy="callable", **PARTICLES),
    built(inference, "WakeSleep", fantasy="callable", **PARTICLES),
    built(inference, "CD", **CHAINED),
    built(inference, "PCD", num_chains="count", **CHAINED),
    built(inference, "TemperedPCD", num_chains="count", num_temperatures="count", ladder_rate="weight", **CHAINED),
    built(inference, "ExactPartition", max_states="count"),
    built(inference, "Enumerate", max_states="count"),
    built(inference, "MovingAverage", decay="decay"),
    built(inference, "InputDependent", hidden="count", lr="rate", decay="decay", normalise="flag", net="callable"),
    built(inference, "ScoreFunction", baseline="kernel"),
    built(inference, "Relaxed", temperature="rate"),
    built(inference, "StraightThrough", temperature="rate"),
    built(
        inference,
        "HMC",
        num_steps="count",
        step_size="rate",
        target_accept="share",
        jitter="decay",
        step_size_per="choice",
    ),
    built(inference, "Linear", lambda: {"steps": 10}, steps="count", start="weight", end="weight"),
    built(inference, "Stages", lambda: {"table": {0: 1}}, table="mapping"),
    built(
        inference,
        "Inference",
        lambda: {"objective": inference.ELBO()},
        objective="objective",
        estimator="choice",
        negative_phase="kernel",
        update="kernel",
        label_weight="weight",
    ),
    built(inference, "ClosedForm", forgetting_rate="rate", warmup_steps="whole"),
    built(inference, "Alternating", forgetting_rate="rate", warmup_steps="whole"),
    built(inference, "SemiSupervised", label_weight="weight", num_particles="count"),
    built(inference, "attach", dict, sampler="choice", log_partition="log_partition"),
    *(built(inference, name, num_particles="count") for name in ("IWAE", "DReG", "RLOO", "RWS", "STL", "VIMCO")),
    built(inference, "NVIL", num_particles="count", hidden="count", net="callable"),
    built(inference, "BlockGibbs", lambda: {"target": machine()}, target="pair", sweeps="count", site="choice"),
    built(
        inference,
        "ParallelTempering",
        lambda: {"target": machine()},
        target="pair",
        num_temperatures="count",
        betas="ladder?",
        sweeps="count",
    ),
    built(inference, "TrajectoryTempering", lambda: {"targets": _targets()}, targets="sizes", sweeps="count"),
    built(distributions, "Bernoulli", lambda: {"bias": ZEROS(3)}, bias="array", positions="count"),
    built(distributions, "Spin", lambda: {"bias": ZEROS(3)}, bias="array", positions="count"),
    built(distributions, "Categorical", lambda: {"bias": ZEROS(2, 3)}, bias="array", present="array?"),
    built(
        distributions, "Gaussian", lambda: {"mean": ZEROS(3)}, mean="array", log_variance="array?", positions="count"
    ),
    built(
        distributions,
        "PrecisionGaussian",
        lambda: {"bias": ZEROS(3), "log_precision": ZEROS(3)},
        bias="array",
        log_precision="array?",
        count="array?",
    ),
    built(
        distributions,
        "RectifiedGaussian",
        lambda: {"bias": ZEROS(3), "log_precision": ZEROS(3)},
        bias="array",
        log_precision="array?",
    ),
    built(distributions, "TruncatedExponential", lambda: {"bias": ZEROS(3)}, bias="array", positions="count"),
    built(distributions, "Multinomial", lambda: {"bias": ZEROS(3), "total": 2}, bias="array", total="lengths"),
    built(
        distributions,
        "MaxPooled",
        lambda: {"bias": ZEROS(2), "block": 4},
        bias="array",
        block="count?",
        positions="count",
    ),
    built(
        distributions,
        "Clamped",
        lambda: {"units": distributions.Bernoulli(ZEROS(3)), "value": ZEROS(3)},
        units="kernel",
        value="array",
        held="array?",
    ),
    built(distributions, "Dense", lambda: {"weight": ZEROS(3, 2)}, weight="array"),
    built(
        distributions,
        "Replicated",
        lambda: {"weight": ZEROS(3, 2), "bias": ZEROS(2)},
        weight="array",
        bias="array",
    ),
    built(
        distributions,
        "Ordinal",
        lambda: {"scores": ZEROS(1, 3), "loading": ZEROS(1, 1), "offset": ZEROS(1, 1)},
        scores="array",
        loading="array",
        offset="array",
    ),
    built(
        distributions,
        "Convolutional",
        lambda: {"weight": ZEROS(2, 1, 2, 2), "image_shape": (5, 5)},
        weight="array",
        image_shape="sizes",
        pool="count",
        pool_below="count",
    ),
    built(
        distributions,
        "AutoregressiveBernoulli",
        lambda: {"logits": ZEROS(3), "weight": ZEROS(3, 3)},
        logits="array",
        weight="array",
    ),
    built(
        distributions,
        "GaussianMarkovField",
        lambda: {"shape": (2, 2), "smoothness": 1.0},
        shape="sizes",
        smoothness="weights",
        precision="weights",
    ),
    built(
        distributions,
        "LinearNormal",
        lambda: {"inputs": ZEROS(5, 2), "matrix": ZEROS(3, 2), "scale": 1.0},
    ),
    built(distributions, "GibbsSampler", sweeps="count"),
    built(distributions, "ExactSampler", max_states="count"),
    built(
        distributions,
        "BoltzmannMachine",
        lambda: {
            "layers": {"a": distributions.Bernoulli(ZEROS(3)), "b": distributions.Bernoulli(ZEROS(2))},
            "couplings": [distributions.Dense(ZEROS(3, 2))],
        },
        layers="mapping",
        couplings="sizes",
    ),
    built(
        distributions,
        "BaseRatePath",
        lambda: {"energy": machine().base_energy, "mean": torch.full((3,), 0.5, dtype=torch.float64)},
        energy="kernel",
        mean="array?",
    ),
    built(
        distributions,
        "pseudo_log_likelihood",
        lambda: {"law": testing.boltzmann_machine((3, 2)).marginal("layer0"), "value": torch.ones(2, 3).double()},
        law="pair",
        value="array",
    ),
    built(datasets, "Source", lambda: {"name": "own", "arrays": {"train": torch.ones(4, 2).numpy()}}, arrays="mapping"),
    built(datasets, "photo_whitening", lambda: {"size": 3, "num_patches": 50}, size="count", num_patches="count"),
    built(
        datasets,
        "image_attributes",
        lambda: {"rows": torch.eye(6), "image_shape": (2, 3)},
        rows="array",
        image_shape="sizes",
    ),
    Call(
        "datasets.PairedDataset by quadrants",
        datasets.load(torch.eye(6), image_shape=(2, 3), valid_size=0, test_size=0).split_quadrants,
        lambda: {"given": 2},
        {"given": "count"},
    ),
    Call(
        "datasets.PairedDataset by attributes",
        datasets.load(torch.eye(6), image_shape=(2, 3), valid_size=0, test_size=0).given_attributes().attributes_of,
        lambda: {"rows": torch.eye(6)},
        {"rows": "array"},
    ),
    Call(
        "datasets.PairedDataset by features",
        datasets.as_dataset(torch.eye(6)).split_features,
        lambda: {"k": 2},
        {"k": "count"},
    ),
    built(training, "CSVLog", lambda: {"path": "never.csv"}, path="path"),
    built(training, "TensorBoardLog", lambda: {"folder": "never"}, folder="path"),
    built(training, "Classifier", lambda: {"sizes": (4, 3), "classes": (0, 1)}, sizes="sizes", classes="labels"),
]
# What is tried of an argument that has an annotation alone, and a sound value of it.
_ANNOTATED: dict[Any, tuple[str, Any]] = {
    int: ("count", 3),
    bool: ("flag", True),
    float: ("number", 0.5),
    str: ("choice", None),
    torch.Tensor: ("array", ZEROS(3)),
    Sequence[int]: ("sizes", (4, 3)),
}


def from_signatures(listed: list[Call]) -> list[Call]:
    """Calls of registered names that are not listed, as far as the annotations of their arguments tell."""
    found = []
    for kind in registry.TABLES.keys() - {"data set"}:
        package = {"model": models, "unit": distributions}.get(kind, inference)
        known = {call.name.partition(".")[2] for call in listed}
        for name in registry.TABLES[kind].keys() - known:
            arguments = inspect.signature(registry.lookup(kind, name), eval_str=True).parameters.values()
            told = {each.name: _ANNOTATED[each.annotation] for each in arguments if each.annotation in _ANNOTATED}
            sound = {each.name: told.get(each.name, ("", None))[1] for each in arguments if each.default is each.empty}
            if told and None not in sound.values():
                kinds = {argument: tried for argument, (tried, _) in told.items()}
                found.append(built(package, name, lambda sound=sound: dict(sound), **kinds))
    return sorted(found, key=lambda call: call.name)


OBJECTS += MODELS + AUTOREGRESSIVE + FLOWS + JUDGES + MIXTURES + IMPLICIT
OBJECTS += from_signatures(OBJECTS)
