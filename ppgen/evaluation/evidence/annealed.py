"""Evidence by annealing all latents of a data set together, which asks less of the guide than its weights do."""

from collections.abc import Sequence

import torch

from ppgen.evaluation.effective import CONSTANT_RANGE
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.evidence.all_data import AllData
from ppgen.evaluation.evidence.joint_weights import JointWeights, summary
from ppgen.evaluation.likelihood.latent_annealing import (
    PILOT_CHAINS,
    DecoderPath,
    check_start,
    find_step_sizes,
    forward,
)
from ppgen.evaluation.likelihood.method import Advance
from ppgen.inference.annealing.effective_runs import few_runs
from ppgen.inference.kernels.hmc import HMC
from ppgen.inference.kernels.latent_density import LatentDensity, Start
from ppgen.pair import AnyPair

DOUBTFUL = "a few annealing runs carry the estimate, and it errs low by more than the error bar says; use more betas"


def check_movable(found: AllData) -> None:
    """Raise where latents are not all continuous, so that they cannot be annealed.

    Raises:
        ValueError: Names the site, and says what to use.
    """
    layout = found.layout
    discrete = [name for name, law in layout.model_laws.items() if law.support.is_discrete]
    if discrete or layout.marginalised or layout.undirected:
        name = (*discrete, *layout.marginalised, *layout.undirected)[0]
        raise ValueError(
            f"method='ais' anneals continuous latents, and site {name!r} is discrete. Use method='importance'."
        )


@torch.no_grad()
def annealed_weights(
    pair: AnyPair,
    found: AllData,
    betas: Sequence[float],
    num_chains: int,
    chunk: int,
    *,
    start: Start,
    kernel: HMC,
    seed: int,
    advance: Advance = None,
) -> JointWeights:
    """Weights of annealing runs from the prior, or from the guide, to the posterior of all latents.

    Args:
        pair: A pair in evaluation mode, seeded.
        found: The data.
        betas: Ladder of inverse temperatures from 0 to 1.
        num_chains: Runs.
        chunk: Runs times rows that move at once, at least one run.
        start: Where runs begin.
        kernel: What moves the latents, one trajectory a level.
        seed: Seed of the momenta; starts are drawn by torch's global random state.
        advance: Called with the number of runs done.
    """
    check_start(found.layout, start)
    generator = torch.Generator(device=pair.device).manual_seed(seed)
    most = max(1, min(chunk // found.num_rows, num_chains))

    def path(count: int) -> DecoderPath:
        return DecoderPath(LatentDensity(pair, found.batch, count, layout=found.layout), start, kernel)

    step_sizes = find_step_sizes(path(min(PILOT_CHAINS, num_chains)), betas, generator)
    kept = []
    for first in range(0, num_chains, most):
        count = min(most, num_chains - first)
        kept.append(forward(path(count), betas, step_sizes, generator).squeeze(1).cpu())
        if advance is not None:
            advance(first + count)
    return summary(torch.cat(kept), pareto=False)


def annealed_estimate(weights: JointWeights, found: AllData, start: str, num_betas: int) -> Estimate:
    """The estimate that annealing runs give."""
    count = len(weights.log_weights)
    few = bool(few_runs(weights.ess, count)) and not weights.se <= CONSTANT_RANGE
    method = f"AIS from the {start} ({count} chains x {num_betas} betas)"
    return weights.estimate(method, found.num_data, DOUBTFUL if few else None)
