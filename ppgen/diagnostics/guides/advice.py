"""What to do about a guide: not everything that helps continuous latents is there for discrete ones."""

from typing import Literal

from ppgen.evaluation.likelihood.latent_annealing import movable
from ppgen.evaluation.program import Program
from ppgen.inference.structure.layout import EXACT_POSTERIOR, MEAN_FIELD

FEW = 0.01  # share of data up to which doubtful weights are those of outlying data, and no property of the guide

Latents = Literal["continuous", "discrete", "machine"]

_SPLIT = "diagnostics.approximation_gap tells whether the guide's family or its amortisation is at fault"
_GUIDE: dict[Latents, str] = {
    "continuous": "Use a richer or wider guide, or train it with an importance weighted bound (inference.IWAE(), "
    f"inference.RWS()), which punishes a guide that is too narrow; {_SPLIT}",
    "discrete": "Use a richer guide, or train it with an importance weighted bound (inference.VIMCO(), "
    "inference.RWS()), which punishes a guide that is too narrow",
    "machine": "The guide's means follow from the weights and have nothing to train",
}
_ANNEALING = "evaluation.log_likelihood(method='ais') gives log p(x) without trusting the guide's tails"


def latents_of(program: Program) -> Latents:
    """What the latents of a pair are, as far as advice goes.

    `"continuous"`: all can be moved by Hamiltonian Monte Carlo; `"machine"`: the model is one Boltzmann machine, whose
    hidden units can be annealed, with a guide that has no parameters; `"discrete"`: neither.
    """
    layout = program.layout
    if program.machine is not None and all(kind in (EXACT_POSTERIOR, MEAN_FIELD) for kind in layout.latent.values()):
        return "machine"
    discrete = any(layout.guide_laws[name].support.is_discrete for name in layout.latent)
    return "discrete" if discrete or program.energies else "continuous"


def annealing_instead(program: Program) -> str:
    """What gives log p(x) under a guide without a law, as a sentence; nothing where latents cannot be annealed."""
    if not movable(program):
        return ""
    return "evaluation.log_likelihood(pair, x, method='ais') anneals from the prior and asks nothing of the guide. "


def weights_advice(latents: Latents, share: float) -> str:
    """What to do where a fraction of the data has a Pareto k above 0.7.

    Example:
        >>> weights_advice("discrete", 0.005)
        'Few data are concerned: look at them (dataset.pareto_k) as outliers.'
    """
    if share <= FEW:
        found = ["Few data are concerned: look at them (dataset.pareto_k) as outliers"]
    else:
        found = [f"More particles will not mend this. {_GUIDE[latents]}"]
    return "; ".join(found if latents == "discrete" else [*found, _ANNEALING]) + "."


def gap_advice(latents: Latents) -> str:
    """What to do where the ELBO is far below log p(x).

    Example:
        >>> gap_advice("machine")
        "Compare models by the log-likelihood. The guide's means follow from the weights and have nothing to train."
    """
    told = {
        "continuous": f"A richer guide or an importance weighted bound narrows the gap; {_SPLIT}.",
        "discrete": "A richer guide or an importance weighted bound (inference.VIMCO(), inference.RWS()) narrows it.",
        "machine": f"{_GUIDE['machine']}.",
    }
    return f"Compare models by the log-likelihood. {told[latents]}"
