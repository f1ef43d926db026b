"""log Z of a Boltzmann machine between annealing upwards and annealing downwards."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ppgen.distributions.machines.layered_energy import EVEN, LayeredEnergy
from ppgen.distributions.machines.samplers import ExactSampler, base_rate_draw, dispersed_draw
from ppgen.evaluation.blindness import FROM_BOTH
from ppgen.evaluation.estimate import SMALLEST_ERROR, Estimate, rounded, with_error
from ppgen.inference.state_roles import persistent_chains
from ppgen.undisturbed import forked

FAR_APART = 1.0  # nats between the two from which log-likelihoods are doubtful in the first digit that papers print
DISPERSED = "chains from the base rates and from a wider law"  # by turns
_LEAST_APART = 0.1  # nats
_LEAST_HALF = 10  # runs of each start from which their means are compared
_Z = 4.0  # standard errors from which a difference is none of chance


@dataclass(frozen=True, repr=False, kw_only=True)
class PartitionSandwich(Estimate):
    """Estimate of log Z from both sides; its value is that of annealing upwards, and so is its error.

    Where the two are further apart than four of their errors, at least one of them is wrong by more than its error
    says, and the error is the gap.

    Attributes:
        lower: Estimate by annealing upwards, at most log Z in expectation.
        upper: Estimate by annealing downwards, at least log Z in expectation if its chains start at the machine's law.
    """

    lower: Estimate
    upper: Estimate

    @property
    def gap(self) -> float:
        """Upper estimate minus the lower one, in nats: about zero where both are right."""
        return self.upper.value - self.lower.value

    @property
    def gap_se(self) -> float:
        """Standard error of the gap, in nats."""
        return math.hypot(self.lower.se, self.upper.se)

    def __repr__(self) -> str:
        low, high = (with_error(each.value, each.se) for each in (self.lower, self.upper))
        text = f"{low} <= log Z <= {high} nats, gap {rounded(self.gap, self.gap_se)}, {self.method}"
        return text if self.warning is None else f"{text}; warning: {self.warning}"

    __str__ = __repr__


def sandwiched(lower: Estimate, upper: Estimate, method: str) -> PartitionSandwich:
    """Both estimates as one, with a warning where they contradict each other or leave much open."""
    gap = upper.value - lower.value
    error = math.hypot(*(each.se for each in (lower, upper) if math.isfinite(each.se)))  # an unknown one excuses no gap
    apart = abs(gap) > max(_Z * error, SMALLEST_ERROR)
    warnings = [text.replace(FROM_BOTH, "") for text in (lower.warning, upper.warning) if text]
    if gap < 0 and apart:
        warnings.append(
            f"annealing downwards lies {-gap:.2f} nats below annealing upwards, which cannot both be right: the chains "
            "that it starts from are not at the machine's law; give them more sweeps"
        )
    elif gap > FAR_APART and apart:
        warnings.append(f"the two are {gap:.2f} nats apart; use more betas")
    kept = {name: getattr(lower, name) for name in Estimate.__dataclass_fields__}
    kept |= {"method": method, "warning": "; ".join(dict.fromkeys(warnings)) or None, "note": None}
    if apart:
        kept["se"] = abs(gap) if math.isnan(lower.se) else max(abs(gap), lower.se)
    return PartitionSandwich(**kept, lower=lower, upper=upper)


@torch.no_grad()
def draws_of_the_machine(
    energy: LayeredEnergy,
    num_chains: int,
    chains: Tensor | None,
    sweeps: int,
    max_states: int,
    generator: torch.Generator,
) -> tuple[Tensor, str]:
    """Draws of the even side from which annealing goes down, and where they come from.

    Exact draws where the smaller side can be enumerated; else Gibbs chains, from the persistent chains of training
    or, without any, from the base rates and from a wider law by turns.

    Args:
        energy: The machine.
        num_chains: Number of draws.
        chains: Persistent chains of the even side, if there are any.
        sweeps: Gibbs sweeps before the draws.
        max_states: States of the smaller side up to which draws are exact.
        generator: Source of all randomness.
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    device = energy.parameters()[0].device
    with forked(device, seed):
        if not energy.batch_shape and energy.num_states(energy.smaller_side) <= max_states:
            return ExactSampler(max_states)(energy, torch.Size((num_chains,)))[EVEN], "exact draws"
        shape = (num_chains, *energy.batch_shape)
        if chains is not None and chains.shape[-1] == energy.size(EVEN) and not energy.batch_shape:
            start = base_rate_draw(energy, shape)  # of these only the dtype counts
            index = torch.randint(len(chains), (num_chains,), device=chains.device)
            start, source = chains.to(start)[index], "the persistent chains"
        else:
            start, source = dispersed_draw(energy, shape), DISPERSED
        return energy.gibbs(start, EVEN, sweeps), f"{source} after {sweeps} sweeps"


def unmixed(log_weights: Tensor) -> str | None:
    """What is wrong with runs down from chains that began in two ways by turns, if their starts still show.

    Chains that have reached the machine's law have forgotten where they began. Those that have not sit in the modes
    that they fell into, in numbers that say nothing of the modes' masses.

    Args:
        log_weights: Of the runs, (chains,), nats.
    """
    if len(log_weights) < 2 * _LEAST_HALF:
        return None
    halves = [log_weights[start::2] for start in (0, 1)]
    means = [float(half.logsumexp(0)) - math.log(len(half)) for half in halves]
    errors = [float((half - half.logsumexp(0) + math.log(len(half))).exp().std()) / len(half) ** 0.5 for half in halves]
    apart = abs(means[0] - means[1])
    if not apart > max(_LEAST_APART, _Z * math.hypot(*errors)):
        return None
    return (
        f"chains from the base rates and from a wider law give values {apart:.1f} nats apart: they have not mixed, and "
        "the machine may have modes that neither side has seen; give them more sweeps, or train with "
        "inference.TemperedPCD, whose chains are gone on with"
    )


def downwards(estimate: Estimate, log_base_partition: float, method: str) -> Estimate:
    """Estimate of log Z from one of log(Z_A / Z), as annealing downwards gives it."""
    return replace(
        estimate,
        value=2 * log_base_partition - estimate.value,
        method=method,
        bias=None if estimate.bias is None else -estimate.bias,
        note="an upper bound of log Z in expectation, so log p(x) errs low",
    )


def state_chains(pair: Any, site: str) -> Tensor | None:
    """Persistent chains that training left at a site, if any."""
    return persistent_chains(getattr(pair, "inference_state", None)).get(site)
