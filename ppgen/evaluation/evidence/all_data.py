"""All data as one: the batch, its structure, and whether it has a probability at all."""

from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
from pyro.infer.autoguide import AutoGuide
from torch import Tensor

from ppgen.batch import as_batch, changed, parts_of, tensors_of
from ppgen.checks.arrays import TorchData, is_array
from ppgen.checks.program_errors import OwnSubsampling
from ppgen.datasets import Rows
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.layout import Layout, find_layout
from ppgen.inference.structure.row_dependence import with_coupled
from ppgen.inference.structure.support import check_support
from ppgen.inference.structure.traces import element_law, unmasked
from ppgen.pair import AnyPair
from ppgen.undisturbed import evaluating

_FEW = 1000  # rows that may run together to see what a pair is


@dataclass(frozen=True)
class AllData:
    """A data set as one batch, and what one run of a pair on it tells.

    Attributes:
        batch: The data as the pair takes them, on its device.
        layout: Structure of the pair, with the sites that join rows.
    """

    batch: Any
    layout: Layout

    @property
    def joint(self) -> bool:
        """Whether rows have no likelihood of their own, so that a particle has one weight for all of them."""
        return bool(self.layout.plate is None or self.layout.global_latents or self.layout.coupled)

    @property
    def num_rows(self) -> int:
        """Rows of the data, by which the memory of a particle is counted."""
        return max([1, self.layout.num_rows, *map(len, tensors_of(self.batch))])

    @property
    def num_data(self) -> int | None:
        """Rows of the data plate."""
        return None if self.layout.plate is None else self.layout.num_rows

    @property
    def improper(self) -> str | None:
        """What has no prior of mass one, in words, so that p(all data) is not defined; None where all have."""
        if (flat := flat_prior(self.layout)) is not None:
            return flat
        for name in self.layout.model_laws:
            if name in self.layout.mismatched and name not in self.layout.scaled:
                return f"site {name!r} is masked in one of model and guide alone, so that it has no prior of mass one"
        return None


def flat_prior(layout: Layout) -> str | None:
    """Which latent has a prior that nothing can be drawn from, in words; None where there is none."""
    for name, law in layout.model_laws.items():
        if isinstance(element_law(law), dist.ImproperUniform):
            return f"site {name!r} has an improper prior (ImproperUniform)"
        if name in layout.mismatched and unmasked(law) is not law:
            return f"site {name!r} has a masked prior, which is flat and improper"
    return None


def all_data(pair: AnyPair, data: Any, argument: str = "data") -> AllData:
    """The data as one batch, held against the laws that observe them.

    Args:
        pair: A pair, prepared by this.
        data: All arguments of the program: a tensor or an array, a tuple or a mapping; tensors, numbers, anything else.
        argument: Name of the data, for messages.

    Raises:
        TypeError: If data are nothing that a program takes.
        ValueError: If the programs cannot run on them, values lie outside the support of their law, or the data plate
            subsamples or is larger than the data, so that they are not all.
    """
    of_own = not hasattr(pair, "config")  # a model of the zoo has rows
    given = (data,) if of_own and isinstance(data, int | float) else data

    def place(part: Any) -> Any:
        return part.to(pair.device) if isinstance(part, Tensor) else part

    batch = as_batch(given, pair, argument)
    watch = OwnSubsampling(pair.plate)
    with evaluating(pair):
        pair.prepare(batch)
        batch = changed(as_batch(given, pair, argument), place)  # parameters made just now decide the type
        with watch:
            layout = with_coupled(pair, batch, find_layout(pair, batch))
        if watch.subsamples:
            raise ValueError(watch.told)
        check_support(pair, batch)
    larger = [size for size in layout.plate_sizes if size != layout.num_rows]
    if larger:
        raise ValueError(
            f"Plate {layout.plate!r} is given the size {larger[0]}, and data hold {layout.num_rows} rows, so that they "
            "are not all of them. Give the whole data set."
        )
    return AllData(batch, layout)


def in_rows(data: Any) -> bool:
    """Whether all parts of data are arrays with as many rows, which may then be taken one by one."""
    parts = parts_of(data)
    arrays = all(is_array(part) or isinstance(part, (TorchData, list, Rows)) for part in parts)
    return arrays and all(getattr(part, "ndim", 1) for part in parts) and len({len(part) for part in parts}) == 1


def is_joint(pair: AnyPair, x: Any) -> bool:
    """Whether rows have no likelihood of their own, as far as one run tells; False where the programs do not run.

    Of many rows one is enough to see it, but for AutoGuides, which take the shapes of their first run for good.

    Args:
        pair: A pair, prepared by this.
        x: Data.
    """
    attempts = [_joint_row, _joint_data]
    if any(isinstance(module, AutoGuide) for module in pair.modules()) or _few(x):
        attempts.reverse()
    for attempt in attempts:
        try:
            return attempt(pair, x)
        except (RuntimeError, ValueError, TypeError, IndexError):  # told by the evaluation that comes next
            continue
    return False


def _joint_data(pair: AnyPair, x: Any) -> bool:
    return all_data(pair, x).joint


def _joint_row(pair: AnyPair, x: Any) -> bool:
    batch = CheckedRows(x, pair)(0, 1)
    with evaluating(pair):
        pair.prepare(batch)
        batch = CheckedRows(x, pair)(0, 1)  # parameters made just now decide the type
        return AllData(batch, with_coupled(pair, batch, find_layout(pair, batch))).joint


def _few(x: Any) -> bool:
    return all(len(part) <= _FEW for part in parts_of(x) if getattr(part, "ndim", 1) and hasattr(part, "__len__"))
