"""log p(x) of directed pairs by annealed importance sampling of their latents, forwards and in reverse."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Exponential, Laplace

from ppgen.checks.arguments import check_count
from ppgen.checks.room import check_room
from ppgen.evaluation.likelihood.importance import summarise
from ppgen.evaluation.likelihood.latent_paths import LatentPath, Mover, latent_path
from ppgen.evaluation.likelihood.method import DOUBTFUL_LADDER, Advance, LikelihoodMethod, Subject
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import Program
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.kernels.hmc import HMC
from ppgen.inference.kernels.latent_density import STARTS, LatentDensity, Start
from ppgen.inference.kernels.posterior_kernel import TemperableKernel
from ppgen.inference.kernels.sparse_gibbs import SparseGibbs
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.points import check_no_points
from ppgen.inference.structure.traces import element_law
from ppgen.pair import AnyPair

PILOT_CHAINS = 10  # chains a datum that find the step sizes
BUDGET = 100, 1000  # runs of a datum and levels, where nobody has said it
# Of kernels that draw latents anew given the rest. An error of 0.1 nats at 192 codes of 144 features, in a second.
TEMPERED_BUDGET = 16, 200


@torch.no_grad()
def forward(path: LatentPath, betas: Sequence[float], step_sizes: Sequence[Any], generator: torch.Generator) -> Tensor:
    r"""Log-weights of annealing runs from the start to the posterior, float64 nats: (num_chains, rows).

    .. math:: \log w = \sum_{k=1}^n (\beta_k - \beta_{k-1})\, d(z_{k-1}), \quad
        d = \log p(x, z) - \log f_0(z), \quad E[w] = p(x)
    """
    position = path.density.draw(path.start)
    log_weights = betas[1] * path.difference(position)
    for level, step_size in enumerate(step_sizes, 1):
        position = path.move(position, betas[level], step_size, generator)
        log_weights = log_weights + (betas[level + 1] - betas[level]) * path.difference(position)
    return log_weights


@torch.no_grad()
def reverse(
    path: LatentPath,
    betas: Sequence[float],
    step_sizes: Sequence[Any],
    position: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Log-weights of the runs back from exact draws of p(z | x), E[1 / w] = 1 / p(x), float64: (num_chains, rows)."""
    log_weights = (betas[-1] - betas[-2]) * path.difference(position)
    for level in range(len(step_sizes), 0, -1):
        position = path.move(position, betas[level], step_sizes[level - 1], generator, backwards=True)
        log_weights = log_weights + (betas[level] - betas[level - 1]) * path.difference(position)
    return log_weights


def prepared(
    pair: AnyPair,
    batch: Any,
    betas: Sequence[float],
    generator: torch.Generator,
    *,
    num_chains: int,
    start: Start,
    kernel: Mover,
    layout: Layout,
) -> tuple[LatentPath, Sequence[Any]]:
    """Path of a batch with `num_chains` chains a datum, and step sizes from a pilot run of its own where any are."""
    pilot = LatentDensity(pair, batch, min(PILOT_CHAINS, num_chains), layout=layout)
    step_sizes = latent_path(pilot, start, kernel).step_sizes(betas, generator)
    return latent_path(LatentDensity(pair, batch, num_chains, layout=layout), start, kernel), step_sizes


def check_start(layout: Layout, start: str) -> None:
    """Raise where annealing is to begin at a guide that has no law to begin from."""
    if start == "guide":
        check_no_points(layout.points, "annealing from it", 'Start from the prior: start="prior".')


def check_annealing(num_chains: Any, start: Any, kernel: Any) -> Mover:
    """The kernel, `HMC()` if there is none.

    Raises:
        ValueError: If there are fewer than two chains, the start is unknown, or it is the guide under a kernel that
            tempers the likelihood alone.
        TypeError: If the kernel is neither an HMC nor a kernel that can be tempered.
    """
    check_count("num_chains", num_chains, 2, wanted="an integer of at least 2 (one run has no error bar)")
    check_room("num_chains", num_chains)
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(map(repr, STARTS))}, got {start!r}.")
    if kernel is None or isinstance(kernel, HMC):
        return HMC() if kernel is None else kernel
    if isinstance(kernel, type) or not isinstance(kernel, TemperableKernel):
        given = f"the class {kernel.__name__}: call it" if isinstance(kernel, type) else type(kernel).__name__
        raise TypeError(
            "kernel must be an inference.HMC, an inference.SparseGibbs or another inference.TemperableKernel, a kernel "
            f"of posteriors with a method tempered, got {given}."
        )
    if start == "guide":
        raise ValueError(
            f"start must be 'prior' with {type(kernel).__name__}, which tempers the likelihood and knows no guide; "
            "annealing from the guide is moved by inference.HMC()."
        )
    return kernel


