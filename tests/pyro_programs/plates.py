"""Plates: vectorised, sequential, without a size, subsampled, nested, crossed, side by side, used twice."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch

from pyro_programs.program import REFUSES, RUNS, WARNS, Program, Stated, programs_of

ROWS = torch.tensor([0.5, -1.0, 2.0, 0.1, 0.7, -0.3])


def one(draw: Stated, size: int | None) -> None:
    """A plate; with a size of its subsample."""
    with pyro.plate("plate", 6, size) as rows:
        draw.latent("x", len(rows))


def one_observed(draw: Stated, size: int | None) -> None:
    """A plate with observations of its rows."""
    with pyro.plate("plate", 6, size) as rows:
        x = draw.latent("x")
        draw.seen("y", dist.Normal(x, 1.0), ROWS[rows])


def without_size(draw: Stated) -> None:
    """A plate whose sites say its size."""
    with pyro.plate("plate"):
        draw.latent("x", 6)


def without_size_observed(draw: Stated) -> None:
    """A plate without a size, in which observations of a latent outside lie."""
    x = draw.latent("x")
    with pyro.plate("plate"):
        draw.seen("y", dist.Normal(x, 1.0), ROWS)


def loop(draw: Stated, size: int | None) -> None:
    """A sequential plate."""
    for i in pyro.plate("loop", 4, size):
        draw.latent(f"x{i}")


def loop_observed(draw: Stated, size: int | None) -> None:
    """A sequential plate over the data."""
    x = draw.latent("x")
    for i in pyro.plate("loop", 6, size):
        draw.seen(f"y{i}", dist.Normal(x, 1.0), ROWS[i])


def loop_in_loop(draw: Stated, size: int | None, swapped: bool) -> None:
    """Sequential plates in each other; the guide may go through them the other way round."""
    outer, inner = pyro.plate("outer", 3, size), pyro.plate("inner", 3, size)
    if swapped and type(draw) is not Stated:
        for j in inner:
            for i in outer:
                draw.latent(f"x{i}{j}")
    else:
        for i in outer:
            for j in inner:
                draw.latent(f"x{i}{j}")


def empty_loop_of_the_model(draw: Stated, size: int | None) -> None:
    """A sequential plate of the model in which nothing is drawn."""
    if type(draw) is Stated:
        for _ in pyro.plate("loop", 6, size):
            pass
    draw.latent("x")


def empty_loop_of_the_guide(draw: Stated, size: int | None) -> None:
    """A sequential plate that the model has not."""
    if type(draw) is not Stated:
        for _ in pyro.plate("loop", 6, size):
            pass
    draw.latent("x")


def loop_in_plate(draw: Stated) -> None:
    """A sequential plate within a vectorised one, both subsampled."""
    with pyro.plate("plate", 3, 2) as rows:
        for i in pyro.plate("loop", 3, 2):
            draw.latent(f"x{i}", len(rows))


def plate_in_loop(draw: Stated) -> None:
    """A vectorised plate made once and entered in each turn of a sequential one."""
    inner = pyro.plate("plate", 3, 2)
    for i in pyro.plate("loop", 3, 2):
        with inner as rows:
            draw.latent(f"x{i}", len(rows))


def stack(draw: Stated, sizes: tuple[int, ...], within: bool) -> None:
    """A stack of plates, alone or with a plate within."""
    with pyro.plate_stack("stack", sizes):
        if within:
            with pyro.plate("plate", 5):
                draw.latent("x")
        else:
            draw.latent("x")


def nested(draw: Stated) -> None:
    """A plate in a plate, both subsampled."""
    with pyro.plate("outer", 10, 5) as outer:
        draw.latent("x", len(outer))
        with pyro.plate("inner", 11, 6) as inner:
            draw.latent("y", len(inner), len(outer))


def nested_observed(draw: Stated) -> None:
    """Observations in a plate in a plate, with latents at every depth."""
    z = draw.latent("z")
    with pyro.plate("outer", 3, dim=-2):
        x = draw.latent("x")
        with pyro.plate("inner", 2, dim=-1):
            y = draw.latent("y")
            draw.seen("seen", dist.Normal(x + y + z, 1.0), ROWS.reshape(3, 2))


def crossed(draw: Stated) -> None:
    """Two plates alone and together."""
    columns, rows = pyro.plate("columns", 10, 5, dim=-1), pyro.plate("rows", 11, 6, dim=-2)
    with columns as inner:
        draw.latent("x", len(inner))
    with rows as outer:
        draw.latent("y", len(outer), 1)
    with columns as inner, rows as outer:
        draw.latent("z", len(outer), len(inner))


def crossed_observed(draw: Stated) -> None:
    """Observations of rows and columns, as in a table of ratings."""
    columns, rows = pyro.plate("columns", 2, dim=-1), pyro.plate("rows", 3, dim=-2)
    with columns:
        x = draw.latent("x")
    with rows:
        y = draw.latent("y")
    with columns, rows:
        draw.seen("seen", dist.Normal(x + y, 1.0), ROWS.reshape(3, 2))


def side_by_side(draw: Stated) -> None:
    """Two plates one after the other, at the same dimension."""
    with pyro.plate("first", 10, 5) as first:
        draw.latent("x", len(first))
    with pyro.plate("second", 11, 6) as second:
        draw.latent("y", len(second))


def depths(draw: Stated) -> None:
    """One plate under sequential plates of different depth."""
    inner = pyro.plate("plate", 10, 5)
    for i in pyro.plate("outer", 2):
        draw.latent(f"x{i}")
        if i == 0:
            for j in pyro.plate("middle", 2):
                with inner as rows:
                    draw.latent(f"y{j}", len(rows))
        else:
            with inner as rows:
                draw.latent("z", len(rows))


def dimensions(draw: Stated) -> None:
    """Plates whose dimensions are chosen around one that is given."""
    with pyro.plate("a", 4, 2, dim=-3):
        draw.latent("x")
        with pyro.plate("b", 5, 3):
            draw.latent("y")
            with pyro.plate("c", 6, 4):
                draw.latent("z")
                with pyro.plate("d", 7, 5):
                    draw.latent("w")


def particles_by_hand(draw: Stated) -> None:
    """A plate of particles of the user's own, left of the data and beside plates of components."""
    with pyro.plate("particles", 4, dim=-3):
        with pyro.plate("components", 2, dim=-1):
            x = draw.latent("x")
        with pyro.plate("data", 3, dim=-2):
            draw.seen("seen", dist.Normal(x, 1.0), ROWS.reshape(3, 2))


