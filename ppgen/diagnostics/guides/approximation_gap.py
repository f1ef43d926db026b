"""What the ELBO of a pair misses of log p(x): by the guide's amortisation, and by its family."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor

from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.diagnostics.guides.advice import annealing_instead
from ppgen.diagnostics.guides.importance_weights import percent
from ppgen.evaluation import Estimate, log_evidence, log_likelihood
from ppgen.evaluation.estimate import with_error
from ppgen.evaluation.evidence.all_data import all_data, is_joint
from ppgen.evaluation.evidence.annealed import check_movable
from ppgen.evaluation.evidence.evidence import check_evidence
from ppgen.evaluation.likelihood.methods import check_proper
from ppgen.evaluation.program import Program, examine
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.kernels.hmc import HMC
from ppgen.inference.kernels.posterior_kernel import TemperableKernel
from ppgen.inference.structure.points import check_no_points
from ppgen.inference.structure.traces import element_law
from ppgen.pair import as_pair
from ppgen.training.stages.refine import check_settings, refine

METHODS = ("ais", "importance")
NUM_CHAINS, BETAS = 100, 500  # runs of a datum and levels of Hamiltonian moves, where nobody has said it
_TERMS = ("log_likelihood", "elbo", "refined_elbo", "amortisation_gap", "family_gap", "gap")


@dataclass(frozen=True)
class ApproximationGap:
    """log p(x) - ELBO of each datum in two parts, in nats.

    Attributes:
        dataset: `xarray.Dataset` over the data plate: `log_likelihood`, `elbo` of the pair's own guide, `refined_elbo`
            of a guide fitted to each datum, `amortisation_gap` (refined_elbo - elbo), `family_gap` (log_likelihood -
            refined_elbo) and `gap`, their sum, each with its Monte Carlo standard error `<name>_se`. Where latents are
            common to all data each is one number, of all data together.
        log_likelihood: The estimate of log p(x), the mean over the data, with its own warnings; where latents are
            common to all data the log-evidence.
        family: Family of the fitted guides.
        amortised: Whether the pair's own guide reads its data. One that does not is a fit too, and the amortisation gap
            is what its training has left.
    """

    dataset: Any = field(repr=False)
    log_likelihood: Estimate
    family: str
    amortised: bool = True

    def mean(self, name: str) -> tuple[float, float]:
        """Mean of a variable over the data and its Monte Carlo standard error.

        Raises:
            ValueError: If there is no such variable.
        """
        if name not in _TERMS:
            raise ValueError(f"name must be one of {', '.join(map(repr, _TERMS))}, got {name!r}.")
        values, errors = (np.atleast_1d(self.dataset[each].values) for each in (name, f"{name}_se"))
        return float(values.mean()), float(np.sqrt(np.square(errors).sum()) / len(errors))

    @property
    def amortisation_share(self) -> float:
        """Part of the mean gap that is due to amortisation; NaN where there is no gap to speak of."""
        gap, error = self.mean("gap")
        return self.mean("amortisation_gap")[0] / gap if gap > 2 * error else math.nan

    @property
    def warning(self) -> str | None:
        """What is doubtful about the gap, in words; None where nothing is."""
        found = [] if self.log_likelihood.warning is None else [self.log_likelihood.warning]
        for name, reason in (
            ("family_gap", "log p(x) errs low, or the fit's bound was lucky: use more betas or particles"),
            (
                "amortisation_gap",
                "the pair's guide is better than the fitted ones: its family is richer than theirs "
                "(try family='full-rank'), or the fit needs more steps",
            ),
        ):
            value, error = self.mean(name)
            if value < -3 * error:
                found.append(f"the {name.replace('_', ' ')} is negative, which no exact one can be: {reason}")
        return "; ".join(found) or None

    @property
    def advice(self) -> str:
        """What to do about the gap, in words."""
        share = self.amortisation_share
        if math.isnan(share):
            return "There is no gap to close within the errors: the ELBO is log p(x)."
        if share > 0.5 and not self.amortised:
            return "Training left the larger part: more steps, a smaller step size at the end, or another start."
        if share > 0.5:
            return (
                "Amortisation is the larger part: give the guide's network more units, train it longer or on its own "
                "with the model held, or refine it for the data that matter (training.refine)."
            )
        return (
            "The family is the larger part: a guide with correlations, a normalising flow or auxiliary latents, or an "
            "importance weighted bound (inference.IWAE()), would close it; a larger network would not."
        )

    def __repr__(self) -> str:
        told = {name: with_error(*self.mean(name)) for name in _TERMS}
        share = self.amortisation_share
        how = "" if math.isnan(share) or not 0 <= share <= 1 else f" ({percent(share)} of the gap)"
        other = "" if not how else f" ({percent(1 - share)})"
        warning = [] if self.warning is None else [f"Warning: {self.warning}."]
        of = f"{len(self.dataset.gap)} data, nats per datum" if self.dataset.gap.dims else "all data together, nats"
        fitted = "a guide fitted to each datum" if self.dataset.gap.dims else "a guide fitted to them"
        lines = [
            f"Approximation gap of {of}, after fits of family {self.family!r}.",
            f"log p(x) {told['log_likelihood']} - ELBO {told['elbo']} = {told['gap']}.",
            f"{'Amortisation' if self.amortised else 'Training of the guide'}: {told['amortisation_gap']}{how}, as "
            f"{fitted} has an ELBO of {told['refined_elbo']}.",
            f"Family of the guide: {told['family_gap']}{other}.",
        ]
        return "\n".join([*lines, *warning, self.advice])


def approximation_gap(
    pair: Any,
    x: Any,
    *,
    family: Literal["normal", "full-rank"] = "normal",
    method: Literal["ais", "importance"] = "ais",
    num_chains: int | None = None,
    betas: int | str | Sequence[float] | Tensor | None = None,
    start: str = "prior",
    kernel: HMC | TemperableKernel | None = None,
    num_particles: int = 5000,
    steps: int = 500,
    lr: float = 0.05,
    num_samples: int = 1000,
    chunk: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> ApproximationGap:
    r"""Split what the ELBO misses of log p(x) into an amortisation gap and a family gap, datum by datum.

    .. math::
        \log p(x) - \mathcal{L}[q(z \mid x)]
        = \underbrace{\log p(x) - \mathcal{L}[q^*]}_{\text{family}}
        + \underbrace{\mathcal{L}[q^*] - \mathcal{L}[q(z \mid x)]}_{\text{amortisation}}, \qquad
        q^* = \arg\max_{q \in \mathcal{Q}} \mathcal{L}[q]

    q* is fitted to each datum by `training.refine`, in the unconstrained space of all latents of the datum; choose the
    family of the pair's own guide, or what the parts say is not about it. log p(x) is estimated by annealed importance
    sampling, or by importance sampling from the pair's guide, which is cheaper and for a few latents as good. Both err
    low in expectation, and so then does the family gap; the fit errs low too, which moves part of the amortisation gap
    to the family. Cost and memory are those of a few hundred rows, which is what one asks for. Where latents are common
    to all data, one guide is fitted to all latents together, and log p(x) is `evaluation.log_evidence`.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run, with continuous latents.
        x: Data: a tensor, a tuple or a mapping, as the pair takes it.
        family: Of the fitted guides: independent Normals, or Normals with any covariance.
        method: How log p(x) is estimated.
        num_chains: Annealing runs of each datum; 100 by default, and 16 by a tempered kernel.
        betas: Their ladder; 500 equal steps by default, and 200 by a tempered kernel.
        start: Where annealing begins: `"prior"` or `"guide"`.
        kernel: What moves the latents, one step a level: an `inference.HMC`, by default `HMC()`; or, from the prior, an
            `inference.SparseGibbs` or another `inference.TemperableKernel`.
        num_particles: Particles of each datum for `"importance"`.
        steps: Steps of Adam of the fit.
        lr: Its learning rate at the first step.
        num_samples: Draws of each datum for each of the two bounds.
        chunk: Log-weights of log p(x) evaluated at once, as for `evaluation.log_likelihood`.
        seed: Seed of all randomness; the caller's random state is as before.
        progress: Whether to show a progress bar of log p(x).

    Raises:
        ValueError: If data or arguments are wrong, or the pair has no latent site, or a discrete one; it says what to
            use instead.
        TypeError: If `pair` or `x` is none.

    References:
        | Inference Suboptimality in Variational Autoencoders (Cremer, Li and Duvenaud, 2018)
        | https://arxiv.org/abs/1801.03558

    Example:
        >>> import torch
        >>> from ppgen import diagnostics, models
        >>> vae = models.VAE(features=6, latent=2, hidden=(4,))
        >>> found = diagnostics.approximation_gap(vae, torch.eye(6), betas=20, steps=50)
        >>> dict(found.dataset.sizes), found.family
        ({'data': 6}, 'normal')
    """
    check_switches(progress=progress)
    seed = check_seed(seed)
    check_settings(steps, lr, family, 1, num_samples)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}.")
    pair = as_pair(pair)
    check_has_likelihood(pair, "Gaps of a guide")
    joint = is_joint(pair, x)
    if joint:
        found = all_data(pair, x)
        check_evidence(found)
        check_movable(found)
        batch = found.batch
    else:
        _check_sites(examine(pair, CheckedRows(x, pair)))
        rows = CheckedRows(x, pair)  # parameters made at the first run decide the dtype
        batch = rows(0, len(rows))
    seeds = np.random.SeedSequence(seed).generate_state(2)
    if kernel is None or isinstance(kernel, HMC):  # other kernels have a budget of their own
        num_chains = NUM_CHAINS if num_chains is None else num_chains
        betas = BETAS if betas is None else betas
    estimated = log_evidence if joint else log_likelihood
    estimate = estimated(
        pair,
        x,
        method=method,
        num_particles=num_particles,
        num_chains=num_chains,
        betas=betas,
        start=start,
        kernel=kernel,
        chunk=chunk,
        seed=int(seeds[0]),
        progress=progress,
    )
    fitted = refine(pair, batch, steps=steps, lr=lr, family=family, num_samples=num_samples, seed=int(seeds[1]))
    told: Any = estimate.per_datum
    if joint:
        told = {"log_likelihood": np.array([estimate.value]), "se": np.array([estimate.se])}
    own, free = ((mean, se) for mean, se in _pairs(fitted))
    evidence = told["log_likelihood"], told["se"]
    terms = {
        "log_likelihood": evidence,
        "elbo": own,
        "refined_elbo": free,
        "amortisation_gap": _difference(free, own),
        "family_gap": _difference(evidence, free),
        "gap": _difference(evidence, own),
    }
    plate = None if joint else pair.plate
    dataset = _dataset(terms, plate, type(pair).__name__, seed)
    return ApproximationGap(dataset, estimate, family, fitted.amortised)


def _pairs(fitted: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Bounds of the guide and of the fit, each with its error."""
    found = (
        (fitted.elbo_amortised, fitted.amortised_se),
        (fitted.elbo_refined, fitted.refined_se),
    )
    return [(mean.double().cpu().numpy(), error.double().cpu().numpy()) for mean, error in found]


