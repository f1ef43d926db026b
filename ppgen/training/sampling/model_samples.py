"""Draws from a trained model: `ppgen.sample`."""

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Size, Tensor

from ppgen.batch import as_batch, split_batch, tensors_of
from ppgen.checks.arguments import check_count
from ppgen.checks.arrays import in_dtype, parameter_dtype
from ppgen.checks.dtypes import agreeing_dtypes, mixed_dtypes
from ppgen.checks.room import check_room
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.distributions.machines.layered_energy import EVEN, LayeredEnergy
from ppgen.distributions.machines.samplers import base_rate_draw, dispersed_draw
from ppgen.inference.kernels.gibbs_chains import gibbs_chains
from ppgen.inference.state_roles import persistent_chains
from ppgen.inference.structure.traces import replace_law, undirected_law
from ppgen.pair import as_pair
from ppgen.progress import progress_bar
from ppgen.rhat import UnitMoments, split_rhat, worst_rhat
from ppgen.training.data.batch_source import from_example
from ppgen.training.sampling.completion import as_rows, complete
from ppgen.training.sampling.exact_completion import complete_exactly, law_of_rows
from ppgen.training.sampling.given_covariates import as_covariates, check_use, draw_given
from ppgen.training.sampling.observed_site import drawn_trace, mean_of, observed_site, returned_site
from ppgen.undisturbed import forked, keeping_modes


@dataclass(frozen=True)
class Samples:
    """Draws from a model; stands for the array of them in NumPy.

    Args:
        samples: (num_samples, features), or (num_samples, rows, features) of rows of which a part was given, or their
            covariates.
        means: Means of the data given what they were drawn from, the same shape: their latents, or of an autoregressive
            model the entries before each; None if their law has no mean.
        rhat: Largest split R-hat of the Markov chains that the draws come from, over their free energies and each of
            their units; 1 at convergence, above about 1.01 the chains do not agree yet. Chains in modes of equal free
            energy differ in units alone. The largest among the rows that were given a part of. None for a directed
            model, whose draws are independent and exact.
        num_chains: Chains that the draws come from, or None.
    """

    samples: Tensor
    means: Tensor | None
    rhat: float | None
    num_chains: int | None

    @property
    def shape(self) -> torch.Size:
        """Shape of the array of draws."""
        return self.samples.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.samples.cpu().numpy(), dtype=dtype, copy=copy)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        chains = "" if self.rhat is None else f", R-hat {self.rhat:.3f} of {self.num_chains} chains"
        return f"Samples({len(self)} x {tuple(self.samples.shape[1:])}{chains})"


