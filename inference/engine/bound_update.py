"""An update in closed form bound to a pair: statistics of a step, and the parameters that they give."""

from collections.abc import Mapping
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from ppgen.batch import split_batch
from ppgen.closed_form import Draw, ReseedingPair
from ppgen.inference.particles.log_weights import LogWeights, log_weights
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.traces import sites
from ppgen.inference.updates.update import CANDIDATES, STATISTICS, UPDATE, ParameterUpdate
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, forked

State = dict[str, Tensor]


class BoundUpdate:
    """An update with what it needs of one pair: which parameters it sets, and how from a state of statistics.

    Args:
        update: How statistics are averaged.
        pair: A pair that is known to be sound for it.
        batch: A batch, on which both are tried; nothing moves.
        layout: Structure of the pair.
        num_data: Rows of the whole data set.

    Attributes:
        sets: Names of the parameters that it sets.
        batch_size: Rows of a batch, of which this process may have a share.

    Raises:
        ValueError: If statistics or parameters are not what they must be; names them.
    """

    def __init__(self, update: ParameterUpdate, pair: Any, batch: Any, layout: Layout, num_data: int) -> None:
        self.update, self.pair, self.num_data = update, pair, num_data
        self.batch_size = layout.num_rows
        self._parameters: dict[str, nn.Parameter] = dict(pair.named_parameters())
        self._reseeds = isinstance(pair, ReseedingPair)
        with forked(device_of(pair, *split_batch(batch))), keeping_buffers(pair), torch.no_grad():
            with pyro.validation_enabled(False):
                weights = log_weights(pair, batch, 1, layout=layout)
            parts = self.averaged(weights, batch, {})
            values = self._maximised(parts[STATISTICS])
            if self._reseeds:
                mended, altered = self._reseeded(parts)
                values = {**mended, **values}
                _check_altered(pair, altered, parts[STATISTICS])
        _check_values(pair, values, self._parameters)
        self.sets = frozenset(values)

    @property
    def whole(self) -> bool:
        """Whether each batch is the whole data set, also where processes share it out."""
        return self.batch_size >= self.num_data

    def averaged(self, weights: LogWeights, batch: Any, states: Mapping[str, State]) -> dict[str, State]:
        """Parts of the state after a step: a count, statistics per datum, and candidates for dead parts.

        Args:
            weights: Log-weights of the step, with the trace of the guide.
            batch: Its batch.
            states: Parts of the state before it.
        """
        args, kwargs = split_batch(batch)
        guide = {name: Draw(site["fn"], site["value"]) for name, site in sites(weights.guide_traces[0]).items()}
        after: dict[str, State] = {}
        with torch.no_grad(), self.pair.running():
            sums = _named_tensors(self.pair, "sufficient_statistics", guide, *args, **kwargs)
            if self._reseeds:
                found = _named_tensors(self.pair, "candidates", guide, *args, **kwargs)
                after[CANDIDATES] = {name: value.detach().clone() for name, value in found.items()}
        means = {name: value.detach() / weights.num_rows for name, value in sums.items()}
        steps = states.get(UPDATE, {}).get("steps")
        before = states.get(STATISTICS)
        if steps is None or before is None:
            steps = torch.zeros((), dtype=torch.long, device=weights.local.device)
        elif not self.whole:
            sizes = {name: self.update.step_size((steps + 1).to(mean.dtype)) for name, mean in means.items()}
            means = {name: before[name] + sizes[name] * (mean - before[name]) for name, mean in means.items()}
        return {**after, UPDATE: {"steps": steps + 1}, STATISTICS: means}

    @torch.no_grad()
    def maximise(self, states: Mapping[str, State]) -> tuple[State, list[Tensor]]:
        """Set the parameters; the statistics afterwards, and the tensors in which processes may differ by now.

        Args:
            states: Parts of the state after a step.
        """
        statistics, warm = states[STATISTICS], None
        if self.update.warmup_steps and not self.whole:
            warm = states[UPDATE]["steps"] > self.update.warmup_steps  # on the device, which nobody waits for
        self._write(self._maximised(statistics), warm)
        if not self._reseeds:
            return statistics, []
        values, altered = self._reseeded(states)
        self._write(values, warm)
        means = {name: value / self.num_data for name, value in altered.items()}
        if warm is not None:
            means = {name: torch.where(warm, value, statistics[name]) for name, value in means.items()}
        moved: list[Tensor] = [self._parameters[name] for name in sorted(values)]
        return {**statistics, **means}, [*moved, *(means[name] for name in sorted(means))]

    def _maximised(self, statistics: State) -> State:
        with self.pair.running():
            return dict(self.pair.maximise(self._sums(statistics)))

    def _reseeded(self, states: Mapping[str, State]) -> tuple[State, State]:
        with self.pair.running():
            sums = self._sums(states[STATISTICS])
            values, altered = self.pair.reseed(sums, states[CANDIDATES], self._rows_spoken_for(states[UPDATE]["steps"]))
        return dict(values), dict(altered)

    def _rows_spoken_for(self, steps: Tensor) -> Tensor:
        r"""Rows of the last batches that averages remember: :math:`1 / \gamma_t` of them, or all that there were."""
        steps = steps.to(torch.get_default_dtype())
        remembered = 1 / self.update.step_size(steps.clamp(min=2))
        return self.batch_size * (torch.ones_like(steps) if self.whole else torch.minimum(steps, remembered))

    def _sums(self, statistics: State) -> State:
        return {name: value * self.num_data for name, value in statistics.items()}

    def _write(self, values: Mapping[str, Tensor], warm: Tensor | None) -> None:
        for name, value in values.items():
            parameter = self._parameters[name]
            parameter.copy_(value if warm is None else torch.where(warm, value, parameter))


def _named_tensors(pair: Any, method: str, *args: Any, **kwargs: Any) -> State:
    """What a method of a pair returns, which must be tensors of numbers by name."""
    found = getattr(pair, method)(*args, **kwargs)
    what = f"{type(pair).__name__}.{method}"
    if not isinstance(found, Mapping) or not found:
        raise TypeError(f"{what} must return a mapping from names to tensors, got {found!r}.")
    for name, value in found.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            shown = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{what} must return floating-point tensors; {name!r} is {shown}.")
        if "." in str(name):
            raise ValueError(f"{what} names {name!r}, but a dot ends the name of a part in a state. Use another sign.")
    return dict(found)


def _check_values(pair: Any, values: Mapping[str, Any], parameters: Mapping[str, nn.Parameter]) -> None:
    what = f"{type(pair).__name__}.maximise"
    if not values:
        raise ValueError(f"{what} must return the value of at least one parameter by its name, got none.")
    for name, value in values.items():
        if name not in parameters:
            raise ValueError(f"{what} returns {name!r}, but the parameters are {', '.join(map(repr, parameters))}.")
        parameter = parameters[name]
        if not isinstance(value, Tensor) or value.shape != parameter.shape:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{what} must return {name!r} in the shape {tuple(parameter.shape)}, got {shape}.")
        if not parameter.requires_grad:
            raise ValueError(
                f"Parameter {name!r} is frozen (requires_grad=False), but {what} sets it together with others, which "
                "would not be at their best beside it. Let it want a gradient again, or train by inference.ELBO()."
            )


def _check_altered(pair: Any, altered: Mapping[str, Tensor], statistics: State) -> None:
    for name, value in altered.items():
        if name not in statistics or value.shape != statistics[name].shape:
            raise ValueError(
                f"{type(pair).__name__}.reseed must return statistics by name and in their shape, got {name!r}; there "
                f"are {', '.join(map(repr, statistics))}."
            )