def global_and_local(draw: Stated) -> None:
    """A hierarchy: a global latent, one for each row, and its observation."""
    m = draw.latent("m")
    with pyro.plate("data", 6):
        z = draw.latent("z", shift=m)
        draw.seen("seen", dist.Normal(z, 1.0), ROWS)


def no_plate(draw: Stated) -> None:
    """No plate: one datum, and latents that depend on each other."""
    a = draw.latent("a")
    b = draw.latent("b", shift=a)
    draw.seen("seen", dist.Normal(a + b, 1.0), ROWS[0])


def vector_without_plate(draw: Stated) -> None:
    """A vector-valued latent, and a vector of data that are one datum."""
    w = pyro.sample("w", dist.Normal(draw.parameter() * torch.ones(3), 1.0).to_event(1))
    draw.seen("seen", dist.Normal(w.sum().expand(6), 1.0).to_event(1), ROWS)


def subsampled_parameters(model: bool) -> Any:
    """Parameters of a guide that plates cut to their subsample."""

    def program() -> None:
        p0 = torch.tensor(0.2) if model else pyro.param("p0", 0.5 * torch.ones(4, 5), event_dim=2).mean()
        with pyro.plate("outer", 10, 5):
            px = p0 if model else pyro.param("px", 0.3 * torch.ones(10), event_dim=0)
            pyro.sample("x", dist.Normal(px, 1.0))
            with pyro.plate("inner", 11, 6):
                py = p0 if model else pyro.param("py", 0.4 * torch.ones(11, 10), event_dim=0)
                pyro.sample("y", dist.Normal(py + p0, 1.0))

    return program


