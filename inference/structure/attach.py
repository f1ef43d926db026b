"""A handler that gives undirected sites their log Z or a sampler."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppgen.distributions.machines.samplers import resolve_sampler
from ppgen.inference.structure.traces import replace_law, undirected_law


class attach(Messenger):  # noqa: N801 - Pyro's handlers are lower case
    """Context in which undirected sites have a log Z, a sampler, or both, whatever program they stand in.

    It wraps programs too: `Predictive(attach(sampler="exact")(rbm.model), num_samples=10)`, which is the way where Pyro
    blocks the handlers around its own run, as `pyro.infer.Predictive` does.

    Args:
        log_partition: log Z in nats, a number or an estimate of `ppgen.evaluation.log_partition`; or a mapping from
            site names to them.
        sampler: `"exact"`, `"gibbs"` or a sampler such as `ppgen.distributions.GibbsSampler(sweeps=100)`; or a mapping.

    Raises:
        TypeError: If `sampler` is no sampler, or `log_partition` no estimate and no number.
        ValueError: If the name of a sampler is unknown; at an undirected site, if an estimate of log Z was made for
            other weights.

    Example:
        >>> import torch
        >>> from ppgen import inference, models
        >>> rbm = models.RBM(visible=4, hidden=2)
        >>> with rbm.running(), inference.attach(sampler="exact"):
        ...     rbm.model(num_rows=3).shape
        torch.Size([3, 4])
    """

    def __init__(self, log_partition: Any = None, sampler: Any = None) -> None:
        super().__init__()
        for each in sampler.values() if isinstance(sampler, Mapping) else [sampler]:
            if each is not None:
                resolve_sampler(each)
        for each in log_partition.values() if isinstance(log_partition, Mapping) else [log_partition]:
            value = getattr(each, "value", each)
            if each is not None and not isinstance(value, (int, float, np.generic, Tensor)):
                raise TypeError(f"log_partition must be an estimate or a number, got {type(each).__name__}.")
            if isinstance(value, float) and math.isnan(value):
                raise ValueError("log_partition must be a number, got NaN.")
        self.log_partition = log_partition
        self.sampler = sampler
        self._checked: dict[tuple[Any, ...], Any] = {}

    def _pyro_sample(self, msg: Any) -> None:
        law = undirected_law(msg["fn"])
        if law is None:
            return
        log_partition, sampler = _of(self.log_partition, msg["name"]), _of(self.sampler, msg["name"])
        if log_partition is not None:
            law = law.with_log_partition(self._checked_value(law, log_partition))
        if sampler is not None:
            law = law.with_sampler(sampler)
        msg["fn"] = replace_law(msg["fn"], law)

    def _checked_value(self, law: Any, log_partition: Any) -> Any:
        """The number itself once an estimate was found to fit the weights, so that they are hashed only once."""
        if law.base_energy.batch_shape:  # the data are others each time, and the weights not alone
            return law.with_log_partition(log_partition).attached.value
        key = (id(log_partition), law.base_energy.versions())
        if key not in self._checked:
            attached = law.with_log_partition(log_partition).attached
            self._checked[key] = attached.value
        return self._checked[key]


def _of(value: Any, site: str) -> Any:
    return value.get(site) if isinstance(value, Mapping) else value
