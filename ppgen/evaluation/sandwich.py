"""log Z of a Boltzmann machine between annealing upwards and annealing downwards."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ppgen.distributions.layered_energy import EVEN, LayeredEnergy
from ppgen.distributions.samplers import ExactSampler, base_rate_draw
from ppgen.evaluation.estimate import Estimate, rounded, with_error
from ppgen.undisturbed import forked

FAR_APART = 1.0  # nats between the two from which log-likelihoods are doubtful in the first digit that papers print


@dataclass(frozen=True, repr=False, kw_only=True)
class PartitionSandwich(Estimate):
    """Estimate of log Z from both sides; its value and error are those of annealing upwards.

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
    gap, error = upper.value - lower.value, math.hypot(lower.se, upper.se)
    warnings = [text for text in (lower.warning, upper.warning) if text]
    if gap < -4 * error:
        warnings.append(
            f"annealing downwards lies {-gap:.2f} nats below annealing upwards, which cannot both be right: the chains "
            "that it starts from are not at the machine's law; give them more sweeps"
        )
    elif gap > max(FAR_APART, 4 * error):
        warnings.append(f"the two are {gap:.2f} nats apart; use more betas")
    kept = {name: getattr(lower, name) for name in Estimate.__dataclass_fields__}
    kept |= {"method": method, "warning": "; ".join(warnings) or None, "note": None}
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
    or, without any, from the base rates.

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
        start = base_rate_draw(energy, (num_chains, *energy.batch_shape))
        source = "chains from the base rates"
        if chains is not None and chains.shape[-1] == energy.size(EVEN) and not energy.batch_shape:
            index = torch.randint(len(chains), (num_chains,), device=chains.device)
            start, source = chains.to(start)[index], "the persistent chains"
        return energy.gibbs(start, EVEN, sweeps), f"{source} after {sweeps} sweeps"


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
    state = getattr(pair, "inference_state", None) or {}
    return state.get(f"{site}.chains")
