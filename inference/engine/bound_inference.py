"""An inference bound to a pair: the state it needs, and the step that gives value and gradients."""

import contextlib
import math
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyro
import torch
from torch import Tensor

from ppgen.batch import table_of
from ppgen.distributions import UndirectedDistribution
from ppgen.distributions.machines.layered_energy import EVEN
from ppgen.inference.engine.bind_checks import check_baselines, check_counts, keeps_order, particles_at_once
from ppgen.inference.engine.bound_update import BoundUpdate
from ppgen.inference.engine.followed_runs import FollowedRuns
from ppgen.inference.engine.label_term import check_label_weight, label_term
from ppgen.inference.engine.late_sites import Structures
from ppgen.inference.engine.legality import check_negative_phase, check_single_draws, check_trains_itself, check_update
from ppgen.inference.engine.plan import planned
from ppgen.inference.engine.roles import check_state, roles_of
from ppgen.inference.engine.specification import Inference
from ppgen.inference.engine.step_result import Evaluation, StepResult
from ppgen.inference.engine.surrogate import BASELINE, OBJECTIVE, TEMPERATURE, surrogate
from ppgen.inference.engine.with_gradients import WithGradients
from ppgen.inference.estimators.antithetic_pairs import Pairing
from ppgen.inference.estimators.enumerate import enumerated_states, expected_sites, shared_sites
from ppgen.inference.estimators.guide_draws import GuideDraws
from ppgen.inference.negative_phases.centring import centred_gradients
from ppgen.inference.negative_phases.negative_phase import PHASE, NegativePhase, NegativePhaseHandler, State
from ppgen.inference.negative_phases.online_partition import LOG_WEIGHTS, VARIANCES, log_weights_of
from ppgen.inference.objectives.own_gradient import OwnGradient
from ppgen.inference.particles.expected_sums import expected_log_weights
from ppgen.inference.particles.fantasies import check_fantasies
from ppgen.inference.particles.joint_states import Forced
from ppgen.inference.particles.log_weights import LogWeights, joined, particle_weights
from ppgen.inference.particles.row_weights import Strata
from ppgen.inference.particles.sum_checks import check_sums
from ppgen.inference.state_roles import CHAINS, Role, check_roles
from ppgen.inference.structure.collapse import observed_side
from ppgen.inference.structure.layout import Layout, find_layout
from ppgen.inference.structure.plates import check_rows, plate_size
from ppgen.inference.structure.row_dependence import with_coupled
from ppgen.inference.structure.scales import warn_of_scales
from ppgen.inference.structure.support import check_support
from ppgen.inference.updates.update import CANDIDATES, STATISTICS, UPDATE


