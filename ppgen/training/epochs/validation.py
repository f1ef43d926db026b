"""Metrics of an epoch: the validation value, or what can be said of a model whose log Z is not known."""

import math
from collections import deque
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ppgen import seeds
from ppgen.batch import Batch, num_rows
from ppgen.inference.negative_phases.online_partition import summary
from ppgen.rhat import effective_sample_size, split_rhat
from ppgen.training.data.batch_source import BatchSource, chunks, fixed_subset
from ppgen.training.epochs.best_epoch import VALUES
from ppgen.training.epochs.undirected_metrics import undirected_metrics
from ppgen.training.processes.world import World
from ppgen.undisturbed import forked, keeping_modes

_FRACTION = 10  # validation rows are at most this part of the training rows: a tenth of the cost, or less
_LEAST = 50  # but at least so many under a negative phase, where one bit of each row is looked at
_WINDOW = 20  # recordings of the chains' free energies that R-hat looks at
_SPACING = 5  # steps between two recordings, at least; each costs about a quarter of a step


class Validation:
    """Metrics at an epoch's end, from fixed rows and a fixed random state, so that epochs are comparable.

    Training's random stream is put back: turning validation off or changing it changes nothing in training.
    At most a tenth as many rows as there are training rows are looked at; under a negative phase, where two rows tell
    nothing, 50 of small data sets.

    Args:
        pair: The pair in training.
        bound: Its inference, bound to it.
        source: The data.
        batch_size: Rows looked at together.
        steps_per_epoch: Steps of an epoch; sets how often the chains are recorded.
        world: The processes that share the chains; each looks at all the rows.
    """

    def __init__(
        self,
        pair: Any,
        bound: Any,
        source: BatchSource,
        batch_size: int,
        steps_per_epoch: int,
        world: World | None = None,
    ) -> None:
        self.world = world or World()
        self.pair, self.bound, self.source, self.batch_size = pair, bound, source, batch_size
        self.choose_rows(_LEAST)
        self.spacing = max(_SPACING, steps_per_epoch // (_WINDOW // 2))
        self.energies: deque[Tensor] = deque(maxlen=_WINDOW)
        self._records_chains = not bound.normalised
        self.errors: dict[str, float] = {}  # standard errors of the last metrics over their rows, as far as known
        self.chance: dict[str, float] = {}  # values of a model that has learned nothing

    def choose_rows(self, least: int) -> None:
        """Choose the rows that are looked at.

        Args:
            least: Rows under a negative phase, at the least. A run goes on with its own number: an epoch is better or
                worse than those before it by the same rows only.
        """
        self.least = least
        limit = max(1, self.source.num_train // _FRACTION)
        if not self.bound.normalised:
            limit = max(least, limit // 2)  # half for training rows
        if limit > self.batch_size:
            limit -= limit % self.batch_size  # no small batch at the end, which costs nearly as much as a whole one
        self.valid_rows = fixed_subset(self.source.num_valid, min(limit, self.source.num_valid), "valid")
        try:
            self.bound.inference.objective.check(self.bound.layout, len(self.valid_rows), self.source.num_train)
        except ValueError:  # a bound on the whole data set only: there is none for a part of the validation rows
            self.valid_rows = self.valid_rows[:0]
        if self.bound.inference.objective.compares_draws and len(self.valid_rows) % self.batch_size == 1:
            self.valid_rows = self.valid_rows[:-1]  # a lone row is compared with nothing
        self.train_rows = fixed_subset(self.source.num_train, limit, "train")

    def record(self, step: int) -> None:
        """Take the free energies of the persistent chains, now and then."""
        if not self._records_chains or (step % self.spacing and step > 1):
            return
        energies = self.bound.chain_free_energies()
        if energies is None:
            self._records_chains = False
        else:
            self.energies.append(energies.detach().clone())

    def metrics(self) -> dict[str, float]:
        """Metrics of the pair as it is now, besides those that training itself sums up."""
        own = forked(self.source.device, seeds.derive(0, "validation"))
        with keeping_modes(self.pair), own, torch.no_grad():
            self.pair.eval()
            return self._normalised() if self.bound.normalised else self._unnormalised()

    def names(self) -> list[str]:
        """Metrics that can choose the best epoch: not the value of an objective that says that it cannot."""
        beside = ("rhat", "chain_ess")
        measured = [name for name in self.metrics() if name not in beside and not name.startswith("online_")]
        known = [*(["train_value"] if self.bound.normalised else []), *measured]
        objective = self.bound.inference.objective
        return [name for name in known if objective.value_chooses or name not in VALUES]

    def _normalised(self) -> dict[str, float]:
        if len(self.valid_rows) == 0:
            return {}
        return self._mean("valid", self.valid_rows, lambda batch: {"valid_value": self.bound.value(batch)})

    def _unnormalised(self) -> dict[str, float]:
        metrics = self._mean("train", self.train_rows, self._measure)
        self._take_error(metrics, len(self.train_rows))
        energy = metrics.pop("free_energy")
        if len(self.valid_rows):
            metrics |= self._mean("valid", self.valid_rows, self._measure)
            self._take_error(metrics, len(self.valid_rows))
            metrics["free_energy_gap"] = metrics.pop("free_energy") - energy
        if self.energies:
            energies = self.world.gather(torch.stack(list(self.energies), -1))
            metrics |= {"rhat": split_rhat(energies), "chain_ess": effective_sample_size(energies)}
        return metrics | self._online()

    def _take_error(self, metrics: dict[str, float], count: int) -> None:
        """Take the error of the pseudo-log-likelihood, and its value by chance, out of the metrics."""
        name = "pseudo_log_likelihood"
        squares, chance = metrics.pop("squares", None), metrics.pop("chance", None)
        if squares is not None and chance is not None:
            variance = max(0.0, squares - metrics[name] ** 2)
            self.errors[name] = math.sqrt(variance / (count - 1)) if count > 1 else math.inf
            self.chance[name] = chance

    def _online(self) -> dict[str, float]:
        """log Z as chains of their own have followed it, and the value by it, less priors; empty if there are none."""
        generator = seeds.generator(0, "validation", "train")
        first: Batch = self.source.batch("train", next(iter(chunks(self.train_rows, self.batch_size))), generator)
        metrics: dict[str, float] = {}
        found: dict[str, float] = {}
        for site, weighted in self.bound.log_partition_weights(first).items():
            found[site], se, ess = summary(*map(self.world.gather, weighted))
            name = "online_log_partition" + (f"_{site}" if len(self.bound.undirected) > 1 else "")
            metrics |= {name: found[site], f"{name}_se": se, f"{name}_ess": ess}
        if not found:
            return {}
        # A log-weight is log p(x) only where the guide is the exact posterior.
        what = "log_likelihood" if self.bound.layout.exact_posterior else "value"
        for split, index in (("train", self.train_rows), ("valid", self.valid_rows)):
            if len(index):
                name = f"online_{split}_{what}"
                measure = partial(self.bound.value, log_partitions=found, of_data=True)
                metrics |= self._mean(split, index, lambda batch, name=name, of=measure: {name: of(batch)})
        return metrics

    def _measure(self, batch: Batch) -> dict[str, Tensor]:
        return undirected_metrics(self.bound, batch)

    def _mean(self, split: str, index: Tensor, measure: Any) -> dict[str, float]:
        generator = seeds.generator(0, "validation", split)
        sums: dict[str, Any] = {}
        for part in chunks(index, self.batch_size):
            batch: Batch = self.source.batch(split, part, generator)
            for name, value in measure(batch).items():
                sums[name] = sums.get(name, 0.0) + value * num_rows(batch)
        return {name: float(total) / len(index) for name, total in sums.items()}

    def state(self) -> dict[str, Tensor]:
        """Recorded free energies, for a checkpoint."""
        if not self.energies:
            return {}
        return {"energies": self.world.gather(torch.stack(list(self.energies), -1)).mT}  # (recordings, all chains)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self.energies.clear()
        if "energies" in state:
            own = state["energies"].tensor_split(self.world.size, -1)[self.world.rank]
            self.energies.extend(own.to(self.source.device).unbind(0))
