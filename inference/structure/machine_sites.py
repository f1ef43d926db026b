"""Which Boltzmann machine is meant: one given as such, or the one at an undirected site of a pair."""

from typing import Any

import torch
from pyro.distributions import ImproperUniform
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import biject_to

from ppgen.batch import split_batch
from ppgen.checks.arguments import as_numbers
from ppgen.checks.arrays import parameter_dtype
from ppgen.distributions import Bernoulli, BoltzmannMarginal, LayerConditional, UndirectedDistribution
from ppgen.distributions.machines.layered_energy import EVEN, LayeredEnergy
from ppgen.inference.structure.traces import base_law, element_law, undirected_law
from ppgen.pair import AnyPair, as_pair
from ppgen.parameters.capture import prepare_modules
from ppgen.undisturbed import CPU, forked, keeping_modes


def energy_of(target: Any, site: str | None = None) -> LayeredEnergy:
    """Energy of a machine: of a `BoltzmannMachine` or one side of it, or at an undirected site of a pair.

    Args:
        target: A machine, a pair or the run that trained it.
        site: Name of the undirected site of a pair; not needed if there is one only.

    Raises:
        TypeError: If it is none of these.
        ValueError: If the pair has no undirected site, or the one meant is not clear.

    Example:
        >>> from ppgen import models
        >>> energy_of(models.RBM(visible=4, hidden=3)).names
        ('visible', 'hidden')
    """
    if isinstance(target, UndirectedDistribution):
        if site is not None:
            raise ValueError(f"site finds the machine of a pair; a machine itself has none. Leave out site={site!r}.")
        return target.base_energy
    pair = getattr(target, "pair", target)
    try:
        pair = as_pair(pair)
    except TypeError as error:
        raise TypeError(
            f"target: Expected a BoltzmannMachine, or a pair or run with one, got {type(target).__name__}."
        ) from error
    energies = undirected_sites(pair)
    if not energies:
        raise ValueError(
            f"{type(pair).__name__} has no undirected site (no BoltzmannMachine), so there is nothing to run Gibbs "
            "chains on. A directed model is drawn from by ppgen.sample(pair, num_samples)."
        )
    return energies[choose_site(energies, site)]


class CollectSites(Messenger):
    """Notes the energy of each undirected site and puts zeros there, so that no sampler is needed.

    An improper prior, from which nothing can be drawn, gets some point of its support.

    Args:
        dtype: Of such points; None for torch's default.
        device: Where they are.
    """

    def __init__(self, dtype: torch.dtype | None = None, device: torch.device = CPU) -> None:
        super().__init__()
        self.energies: dict[str, LayeredEnergy] = {}
        self.like = torch.zeros((), dtype=dtype, device=device)

    def _pyro_sample(self, msg: Any) -> None:
        if msg["value"] is None and isinstance(element_law(msg["fn"]), ImproperUniform):
            support, shape = msg["fn"].support, msg["fn"].shape()
            if support.is_discrete:  # 0 is a count, and every vector of numbers may hold it
                msg["value"] = self.like.new_zeros(shape)
            else:
                to_support = biject_to(support)
                msg["value"] = to_support(self.like.new_zeros(to_support.inverse_shape(shape)))
            msg["done"] = True
            return
        law = undirected_law(msg["fn"])
        if law is not None:
            self.energies[msg["name"]] = law.base_energy
            if msg["value"] is None:
                weight = law.base_energy.parameters()[0]
                msg["value"] = torch.zeros(msg["fn"].shape(), dtype=weight.dtype, device=weight.device)
                msg["done"] = True


def undirected_sites(pair: AnyPair, batch: Any = None) -> dict[str, LayeredEnergy]:
    """Energies of the undirected sites of the model, by site.

    Args:
        pair: Model and guide; only the model runs.
        batch: Data to run it with; without, it is called without arguments.

    Raises:
        ValueError: If there is no batch and the model needs one.

    Example:
        >>> from ppgen import models
        >>> list(undirected_sites(models.RBM(visible=4, hidden=3)))
        ['hidden']
    """
    collect = CollectSites(parameter_dtype(pair), pair.device)
    args, kwargs = ((), {}) if batch is None else split_batch(batch)
    prepare_modules(pair)
    with forked(pair.device), torch.no_grad(), keeping_modes(pair), pair.running(), collect:
        pair.eval()
        try:
            pair.model(*args, **kwargs)
        except (TypeError, AttributeError) as error:
            if batch is not None:
                raise
            raise ValueError(
                "The model cannot run without data, which is needed to find its Boltzmann machine: give a "
                f"few rows as x=. It raised: {error}"
            ) from error
    return collect.energies


def visible_layer(fn: Any) -> tuple[LayeredEnergy, int] | None:
    """The machine of which the law of a site is one layer, and the index of that layer; None for any other law.

    Such a law is that of a layer given its neighbours, or that of a whole side which is this one layer.

    Example:
        >>> from ppgen import models
        >>> rbm = models.RBM(visible=4, hidden=3)
        >>> _, layer = visible_layer(rbm.machine().marginal("visible"))
        >>> layer
        0
    """
    law = base_law(fn)
    if isinstance(law, LayerConditional):
        return law.machine_energy, law.layer
    if isinstance(law, BoltzmannMarginal) and len(law.base_energy.sides[law.side]) == 1:
        return law.base_energy, law.base_energy.sides[law.side][0]
    return None


def choose_site(energies: dict[str, LayeredEnergy], site: str | None) -> str:
    """The undirected site meant: the one named, or the only one.

    Raises:
        ValueError: If there is none, if the name is not among them, or if there are several and none is
            named.
    """
    if not energies:
        raise ValueError("The model has no undirected site (no BoltzmannMachine), so there is no log Z to estimate.")
    if site is None and len(energies) == 1:
        return next(iter(energies))
    if not isinstance(site, str) or site not in energies:
        given = "none was named" if site is None else f"got {site!r}"
        raise ValueError(f"site must be one of the undirected sites {sorted(energies)}; {given}.")
    return site


def base_mean(pair: AnyPair, energy: LayeredEnergy, data_mean: Any = None) -> Tensor | None:
    """Mean of the visible layer for the base model: the one given, else noted in training, else None.

    Raises:
        TypeError: If it holds no numbers.
        ValueError: If the mean does not fit the visible layer or is no mean of its units.
    """
    units = energy.units[energy.sides[EVEN][0]]
    visible = units.size
    if data_mean is None:
        data_mean = getattr(pair, "data_mean", None)
        if not isinstance(data_mean, Tensor) or data_mean.shape != (visible,) or not data_mean.isfinite().all():
            return None
    like = energy.parameters()[0]
    mean = as_numbers("data_mean", data_mean).to(like)
    fits = mean.shape == (visible,) and bool(mean.isfinite().all())
    if not fits or (isinstance(units, Bernoulli) and not ((mean >= 0) & (mean <= 1)).all()):
        raise ValueError(
            f"data_mean must hold the means of the {visible} visible units (within [0, 1] for bits), as "
            f"data.mean does; got shape {tuple(mean.shape)}"
            + (f" and values {mean.min():g} to {mean.max():g}." if fits else ".")
        )
    return mean
