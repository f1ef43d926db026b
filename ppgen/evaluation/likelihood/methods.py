"""Which method an estimate of log p(x) takes, and what is wrong with its arguments."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.room import check_room
from ppgen.evaluation.likelihood.hidden_layers import hidden_states
from ppgen.evaluation.likelihood.latent_annealing import check_annealing
from ppgen.evaluation.partition.partition import ADAPTIVE, enumerable
from ppgen.evaluation.program import Program, examine
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.annealing.annealing import make_betas
from ppgen.inference.structure.layout import MEAN_FIELD
from ppgen.inference.structure.points import check_no_points
from ppgen.pair import as_pair

METHODS = ("auto", "exact", "importance", "elbo", "bound", "ais", "raise")
# States of hidden layers times rows that "auto" sums over: seconds for machines of hundreds of units.
WORTH_ENUMERATING = 2**22


def check_likelihood(
    pair: Any,
    x: Any,
    *,
    method: str = "auto",
    num_particles: int = 5000,
    num_chains: int = 100,
    betas: int | str | Sequence[float] | Tensor = 1000,
) -> None:
    """Raise what `log_likelihood` would raise of these arguments; nothing is drawn but one row.

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
    check_annealing(num_chains, "prior", None)
    rows = CheckedRows(x, pair)
    program = examine(pair, rows)
    chosen = choose(method, program, len(rows))
    if not (isinstance(betas, str) and betas == ADAPTIVE) or chosen in ("annealing", "hidden annealing", "raise"):
        make_betas(betas)
    discrete = [name for name in program.layout.latent if program.layout.guide_laws[name].support.is_discrete]
    if chosen == "annealing" and discrete:
        raise ValueError(
            f"method='ais' anneals continuous latents, and the latent site {discrete[0]!r} is discrete. Use "
            "method='importance'."
        )


def choose(method: str, program: Program, num_data: int) -> str:
    """`"exact"` where one particle tells log p(x), `"enumeration"` of hidden layers, or what was asked for.

    Raises:
        ValueError: If the method does not apply to the pair; it says what to use.
    """
    inexact = program.inexact_sites
    if program.layout.points:
        return _of_points(method, program)
    if method in ("elbo", "bound"):
        if method == "bound" and (other := [site for site in inexact if program.layout.latent[site] != MEAN_FIELD]):
            raise ValueError(
                f"method='bound' needs the means of a mean-field guide at site {other[0]!r} (marked "
                "infer={'posterior': 'mean field'}), as deep Boltzmann machines have. Use method='elbo'."
            )
        return method
    if method == "raise":
        if program.machine is None or program.machine.layer % 2:
            others = "'importance'" if program.energies else "'ais' or 'importance'"
            raise ValueError(
                "method='raise' anneals a Boltzmann machine down from the data in its first layer; this model is none. "
                f"Use method={others}."
            )
        return method
    if inexact and method in ("exact", "auto") and program.machine is not None:
        energy = program.energies[program.machine.site]
        states = hidden_states(energy, program.machine.layer)
        if method == "exact" or (enumerable(energy) and states * num_data <= WORTH_ENUMERATING):
            return "enumeration"
    if method == "ais" and not program.energies:
        return "annealing"
    if method == "ais" and inexact and program.machine is not None:
        return "hidden annealing"
    if method in ("exact", "ais") and inexact:
        raise ValueError(
            f"This pair's guide at site {inexact[0]!r} is not the exact posterior "
            f"(not marked infer={{'posterior': 'exact'}}), so log p(x) is not known exactly. Use "
            f"method='importance'."
        )
    return "importance" if method == "importance" or inexact else "exact"


def _of_points(method: str, program: Program) -> str:
    """Annealing from the prior, which asks nothing of the guide; raises for every other method."""
    layout = program.layout
    moved = not (program.energies or layout.marginalised) and not any(
        law.support.is_discrete for name, law in layout.model_laws.items() if name in layout.latent
    )
    if moved and method in ("auto", "ais"):
        return "annealing"
    instead = "Use method='ais', which anneals from the prior and asks nothing of the guide, or g" if moved else "G"
    check_no_points(
        layout.points, f"method={method!r}", f"{instead}ive a guide that draws the site, such as from a Normal."
    )
    return method


def check_arguments(method: str, num_particles: int, chunk: int | None, compile: bool | str) -> None:
    """Raise a `ValueError` where an argument of `log_likelihood` is out of its range."""
    if compile not in (True, False, "auto"):
        raise ValueError(f'compile must be True, False or "auto", got {compile!r}.')
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}.")
    for name, value in (("num_particles", num_particles), ("chunk", chunk)):
        if value is None and name == "chunk":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}.")
    check_room("num_particles", num_particles)
