"""Names of models, inferences, kernels, units and data sets, and where their classes live.

The command line, checkpoints, `ppgen list` and the contract tests read these tables; what they name is imported
only when it is asked for. A new model, objective, unit or data set is one new file and one line here; what stands in
another package is registered by `ppgen.register` or announced by an entry point.
"""

import difflib
import functools
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

from ppgen import extension

T = TypeVar("T")

MODELS: dict[str, str] = {
    "VAE": "ppgen.models.variational.vae:VAE",
    "HierarchicalVAE": "ppgen.models.variational.hierarchical_vae:HierarchicalVAE",
    "RBM": "ppgen.models.boltzmann.rbm:RBM",
    "GaussianRBM": "ppgen.models.boltzmann.gaussian_rbm:GaussianRBM",
    "ReplicatedSoftmax": "ppgen.models.boltzmann.replicated_softmax:ReplicatedSoftmax",
    "RatingsRBM": "ppgen.models.boltzmann.ratings_rbm:RatingsRBM",
    "ConvolutionalRBM": "ppgen.models.boltzmann.convolutional_rbm:ConvolutionalRBM",
    "DBM": "ppgen.models.boltzmann.dbm:DBM",
    "DBN": "ppgen.models.belief_nets.dbn:DBN",
    "ConvolutionalDBN": "ppgen.models.belief_nets.convolutional_dbn:ConvolutionalDBN",
    "SigmoidBeliefNet": "ppgen.models.belief_nets.sigmoid_belief_net:SigmoidBeliefNet",
    "HelmholtzMachine": "ppgen.models.belief_nets.helmholtz:HelmholtzMachine",
    "StochasticFeedforward": "ppgen.models.belief_nets.stochastic_feedforward:StochasticFeedforward",
    "ConditionalVAE": "ppgen.models.conditional.conditional_vae:ConditionalVAE",
    "ClassConditionalVAE": "ppgen.models.conditional.conditional_vae:ClassConditionalVAE",
    "DiscreteVAE": "ppgen.models.variational.discrete_vae:DiscreteVAE",
    "BernoulliMixture": "ppgen.models.mixtures.bernoulli_mixture:BernoulliMixture",
    "GaussianMixture": "ppgen.models.mixtures.gaussian_mixture:GaussianMixture",
    "SparseCoding": "ppgen.models.sparse_coding.sparse_coding:SparseCoding",
    "PredictiveSparseDecomposition": "ppgen.models.sparse_coding.predictive:PredictiveSparseDecomposition",
    "Autoencoder": "ppgen.models.autoencoders.autoencoder:Autoencoder",
    "DenoisingAutoencoder": "ppgen.models.autoencoders.denoising:DenoisingAutoencoder",
    "ContractiveAutoencoder": "ppgen.models.autoencoders.contractive:ContractiveAutoencoder",
    "ConvolutionalAutoencoder": "ppgen.models.autoencoders.convolutional:ConvolutionalAutoencoder",
    "FullyVisibleBeliefNet": "ppgen.models.autoregressive.fully_visible:FullyVisibleBeliefNet",
    "NADE": "ppgen.models.autoregressive.nade:NADE",
    "OrderlessNADE": "ppgen.models.autoregressive.orderless_nade:OrderlessNADE",
    "RNADE": "ppgen.models.autoregressive.rnade:RNADE",
    "MADE": "ppgen.models.autoregressive.made:MADE",
    "NormalizingFlow": "ppgen.models.flows.normalizing_flow:NormalizingFlow",
    "VQVAE": "ppgen.models.variational.vq_vae:VQVAE",
    "PixelVAE": "ppgen.models.variational.pixel_vae:PixelVAE",
    "SemiSupervisedVAE": "ppgen.models.semi_supervised.semi_supervised_vae:SemiSupervisedVAE",
    "StackedSemiSupervisedVAE": "ppgen.models.semi_supervised.stacked:StackedSemiSupervisedVAE",
    "PixelCNN": "ppgen.models.autoregressive.pixel_cnn:PixelCNN",
    "GatedPixelCNN": "ppgen.models.autoregressive.gated_pixel_cnn:GatedPixelCNN",
    "ClassConditionalPixelCNN": "ppgen.models.autoregressive.class_conditional_pixel_cnn:ClassConditionalPixelCNN",
    "ConvolutionalGenerator": "ppgen.models.implicit.convolutional_generator:ConvolutionalGenerator",
    "Generator": "ppgen.models.implicit.generator:Generator",
    "PixelRNN": "ppgen.models.autoregressive.pixel_rnn:PixelRNN",
}