def wrong_size(draw: Stated) -> None:
    """More rows than the plate has."""
    with pyro.plate("plate", 10, 5) as rows:
        draw.latent("x", 1 + len(rows))


def too_few(draw: Stated) -> None:
    """Fewer rows than the plate has."""
    with pyro.plate("plate", 10, 5):
        draw.latent("x", 2)


def collision(draw: Stated) -> None:
    """A plate at a dimension that another has."""
    with pyro.plate("outer", 10, 5, dim=-2):
        draw.latent("x")
        with pyro.plate("first", 11, 6):
            draw.latent("y")
            with pyro.plate("second", 12, 7, dim=-1):
                draw.latent("z")


def misplaced(draw: Stated, *shape: int) -> None:
    """A site in nested plates whose batch shape is not theirs."""
    with pyro.plate("outer", 10, 5):
        draw.latent("x", 5, 1)
        with pyro.plate("inner", 11, 6):
            draw.latent("y", *shape)


SIZES: tuple[int | None, ...] = (None, 2)

PROGRAMS: list[Program] = [
    *(each for size in SIZES for each in programs_of(f"plate, subsample {size}", one, size)),
    *(each for size in SIZES for each in programs_of(f"observed plate, subsample {size}", one_observed, size)),
    *programs_of("plate without size", without_size),
    *programs_of("observations in a plate without size", without_size_observed),
    *(each for size in SIZES for each in programs_of(f"loop, subsample {size}", loop, size)),
    *(each for size in SIZES for each in programs_of(f"observed loop, subsample {size}", loop_observed, size)),
    *(
        each
        for size in SIZES
        for swapped in (False, True)
        for each in programs_of(f"loops, subsample {size}, swapped {swapped}", loop_in_loop, size, swapped)
    ),
    *(each for size in SIZES for each in programs_of(f"empty loop of the model {size}", empty_loop_of_the_model, size)),
    *(
        each
        for size in SIZES
        for checks in (True, False)
        for each in programs_of(
            f"empty loop of the guide {size}, checks {checks}",
            empty_loop_of_the_guide,
            size,
            pyro=WARNS if checks else RUNS,
            validated=checks,
        )
    ),
    *programs_of("loop in a plate", loop_in_plate),
    *programs_of("plate in a loop", plate_in_loop),
    *(
        each
        for sizes in ((3,), (3, 2), (3, 2, 4))
        for within in (False, True)
        for each in programs_of(f"stack of {len(sizes)}, plate within {within}", stack, sizes, within)
    ),
    *programs_of("nested", nested, laws=("normal", "bernoulli", "score")),
    *programs_of("nested, observed", nested_observed, laws=("normal", "bernoulli", "score")),
    *programs_of("crossed", crossed, laws=("normal", "bernoulli", "score")),
    *programs_of("crossed, observed", crossed_observed, laws=("normal", "score")),
    *programs_of("side by side", side_by_side),
    *programs_of("different depths", depths),
    *programs_of("dimensions around a given one", dimensions),
    *programs_of("particles by hand", particles_by_hand, laws=("normal", "score")),
    *programs_of("global and local", global_and_local, laws=("normal", "bernoulli", "score")),
    *programs_of("no plate", no_plate, laws=("normal", "bernoulli", "categorical", "score")),
    *programs_of("vector without a plate", vector_without_plate, laws=("normal",)),
    Program("parameters cut by plates", subsampled_parameters(True), subsampled_parameters(False)),
    *programs_of("too many rows", wrong_size, pyro=REFUSES),
    *programs_of("too few rows", too_few, pyro=REFUSES),
    *programs_of("plates collide", collision, pyro=REFUSES),
    *programs_of("shape of the outer plate alone", misplaced, 5, pyro=REFUSES),
    *programs_of("shape of the inner plate, turned", misplaced, 6, 1, pyro=REFUSES),
    *programs_of("shape of the outer plate twice", misplaced, 5, 5, pyro=REFUSES),
]
