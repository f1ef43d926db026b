"""Lower bounds of log p(x): the mean log-weight, and the closed form with the guide's means."""

from dataclasses import replace

import numpy as np
import pyro
import torch
from pyro.distributions import Delta

from ppgen import inference
from ppgen.evaluation.likelihood.method import Advance, LikelihoodMethod, Sampling, Subject
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import Program
from ppgen.inference.engine.plan import planned
from ppgen.inference.estimators.guide_draws import GuideDraws
from ppgen.inference.structure.layout import MEAN_FIELD
from ppgen.inference.structure.traces import base_law


@torch.no_grad()
def bounds(subject: Subject, sampling: Sampling, *, closed: bool, advance: Advance = None) -> PerDatum:
    r"""Evidence lower bound of every datum.

    .. math:: E_q[\log p(x, z) - \log q(z \mid x)] \approx \frac{1}{K} \sum_k \log w_k, \quad\text{or}\quad
              \log p(x, \mu) + H(q)

    Args:
        subject: Pair, data and log Z; no latent lies outside the data plate.
        sampling: How the guide is drawn from; one draw, if the form is closed.
        closed: Whether the guide's means stand in the place of draws (`inference.MeanField`).
        advance: Called with the number of data done.

    Raises:
        ValueError: If the means give no bound for the pair: the message names the site.
    """
    pair, rows, layout = subject.pair, subject.rows, subject.program.layout
    num_data, num_particles, chunk = len(rows), sampling.num_particles, sampling.chunk
    objective = inference.ELBO()
    found = np.full((3, num_data), np.nan)
    block = max(1, min(chunk // num_particles, num_data))
    with inference.attach(log_partition=subject.log_partitions), pyro.validation_enabled(False):
        plan = {}
        if closed:
            plan = planned(inference.Inference(objective, inference.MeanField()), pair, rows(0, 1), layout)
        for start in range(0, num_data, block):
            stop = min(start + block, num_data)
            parts = []
            for first in range(0, num_particles, chunk):
                count = min(chunk, num_particles - first)
                with GuideDraws(plan):
                    parts.append(inference.log_weights(pair, rows(start, stop), count, layout=layout).local.double())
            weights = torch.cat(parts)
            found[0, start:stop] = weights.mean(0).cpu().numpy()
            if closed:
                found[1, start:stop] = 0.0
            elif num_particles > 1:
                found[1, start:stop] = (weights.std(0) / num_particles**0.5).cpu().numpy()
            found[2, start:stop] = 1 if closed else num_particles
            if advance is not None:
                advance(stop)
    return PerDatum(found[0], found[1], found[2], None)


class Elbo(LikelihoodMethod):
    """The mean of the log-weights of K draws of the guide."""

    name = "elbo"
    weighted = False

    @classmethod
    def applies(cls, program: Program, asked: str, num_data: int) -> bool:
        """Where it is asked for."""
        return asked == cls.name

    def run(self, subject: Subject, advance: Advance = None) -> PerDatum:
        """The bounds, with the spread of the log-weights."""
        return bounds(subject, self.sampling, closed=False, advance=advance)

    def describe(self) -> str:
        """Draws of a datum."""
        return f"ELBO (K={self.sampling.num_particles})"


class PointBound(Elbo):
    """The log-weight of the one value that the guide has for each latent, as of codes of a codebook.

    All draws of such a guide are the same, so that more of them, or weights between them, say nothing beside.
    """

    @property
    def num_draws(self) -> int:
        """One, which is all that there is."""
        return 1

    @classmethod
    def applies(cls, program: Program, asked: str, num_data: int) -> bool:
        """Where nothing is asked for, and every law of the guide is a point."""
        laws = [base_law(program.layout.guide_laws.get(name)) for name in program.layout.model_laws]
        return asked == "auto" and bool(program.inexact_sites) and all(isinstance(law, Delta) for law in laws)

    def run(self, subject: Subject, advance: Advance = None) -> PerDatum:
        """The bounds, without error."""
        return bounds(subject, replace(self.sampling, num_particles=1), closed=False, advance=advance)

    def describe(self) -> str:
        """`ELBO of the guide's point`."""
        return "ELBO of the guide's point"


class MeanFieldBound(LikelihoodMethod):
    """The ELBO in closed form, with a machine's hidden units at the means of the guide."""

    name = "bound"
    weighted = False

    @property
    def num_draws(self) -> int:
        """Nothing is drawn."""
        return 1

    @classmethod
    def applies(cls, program: Program, asked: str, num_data: int) -> bool:
        """Where it is asked for."""
        return asked == cls.name

    @classmethod
    def check(cls, program: Program, asked: str, log_partition: object = None) -> None:
        """Raise unless the guide is a mean field, or exact, at every site."""
        if other := [site for site in program.inexact_sites if program.layout.latent[site] != MEAN_FIELD]:
            raise ValueError(
                f"method='bound' needs the means of a mean-field guide at site {other[0]!r} (marked "
                "infer={'posterior': 'mean field'}), as deep Boltzmann machines have. Use method='elbo'."
            )

    def run(self, subject: Subject, advance: Advance = None) -> PerDatum:
        """The bounds, without error."""
        return bounds(subject, replace(self.sampling, num_particles=1), closed=True, advance=advance)

    def describe(self) -> str:
        """`mean field`."""
        return "mean field"