class BoundInference:
    """An inference with the state that it needs for one pair: chains and offsets, baselines, counts of schedules.

    A step depends on the parameters, this state, the batch and torch's global random state, and on nothing else.

    Args:
        inference: What to do.
        pair: To what.
        batch: A batch, from which the structure of the pair is read.
        num_data: Rows of the whole data set; None takes the size that the data plate was given.

    Raises:
        ValueError: If the combination is not legal for the pair, naming the site and what to use instead; if the data
            lie outside the support of an observed site.
    """

    def __init__(self, inference: Inference, pair: Any, batch: Any, num_data: int | None) -> None:
        self.inference, self.pair, self.num_data = inference, pair, num_data
        self._descended = inference.objective.descended
        check_trains_itself(inference, num_data)
        layout = with_coupled(pair, batch, find_layout(pair, batch, allow_subsampling=num_data is None))
        num_rows = layout.num_rows
        if inference.update is not None:
            check_update(inference, pair, layout)
        if num_data is not None:
            check_rows(batch, num_rows, layout.plate, num_data, pair.plate_argument)
        total = num_data if num_data is not None else plate_size(layout.plate_sizes, layout.plate)
        check_counts(pair, inference.objective, num_rows, total)
        inference.objective.check(layout, num_rows, total)
        warn_of_scales(layout, num_rows, total)
        self.structures = Structures(inference, layout, planned(inference, pair, batch, layout))
        sums = (self.plan, layout, inference.objective)
        self._joint, self._expected = enumerated_states(*sums), expected_sites(*sums)
        self._paired = Pairing.of(self.plan) is not None  # sites planned later are in no pair
        if inference.objective.uses_fantasies:
            check_fantasies(pair, batch, layout, getattr(inference.objective, "fantasy", None))
        self._vectorize = particles_at_once(pair, batch, layout, inference.objective, self.plan, self._joint)
        self.keeps_order = keeps_order(pair, batch, layout, num_data)
        check_sums(pair, batch, layout, self._expected, vectorize=inference.objective.vectorize_particles)
        check_negative_phase(inference.negative_phase, layout, inference.objective)
        for site, law in layout.laws.items():
            if (phase := inference.negative_phase) is not None:
                phase.check(observed_side(law) if site in layout.latent and phase.of_values else law)
                check_roles(phase, phase.state_names, phase.roles)
        check_support(pair, batch)
        self.update: BoundUpdate | None = None
        if inference.update is not None:
            check_single_draws(inference, self.plan)
            self.update = BoundUpdate(inference.update, pair, batch, layout, total)
        self._differentiated = self.update is None or bool(self.followed_parameters())  # some move along a gradient
        check_baselines(self.plan, self._baselines, batch, layout)
        self._phases = dict.fromkeys(self.layout.undirected, inference.negative_phase)
        self._steps = 0  # as the state counts them: a schedule of Python numbers is read without waiting for the device
        self._states: dict[str, State] = {}  # by undirected site, or by the part of the inference that keeps it
        self._laws, self._warned = dict[str, UndirectedDistribution](), False
        self._followed = FollowedRuns(self.structures, pair, batch)
        check_label_weight(inference, pair)
        self.label_scale: float | None = None  # N / N_labelled of the data; None takes that of each batch
        self.strata: Strata | None = None

    @property
    def layout(self) -> Layout:
        """Structure of the pair, with all sites that were met so far."""
        return self.structures.layout

    @property
    def plan(self) -> dict[str, Any]:
        """Estimator by site of the guide; None where none is needed."""
        return self.structures.plan

    @property
    def normalised(self) -> bool:
        """Whether values are normalised; under CD and PCD they lack log Z and are no log-likelihood bound."""
        return all(phase.normalised for phase in self._phases.values() if phase is not None)

    @property
    def undirected(self) -> tuple[str, ...]:
        """Names of the sites under a negative phase."""
        return self.layout.undirected

    @property
    def scheduled(self) -> bool:
        """Whether a negative phase follows a schedule, so that steps are traced anew now and then."""
        return any(phase.scheduled for phase in self._phases.values() if phase is not None)

    @property
    def phases(self) -> dict[str, NegativePhase]:
        """Negative phases of the next step, by undirected site."""
        return {site: phase.at(self._steps) for site, phase in self._phases.items() if phase is not None}

    def until_change(self) -> float:
        """Steps for which the negative phases stay as they are."""
        known = [phase.until_change(self._steps) for phase in self._phases.values() if phase is not None]
        return min(known, default=math.inf)

    @property
    def state(self) -> dict[str, Tensor]:
        """Chains and offsets under the names `site.key`."""
        return {f"{site}.{key}": value for site, state in self._states.items() for key, value in state.items()}

    def roles(self, names: Iterable[str]) -> dict[str, Role]:
        """What tensors of a state are to many processes, by their names `site.key`; raises where one has no role."""
        return roles_of(names, self._phases, self._baselines)

    @property
    def _baselines(self) -> dict[str, Any]:
        """Baseline by site of the guide, where there is one."""
        found = {site: getattr(estimator, "baseline", None) for site, estimator in self.plan.items()}
        return {site: baseline for site, baseline in found.items() if baseline is not None}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a state as `state` gave it.

        Raises:
            ValueError: If it belongs to other sites than this pair's undirected ones, or to another machine.
        """
        check_state(state, self._phases, self.layout.laws)
        self.carry(state, 0)
        self._steps = int(self._states[PHASE]["steps"]) if self.scheduled and PHASE in self._states else 0

    def carry(self, state: dict[str, Tensor], steps: int) -> None:
        """Go on from the state that some steps from here led to, without reading a tensor's value."""
        self._steps += steps
        states: dict[str, State] = {}
        for name, value in state.items():
            site, _, key = name.rpartition(".")
            own = site in (OBJECTIVE, TEMPERATURE, PHASE) or site.partition(".")[0] == BASELINE
            own = own or (self.update is not None and site in (UPDATE, STATISTICS, CANDIDATES))
            if site not in self._phases and not own:
                raise ValueError(f"The state holds {name!r}, but the undirected sites are {list(self._phases)}.")
            states.setdefault(site, {})[key] = value
        self._states = states

    def learn_sites(self, batch: Any) -> None:
        """Learn which sites a batch of another shape has, before the step is traced for it; nothing moves."""
        self.structures.learn_sites(self.pair, batch)

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Context after which chains, offsets and the laws last met are what they were before."""
        states, laws, steps = dict(self._states), self._laws, self._steps
        try:
            yield
        finally:
            self._states, self._laws, self._steps = states, laws, steps

    def followed_parameters(self) -> dict[str, Tensor]:
        """Parameters that move along a gradient, by name: those that want one and that no update sets."""
        left_out = frozenset() if self.update is None else self.update.sets
        named = self.pair.named_parameters()
        return {name: tensor for name, tensor in named if tensor.requires_grad and name not in left_out}

    def maximise(self) -> list[Tensor]:
        """Set the parameters that an update sets, from the statistics of the last steps.

        Returns:
            Tensors that may differ by now between processes that share a batch: those of process 0 count.
        """
        if self.update is None:
            return []
        self._states[STATISTICS], own = self.update.maximise(self._states)
        return own

    def step(self, batch: Any) -> StepResult:
        """Value and gradients of one batch; chains move, and the statistics of an update.

        Raises:
            ValueError: If the pair has no parameter that wants a gradient, or none is reached.
        """
        named = self.followed_parameters()
        with pyro.validation_enabled(False):
            evaluation = self.evaluate(batch, training=True)
        if not self._differentiated:
            return StepResult(evaluation.value.detach(), {})
        gradients = self._gradients(-evaluation.surrogate, list(named.values()), evaluation)
        found = {name: gradient for name, gradient in zip(named, gradients, strict=True) if gradient is not None}
        return StepResult(evaluation.value.detach(), found)

    @torch.no_grad()
    def value(self, batch: Any, log_partitions: Mapping[str, float] | None = None, *, of_data: bool = False) -> Tensor:
        """Objective per datum of a batch, a scalar; nothing moves but the random state.

        Args:
            batch: A batch of data.
            log_partitions: log Z by undirected site, by which the value is normalised where it is not by itself.
            of_data: Whether what the model says of its parameters alone (a prior) is left out.
        """
        with pyro.validation_enabled(False):
            return self.evaluate(batch, False, log_partitions, of_data).value

    def evaluate(
        self, batch: Any, training: bool, log_partitions: Mapping[str, float] | None = None, of_data: bool = False
    ) -> Evaluation:
        """Objective per datum with its graph.

        Args:
            batch: A batch of data.
            training: Whether chains move and log Z has a gradient.
            log_partitions: log Z by undirected site, without training.
            of_data: Whether terms outside the data plate, on which neither latents nor data bear, are left out.
        """
        phases = self.phases
        handler = NegativePhaseHandler(phases, self._states, training, log_partitions) if phases else None
        objective = self.inference.objective
        differentiated = training and self._differentiated
        no_grad = contextlib.nullcontext() if differentiated else torch.no_grad()
        pairing = Pairing.of(self.plan) if training and self._paired else None
        steps = self._states.get(TEMPERATURE, {}).get("steps")
        drawn = GuideDraws(self.plan, pairing, steps, self.structures.late)
        followed = self._followed.run() if differentiated and self.structures.scored else contextlib.nullcontext()
        with no_grad, handler or contextlib.nullcontext(), followed as dependencies:
            with drawn if training else contextlib.nullcontext():
                weights = self._weights(batch, self.structures.leaves if differentiated else (), pairing)
            weights = replace(self.structures.meet(self.pair, batch, weights), dependencies=dependencies)
            laws = {} if handler is None else handler.end()
            self._laws = {site: law for site, (law, _) in laws.items()}
            if training and self.strata is not None:
                weights = replace(weights, row_weights=self.strata.weights(weights.local, weights.num_rows))
            num_data = self.num_data if self.num_data is not None else weights.num_data
            if self.num_data is not None:
                check_rows(batch, weights.num_rows, self.layout.plate, num_data, self.pair.plate_argument)
            if of_data and not weights.shared and not self.layout.coupled:
                weights = weights.of_data()
            value = objective.value(weights, num_data)
            if not training:
                return Evaluation(value, num_data, value, laws)
            if self.scheduled:
                taken = self._states.get(PHASE, {}).get("steps", torch.zeros((), dtype=torch.long, device=value.device))
                self._states[PHASE] = {"steps": taken + 1}
                self._steps += 1
            if drawn.steps is not None:
                self._states[TEMPERATURE] = {"steps": drawn.steps + 1}
            # The first batch was checked before; a later one can be another part of the data.
            objective.check(self.layout, weights.num_rows, num_data)
            if self.update is not None:
                self._states |= self.update.averaged(weights, batch, self._states)
            if not differentiated:
                return Evaluation(value, num_data, value, laws)
            return Evaluation(value, num_data, self._surrogate(weights, batch, num_data), laws)

    def _weights(self, batch: Any, leaves: Collection[str], pairing: Pairing | None) -> LogWeights:
        """Log-weights of the objective's particles; of as many for each joint state of sites that are summed over."""
        objective, states = self.inference.objective, self._joint
        vectorize, count = self._vectorize, objective.num_particles
        count = count if pairing is None else pairing.runs(count)
        if self._expected:
            runs = [count] if vectorize else [1] * count
            return joined([expected_log_weights(self.pair, batch, each, self.layout, self._expected) for each in runs])
        options: Any = {"layout": self.layout, "vectorize": vectorize, "leaves": leaves}
        options["sum_at_once"] = objective.vectorize_particles
        if states is None:
            return particle_weights(self.pair, batch, count, **options)
        total = states.count * count
        shared = shared_sites(self.plan, self.layout)
        with Forced(states, self.layout, count, shared, vectorize and total > 1):
            weights = particle_weights(self.pair, batch, total, **options)
        absent = [name for name in states.sizes if name not in weights.guide_terms]
        if absent:
            raise ValueError(
                f"Site {absent[0]!r} of the guide is summed over all its values, but not drawn at this call. Draw it "
                "at every call, or use inference.ScoreFunction() there."
            )
        shape = weights.local.shape
        terms = [weights.scores.get(name, weights.guide_terms[name]) for name in states.sizes]
        return weights.with_states(sum(terms[1:], terms[0]).expand(shape), states.count)

    def _surrogate(self, weights: LogWeights, batch: Any, num_data: int) -> Tensor:
        objective = self.inference.objective
        more = label_term(self.inference.label_weight, self.pair, batch, self.label_scale, weights)
        if isinstance(objective, OwnGradient):
            with self.pair.running():
                total = objective.surrogate(replace(weights, num_data=num_data), self.pair, batch, self.layout)
            return total if more is None else total + more
        rows = partial(table_of, batch, weights.local, weights.plate is None)
        total, after = surrogate(objective, self.plan, weights, self.layout, num_data, rows, self._states)
        self._states.update(after)
        total = objective.with_own_runs(total, self.pair, batch, weights, self.layout)
        total = -total if self._descended else total
        return total if more is None else total + more

    def summed_loss(self, evaluation: Evaluation) -> Tensor:
        """Minus the objective summed over the data set, as Pyro's losses are; an upper bound itself."""
        sign = 1 if self._descended else -1
        return sign * evaluation.num_data * evaluation.value.detach()

    def differentiable(self, evaluation: Evaluation, parameters: Sequence[Tensor]) -> Tensor:
        """The summed loss as a tensor whose gradient in `parameters` is the estimator's, centring included."""
        gradients = self._gradients(-evaluation.num_data * evaluation.surrogate, parameters, evaluation)
        reached = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
        return WithGradients.apply(self.summed_loss(evaluation), *(g for _, g in reached), *(p for p, _ in reached))

    def chain_free_energies(self) -> Tensor | None:
        """Free energies of the persistent chains, in nats: (chains,); None if there are none.

        They are known after a step; with several undirected sites they are those of the first.
        """
        for site, state in self._states.items():
            if CHAINS in state and site in self._laws:
                with torch.no_grad():
                    return self._laws[site].base_energy.free_energy(state[CHAINS], EVEN)
        return None

    @torch.no_grad()
    def log_partition_weights(self, batch: Any) -> dict[str, tuple[Tensor, Tensor]]:
        """By undirected site, log-weights and variances of the chains that follow log Z, under the present weights.

        There are none before the first step, and none unless `log_partition_chains` says how many.

        Args:
            batch: A batch of data, with which the model is run.
        """
        tracked = [site for site, state in self._states.items() if LOG_WEIGHTS in state]
        if not tracked:
            return {}
        with pyro.validation_enabled(False):
            laws = self.evaluate(batch, training=False).laws
        states = {site: self._states[site] for site in tracked}
        return {
            site: (log_weights_of(laws[site][0].base_energy, state), state[VARIANCES]) for site, state in states.items()
        }

    def _gradients(self, loss: Tensor, parameters: Sequence[Tensor], evaluation: Evaluation) -> list[Tensor | None]:
        gradients: list[Tensor | None] = [None] * len(parameters)
        if parameters and loss.requires_grad:
            gradients = list(torch.autograd.grad(loss, parameters, allow_unused=True))
        if all(gradient is None for gradient in gradients) and self.update is None:
            raise ValueError(
                "The step found no parameter to train. Mark the methods of a PyroModule that are model and guide with "
                "@pyro.nn.module.pyro_method, register networks with pyro.module, and check requires_grad."
            )
        for site, (law, _) in evaluation.laws.items():
            if getattr(self._phases[site], "centred", False):
                gradients = self._centre(site, law, parameters, gradients)
        return gradients

    def _centre(
        self, site: str, law: UndirectedDistribution, parameters: Sequence[Tensor], gradients: list[Tensor | None]
    ) -> list[Tensor | None]:
        by_id = {id(p): g for p, g in zip(parameters, gradients, strict=True) if g is not None}
        centred = centred_gradients(law.base_energy, self._states[site], by_id)
        if not centred and not self._warned:
            self._warned = True
            warnings.warn(
                f"The gradient at site {site!r} is not centred: some weight or bias of the machine is no parameter of "
                "the pair with a gradient of its own. Training goes on with plain gradients (centred=False says so).",
                stacklevel=2,
            )
        return [centred.get(id(p), g) for p, g in zip(parameters, gradients, strict=True)]