OBJECTIVES: dict[str, str] = {
    "ELBO": "ppgen.inference.objectives.elbo:ELBO",
    "IWELBO": "ppgen.inference.objectives.iwelbo:IWELBO",
    "Renyi": "ppgen.inference.objectives.renyi:Renyi",
    "WakeSleep": "ppgen.inference.objectives.wake_sleep:WakeSleep",
    "ReweightedWakeSleep": "ppgen.inference.objectives.wake_sleep:ReweightedWakeSleep",
    "CUBO": "ppgen.inference.objectives.cubo:CUBO",
    "MaximumMeanDiscrepancy": "ppgen.inference.objectives.maximum_mean_discrepancy:MaximumMeanDiscrepancy",
    "Adversarial": "ppgen.inference.objectives.adversarial:Adversarial",
    "MaximumLikelihood": "ppgen.inference.objectives.maximum_likelihood:MaximumLikelihood",
}

ESTIMATORS: dict[str, str] = {
    "Pathwise": "ppgen.inference.estimators.pathwise:Pathwise",
    "AnalyticKL": "ppgen.inference.estimators.analytic_kl:AnalyticKL",
    "AnalyticELBO": "ppgen.inference.estimators.analytic_elbo:AnalyticELBO",
    "StickTheLanding": "ppgen.inference.estimators.stick_the_landing:StickTheLanding",
    "DoublyReparameterized": "ppgen.inference.estimators.stick_the_landing:DoublyReparameterized",
    "ScoreFunction": "ppgen.inference.estimators.score_function:ScoreFunction",
    "LeaveOneOut": "ppgen.inference.estimators.score_function:LeaveOneOut",
    "DisARM": "ppgen.inference.estimators.disarm:DisARM",
    "Relaxed": "ppgen.inference.estimators.relaxed:Relaxed",
    "StraightThrough": "ppgen.inference.estimators.straight_through:StraightThrough",
    "Enumerate": "ppgen.inference.estimators.enumerate:Enumerate",
    "MeanField": "ppgen.inference.estimators.mean_field:MeanField",
}

BASELINES: dict[str, str] = {
    "MovingAverage": "ppgen.inference.baselines.moving_average:MovingAverage",
    "InputDependent": "ppgen.inference.baselines.input_dependent:InputDependent",
}

SCHEDULES: dict[str, str] = {
    "Linear": "ppgen.inference.schedules:Linear",
    "Stages": "ppgen.inference.schedules:Stages",
}

NEGATIVE_PHASES: dict[str, str] = {
    "ExactPartition": "ppgen.inference.negative_phases.exact_partition:ExactPartition",
    "CD": "ppgen.inference.negative_phases.contrastive_divergence:CD",
    "PCD": "ppgen.inference.negative_phases.contrastive_divergence:PCD",
    "TemperedPCD": "ppgen.inference.negative_phases.tempered_pcd:TemperedPCD",
    "PseudoLikelihood": "ppgen.inference.negative_phases.pseudo_likelihood:PseudoLikelihood",
}

UPDATES: dict[str, str] = {
    "ClosedForm": "ppgen.inference.updates.closed_form:ClosedForm",
}

ALGORITHMS: dict[str, str] = {
    "IWAE": "ppgen.inference.engine.algorithms:IWAE",
    "DReG": "ppgen.inference.engine.algorithms:DReG",
    "STL": "ppgen.inference.engine.algorithms:STL",
    "FreeBits": "ppgen.inference.engine.algorithms:FreeBits",
    "NVIL": "ppgen.inference.engine.algorithms:NVIL",
    "VIMCO": "ppgen.inference.engine.algorithms:VIMCO",
    "RLOO": "ppgen.inference.engine.algorithms:RLOO",
    "RWS": "ppgen.inference.engine.algorithms:RWS",
    "Alternating": "ppgen.inference.engine.algorithms:Alternating",
    "EM": "ppgen.inference.engine.algorithms:EM",
    "SemiSupervised": "ppgen.inference.engine.algorithms:SemiSupervised",
}

