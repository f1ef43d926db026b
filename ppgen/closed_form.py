r"""What a pair offers whose parameters have their best values in closed form, given what is expected of the latents.

Dictionaries of sparse codes, mixtures, factor analysis: where log p(x, z) is linear in some statistics s(x, z), the
parameters that raise its expectation are a function of their sums over the data.

.. math:: \theta = \arg\max_\theta \sum_n \mathbb{E}_{q(z \mid x_n)} \log p_\theta(x_n, z),
          \qquad S = \sum_n \mathbb{E}_{q(z \mid x_n)} \, s(x_n, z)

A pair with the two methods below is trained by `inference.ClosedForm`, in the place of optimiser and gradient.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class Draw(NamedTuple):
    """A latent site as the guide drew it.

    Attributes:
        law: Its distribution under the guide, for statistics that are expectations: `law.probs`, `law.mean`.
        value: What was drawn: (rows, ...).
    """

    law: Any
    value: Tensor


@runtime_checkable
class ClosedFormPair(Protocol):
    """A pair whose model has an M-step in closed form.

    Both methods are tensor operations that read no tensor's value in Python, and draw nothing.
    """

    def sufficient_statistics(self, guide: Mapping[str, Draw], *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Statistics of a batch, each summed over its rows, so that those of parts of the data add up.

        Args:
            guide: Sites of the guide's run.
            *args: The batch, as model and guide take it.
            **kwargs: The batch, where its arguments have names.
        """

    def maximise(self, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Values of parameters that do not lower the objective, by their names as `pair.named_parameters()` has them.

        Where the best ones together are not known, one sweep over blocks from the present values will do. Nothing is
        written: the values are returned.

        Args:
            statistics: Sums over the whole data set, or what the batches so far say that they are.
        """


@runtime_checkable
class ReseedingPair(ClosedFormPair, Protocol):
    """A pair whose M-step cannot revive what no datum uses, such as atoms of a dictionary: it takes rows instead."""

    def candidates(self, guide: Mapping[str, Draw], *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """What of a batch may stand in for dead parts, such as its worst rows; of one shape for every batch.

        Args:
            guide: Sites of the guide's run.
            *args: The batch, as model and guide take it.
            **kwargs: The batch, where its arguments have names.
        """

    def reseed(
        self, statistics: Mapping[str, Tensor], candidates: Mapping[str, Tensor], rows: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Parameters with dead parts revived, by name, and the statistics that are altered by that.

        Called after `maximise`, whose values the parameters have by then. Nothing is written.

        Args:
            statistics: As `maximise` was given them.
            candidates: Of the last batch; under `torchrun` of the rows of process 0.
            rows: How many rows the statistics speak for, a scalar: few after the first small batches, in which much is
                unused that is not dead.
        """
