"""log p(x) exactly, by one draw of a guide that is the exact posterior."""

from dataclasses import replace

from ppgen.evaluation.likelihood.importance import importance
from ppgen.evaluation.likelihood.method import Advance, LikelihoodMethod, Subject
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import Program


class Exact(LikelihoodMethod):
    """One weight, which is p(x) whatever the draw: where log Z is known, exactly."""

    name = "exact"
    kind = "exact"

    @classmethod
    def applies(cls, program: Program, asked: str, num_data: int) -> bool:
        """Wherever nothing else does."""
        return asked in ("exact", "ais", "auto")

    @classmethod
    def check(cls, program: Program, asked: str, log_partition: object = None) -> None:
        """Raise unless the guide is the exact posterior."""
        if inexact := program.inexact_sites:
            raise ValueError(
                f"This pair's guide at site {inexact[0]!r} is not the exact posterior "
                f"(not marked infer={{'posterior': 'exact'}}), so log p(x) is not known exactly. Use "
                f"method='importance'."
            )

    def run(self, subject: Subject, advance: Advance = None) -> PerDatum:
        """Log-weights of one particle."""
        return importance(subject, replace(self.sampling, num_particles=1), pareto=False, advance=advance)

    def describe(self) -> str:
        """`exact`."""
        return "exact"
