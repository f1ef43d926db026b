"""Names of models, inferences and data sets, and where their classes live.

The command line, checkpoints, `ppgen list` and the contract tests read these tables; what they name is imported
only when it is asked for. A new model, objective or data set is one new file and one line here.
"""

import difflib
import importlib
from typing import Any

MODELS: dict[str, str] = {
    "VAE": "ppgen.models.vae:VAE",
    "HierarchicalVAE": "ppgen.models.hierarchical_vae:HierarchicalVAE",
    "RBM": "ppgen.models.rbm:RBM",
    "GaussianRBM": "ppgen.models.gaussian_rbm:GaussianRBM",
    "ReplicatedSoftmax": "ppgen.models.replicated_softmax:ReplicatedSoftmax",
    "RatingsRBM": "ppgen.models.ratings_rbm:RatingsRBM",
    "ConvolutionalRBM": "ppgen.models.convolutional_rbm:ConvolutionalRBM",
    "DBM": "ppgen.models.dbm:DBM",
    "DBN": "ppgen.models.dbn:DBN",
    "ConvolutionalDBN": "ppgen.models.convolutional_dbn:ConvolutionalDBN",
    "SigmoidBeliefNet": "ppgen.models.sigmoid_belief_net:SigmoidBeliefNet",
    "HelmholtzMachine": "ppgen.models.helmholtz:HelmholtzMachine",
    "StochasticFeedforward": "ppgen.models.stochastic_feedforward:StochasticFeedforward",
    "DiscreteVAE": "ppgen.models.discrete_vae:DiscreteVAE",
}

OBJECTIVES: dict[str, str] = {
    "ELBO": "ppgen.inference.elbo:ELBO",
    "IWELBO": "ppgen.inference.iwelbo:IWELBO",
    "Renyi": "ppgen.inference.renyi:Renyi",
    "WakeSleep": "ppgen.inference.wake_sleep:WakeSleep",
    "ReweightedWakeSleep": "ppgen.inference.wake_sleep:ReweightedWakeSleep",
    "MaximumLikelihood": "ppgen.inference.maximum_likelihood:MaximumLikelihood",
}

ESTIMATORS: dict[str, str] = {
    "Pathwise": "ppgen.inference.pathwise:Pathwise",
    "AnalyticKL": "ppgen.inference.analytic_kl:AnalyticKL",
    "StickTheLanding": "ppgen.inference.stick_the_landing:StickTheLanding",
    "DoublyReparameterized": "ppgen.inference.stick_the_landing:DoublyReparameterized",
    "ScoreFunction": "ppgen.inference.score_function:ScoreFunction",
    "LeaveOneOut": "ppgen.inference.score_function:LeaveOneOut",
    "DisARM": "ppgen.inference.disarm:DisARM",
    "Relaxed": "ppgen.inference.relaxed:Relaxed",
    "StraightThrough": "ppgen.inference.straight_through:StraightThrough",
    "Enumerate": "ppgen.inference.enumerate:Enumerate",
    "MeanField": "ppgen.inference.mean_field:MeanField",
}

BASELINES: dict[str, str] = {
    "MovingAverage": "ppgen.inference.baselines:MovingAverage",
    "InputDependent": "ppgen.inference.input_dependent:InputDependent",
}

SCHEDULES: dict[str, str] = {
    "Linear": "ppgen.inference.schedules:Linear",
    "Stages": "ppgen.inference.schedules:Stages",
}

NEGATIVE_PHASES: dict[str, str] = {
    "ExactPartition": "ppgen.inference.exact_partition:ExactPartition",
    "CD": "ppgen.inference.contrastive_divergence:CD",
    "PCD": "ppgen.inference.contrastive_divergence:PCD",
    "TemperedPCD": "ppgen.inference.tempered:TemperedPCD",
    "PseudoLikelihood": "ppgen.inference.pseudo_likelihood:PseudoLikelihood",
}

ALGORITHMS: dict[str, str] = {
    "IWAE": "ppgen.inference.algorithms:IWAE",
    "DReG": "ppgen.inference.algorithms:DReG",
    "STL": "ppgen.inference.algorithms:STL",
    "NVIL": "ppgen.inference.algorithms:NVIL",
    "VIMCO": "ppgen.inference.algorithms:VIMCO",
    "RLOO": "ppgen.inference.algorithms:RLOO",
    "RWS": "ppgen.inference.algorithms:RWS",
}

DATASETS: dict[str, str] = {
    "digits": "ppgen.datasets.digits:load_digits",
    "mnist": "ppgen.datasets.idx:load_mnist",
    "fashion_mnist": "ppgen.datasets.idx:load_fashion_mnist",
}

TABLES: dict[str, dict[str, str]] = {
    "model": MODELS,
    "objective": OBJECTIVES,
    "estimator": ESTIMATORS,
    "negative phase": NEGATIVE_PHASES,
    "baseline": BASELINES,
    "schedule": SCHEDULES,
    "algorithm": ALGORITHMS,
    "data set": DATASETS,
}


def normalise(name: str) -> str:
    """Key under which two spellings of one name are equal: case, hyphens and underscores do not count.

    Example:
        >>> normalise("wake-sleep") == normalise("WakeSleep")
        True
    """
    return name.replace("-", "").replace("_", "").replace(" ", "").lower()


def canonical(kind: str, name: str) -> str:
    """Spelling of `name` in the table of its kind.

    Args:
        kind: A key of `TABLES`, such as `"model"`.
        name: A registered name in any case, with or without hyphens.

    Raises:
        ValueError: If no such name is registered; the message lists the known ones.

    Example:
        >>> canonical("model", "vae")
        'VAE'
    """
    return _canonical(TABLES[kind], kind, name)


def lookup(kind: str, name: str) -> Any:
    """Registered object of that kind and name, imported now.

    Example:
        >>> lookup("model", "vae").__name__
        'VAE'
    """
    return load(TABLES[kind][canonical(kind, name)])


def lookup_inference(name: str) -> tuple[str, Any]:
    """Kind and class of a registered objective, negative phase, named algorithm or estimator.

    Example:
        >>> lookup_inference("iwae")[0]
        'algorithm'
    """
    kinds = ("algorithm", "objective", "negative phase", "estimator")
    merged = {known: kind for kind in kinds for known in TABLES[kind]}
    found = _canonical(merged, "inference", name)
    return merged[found], load(TABLES[merged[found]][found])


def name_of(kind: str, cls: type) -> str | None:
    """Registered name of a class, or None if it is not in the table of that kind."""
    for name, path in TABLES[kind].items():
        module, _, attribute = path.partition(":")
        if cls.__module__ == module and cls.__qualname__ == attribute:
            return name
    return None


def load(path: str) -> Any:
    """Object at a `"module:attribute"` path of the tables above; never called with a path read from a file."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _canonical(table: dict[str, str], kind: str, name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"The {kind} name must be a string, got {type(name).__name__}.")
    by_key = {normalise(known): known for known in table}
    if normalise(name) in by_key:
        return by_key[normalise(name)]
    close = difflib.get_close_matches(normalise(name), by_key, n=1)
    hint = f" Did you mean {by_key[close[0]]!r}?" if close else ""
    raise ValueError(f"Unknown {kind} {name!r}. Known: {', '.join(sorted(table))}.{hint}")