KERNELS: dict[str, str] = {
    "BlockGibbs": "ppgen.inference.kernels.block_gibbs:BlockGibbs",
    "ParallelTempering": "ppgen.inference.kernels.parallel_tempering:ParallelTempering",
    "TrajectoryTempering": "ppgen.inference.kernels.trajectory_tempering:TrajectoryTempering",
    "HMC": "ppgen.inference.kernels.hmc:HMC",
    "SparseGibbs": "ppgen.inference.kernels.sparse_gibbs:SparseGibbs",
}

UNITS: dict[str, str] = {
    "Bernoulli": "ppgen.distributions.units.bernoulli:Bernoulli",
    "Spin": "ppgen.distributions.units.spin:Spin",
    "Gaussian": "ppgen.distributions.units.gaussian:Gaussian",
    "PrecisionGaussian": "ppgen.distributions.units.precision_gaussian:PrecisionGaussian",
    "RectifiedGaussian": "ppgen.distributions.units.rectified_gaussian:RectifiedGaussian",
    "TruncatedExponential": "ppgen.distributions.units.truncated_exponential:TruncatedExponential",
    "Categorical": "ppgen.distributions.units.categorical:Categorical",
    "Multinomial": "ppgen.distributions.units.multinomial:Multinomial",
    "MaxPooled": "ppgen.distributions.units.max_pooled:MaxPooled",
    "Clamped": "ppgen.distributions.units.clamped:Clamped",
}

DATASETS: dict[str, str] = {
    "digits": "ppgen.datasets.digits:load_digits",
    "mnist": "ppgen.datasets.idx:load_mnist",
    "fashion_mnist": "ppgen.datasets.idx:load_fashion_mnist",
    "photo_patches": "ppgen.datasets.photo_patches:load_photo_patches",
}

TABLES: dict[str, dict[str, str]] = {
    "model": MODELS,
    "objective": OBJECTIVES,
    "estimator": ESTIMATORS,
    "negative phase": NEGATIVE_PHASES,
    "update": UPDATES,
    "baseline": BASELINES,
    "schedule": SCHEDULES,
    "algorithm": ALGORITHMS,
    "kernel": KERNELS,
    "unit": UNITS,
    "data set": DATASETS,
}

# What a name of each kind stands for: a subclass of that class; where there is none, what `extension` says.
BASES: dict[str, str | None] = {
    "model": "ppgen.pair:GenerativeModel",
    "objective": "ppgen.inference.objectives.objective:Objective",
    "estimator": "ppgen.inference.estimators.estimator:Estimator",
    "negative phase": "ppgen.inference.negative_phases.negative_phase:NegativePhase",
    "update": "ppgen.inference.updates.update:ParameterUpdate",
    "baseline": "ppgen.inference.baselines.moving_average:Baseline",
    "schedule": "ppgen.inference.schedules:Schedule",
    "algorithm": None,
    "kernel": None,
    "unit": "ppgen.distributions.units.units:Units",
    "data set": None,
}

INFERENCES = ("algorithm", "objective", "negative phase", "estimator", "update")
"""Kinds of which a name alone says how a pair is trained."""


def normalise(name: str) -> str:
    """Key under which two spellings of one name are equal: case, hyphens and underscores do not count.

    Example:
        >>> normalise("wake-sleep") == normalise("WakeSleep")
        True
    """
    return name.replace("-", "").replace("_", "").replace(" ", "").lower()


def names(*kinds: str) -> list[str]:
    """Names of some kinds: ppgen's own, those that were registered, and those that installed packages announce.

    Example:
        >>> names("schedule")
        ['Linear', 'Stages']
    """
    found = [name for kind in kinds for name in (*known(kind), *extension.announced(kind))]
    return list(dict.fromkeys(found))


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
    return _find([kind], kind, name)[1]


def lookup(kind: str, name: str) -> Any:
    """Registered object of that kind and name, imported now.

    Example:
        >>> lookup("model", "vae").__name__
        'VAE'
    """
    return _object(*_find([kind], kind, name))


def lookup_inference(name: str) -> tuple[str, Any]:
    """Kind and class of a registered objective, negative phase, named algorithm or estimator.

    Example:
        >>> lookup_inference("iwae")[0]
        'algorithm'
    """
    kind, found = _find(INFERENCES, "inference", name)
    return kind, _object(kind, found)


def name_of(kind: str, cls: type) -> str | None:
    """Registered name of a class, or None if it has none of that kind."""
    for name, path in TABLES[kind].items():
        module, _, attribute = path.partition(":")
        if cls.__module__ == module and cls.__qualname__ == attribute:
            return name
    return next((name for name, known in extension.registered(kind).items() if known is cls), None)


