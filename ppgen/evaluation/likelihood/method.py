"""What every method of a likelihood offers: when it applies, what it finds for each datum, and what that is."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from ppgen.distributions.machines.layered_energy import LayeredEnergy
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.likelihood.given_partitions import own_partitions
from ppgen.evaluation.likelihood.latent_paths import Mover
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import Program
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.kernels.latent_density import Start
from ppgen.pair import AnyPair

Advance = Callable[[int], None] | None
Compile = bool | Literal["auto"]

DOUBTFUL_LADDER = (
    "a few annealing runs carry the estimate of many rows, and the value errs low by more than the error bar says; "
    "use more betas"
)


@dataclass(frozen=True)
class Annealing:
    """How annealing runs go.

    Attributes:
        betas: Ladder of inverse temperatures from 0 to 1, as `make_betas` gives it.
        num_chains: Runs of each datum.
        chunk: Runs moved at once, at least those of one datum, which bounds the memory.
        compile: Whether a level that is repeated is compiled.
    """

    betas: Sequence[float]
    num_chains: int
    chunk: int
    compile: Compile = "auto"

    def block(self, num_data: int) -> int:
        """Rows whose runs go together."""
        return max(1, min(self.chunk // self.num_chains, num_data))

    def describe(self) -> str:
        """Runs and levels, as an estimate prints them."""
        return f"({self.num_chains} chains x {len(self.betas) - 1} betas)"


@dataclass(frozen=True)
class Sampling:
    """How particles are drawn from the guide.

    Attributes:
        num_particles: Particles K of each datum.
        chunk: Log-weights evaluated at once.
        vectorize: False for programs that cannot broadcast over particles.
        compile: Whether blocks of the usual shape run as machine code; `"auto"` decides by the size of the run.
    """

    num_particles: int
    chunk: int
    vectorize: bool = True
    compile: Compile = "auto"


@dataclass(frozen=True)
class Subject:
    """What a likelihood is taken of: a pair in evaluation mode, the data, their structure, and log Z of machines.

    Attributes:
        pair: Model and guide.
        rows: The data; `rows(first, last)` is a batch of them.
        program: What one run of the pair tells.
        energies: Energies of the undirected sites; in a batch shape of all data where they depend on the datum.
        partitions: Estimate of log Z by undirected site; empty for a method that needs none.
    """

    pair: AnyPair
    rows: CheckedRows
    program: Program
    energies: dict[str, LayeredEnergy]
    partitions: dict[str, Estimate]

    @cached_property
    def log_partitions(self) -> dict[str, float]:
        """log Z by undirected site; 0 where each datum has its own, which is subtracted at the end, out of batches."""
        return {site: each.value if own_partitions(each) is None else 0.0 for site, each in self.partitions.items()}


@dataclass(frozen=True)
class LikelihoodMethod:
    """A method of `log_likelihood`, with the arguments that it was given. One class is one way to log p(x).

    Attributes:
        name: What it is asked for by; `"auto"` takes the first that applies.
        kind: What its values are, as `Estimate.kind` says it, where log Z is exact.
        anneals: Whether it goes along the ladder `betas`.
        normalised: Whether log Z of undirected sites is estimated before it runs.
        needs_law: Whether it needs a guide with a law, and not one of points.
        weighted: Whether its values are means of weights, whose spread tells the error.
        doubt: What is said where a few weights carry the estimate of many rows.
        note: What is said of the estimate in any case.
        sampling: How particles are drawn.
        annealing: How annealing runs go; without betas unless it anneals.
        start: Where annealing of latents begins.
        kernel: What moves the latents.
        seed: Seed of all randomness that is not torch's global random state.
    """

    name: ClassVar[str]
    kind: ClassVar[str] = "lower bound"
    anneals: ClassVar[bool] = False
    normalised: ClassVar[bool] = True
    needs_law: ClassVar[bool] = True
    weighted: ClassVar[bool] = True
    doubt: ClassVar[str] = ""
    note: ClassVar[str | None] = None

    sampling: Sampling
    annealing: Annealing
    start: Start
    kernel: Mover
    seed: int

    @property
    def num_draws(self) -> int:
        """Particles or annealing runs of a datum."""
        return self.annealing.num_chains if self.anneals else self.sampling.num_particles

    @classmethod
    @abstractmethod
    def applies(cls, program: Program, asked: str, num_data: int) -> bool:
        """Whether it is what the user asked for, by its name or by `"auto"`, for such a pair and so many rows."""

    @classmethod
    def check(cls, program: Program, asked: str, log_partition: Any = None) -> None:
        """Raise ValueError, before any work, if it cannot serve a pair that it applies to; says what to use instead.

        Args:
            program: What one run of the pair tells.
            asked: The method that was asked for.
            log_partition: log Z as the user gave it.
        """

    @classmethod
    def check_latents(cls, program: Program) -> None:
        """Raise ValueError where a plan is made if its run would refuse the latent sites."""

    @abstractmethod
    def run(self, subject: Subject, advance: Advance = None) -> PerDatum:
        """log p(x) of every datum, nats, and its error.

        Args:
            subject: Pair, data and log Z.
            advance: Called with the number of data done.
        """

    @abstractmethod
    def describe(self) -> str:
        """What an estimate says of it."""