def sample(
    pair: Any,
    num_samples: int,
    *,
    num_chains: int | None = None,
    sweeps: int = 100,
    warmup_steps: int | None = None,
    like: Any = None,
    given: Any = None,
    covariates: Any = None,
    chunk: int | None = None,
    seed: int = 0,
    compile: bool | Literal["auto"] = "auto",
    progress: bool = False,
) -> Samples:
    """Draw data from a model; the caller's random state and the pair's chains are left as they were.

    A directed model is run from its prior to its data. At a Boltzmann machine's site block Gibbs chains are
    run: the persistent chains of the pair's training if there are any, else new ones, which start by turns at the
    base rates and at units of even odds, so that chains that fall into different modes tell of them.

    Args:
        pair: A pair, or the run that trained it.
        num_samples: Rows to draw. Draws of several chains alternate: row i is of chain i modulo `num_chains`.
        num_chains: Chains at a Boltzmann machine; by default all persistent ones, else 100, at most
            `num_samples`.
        sweeps: Gibbs sweeps between two draws of a chain.
        warmup_steps: Sweeps before those; by default 0 for persistent chains, 1000 for new ones.
        like: For a `Pair` of your own: a batch with `num_samples` rows to call the model with. Observed values are
            drawn in its place, other arguments are used as they are; what `model(x, y=None)` observes only if it is
            given may be left out or None. Not needed with a run whose batches are observed.
        given: Rows of data of which a part is known, (rows, features), NaN at what is to be simulated: then the draws
            are (num_samples, rows, features), each row from its own law given its part, with the known entries as they
            are. For Boltzmann machines whose visible layer the data are, by new chains; and for autoregressive models,
            whose draws are independent and exact, where in each row what is known comes first in the order.
        covariates: For a `ppgen.ConditionalModel`: x, (rows, inputs), of which nothing is drawn. The draws of y are
            (num_samples, rows, outputs), each from p(y | x) of its row, all independent of each other.
        chunk: Gibbs chains moved at once, which bounds the memory: a layer of n units takes some 44 n bytes for each.
            None for all.
        seed: Seed of the draws.
        compile: Whether Gibbs sweeps run as machine code. `"auto"` does it for long runs of large machines, by their
            size and not by the clock. Compiled sweeps draw uniforms of their own: they follow from the seed, but agree
            with those of the program only in law. Where there is no compiler, a warning says why and the program runs.
        progress: Whether to show a progress bar of the Gibbs sweeps.

    Raises:
        ValueError: If a number is not positive, more chains are asked for than draws or than the pair has of
            persistent ones, or the model of a bare `Pair` is to be called without `like`; if `given` does not fit the
            model, has nothing to simulate, the model is directed and no autoregressive one, or what is known does not
            come first in its order; if `covariates` do not fit the model, are given to one that takes none, or are
            missing.

    Example:
        >>> import torch
        >>> import ppgen
        >>> from ppgen import models
        >>> ppgen.sample(models.VAE(features=64, latent=8, hidden=(64,)), 5)
        Samples(5 x (64,))
        >>> rbm = models.RBM(visible=64, hidden=16)
        >>> ppgen.sample(rbm, 5, sweeps=10, warmup_steps=10).num_chains
        5
        >>> half = torch.ones(3, 64)
        >>> half[:, 32:] = float("nan")
        >>> ppgen.sample(rbm, 5, given=half, sweeps=10, warmup_steps=10).samples.shape
        torch.Size([5, 3, 64])
    """
    check_switches(progress=progress)
    seed = check_seed(seed)
    for name, value, least in (
        ("num_samples", num_samples, 1),
        ("num_chains", num_chains, 1),
        ("sweeps", sweeps, 1),
        ("warmup_steps", warmup_steps, 0),
        ("chunk", chunk, 1),
    ):
        optional = name in ("num_chains", "warmup_steps", "chunk")
        check_count(name, value, least, optional=optional, wanted=f"an int, {least} or more")
    if num_chains is not None and num_chains > num_samples:
        raise ValueError(f"num_chains must be at most num_samples={num_samples}, got {num_chains}.")
    if compile not in (True, False, "auto"):
        raise ValueError(f'compile must be True, False or "auto", got {compile!r}.')
    if given is not None and like is not None:
        raise ValueError("Give either like or given: given holds the rows itself.")
    run, pair = pair, as_pair(pair)
    check_use(pair, covariates, like, given)
    features = getattr(pair, "num_features", None) or 1
    # Draws and their means; and the free energy of every sweep of the chains.
    check_room("num_samples", num_samples, values=2 * features if isinstance(features, int) else 2)
    check_room("sweeps", sweeps, values=num_samples)
    if given is not None:
        rows_given = as_rows(given, pair)
        chains_wanted = min(num_samples, 100) if num_chains is None else num_chains
        with forked(pair.device, seed), torch.no_grad(), _evaluating(pair), pair.running():
            law = law_of_rows(pair, rows_given)
            if law is not None:
                return Samples(*complete_exactly(law, rows_given, num_samples), rhat=None, num_chains=None)
            samples, means, rhat = complete(
                pair,
                rows_given,
                num_samples,
                num_chains=chains_wanted,
                sweeps=sweeps,
                warmup_steps=1000 if warmup_steps is None else warmup_steps,
                chunk=chunk,
                compile=compile,
                progress=progress,
            )
        return Samples(samples, means, rhat, chains_wanted)
    persistent = persistent_chains(pair.inference_state)
    _check_chains(persistent, num_chains)
    chains = _Chains(persistent, num_samples, num_chains, sweeps, warmup_steps, chunk, compile, progress)
    x = None if covariates is None else as_covariates(pair, covariates)
    with forked(pair.device, seed), torch.no_grad(), _evaluating(pair), pair.running(), chains:
        drawn = _draws(run, pair, num_samples, like) if x is None else draw_given(pair, x, num_samples)
    return Samples(
        samples=drawn[0],
        means=drawn[1],
        rhat=max(chains.rhats, key=lambda value: math.inf if math.isnan(value) else value) if chains.rhats else None,
        num_chains=chains.num_chains if chains.rhats else None,
    )


def _draws(run: Any, pair: Any, num_samples: int, like: Any) -> tuple[Tensor, Tensor | None]:
    """Draws of the data by one run of the model, and their means given what they were drawn from."""
    site = _site(run, pair, num_samples, like)
    return site["value"].detach(), mean_of(site["fn"], site["value"])


def _site(run: Any, pair: Any, num_samples: int, like: Any) -> Any:
    """The site that stands for the data."""
    if like is None and "num_rows" in inspect.signature(pair.model).parameters:
        site = returned_site(poutine.trace(pair.model).get_trace(num_rows=num_samples))
        if site is None:
            raise ValueError(f"The model of {type(pair).__name__} takes num_rows: it must return the value of a site.")
        return site
    batch = _batch(run, pair, num_samples, like)
    with agreeing_dtypes(pair):
        try:
            trace = drawn_trace(pair, batch)
        except RuntimeError as error:
            if not mixed_dtypes(error):
                raise
            batch = in_dtype(batch, parameter_dtype(pair))  # of parameters made at this first call
            trace = drawn_trace(pair, batch)
    return observed_site(trace, pair, *split_batch(batch), given=like is not None)


