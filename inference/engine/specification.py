"""An inference as one value: objective, estimator, negative phase and update."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from torch import nn

from ppgen import registry
from ppgen.checks.arguments import check_kind
from ppgen.inference.baselines.recorded_modules import MODULE, module_config, recorded_module
from ppgen.inference.estimators.estimator import BySite, Estimator
from ppgen.inference.kernels.posterior_kernel import PosteriorKernel
from ppgen.inference.negative_phases.negative_phase import NegativePhase
from ppgen.inference.objectives.objective import Objective
from ppgen.inference.pyro_loss import PyroLoss, comparison_engine, engine
from ppgen.inference.updates.update import ParameterUpdate


@dataclass(frozen=True)
class Inference(PyroLoss):
    """How a pair is trained: which objective, how its gradient is estimated, how log Z is dealt with.

    A value without state, which is made when it is bound to a pair: one inference can train many models. It is a loss
    for `pyro.infer.SVI` too.

    Args:
        objective: Which bound: `ELBO()`, `IWELBO(num_particles=50)`.
        estimator: How its gradient is estimated: `"auto"` (site by site), an estimator such as `Pathwise()` for all
            sites, or a mapping from site names to estimators.
        negative_phase: How the gradient of log Z is supplied at undirected sites: `PCD()`, `CD()`, `ExactPartition()`;
            None if there are no such sites.
        update: What sets parameters in closed form, in the place of optimiser and gradient: `ClosedForm()`, for pairs
            that say how (`ppgen.closed_form.ClosedFormPair`); None moves all along their gradient.
        label_weight: Weight of log q(y | x), in nats, of rows that tell their class, averaged over those rows: of each
            labelled row times N / N_labelled. It is added to what is followed and not to the value, so that under any
            objective the value stays what it is. For pairs with a method `label_log_prob`, such as
            `models.SemiSupervisedVAE`.

    Raises:
        TypeError: If a part is of the wrong kind; the message names it.
        ValueError: If `label_weight` is negative or not finite.

    Example:
        >>> from ppgen import inference
        >>> inference.Inference(inference.ELBO(), negative_phase=inference.PCD(num_chains=50)).negative_phase.num_chains
        50
    """

    objective: Objective
    estimator: Estimator | str | Mapping[str, Estimator] = "auto"
    negative_phase: NegativePhase | None = None
    update: ParameterUpdate | None = None
    label_weight: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.objective, Objective):
            raise TypeError(f"objective must be an objective such as inference.ELBO(), got {self.objective!r}.")
        if isinstance(self.estimator, Mapping):
            object.__setattr__(self, "estimator", BySite(self.estimator))
        known = self.estimator.values() if isinstance(self.estimator, Mapping) else [self.estimator]
        for each in known:
            if not isinstance(each, Estimator) and (each != "auto" or isinstance(self.estimator, Mapping)):
                raise TypeError(
                    'estimator must be "auto", an estimator such as Pathwise(), or a mapping from site names to '
                    f"estimators, got {self.estimator!r}."
                )
        if self.negative_phase is not None and not isinstance(self.negative_phase, NegativePhase):
            raise TypeError(
                f"negative_phase must be a negative phase such as inference.PCD(), got {self.negative_phase!r}."
            )
        if self.update is not None and not isinstance(self.update, ParameterUpdate):
            raise TypeError(f"update must be an update such as inference.ClosedForm(), got {self.update!r}.")
        if isinstance(self.label_weight, bool) or not isinstance(self.label_weight, Real):
            raise TypeError(f"label_weight must be a number, got {self.label_weight!r}.")
        if not 0 <= self.label_weight < math.inf:
            raise ValueError(f"label_weight must be at least 0 and finite, got {self.label_weight!r}.")

    def bind(self, pair: Any, batch: Any, num_data: int) -> Any:
        """This inference with the state that it needs for one pair.

        Args:
            pair: A pair, prepared (`pair.prepare(batch)`).
            batch: A batch of the data, from which the structure of the pair is read.
            num_data: Rows of the whole data set.

        Raises:
            ValueError: If the combination is not legal for the pair; the message names the site.
        """
        if self.objective.compares_draws:
            return comparison_engine()(self, pair, batch, num_data)
        bound, _ = engine()
        return bound(self, pair, batch, num_data)


def resolve(inference: Any, pair: Any) -> Inference:
    """The whole inference that a value or a name stands for, completed from the pair's default.

    Args:
        inference: An `Inference`, a bare objective, estimator, negative phase or update, a registered name, or None
            for the default.
        pair: A pair, whose `default_inference` fills in what is missing.

    Raises:
        ValueError: If a name is unknown.
        TypeError: If it is something else.

    Example:
        >>> from ppgen import inference, models
        >>> inference.describe(inference.resolve("disarm", models.SigmoidBeliefNet((4, 2))))
        'ELBO(num_particles=1), estimator DisARM()'
    """
    default = _value(getattr(pair, "default_inference", "elbo"))
    given = default if inference is None else _value(inference)
    if isinstance(given, Inference):
        if given.negative_phase is None and isinstance(default, NegativePhase):
            return dataclasses.replace(given, negative_phase=default)
        return given
    if isinstance(given, ParameterUpdate):
        return Inference(_value("elbo"), update=given)
    if isinstance(given, NegativePhase):
        objective = default if isinstance(default, Objective) else getattr(default, "objective", None)
        return Inference(objective or _value("elbo"), "auto", given)
    phase = default if isinstance(default, NegativePhase) else getattr(default, "negative_phase", None)
    return Inference(given, "auto", phase, label_weight=getattr(default, "label_weight", 0.0))


def _value(inference: Any) -> Any:
    if isinstance(inference, str):
        inference = registry.lookup_inference(inference)[1]()
    if isinstance(inference, Estimator):
        return _with_objective(inference)
    if isinstance(inference, (Inference, Objective, NegativePhase, ParameterUpdate)):
        return inference
    if isinstance(inference, PosteriorKernel):
        raise TypeError(
            f"inference: {inference!r} draws from posteriors and trains nothing. Give an objective or the name of one "
            "here, and the kernel to inference.sample_posterior(pair, x, kernel=...) or to "
            "diagnostics.simulation_based_calibration(pair, posterior=...)."
        )
    raise TypeError(
        "inference must be an Inference, an objective, an estimator, a negative phase, an update or the name of one, "
        f"got {type(inference).__name__}."
    )


def _with_objective(estimator: Estimator) -> Inference:
    """An estimator alone: the ELBO, or the objective that it is made for."""
    known = (registry.lookup("objective", name) for name in registry.known("objective"))  # the ELBO first
    objective = next((each for each in known if type(estimator).serves(each)), None)
    return Inference(_value("elbo") if objective is None else objective(), estimator)


_EXPECTED = "an Inference; inference.resolve(name_or_part, pair) makes one"


def describe(inference: Inference) -> str:
    """The parts of an inference in one line.

    Example:
        >>> from ppgen import inference
        >>> from ppgen.inference import describe
        >>> describe(inference.IWAE(num_particles=10))
        'IWELBO(num_particles=10), estimator Pathwise()'
    """
    check_kind("inference", inference, Inference, _EXPECTED)
    estimator: Any = inference.estimator
    if isinstance(estimator, Mapping):
        estimator = "{" + ", ".join(f"{site!r}: {_short(each)}" for site, each in estimator.items()) + "}"
    elif not isinstance(estimator, str):
        estimator = _short(estimator)
    parts = [_short(inference.objective), f"estimator {estimator}"]
    if inference.negative_phase is not None:
        parts.append(f"negative phase {_short(inference.negative_phase)}")
    if inference.update is not None:
        parts.append(f"update {_short(inference.update)}")
    if inference.label_weight:
        parts.append(f"{LABEL_WEIGHT} {inference.label_weight}")
    return ", ".join(parts)


def _short(part: Any) -> str:
    shown = {field.name: getattr(part, field.name) for field in dataclasses.fields(part) if field.init}
    told = {
        field.name
        for field in dataclasses.fields(part)
        if field.init and (field.default != shown[field.name] or field.name in ("num_particles", "k", "num_chains"))
    }
    return f"{type(part).__name__}({', '.join(f'{name}={shown[name]}' for name in shown if name in told)})"


_KINDS = {"objective": "objective", "estimator": "estimator", "negative_phase": "negative phase", "update": "update"}
_NEWER = ("update",)  # parts that are written down only where they are, as older runs have none
_BY_SITE = "sites"  # key of a mapping from sites to estimators
LABEL_WEIGHT = "label_weight"


def to_config(inference: Inference) -> dict[str, Any]:
    """The inference as JSON can hold it: registered names and their arguments; of a module, type and shapes only.

    Raises:
        ValueError: If a part is not registered, or holds a function.

    Example:
        >>> from ppgen import inference
        >>> inference.to_config(inference.IWAE(num_particles=5))["estimator"]
        {'name': 'Pathwise'}
    """
    check_kind("inference", inference, Inference, _EXPECTED)
    config: dict[str, Any] = {}
    for part, kind in _KINDS.items():
        value = getattr(inference, part)
        if value is None and part in _NEWER:
            continue
        if isinstance(value, Mapping):
            config[part] = {_BY_SITE: {site: _part_config(each, kind) for site, each in value.items()}}
        else:
            config[part] = _part_config(value, kind)
    return config | ({LABEL_WEIGHT: float(inference.label_weight)} if inference.label_weight else {})


def _part_config(part: Any, kind: str) -> Any:
    if part is None or isinstance(part, str):
        return part
    name = registry.name_of(kind, type(part))
    if name is None:
        cls = type(part).__name__
        raise ValueError(
            f"{cls} is not a registered {kind}, so it cannot be written to a checkpoint. Give it a name: "
            f"ppgen.register({kind!r}, {cls!r}, {cls}); or train without folder."
        )
    return {"name": name, **{f.name: _argument(part, f.name) for f in dataclasses.fields(part) if _recorded(part, f)}}


def _recorded(part: Any, field: dataclasses.Field[Any]) -> bool:
    """Whether a field is written down: not one that older runs do not know, where it is as it was for them."""
    return field.init and not ("recorded" in field.metadata and getattr(part, field.name) == field.default)


def _argument(part: Any, name: str) -> Any:
    """An argument of a part: a number, or a value of its own with a kind and a name."""
    value = getattr(part, name)
    if isinstance(value, nn.Module):
        return module_config(value)
    if callable(value) and not dataclasses.is_dataclass(value):
        raise ValueError(
            f"{name} of {type(part).__name__} is a function, which cannot be written to a checkpoint: train without "
            "folder, or leave it out."
        )
    if not dataclasses.is_dataclass(value):
        return value
    kind = next(
        (kind for kind in ("baseline", "schedule") if registry.name_of(kind, type(value)) is not None), "schedule"
    )
    return {"kind": kind, **_part_config(value, kind)}


def from_config(config: dict[str, Any]) -> Inference:
    """The inference that `to_config` described; names are looked up in the registry only.

    In the place of a module of the user's own stands its description, which cannot be trained.

    Raises:
        TypeError: If `config` is no mapping.
        ValueError: If a name in it is not registered.

    Example:
        >>> from ppgen import inference
        >>> from ppgen.inference import from_config, to_config
        >>> from_config(to_config(inference.IWAE())) == inference.IWAE()
        True
    """
    check_kind("config", config, Mapping, "a mapping as inference.to_config gives it")
    if config.get("objective") is None:
        raise ValueError(f"config must name an objective, as inference.to_config does, got {dict(config)!r}.")
    parts: dict[str, Any] = {}
    for part, kind in _KINDS.items():
        value = config.get(part)
        if isinstance(value, dict) and _BY_SITE in value:
            parts[part] = {site: _built(each, kind) for site, each in value[_BY_SITE].items()}
        else:
            parts[part] = _built(value, kind)
    return Inference(**parts, label_weight=config.get(LABEL_WEIGHT, 0.0))


def _built(value: Any, kind: str) -> Any:
    if not isinstance(value, dict):
        return value
    if kind == MODULE:
        return recorded_module(value)
    arguments = {
        name: _built(argument, argument["kind"]) if isinstance(argument, dict) else argument
        for name, argument in value.items()
        if name not in ("name", "kind")
    }
    return registry.lookup(kind, value["name"])(**arguments)
