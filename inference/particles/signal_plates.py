"""Learning signals with one value for each element of the plates of a site, and what is made of them."""

from collections.abc import Callable, Sequence

from torch import Tensor

from ppgen.inference.particles.downstream import by_plates, guide_factor
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.structure.plates import Frame

Frames = tuple[Frame, ...]


def frames_of_signal(signal: Tensor, weights: LogWeights, site: str) -> Frames | None:
    """Plates that the dimensions of a signal after the first are; None where they are the rows, or one for all."""
    own = guide_factor(weights, site)
    frames = () if own is None else own.frames
    return frames if len(frames) == signal.dim() - 1 and {frame.name for frame in frames} != {weights.plate} else None


def score_density(weights: LogWeights, site: str, signal: Tensor, frames: Frames | None) -> Tensor:
    """Log-density by which the values at a site were drawn, summed to the elements of a signal: of its shape."""
    own = weights.drawn.get(site) or guide_factor(weights, site)
    if own is None:
        raise ValueError(f"The log-density of site {site!r} in the guide, which its score is made of, is not known.")
    density = own.columns if frames is None else by_plates(own, frozenset(frame.name for frame in frames), frames)
    summed = [dim for dim in range(1, signal.dim()) if signal.shape[dim] == 1 and density.shape[dim] != 1]
    return density.sum(summed, keepdim=True) if summed else density


def by_row(term: Tensor, frames: Frames | None, plate: str | None) -> Tensor:
    """A term of the elements of a signal, summed to (rows,), or (1,) outside the data plate."""
    if frames is None:
        return term
    summed = [dim for dim, frame in enumerate(frames) if frame.name != plate]
    return term.sum(summed).reshape(-1) if summed else term


def centred_by_row(
    centre: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]],
    signal: Tensor,
    frames: Frames | None,
    plate: str | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """A signal less a baseline that takes (particles, rows): elements of other plates stand below each other."""
    if frames is None:
        return centre(signal)
    rows = next((dim for dim, frame in enumerate(frames, 1) if frame.name == plate), None)
    last = signal.unsqueeze(-1) if rows is None else signal.movedim(rows, -1)
    centred, state = centre(last.reshape(-1, last.shape[-1]))
    centred = centred.reshape(last.shape)
    return (centred.squeeze(-1) if rows is None else centred.movedim(-1, rows)), state


def num_rows(signal: Tensor, frames: Frames, plate: str | None) -> int:
    """Rows of the data plate among the elements of a signal; 1 outside of it."""
    return next((signal.shape[dim] for dim, frame in enumerate(frames, 1) if frame.name == plate), 1)


def at_plates(signal: Tensor, frames: Sequence[Frame], ndim: int) -> Tensor:
    """A signal with its dimensions where the program has its plates: (particles, ...plates), of some dimensions."""
    order = sorted(range(len(frames)), key=lambda at: frames[at].dim)
    shape = [1] * ndim
    shape[0] = len(signal)
    for at in order:
        shape[frames[at].dim] = signal.shape[1 + at]
    return signal.permute(0, *(1 + at for at in order)).reshape(shape)