class _Chains(Messenger):
    """Handler that draws undirected sites from block Gibbs chains and keeps their free energies."""

    def __init__(
        self,
        persistent: Mapping[str, Tensor],
        num_samples: int,
        num_chains: int | None,
        sweeps: int,
        warmup_steps: int | None,
        chunk: int | None = None,
        compile: bool | Literal["auto"] = "auto",
        progress: bool = False,
    ) -> None:
        super().__init__()
        self.chunk, self.compile, self.progress = chunk, compile, progress
        self.persistent, self.num_samples, self.sweeps, self.warmup_steps = (
            persistent,
            num_samples,
            sweeps,
            warmup_steps,
        )
        self.wanted, self.num_chains = num_chains, 0
        self.rhats: list[float] = []  # of each site, worst of its energies and units

    def _pyro_sample(self, msg: Any) -> None:
        law = undirected_law(msg["fn"])
        if law is not None and not msg["is_observed"] and msg["value"] is None:
            msg["fn"] = replace_law(msg["fn"], law.with_sampler(_SiteSampler(self, msg["name"])))

    def start(self, site: str, energy: LayeredEnergy) -> tuple[Tensor, int]:
        """Chains to start from, and the sweeps before their first draw."""
        if energy.batch_shape:  # each datum has a law of its own, and so a chain
            self.num_chains = energy.batch_shape.numel()
            fresh = base_rate_draw(energy, energy.batch_shape)
            return fresh, 1000 if self.warmup_steps is None else self.warmup_steps
        known = self.persistent.get(site)
        limit = min(self.num_samples, 100 if known is None else len(known))
        self.num_chains = limit if self.wanted is None else self.wanted
        if known is not None and known.shape[-1] == energy.size(EVEN):
            return known[: self.num_chains].to(energy.parameters()[0]), self.warmup_steps or 0
        fresh = dispersed_draw(energy, (self.num_chains,))
        return fresh, 1000 if self.warmup_steps is None else self.warmup_steps


class _SiteSampler:
    def __init__(self, chains: _Chains, site: str) -> None:
        self.chains, self.site = chains, site

    def __call__(self, energy: LayeredEnergy, shape: Size) -> tuple[Tensor, Tensor]:
        chains = self.chains
        values, warmup_steps = chains.start(self.site, energy)
        total = shape.numel()
        draws = -(-total // len(values))
        moments = None if energy.batch_shape else UnitMoments(draws * chains.sweeps)
        with progress_bar(f"Gibbs sweeps, {self.site}", warmup_steps + draws * chains.sweeps, chains.progress) as bar:
            kept, energies = gibbs_chains(
                energy,
                values,
                warmup_steps=warmup_steps,
                draws=draws,
                sweeps=chains.sweeps,
                chunk=None if energy.batch_shape else chains.chunk,
                compile=chains.compile,
                advance=bar,
                moments=moments,
            )
        if moments is not None:  # chains of different laws are not compared
            chains.rhats.append(worst_rhat(split_rhat(energies), moments.rhat()))
        even = kept.flatten(0, 1)[:total].reshape(*shape, -1)
        return even, energy.sample_opposite(even, EVEN)


def _check_chains(persistent: Mapping[str, Tensor], num_chains: int | None) -> None:
    for value in persistent.values():
        if num_chains is not None and num_chains > len(value):
            raise ValueError(
                f"num_chains must be at most {len(value)}, the persistent chains that training left, got {num_chains}. "
                "Ask for fewer, or set pair.inference_state = None to start new chains."
            )


def _batch(run: Any, pair: Any, num_samples: int, like: Any) -> Any:
    if like is None:
        config = getattr(run, "config", {})
        content = config.get("model", {}).get("example") if isinstance(config, Mapping) else None
        if content is None:
            raise ValueError(f"like is needed to sample a {type(pair).__name__}: a batch of num_samples rows.")
        return _to_device(_with_rows(from_example(content), num_samples), pair.device)
    batch = as_batch(like, pair, "like")
    tensors = tensors_of(batch)
    if not tensors:
        raise ValueError(
            f"like must hold at least one tensor with num_samples={num_samples} rows, which tells how many to draw; "
            "what the model draws may be zeros of its shape, or None beside a tensor."
        )
    if len(tensors[0]) != num_samples:
        raise ValueError(f"like must have num_samples={num_samples} rows, got {len(tensors[0])}.")
    return _to_device(batch, pair.device)


def _with_rows(batch: Any, count: int) -> Any:
    if isinstance(batch, Mapping):
        return {name: _with_rows(value, count) for name, value in batch.items()}
    if isinstance(batch, tuple):
        return tuple(_with_rows(value, count) for value in batch)
    return batch.new_zeros(count, *batch.shape[1:])


def _to_device(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Mapping):
        return {name: _to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple):
        return tuple(_to_device(value, device) for value in batch)
    return batch.to(device) if isinstance(batch, Tensor) else batch


@contextmanager
def _evaluating(pair: Any) -> Iterator[None]:
    with keeping_modes(pair):
        pair.eval()
        yield
