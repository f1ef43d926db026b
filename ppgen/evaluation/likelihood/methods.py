"""Which method an estimate of log p(x) takes, and what is wrong with its arguments."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.room import check_room
from ppgen.evaluation.likelihood.bounds import Elbo, MeanFieldBound, PointBound
from ppgen.evaluation.likelihood.exact import Exact
from ppgen.evaluation.likelihood.hidden_layers import HiddenAnnealing, HiddenEnumeration
from ppgen.evaluation.likelihood.importance import ImportanceSampling
from ppgen.evaluation.likelihood.latent_annealing import LatentAnnealing, budget, check_annealing, movable, mover_of
from ppgen.evaluation.likelihood.method import LikelihoodMethod
from ppgen.evaluation.likelihood.reverse_annealing import ReverseAnnealing
from ppgen.evaluation.partition.partition import ADAPTIVE
from ppgen.evaluation.program import ROWS_AT_ONCE, Program, examine
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.annealing.annealing import make_betas
from ppgen.inference.structure.points import check_no_points
from ppgen.pair import as_pair
from ppgen.undisturbed import evaluating

# The first that applies is taken.
CLASSES: tuple[type[LikelihoodMethod], ...] = (
    HiddenEnumeration,
    PointBound,
    ImportanceSampling,
    Elbo,
    MeanFieldBound,
    LatentAnnealing,
    HiddenAnnealing,
    ReverseAnnealing,
    Exact,
)
METHODS = ("auto", *dict.fromkeys(each.name for each in CLASSES))


def check_likelihood(
    pair: Any,
    x: Any,
    *,
    method: str = "auto",
    num_particles: int = 5000,
    num_chains: int | None = None,
    betas: int | str | Sequence[float] | Tensor | None = None,
) -> tuple[int, Any]:
    """Raise what `log_likelihood` would raise of these arguments; nothing is drawn but one row.

    Returns:
        Runs and ladder of annealing that it would take: those given, or its own.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run, prepared.
        x: Data.
        method: As `log_likelihood` takes it.
        num_particles: Likewise.
        num_chains: Likewise.
        betas: Likewise.

    Raises:
        ValueError: If data or arguments are wrong, or the method does not apply; it says what to do.
        TypeError: If an argument has the wrong type.
    """
    pair = as_pair(pair)
    check_has_likelihood(pair, "Log-likelihoods")
    check_arguments(method, num_particles, None, "auto")
    check_annealing(2 if num_chains is None else num_chains, "prior", None)
    rows = CheckedRows(x, pair)
    program = examine(pair, rows)
    chosen = choose(method, program, len(rows))
    kernel = None
    if method == "auto" and chosen is LatentAnnealing:
        with evaluating(pair, 0):
            kernel = mover_of(pair, rows, program.layout, ROWS_AT_ONCE)
    num_chains, betas = budget(num_chains, betas, kernel)
    if chosen.anneals or not (isinstance(betas, str) and betas == ADAPTIVE):
        make_betas(betas)
    chosen.check_latents(program)
    return num_chains, betas


def choose(method: str, program: Program, num_data: int, log_partition: Any = None) -> type[LikelihoodMethod]:
    """The class that serves what was asked for.

    Args:
        method: As `log_likelihood` takes it.
        program: What one run of the pair tells.
        num_data: Rows of the data.
        log_partition: log Z as the user gave it.

    Raises:
        ValueError: If the method does not apply to the pair; it says what to use.
    """
    check_proper(program)
    points = program.layout.points
    able = [each for each in CLASSES if each.applies(program, method, num_data) and not (points and each.needs_law)]
    if not able:
        moved = movable(program)
        instead = "Use method='ais', which anneals from the prior and asks nothing of the guide, or g" if moved else "G"
        check_no_points(
            points, f"method={method!r}", f"{instead}ive a guide that draws the site, such as from a Normal."
        )
    able[0].check(program, method, log_partition)
    return able[0]


def check_proper(program: Program) -> None:
    """Raise where a latent has an improper prior, so that log p(x) is not defined.

    Raises:
        ValueError: Names the site and says what to do.
    """
    if program.layout.improper:
        site = program.layout.improper[0]
        raise ValueError(
            f"log p(x) is not defined: the latent site {site!r} has an improper prior (ImproperUniform), over which no "
            "mean can be taken. Give the site a law of its own, such as a Normal; of an autoencoder, "
            "models.Autoencoder(..., prior='normal'). How well data are reconstructed: "
            "features.reconstruction_error(pair, x)."
        )


def check_arguments(method: str, num_particles: int, chunk: int | None, compile: bool | str) -> None:
    """Raise a `ValueError` where an argument of `log_likelihood` is out of its range."""
    if compile not in (True, False, "auto"):
        raise ValueError(f'compile must be True, False or "auto", got {compile!r}.')
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}.")
    check_count("num_particles", num_particles, wanted="a positive integer")
    check_count("chunk", chunk, optional=True, wanted="a positive integer", room=False)
    check_room("num_particles", num_particles)
