"""An objective that compares draws with data, bound to a pair: what a training step asks of it."""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyro
import torch
from torch import Tensor

from ppgen.batch import all_tensors_of
from ppgen.distributions import GibbsSampler
from ppgen.inference.engine.comparable import check_comparable, check_parts
from ppgen.inference.engine.legality import check_update
from ppgen.inference.engine.specification import Inference
from ppgen.inference.engine.step_result import StepResult
from ppgen.inference.engine.surrogate import OBJECTIVE
from ppgen.inference.objectives.draw_objective import DrawObjective, State, flat
from ppgen.inference.particles.model_alone import model_layout, run_model
from ppgen.inference.state_roles import Role, check_roles
from ppgen.inference.structure.attach import attach
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, forked


class BoundComparison:
    """An inference whose objective compares draws with data, with its state: a discriminator and its optimiser's.

    It answers what `BoundInference` answers to training. The guide is never run, and has no gradient.

    Args:
        inference: What to do, whose objective is a `DrawObjective`.
        pair: To what.
        batch: A batch, from which the structure of the model is read.
        num_data: Rows of the whole data set.

    Raises:
        ValueError: If the combination is not legal for the pair, naming the site and what to use instead.
    """

    plan: Mapping[str, Any] = {}
    phases: Mapping[str, Any] = {}
    undirected: tuple[str, ...] = ()
    normalised, scheduled, keeps_order = True, False, False
    update = strata = label_scale = None

    def __init__(self, inference: Inference, pair: Any, batch: Any, num_data: int) -> None:
        self.inference, self.pair, self.num_data = inference, pair, num_data
        self.objective: DrawObjective = inference.objective  # type: ignore[assignment]
        trial = attach(sampler=GibbsSampler(sweeps=1))  # of machines, which are refused by name
        with forked(device_of(pair, *all_tensors_of(batch))), torch.no_grad(), keeping_buffers(pair):
            with pair.running(), trial:
                run = run_model(pair, batch, len(self._data(batch)))
            self.layout = model_layout(pair, run, batch)
            if inference.update is not None:
                check_update(inference, pair, self.layout)
            if not self.layout.undirected:
                check_parts(inference, run)
            elif inference.estimator != "auto":
                check_parts(replace(inference, negative_phase=None), run)
            check_comparable(self.objective, run, self.layout, batch)
        self.objective.check(self.layout, self.layout.num_rows, num_data)
        self.objective.check_rows(self._data(batch))
        roles = self.objective.roles
        check_roles(self.objective, self.objective.init(self._data(batch)), roles)
        self._state: State | None = None

    @property
    def state(self) -> dict[str, Tensor]:
        """What the objective keeps, under the names `objective.key`; empty before the first step."""
        return {f"{OBJECTIVE}.{key}": value for key, value in (self._state or {}).items()}

    def roles(self, names: Iterable[str]) -> dict[str, Role]:
        """What tensors of a state are to many processes, by their names; raises where one has no role."""
        known = {f"{OBJECTIVE}.{key}": role for key, role in self.objective.roles.items()}
        for name in names:
            if name not in known:
                raise ValueError(f"The state holds {name!r}, which no part of this inference keeps.")
        return {name: known[name] for name in names}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state as `state` gave it; from none if it is empty.

        Raises:
            ValueError: If it holds what this objective does not keep.
        """
        self.roles(state)
        self.carry(state, 0)

    def carry(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Go on from the state that some steps from here led to, without reading a tensor's value."""
        self._state = {name.partition(".")[2]: value for name, value in state.items()} or None

    def learn_sites(self, batch: Any) -> None:
        """Nothing: the model is run as it is."""

    def until_change(self) -> float:
        """No part follows a schedule."""
        return math.inf

    def maximise(self) -> list[Tensor]:
        """No update sets parameters."""
        return []

    def chain_free_energies(self) -> None:
        """There are no chains."""

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Context after which the state is what it was before."""
        state = self._state
        try:
            yield
        finally:
            self._state = state

    def followed_parameters(self) -> dict[str, Tensor]:
        """Parameters that want a gradient, by name."""
        return {name: tensor for name, tensor in self.pair.named_parameters() if tensor.requires_grad}

    def step(self, batch: Any) -> StepResult:
        """Value and gradients of one batch; the state moves.

        Raises:
            ValueError: If no parameter is reached.
        """
        named, data = self.followed_parameters(), self._data(batch)
        self._check(data)
        with pyro.validation_enabled(False):
            found = self.objective.followed(lambda: self._drawn(batch, data), data, self._begun(data))
        self._state = found.state
        reached: list[Tensor | None] = [None] * len(named)
        if named and found.loss.requires_grad:
            reached = list(torch.autograd.grad(found.loss, list(named.values()), allow_unused=True))
        gradients = {name: each for name, each in zip(named, reached, strict=True) if each is not None}
        if not gradients:
            raise ValueError(
                f"The step found no parameter to train: no draw of {type(self.pair).__name__} has a path to one. Draw "
                "from reparameterised laws, without torch.no_grad() or detach() on the way, and check requires_grad."
            )
        return StepResult(found.value.detach(), gradients)

    @torch.no_grad()
    def value(self, batch: Any, log_partitions: Mapping[str, float] | None = None, *, of_data: bool = False) -> Tensor:
        """What the objective says of a batch and as many draws, a scalar; nothing moves but the random state."""
        data = self._data(batch)
        self._check(data)
        with pyro.validation_enabled(False):
            return self.objective.distance(self._drawn(batch, data), data, self._begun(data))

    def _begun(self, data: Tensor) -> State:
        return self.objective.init(data) if self._state is None else self._state

    def _check(self, data: Tensor) -> None:
        self.objective.check(self.layout, len(data), self.num_data)

    def _drawn(self, batch: Any, data: Tensor) -> Tensor:
        """Draws of the model, as many as there are rows: (rows, features)."""
        with self.pair.running():
            drawn = run_model(self.pair, batch, len(data)).drawn(self.objective.compared)
        return drawn.reshape(len(data), -1)

    def _data(self, batch: Any) -> Tensor:
        """The rows that draws are compared with: (rows, features)."""
        tensors = all_tensors_of(batch)
        if len(tensors) != 1 or not tensors[0].dim():
            raise ValueError(
                f"{type(self.objective).__name__} compares draws of the model with rows of data, and the batch holds "
                f"{len(tensors)} tensors: covariates would have to be compared too, which it does not. Give the rows "
                "alone, and a model of them."
            )
        return flat(tensors[0])
