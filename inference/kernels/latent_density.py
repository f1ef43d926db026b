"""The joint density of a pair as a function of unconstrained latents, one chain beside the other."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import biject_to

from ppgen.batch import split_batch
from ppgen.checks.arguments import check_count
from ppgen.distributions.machines.undirected import UndirectedDistribution
from ppgen.inference.kernels.continuous_latents import check_continuous
from ppgen.inference.particles.broadcasting import vectorized
from ppgen.inference.particles.factors import summed_log_prob
from ppgen.inference.structure.given_latents import GivenValues
from ppgen.inference.structure.layout import Layout, find_layout
from ppgen.inference.structure.plates import PARTICLES
from ppgen.inference.structure.row_dependence import with_coupled
from ppgen.inference.structure.traces import data_frame, element_law, sites
from ppgen.pair import GenerativeModel, keeping_buffers
from ppgen.undisturbed import evaluating, forked

Start = Literal["guide", "prior"]
STARTS = ("guide", "prior")


@dataclass(frozen=True)
class LatentTerms:
    """Log-densities of latents, each (num_chains, rows), in nats.

    Attributes:
        prior: log p(z).
        likelihood: log p(x | z).
        log_det: Log-Jacobian of the map from unconstrained values u to z.
    """

    prior: Tensor
    likelihood: Tensor
    log_det: Tensor


@dataclass(frozen=True)
class _Site:
    """Place of a latent site in the flat vector: its plates' shape and its unconstrained event shape.

    `inner` are the sizes of the plates besides those of the chains and the data; where there is none, a dimension of
    size 1 is no plate. `names` are those of the dimensions of a value with its rows first. `inside` says whether it
    lies in the data plate.
    """

    name: str
    inside: bool
    batch_shape: torch.Size
    inner: tuple[int, ...]
    event_shape: torch.Size
    first: int
    size: int
    names: tuple[str | None, ...] = ()


class LatentDensity:
    r"""log p(x, z(u)) + log-Jacobian of each datum as a function of all its continuous latents, unconstrained and flat.

    .. math:: \log f_{kb} = \log p(x_b, z(u_{kb})) + \log \left| \frac{\partial z}{\partial u} \right|

    A position has shape (num_chains, rows, dim), the density (num_chains, rows): every datum has `num_chains` chains,
    in a plate left of the deepest one as particles have, and all of them are evaluated by one run of the model.
    Supports are those that the model gives the sites at each evaluation, mapped by `torch.distributions.biject_to`.
    Scales and masks of the user's own are kept, the data plate's factor is divided out. Where latents are common to
    all data, the data set is one datum: there is one row, and `dim` counts the latents of all.

    Args:
        pair: A pair, which is run in the mode that it is in.
        batch: The data: a tensor, a tuple or a mapping.
        num_chains: Chains of each datum.
        layout: Structure of the pair, if it is known.

    Raises:
        ValueError: If the data of a model of the zoo are no matrix, there is no latent site, one is discrete, log Z of
            a site is unknown, or the program cannot run several chains at once.

    Example:
        >>> import torch
        >>> from ppgen import inference, models
        >>> vae = models.VAE(features=4, latent=2, hidden=(3,))
        >>> density = inference.LatentDensity(vae, torch.ones(5, 4), num_chains=7)
        >>> density(density.draw("guide")).shape
        torch.Size([7, 5])
    """

    def __init__(self, pair: Any, batch: Any, num_chains: int = 1, *, layout: Layout | None = None) -> None:
        check_count("num_chains", num_chains, wanted="a positive integer")
        if isinstance(pair, GenerativeModel) and isinstance(batch, Tensor) and batch.dim() != 2:
            # Else the features of a single row would be broadcast as rows.
            raise ValueError(f"x must have shape (rows, features), got {tuple(batch.shape)}; one row is x[None].")
        self.pair, self.batch, self.num_chains = pair, batch, num_chains
        self.layout = layout if layout is not None else with_coupled(pair, batch, find_layout(pair, batch))
        self.joint = bool(self.layout.plate is None or self.layout.global_latents or self.layout.coupled)
        _check(self.layout)
        if num_chains > 1 and self.joint:
            self._check_chains()
        try:
            with self._undisturbed():
                trace = self._trace(pair.guide)
                self.sites = self._find_sites(poutine.replay(pair.model, trace=trace))
        except (RuntimeError, ValueError, IndexError) as error:
            if num_chains == 1:
                raise
            LatentDensity(pair, batch, layout=self.layout)  # raises if several chains are not what is wrong
            raise ValueError(
                f"The program could not run {num_chains} chains at once: {error}. Chains are a dimension to the left "
                f"of every plate (dim={self.layout.particle_dim}); index the data from the right (x[..., i]). A single "
                "chain of each datum needs no such dimension."
            ) from error
        self.dim = sum(site.size for site in self.sites)
        self.num_rows = 1 if self.joint else self.sites[0].batch_shape[self.layout.row_dim]

    def _check_chains(self) -> None:
        """Raise where a program mixes up chains that run at once."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of particles, which are then run one by one
            apart = vectorized(self.pair, self.batch, self.layout)
        if not apart:
            raise ValueError(
                "The program takes chains together when several run at once, as w.sum() does where w.sum(-1) is meant: "
                "index and sum from the right (x[..., i], x.sum(-1, keepdim=True)), or run one chain, num_chains=1."
            )

    def __call__(self, position: Tensor) -> Tensor:
        """Log-density of positions (num_chains, rows, dim), nats: (num_chains, rows)."""
        terms = self.terms(position)
        return terms.prior + terms.likelihood + terms.log_det

    def terms(self, position: Tensor) -> LatentTerms:
        """Parts of the log-density at positions (num_chains, rows, dim), in nats: each (num_chains, rows)."""
        return self._terms(position)[0]

    def _terms(self, position: Tensor) -> tuple[LatentTerms, dict[str, Tensor]]:
        """The parts of the log-density, and the latents."""
        handler = _Unconstrained(self.pieces(position))
        trace: Any = self._trace(self.pair.model, handler)
        prior, likelihood = self._zeros(position), self._zeros(position)
        for name, site in sites(trace).items():
            if site["infer"].get("_deterministic") or (term := self._term(site)) is None:
                continue
            if name in handler.log_det:
                prior = prior + term
            else:
                likelihood = likelihood + term
        values = {site.name: trace.nodes[site.name]["value"] for site in self.sites}
        return LatentTerms(prior, likelihood, self._log_det(handler, position)), values

    def base_and_target(self, position: Tensor, start: Start) -> tuple[Tensor, Tensor]:
        """Log-densities of the start, p(z) or q(z | x), and of p(x, z), both with the Jacobian: (num_chains, rows).

        Raises:
            ValueError: If the start is the guide, and the guide has auxiliary sites.
        """
        terms, values = self._terms(position)
        base = terms.prior if start == "prior" else self._log_guide(position, values)
        return base + terms.log_det, terms.prior + terms.likelihood + terms.log_det

    def _log_guide(self, position: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        total = self._zeros(position)
        for site in sites(self._trace(self.pair.guide, GivenValues(values))).values():
            if site["infer"].get("is_auxiliary"):
                raise ValueError(
                    f"The guide draws the auxiliary site {site['name']!r}, so that its density of the latents alone is "
                    'unknown. Start from the prior: start="prior".'
                )
            total = total if (term := self._term(site)) is None else total + term
        return total

    def _term(self, site: Any) -> Tensor | None:
        """Log-density of a site, (num_chains or 1, rows or 1); None where it is a constant of all rows."""
        frame = data_frame(site, self.layout.plate)
        if frame is None and not self.joint:
            return None
        # A trajectory may leave for where numbers overflow: it is to be rejected, and not to end the chains.
        with pyro.validation_enabled(False):
            term = summed_log_prob(site, self.layout)
        return term.expand(-1, int(frame.size)).sum(1, keepdim=True) if self.joint and frame is not None else term

    @torch.no_grad()
    def draw(self, start: Start = "guide") -> Tensor:
        """Independent positions from q(z | x) or p(z), by torch's global random state: (num_chains, rows, dim).

        A point of the guide (Delta) may lie on the border of the support, as a positive code that is zero does; there
        the density of unconstrained values is degenerate, and a draw of the prior stands for that number.

        Raises:
            ValueError: If `start` is neither, or a draw of the guide lies outside the support that the model states.
        """
        if start not in STARTS:
            raise ValueError(f"The start of chains must be one of {', '.join(map(repr, STARTS))}, got {start!r}.")
        trace: Any = self._trace(self.pair.guide if start == "guide" else self.pair.model)
        values = {site.name: trace.nodes[site.name]["value"] for site in self.sites}
        return self.position(self._inside(values) if start == "guide" and self.layout.points else values)

    def _inside(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Values of the guide, with draws of the prior for numbers of its points that lie on the border."""
        trace: Any = self.given(values)
        for name in self.layout.points:
            law, value = trace.nodes[name]["fn"], values[name]
            border, inside = ~biject_to(law.support).inv(value).isfinite(), element_law(law).support.check(value)
            if border.shape == value.shape == inside.shape and bool((border & inside).any()):
                drawn = law.expand(value.shape[: value.dim() - law.event_dim])()
                values = {**values, name: torch.where(border, drawn, value)}
        return values

    @torch.no_grad()
    def position(self, values: Mapping[str, Tensor]) -> Tensor:
        """Flat unconstrained positions (num_chains, rows, dim) of values by site, shaped as the model draws them.

        Values without the dimension of chains are given to each of them.

        Raises:
            ValueError: If a value lies outside the support that the model states.
        """
        trace: Any = self.given(values)
        pieces = {}
        for site in self.sites:
            node = trace.nodes[site.name]
            piece = biject_to(node["fn"].support).inv(node["value"])
            if not piece.isfinite().all():
                raise ValueError(
                    f"Values at the latent site {site.name!r} lie outside or on the border of its support, "
                    f"{node['fn'].support}: the guide must draw inside the support that the model states."
                )
            pieces[site.name] = piece
        return self.flat(pieces)

    def flat(self, pieces: Mapping[str, Tensor]) -> Tensor:
        """One table (num_chains, rows, dim) of tensors by site, of the shape of unconstrained values there or fewer."""
        found = []
        for site in self.sites:
            piece = self._rows_first(pieces[site.name].expand(site.batch_shape + site.event_shape), site)
            found.append(piece.reshape(self.num_chains, self.num_rows, site.size))
        return torch.cat(found, -1)

    def given(self, values: Mapping[str, Tensor]) -> poutine.Trace:
        """Trace of the model with its latents held at values by site, shaped as the model draws them."""
        return self._trace(self.pair.model, GivenValues(values))

    @torch.no_grad()
    def values(self, position: Tensor) -> dict[str, Tensor]:
        """Latents by site, (num_chains, rows, inner plates, event), of positions (num_chains, rows, dim).

        Those outside the data plate have no rows.
        """
        latents = self._terms(position)[1]
        found = {}
        for site in self.sites:
            value = self._rows_first(latents[site.name], site)
            plates = len(site.batch_shape) + (self.num_chains == 1)
            found[site.name] = value.reshape(*value.shape[: 1 + site.inside], *site.inner, *value.shape[plates:])
        return found

    def dims(self) -> dict[str, tuple[str | None, ...]]:
        """By site, names of the dimensions of `values` from the rows on: of plates, and of event dimensions if told."""
        return {site.name: site.names for site in self.sites}

    def _find_sites(self, replayed: Callable[..., Any]) -> list[_Site]:
        found, first = [], 0
        for name, node in sites(self._trace(replayed)).items():
            if node["is_observed"] or node["infer"].get("_deterministic"):
                continue
            check_continuous(name, node["fn"])
            shape = node["value"].shape  # the law itself is not expanded where a value is given
            batch = shape[: len(shape) - node["fn"].event_dim]
            event = biject_to(node["fn"].support).inverse_shape(shape)[len(batch) :]
            size = math.prod((*batch, *event)) // self.num_chains
            inside = data_frame(node, self.layout.plate) is not None
            if not self.joint:
                size //= batch[self.layout.row_dim]
            names = self._names(node, batch, inside)
            inner = tuple(batch[dim] for dim, _ in self._inner_dims(node, batch, inside))
            found.append(_Site(name, inside, batch, inner, torch.Size(event), first, size, names))
            first += size
        return found

    def _inner_dims(self, node: Any, batch: torch.Size, inside: bool) -> list[tuple[int, str | None]]:
        """Dimensions besides those of chains and data, with the names of their plates."""
        plates = {frame.dim: frame.name for frame in node["cond_indep_stack"] if frame.vectorized}
        others = {self.layout.particle_dim, *([self.layout.row_dim] if inside else [])}
        inner = [dim for dim in range(-len(batch), 0) if dim not in others]
        return [(dim, plates.get(dim)) for dim in inner if batch[dim] != 1 or dim in plates]

    def _names(self, node: Any, batch: torch.Size, inside: bool) -> tuple[str | None, ...]:
        event_dim = node["fn"].event_dim
        told = node["infer"].get("event_dims") or ()
        told = (told,) if isinstance(told, str) else tuple(told)
        event = told if len(told) == event_dim else (None,) * event_dim
        inner = (name for _, name in self._inner_dims(node, batch, inside))
        return (self.layout.plate, *inner, *event) if inside else (*inner, *event)

    def _rows_first(self, value: Tensor, site: _Site) -> Tensor:
        """Values at a site with rows, if it has any, right of the chains: (num_chains, rows, inner plates, event)."""
        value = value.expand(site.batch_shape + value.shape[len(site.batch_shape) :])
        value = value.unsqueeze(0) if self.num_chains == 1 else value
        if not site.inside:
            return value
        return value.movedim(len(site.batch_shape) + (self.num_chains == 1) + self.layout.row_dim, 1)

    def pieces(self, position: Tensor) -> dict[str, Tensor]:
        """Unconstrained values by site, in the shapes of their plates, of a table (num_chains, rows, dim)."""
        pieces = {}
        for site in self.sites:
            plates = (1, *site.batch_shape) if self.num_chains == 1 else tuple(site.batch_shape)
            piece = position[..., site.first : site.first + site.size]
            if site.inside:
                rows = len(plates) + self.layout.row_dim
                inner = [size for index, size in enumerate(plates) if index not in (0, rows)]
                piece = piece.reshape(self.num_chains, plates[rows], *inner, *site.event_shape).movedim(1, rows)
            else:
                piece = piece.reshape(self.num_chains, *plates[1:], *site.event_shape)
            pieces[site.name] = piece.squeeze(0) if self.num_chains == 1 else piece
        return pieces

    def _log_det(self, handler: "_Unconstrained", position: Tensor) -> Tensor:
        total = self._zeros(position)
        for site in self.sites:
            each = self._rows_first(handler.log_det[site.name], site)
            total = total + each.reshape(*position.shape[:2], -1).sum(-1)
        return total

    def _zeros(self, position: Tensor) -> Tensor:
        return position.new_zeros(position.shape[:2])

    def _trace(self, program: Callable[..., Any], handler: Messenger | None = None) -> poutine.Trace:
        args, kwargs = split_batch(self.batch)
        chains: AbstractContextManager[Any] = nullcontext()
        if self.num_chains > 1:
            chains = pyro.plate(PARTICLES, self.num_chains, dim=self.layout.particle_dim)
        with pyro.validation_enabled(False), self.pair.running(), handler or nullcontext(), chains:
            return poutine.trace(program).get_trace(*args, **kwargs)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        with forked(self.pair.device), torch.no_grad(), keeping_buffers(self.pair):
            yield


class _Unconstrained(Messenger):
    """Puts the images of unconstrained values at latent sites, and notes the log-Jacobian."""

    def __init__(self, pieces: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.pieces = pieces
        self.log_det: dict[str, Tensor] = {}

    def _pyro_sample(self, msg: Any) -> None:
        piece = self.pieces.get(msg["name"])
        if piece is not None:
            transform = biject_to(msg["fn"].support)
            msg["value"], msg["done"] = transform(piece), True
            self.log_det[msg["name"]] = transform.log_abs_det_jacobian(piece, msg["value"])


@contextmanager
def frozen(pair: Any, seed: int) -> Iterator[torch.Generator]:
    """Context in which a pair is in evaluation mode and torch's random state seeded; gives a generator on its device.

    Training flags and the caller's random state are as before afterwards.
    """
    with evaluating(pair, seed):
        yield torch.Generator(device=pair.device).manual_seed(seed)


def _check(layout: Layout) -> None:
    if not layout.latent:
        raise ValueError(
            "The pair has no latent site, so log p(x) is the density of its observed sites: no chains needed."
        )
    for name, law in layout.laws.items():
        if isinstance(law, UndirectedDistribution) and name not in layout.latent:
            raise ValueError(
                f"log Z at site {name!r} is not known; attach it: with inference.attach(log_partition=...)."
            )