def budget(num_chains: Any, betas: Any, kernel: Mover | None = None) -> tuple[Any, Any]:
    """Runs of a datum and ladder as they were given; where not, those by default, fewer where a move forgets more."""
    runs, levels = BUDGET if kernel is None or isinstance(kernel, HMC) else TEMPERED_BUDGET
    return runs if num_chains is None else num_chains, levels if betas is None else betas


@torch.no_grad()
def mover_of(pair: AnyPair, rows: CheckedRows, layout: Layout, num_rows: int) -> Mover:
    """What moves latents where nobody has said it: `SparseGibbs` if the program is one that it reads, else `HMC`.

    Args:
        pair: A pair in evaluation mode.
        rows: The data.
        layout: Structure of the pair.
        num_rows: Rows that are read together.
    """
    laws = [element_law(law) for name, law in layout.model_laws.items() if name in layout.latent]
    if not (laws and all(isinstance(law, (Laplace, Exponential)) for law in laws)):
        return HMC()
    kernel = SparseGibbs()
    for first in range(0, len(rows), num_rows):
        density = LatentDensity(pair, rows(first, min(first + num_rows, len(rows))), layout=layout)
        try:
            kernel.init(density, density.draw("prior"))
        except ValueError:  # says of what form the program is not, as of any that is no sparse coding
            return HMC()
    return kernel


def movable(program: Program) -> bool:
    """Whether all latents can be annealed, whatever the guide is: continuous ones, and none under a machine."""
    layout = program.layout
    discrete = (law.support.is_discrete for name, law in layout.model_laws.items() if name in layout.latent)
    return not (program.energies or layout.marginalised) and not any(discrete)


class LatentAnnealing(LikelihoodMethod):
    """Annealing of the continuous latents of a directed pair, with the error by the delta method.

    References:
        Neal (2001), Annealed importance sampling, arXiv:physics/9803008.
        Wu, Burda, Salakhutdinov and Grosse (2017), On the quantitative analysis of decoder-based generative models,
        arXiv:1611.04273.
    """

    name = "ais"
    anneals = True
    needs_law = False
    doubt = DOUBTFUL_LADDER

    @classmethod
    def applies(cls, program: Program, asked: str, num_data: int) -> bool:
        """To directed pairs; where a guide has points and no law it is all that can be had."""
        if program.layout.points:
            return asked in ("auto", cls.name) and movable(program)
        return asked == cls.name and not program.energies

    @classmethod
    def check_latents(cls, program: Program) -> None:
        """Raise where a latent is discrete."""
        discrete = [name for name in program.layout.latent if program.layout.guide_laws[name].support.is_discrete]
        if discrete:
            raise ValueError(
                f"method='ais' anneals continuous latents, and the latent site {discrete[0]!r} is discrete. Use "
                "method='importance'."
            )

    @torch.no_grad()
    def run(self, subject: Subject, advance: Advance = None) -> PerDatum:
        """The estimates; moves are drawn from the seed, starts from torch's global random state.

        Raises:
            ValueError: If a latent site is discrete or outside the data plate, there is none, the guide at which
                runs begin has no law, or the kernel cannot move the latents of this pair.
        """
        rows, layout, annealing = subject.rows, subject.program.layout, self.annealing
        check_start(layout, self.start)
        generator = torch.Generator(device=subject.pair.device).manual_seed(self.seed)
        block = annealing.block(len(rows))
        found = []
        for first in range(0, len(rows), block):
            last = min(first + block, len(rows))
            path, step_sizes = prepared(
                subject.pair,
                rows(first, last),
                annealing.betas,
                generator,
                num_chains=annealing.num_chains,
                start=self.start,
                kernel=self.kernel,
                layout=layout,
            )
            found.append(summarise(forward(path, annealing.betas, step_sizes, generator), pareto=False))
            if advance is not None:
                advance(last)
        values, se, ess = (np.concatenate(parts) for parts in zip(*(each[:3] for each in found), strict=True))
        return PerDatum(values, se, ess, None)

    def describe(self) -> str:
        """Where runs begin, how many they are, and their levels."""
        by = "" if isinstance(self.kernel, HMC) else f" by {type(self.kernel).__name__}"
        return f"AIS from the {self.start}{by} {self.annealing.describe()}"
