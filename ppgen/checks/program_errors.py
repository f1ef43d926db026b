"""What is wrong with a user's programs, told by plate and site where Pyro and torch tell it by shapes and indices."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor


class OwnSubsampling(Messenger):
    """Notes whether the data plate draws a random subsample of its own.

    Args:
        plate: Name of the plate.
    """

    def __init__(self, plate: str | None) -> None:
        super().__init__()
        self.plate = plate
        self.subsamples = False

    @property
    def told(self) -> str:
        """What is wrong with that where data come in batches, and what to write instead."""
        return (
            f"Plate {self.plate!r} draws a subsample by itself (subsample_size), though the data come in batches "
            "already: two subsamplings. Write pyro.plate(name, size, subsample=x) or pyro.plate(name, len(x))."
        )

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] == self.plate and site_is_subsample(msg) and msg["value"] is None:
            size = msg["fn"].subsample_size
            self.subsamples |= size is not None and size != msg["fn"].size  # larger ones Pyro refuses


class WholePlates(Messenger):
    """Handler under which every plate must take all that it holds: one that draws a subsample raises by name.

    Args:
        what: What would see the drawn part alone.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def _pyro_sample(self, msg: Any) -> None:
        if not site_is_subsample(msg) or msg["fn"].subsample_size in (None, msg["fn"].size):
            return
        raise ValueError(
            f"Plate {msg['name']!r} draws a subsample of {msg['fn'].subsample_size} of {msg['fn'].size} by itself "
            f"(subsample_size), so that {self.what} would hold the drawn part alone. Give the program the size as an "
            "argument or leave subsample_size away: pyro.plate(name, len(x))."
        )


class _Seen(Messenger):
    """Remembers, while the model runs with the guide's values, the first that lies outside the model's support."""

    def __init__(self) -> None:
        super().__init__()
        self.guide: poutine.Trace | None = None
        self.outside: tuple[str, Any, Any] | None = None  # site, its law in the model, in the guide

    def _pyro_post_sample(self, msg: Any) -> None:
        if self.guide is None or self.outside is not None or msg["name"] not in self.guide.nodes:
            return
        if msg["is_observed"] or site_is_subsample(msg) or not isinstance(msg["value"], Tensor):
            return
        try:
            inside = bool(msg["fn"].support.check(msg["value"]).all())
        except (RuntimeError, NotImplementedError, AttributeError):  # without a support, or not of that shape
            return
        if not inside:
            drawn: Any = self.guide.nodes[msg["name"]]
            self.outside = msg["name"], msg["fn"], drawn["fn"]


@contextmanager
def explained(plate: str | None) -> Iterator[_Seen]:
    """Context in which what model and guide raise is told with its cause and with what to do.

    Set `guide` of what it gives to the guide's trace, once there is one.

    Args:
        plate: Name of the data plate.

    Raises:
        ValueError: For a law that does not fit its plates; where values of the guide lie outside the support that the
            model states, and the model cannot go on with them; where the data plate draws rows by itself of which the
            batch has not so many.
    """
    seen, watch = _Seen(), OwnSubsampling(plate)
    try:
        with seen, watch:
            yield seen
    except IndexError as error:
        if not watch.subsamples:
            raise
        raise ValueError(watch.told) from error
    except (RuntimeError, ValueError) as error:
        told = str(error).partition("\n")[0]
        if watch.subsamples and told.startswith("subsample_size does not match"):  # a batch with fewer rows
            raise ValueError(watch.told) from error
        if seen.outside is not None:
            name, stated, drawn = seen.outside
            raise ValueError(
                f"The guide draws values of site {name!r} outside of its support in the model "
                f"({_law(stated)}: {_support(stated)}), with which the model cannot run. Draw it from a law of that "
                f"support instead of a {_law(drawn)}{_such_as(stated)}. The model raised: {told}"
            ) from error
        if not isinstance(error, ValueError) or not told.startswith("Shape mismatch inside plate"):
            raise
        raise ValueError(
            f"{told} of its law. Give the plate the rows of the batch, as pyro.plate(name, len(x)), and make what is "
            "no plate an event with .to_event(1)."
        ) from error


def _support(law: Any) -> Any:
    support = law.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


def _such_as(law: Any) -> str:
    if getattr(_support(law), "lower_bound", None) == 0 and not hasattr(_support(law), "upper_bound"):
        return ", such as dist.LogNormal"
    return ""


def _law(law: Any) -> str:
    while hasattr(law, "base_dist") and not hasattr(law, "transforms"):
        law = law.base_dist
    return type(law).__name__