def load(path: str) -> Any:
    """Object at a `"module:attribute"` path of the tables above; never called with a path read from a file."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def known(kind: str) -> list[str]:
    """Names of a kind that need no other package to be imported: ppgen's own and those that were registered."""
    return [*TABLES[kind], *extension.registered(kind)]


@overload
def register(kind: str, name: str, cls: T) -> T: ...
@overload
def register(kind: str, name: str) -> Callable[[T], T]: ...


def register(kind: str, name: str, cls: Any = None) -> Any:
    """Give a class or function of your own a name, by which checkpoints and the command line know it.

    As a value it needs no name. A checkpoint holds the name alone, never where its class is, so that nothing is
    imported because a file says so.

    It holds in this process, and in those that a comparison starts. A package that is installed announces its names by
    entry points instead, which are read when a name is not known:

    .. code-block:: toml

        [project.entry-points."ppgen.models"]
        MyModel = "my_package.models:MyModel"

    Args:
        kind: `"model"`, `"objective"`, `"estimator"`, `"negative phase"`, `"update"`, `"baseline"`, `"schedule"`,
            `"kernel"` or `"unit"`, which are classes; `"algorithm"`, a function that returns an `Inference`; or
            `"data set"`, a function from a folder, and from options if it has any, to a `ppgen.datasets.Source`.
        name: The name: letters, digits and underscores.
        cls: The class or function. Without it the call is a decorator.

    Returns:
        The class or function as it was given.

    Raises:
        ValueError: If the kind is not known, the name is no identifier, or something else has the name.
        TypeError: If the object is not of that kind.

    Example:
        >>> from dataclasses import dataclass
        >>> import ppgen
        >>> from ppgen import inference
        >>> @ppgen.register("objective", "Doubled")
        ... @dataclass(frozen=True)
        ... class Doubled(inference.ELBO):
        ...     num_particles: int = 2
        >>> inference.from_config(inference.to_config(inference.Inference(Doubled()))).objective == Doubled()
        True
    """
    if kind not in TABLES:
        raise ValueError(f"kind must be one of {', '.join(map(repr, TABLES))}, got {kind!r}.")
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"name must be letters, digits and underscores, got {name!r}.")
    if cls is None:
        return functools.partial(register, kind, name)
    base = BASES[kind]
    extension.check(kind, name, cls, None if base is None else load(base))
    taken = next((own for own in TABLES[kind] if normalise(own) == normalise(name)), None)
    if taken is not None:
        raise ValueError(f"The {kind} {taken!r} is one of ppgen's own; choose another name.")
    extension.keep(kind, name, cls)
    return cls


def adopt(known: Mapping[str, Mapping[str, Any]]) -> None:
    """Register what another process had registered."""
    for kind, named in known.items():
        for name, cls in named.items():
            register(kind, name, cls)


def _load_announced(kind: str, name: str) -> None:
    """Import and register what a package announces."""
    point, package = extension.entry_point(kind, name)
    try:
        register(kind, name, point.load())
    except Exception as error:  # whatever the import of another package raises
        raise ValueError(
            f"The {kind} {name!r} of the package {package} cannot be used: {type(error).__name__}: {error}"
        ) from error


def _object(kind: str, name: str) -> Any:
    return load(TABLES[kind][name]) if name in TABLES[kind] else extension.registered(kind)[name]


def _find(kinds: Iterable[str], what: str, name: str) -> tuple[str, str]:
    """Kind and spelling of a name; packages that announce names are asked where nothing else bears it."""
    if not isinstance(name, str):
        raise TypeError(f"The {what} name must be a string, got {type(name).__name__}.")
    kinds = list(kinds)
    by_key = {normalise(each): (kind, each) for kind in reversed(kinds) for each in known(kind)}
    if normalise(name) in by_key:
        return by_key[normalise(name)]
    for kind in kinds:
        for each in extension.announced(kind):
            if normalise(each) == normalise(name):
                _load_announced(kind, each)
                return kind, each
    spelled = {normalise(each): each for each in names(*kinds)}
    close = difflib.get_close_matches(normalise(name), spelled, n=1)
    hint = f" Did you mean {spelled[close[0]]!r}?" if close else ""
    raise ValueError(f"Unknown {what} {name!r}. Known: {', '.join(sorted(spelled.values()))}.{hint}")