def _difference(first: tuple[Any, Any], second: tuple[Any, Any]) -> tuple[Any, Any]:
    return first[0] - second[0], np.hypot(first[1], second[1])


def _dataset(terms: dict[str, tuple[Any, Any]], plate: str | None, model: str, seed: int) -> Any:
    import xarray as xr

    variables = {}
    for name, (values, errors) in terms.items():
        variables[name] = (plate, values, {"units": "nats"})
        variables[f"{name}_se"] = (plate, errors, {"units": "nats"})
    attrs = {"model": model, "seed": seed}
    if plate is None:
        return xr.Dataset({name: ((), values[0], units) for name, (_, values, units) in variables.items()}, attrs=attrs)
    return xr.Dataset(variables, coords={plate: np.arange(len(terms["gap"][0]))}, attrs=attrs)


def _check_sites(program: Program) -> None:
    layout = program.layout
    if not layout.latent:
        raise ValueError(
            "The pair has no latent site, so that the ELBO is log p(x) and there is no gap. Use "
            "evaluation.log_likelihood(pair, x)."
        )
    check_proper(program)
    check_no_points(
        layout.points,
        "its ELBO",
        f"{annealing_instead(program)}For a gap give a guide that draws the site, such as from a Normal.",
    )
    for name in program.inexact_sites or layout.latent:
        law = layout.guide_laws[name]
        if not (program.energies or law.support.is_discrete):
            continue
        kind = "under a Boltzmann machine" if program.energies else f"discrete ({type(element_law(law)).__name__})"
        if not program.inexact_sites:
            raise ValueError(
                f"The guide is the exact posterior at the latent site {name!r}, so that the ELBO is log p(x) and there "
                "is no gap. Use evaluation.log_likelihood(pair, x)."
            )
        raise ValueError(
            f"The latent site {name!r} is {kind}, and neither the fit of a free guide nor annealing moves other than "
            "continuous latents. For the whole gap compare evaluation.log_likelihood(pair, x, method='importance') "
            "with method='elbo'; diagnostics.importance_weights tells how good the guide is for each datum."
        )
