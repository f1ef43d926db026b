"""The data plate around a site: its rows, the size it was given, and whether both are those of the data."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ppgen.batch import tensors_of

_NO_SIZE = -1  # Pyro's own mark of a plate that was given none
PARTICLES = "_particles"  # name of the plate that holds particles


class Frame(NamedTuple):
    """A vectorised plate around a site.

    Attributes:
        name: Its name.
        dim: Its dimension, counted from the right (negative).
        size: Rows at hand.
        full_size: Size that it was given: that of the data set where the rows are a subsample.
    """

    name: str
    dim: int
    size: int
    full_size: int


def frames_of(site: Any) -> tuple[Frame, ...]:
    """Vectorised plates around a site from left to right, without that of the particles; a loop is no dimension."""
    found = [sized(frame, site) for frame in site["cond_indep_stack"] if frame.vectorized and frame.name != PARTICLES]
    found.sort(key=lambda frame: frame.dim)
    return tuple(Frame(frame.name, frame.dim, int(frame.size), int(frame.full_size)) for frame in found)


def sized(frame: Any, site: Any) -> Any:
    """The frame of a plate around a site; of a plate without a size, with the rows that the site has there.

    `pyro.plate("data")` expands no law and knows no size, which Pyro marks by -1; the size is then that of the
    dimension in the values.
    """
    if frame.dim is None or frame.size != _NO_SIZE:
        return frame
    shapes = [site["fn"].batch_shape]
    if isinstance(site["value"], Tensor):
        shapes.append(site["value"].shape[: site["value"].dim() - site["fn"].event_dim])
    rows = max((shape[frame.dim] for shape in shapes if len(shape) >= -frame.dim), default=1)
    return frame._replace(size=rows, full_size=rows)


def plate_rows(found: Iterable[Mapping[str, Any]], plate: str) -> int:
    """Rows of the data plate, on which all sites inside must agree.

    Args:
        found: Frame of the plate by site, of the model and of the guide.
        plate: Its name.

    Raises:
        ValueError: Names two sites and their rows.
    """
    rows = [(name, int(frame.size)) for frames in found for name, frame in frames.items()]
    first, expected = rows[0]
    for name, number in rows:
        if number != expected:
            raise ValueError(
                f"Plate {plate!r} has {expected} rows at site {first!r} and {number} at site {name!r}, so it is not "
                "known how many data there are. Draw both with one row a datum, and give the plate its size in model "
                f"and guide: pyro.plate({plate!r}, len(x))."
            )
    return expected


def plate_size(sizes: Iterable[int], plate: str | None) -> int:
    """Size that the data plate was given, where nothing else says how many data there are; 1 without a plate.

    Raises:
        ValueError: If model and guide give it different ones.
    """
    if plate is None:
        return 1
    known = sorted(set(sizes))
    if len(known) > 1:
        raise ValueError(
            f"Plate {plate!r} is given the sizes {known}, so it is not known how many data there are. Give it the same "
            f"size in model and guide: pyro.plate({plate!r}, N, subsample=x) with the N of the whole data set."
        )
    return known[0]


def check_rows(
    batch: Any, rows: int, plate: str | None, num_data: int | None = None, argument: str = "Pair(..., plate=...)"
) -> None:
    """Raise unless the data plate has the rows of the batch: the first dimension of its tensors.

    Args:
        batch: A batch of data.
        rows: Rows of the plate.
        plate: Its name.
        num_data: Rows of the whole data set.
        argument: What names a plate.

    Raises:
        ValueError: Names the plate, its rows and those of the batch.
    """
    if plate is None:
        return
    tensors = tensors_of(batch)
    if tensors and all(len(tensor) != rows for tensor in tensors):
        told = "" if num_data is None else f" (of {num_data} in all)"
        raise ValueError(
            f"Plate {plate!r} has {rows} rows, but the batch has {len(tensors[0])}{told}: rows are the first dimension "
            f"of the data, here of shape {tuple(tensors[0].shape)}. Put one datum in a row of the data (x.T, or "
            f"x.movedim(i, 0)), or name the plate that goes over the rows: {argument}."
        )
