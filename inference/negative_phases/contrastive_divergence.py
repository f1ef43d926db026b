"""Contrastive divergence and persistent contrastive divergence."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ppgen.checks.arguments import check_count, check_number
from ppgen.checks.room import check_room
from ppgen.checks.switches import check_switches
from ppgen.distributions import UndirectedDistribution
from ppgen.distributions.machines.layered_energy import EVEN, ODD
from ppgen.distributions.machines.samplers import base_rate_draw
from ppgen.inference.negative_phases.centring import updated_offsets
from ppgen.inference.negative_phases.negative_phase import NegativePhase, State, picked, swept_from_values
from ppgen.inference.negative_phases.online_partition import POPULATION, followed, population
from ppgen.inference.schedules import Schedule, Stages
from ppgen.inference.state_roles import Role


@dataclass(frozen=True)
class _ChainPhase(NegativePhase):
    """What CD and PCD share: the surrogate of chains of the even side, and offsets for centring."""

    k: int | Stages | Mapping[int, int] = 1
    centred: bool = field(default=True, kw_only=True)
    offset_rate: float = field(default=0.01, kw_only=True)
    log_partition_chains: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        check_switches(centred=self.centred)
        if isinstance(self.k, Mapping):
            object.__setattr__(self, "k", Stages(self.k))
        elif isinstance(self.k, Schedule) and not isinstance(self.k, Stages):
            raise ValueError(
                f"k cannot follow {self.k!r}: each number of sweeps is a graph of its own, so there must be few. Give "
                "stages, such as inference.Stages({0: 1, 1000: 5}): from which step on how many sweeps."
            )
        for k in [number for _, number in self.k.table] if isinstance(self.k, Stages) else [self.k]:
            check_count("k", k, wanted="a number of Gibbs sweeps of at least 1", room=False)
        check_number("offset_rate", self.offset_rate, "lie in (0, 1]", lambda rate: 0 < rate <= 1)
        count = self.log_partition_chains
        if not isinstance(count, int) or isinstance(count, bool) or count < 0 or count == 1:
            raise ValueError(
                "log_partition_chains must be the number of chains that estimate log Z, at least 2, or 0 for no "
                f"estimate, got {count!r}."
            )

    def check(self, law: UndirectedDistribution) -> None:
        """Raise if log Z is to be followed in training and there is one for each datum."""
        if self.log_partition_chains and law.base_energy.batch_shape:
            raise ValueError(
                "log_partition_chains follow the one log Z of a machine, but the energy of this one depends on the "
                "datum (lengths of documents, missing ratings). Leave it out, and take "
                "evaluation.log_partition(pair, x=x) after training."
            )

    @property
    def state_names(self) -> tuple[str, ...]:
        """The population that follows log Z, if there is one."""
        return POPULATION if self.log_partition_chains else ()

    @property
    def roles(self) -> dict[str, Role]:
        """Offsets of centring follow the data of all processes; the population is shared out."""
        offsets: dict[str, Role] = {"even_offset": "common", "odd_offset": "common"}
        return offsets | dict.fromkeys(POPULATION, "chains")

    def _population(self, law: UndirectedDistribution) -> State:
        count = self.log_partition_chains
        return population(law.base_energy, count) if count else {}

    def _followed(self, law: UndirectedDistribution, state: State) -> State:
        """State with the population that estimates log Z moved on, if there is one."""
        return {**state, **followed(law.base_energy, state, self.sweeps)} if self.log_partition_chains else state

    @property
    def scheduled(self) -> bool:
        """Whether the number of sweeps changes."""
        return isinstance(self.k, Stages)

    def at(self, steps: int) -> NegativePhase:
        """The phase with the sweeps that it makes after some steps."""
        return replace(self, k=int(self.k.at(steps))) if isinstance(self.k, Stages) else self

    def until_change(self, steps: int) -> float:
        """Steps up to the next number of sweeps."""
        return self.k.until_change(steps) if isinstance(self.k, Stages) else super().until_change(steps)

    @property
    def sweeps(self) -> int:
        """Gibbs sweeps of a step.

        Raises:
            TypeError: If their number depends on the step.
        """
        if not isinstance(self.k, int):
            raise TypeError(f"{type(self).__name__} makes {self.k!r} sweeps: say at which step, phase.at(steps).")
        return self.k

    def observe(self, law: UndirectedDistribution, even: Tensor, odd: Tensor, state: State) -> State:
        """Offsets of centring moved towards the means of the positive phase, if centring is on."""
        if not self.centred:
            return state
        energy = law.base_energy
        even, odd = energy.statistics(even, EVEN), energy.statistics(odd, ODD)
        return {**state, **updated_offsets(even, odd, state, self.offset_rate)}

    @staticmethod
    def _expectation(law: UndirectedDistribution, even: Tensor) -> Tensor:
        """0 in value, with the gradient E[-dF] over chains: the odd side enters by its mean given the chain's end."""
        mean = -law.base_energy.free_energy(even, EVEN).mean()
        return mean - mean.detach()


@dataclass(frozen=True)
class CD(_ChainPhase):
    r"""Contrastive divergence: k block Gibbs sweeps from the values at the site, that is, from the data.

    .. math:: \nabla \log Z \approx \frac{1}{B} \sum_b -\nabla F(v_b^{(k)}), \quad v^{(0)} = x

    Its gradient is biased: it leaves out how the k-step reconstruction depends on the weights. As the weights grow the
    chains mix more slowly, so k may grow in stages; each of them is traced, and compiled, anew.

    References:
        | Training Products of Experts by Minimizing Contrastive Divergence (Hinton, 2002)
        | On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008)

    Args:
        k: Gibbs sweeps: a number, or from which step on how many, as `{0: 1, 1000: 5, 5000: 25}` or
            `inference.Stages` of that. Steps are counted on from one `fit` to the next.
        centred: Whether the gradient is that of the centred parameters (Montavon and Mueller, 2012).
        offset_rate: Rate at which the offsets of centring follow the data means.
        log_partition_chains: Chains of their own that follow log Z in training; 0 for none. See `PCD`.

    Raises:
        ValueError: If k is less than 1 or the rate is not in (0, 1].

    Example:
        >>> from ppgen import inference
        >>> inference.CD(k=5).k
        5
        >>> inference.CD(k={0: 1, 1000: 5}).at(2000)
        CD(k=5, centred=True, offset_rate=0.01, log_partition_chains=0)
    """

    def init(self, law: UndirectedDistribution, value: Tensor) -> State:
        """The chains that estimate log Z, if any; offsets of centring are made at the end of the first step."""
        return self._population(law)

    def surrogate(self, law: UndirectedDistribution, value: Tensor, state: State) -> tuple[Tensor, State]:
        """Gradient of the chains' free energies after k sweeps from the values."""
        energy = law.base_energy
        with torch.no_grad():
            start = law.even_side(value)
            # From the odd side, `even_side` was the second half of the first sweep.
            sweeps = self.sweeps - 1 if law.from_odd_side else self.sweeps
            end = energy.gibbs(start, EVEN, sweeps)
        return self._expectation(law, end), self._followed(law, state)

    def fantasies(self, law: UndirectedDistribution, value: Tensor, state: State, count: int) -> Tensor:
        """The values after k sweeps: the contrastive form of wake-sleep (Hinton, Osindero and Teh, 2006)."""
        return swept_from_values(law, value, count, self.sweeps)


@dataclass(frozen=True)
class PCD(_ChainPhase):
    r"""Persistent contrastive divergence: chains that are carried over from step to step.

    .. math:: \nabla \log Z \approx \frac{1}{C} \sum_c -\nabla F(v_c), \quad
              v_c \leftarrow k \text{ sweeps from the last } v_c

    The chains follow the model as long as steps are small against their mixing, so the step size must fall. Their
    number is free; it need not be the batch size.

    With `log_partition_chains` a second population of chains, which the gradient never sees, is weighted by how each
    step changes the free energy, and moved by k sweeps too. `fit` then logs at each epoch `online_log_partition` with
    its standard error (`_se`) and effective sample size (`_ess`), and by it `online_train_log_likelihood` and
    `online_valid_log_likelihood` (`_value` where the objective is only a bound): online estimates, of which log Z errs
    low on average and so the log-likelihood high. A population costs what as many chains of PCD do and one product
    more. The chains of the gradient themselves would not do: a step raises the free energy of just those chains, so
    that they tell a log Z that is too small (by 1.2 nats, 17 standard errors, on digits with 100 chains).

    References:
        | Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient (Tieleman, 2008)
        | Fast Training and Sampling of Restricted Boltzmann Machines (Bereux et al., 2024),
          https://arxiv.org/abs/2405.15376

    Args:
        k: Gibbs sweeps each step: a number, or from which step on how many, as in `CD`.
        num_chains: Persistent chains.
        centred: Whether the gradient is that of the centred parameters (Montavon and Mueller, 2012).
        offset_rate: Rate at which the offsets of centring follow the data means.
        log_partition_chains: Weighted chains that follow log Z in training; 0 for none.

    Raises:
        ValueError: If k or the number of chains is less than 1, or the rate is not in (0, 1].

    Example:
        >>> from ppgen import inference
        >>> inference.PCD(num_chains=100)
        PCD(k=1, centred=True, offset_rate=0.01, log_partition_chains=0, num_chains=100)
    """

    num_chains: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.num_chains, bool) or not isinstance(self.num_chains, int) or self.num_chains < 1:
            raise ValueError(f"num_chains must be at least 1, got {self.num_chains!r}.")
        check_room("num_chains", self.num_chains)

    def check(self, law: UndirectedDistribution) -> None:
        """Raise if the energy depends on the datum, so that chains cannot be carried over to other data."""
        if law.base_energy.batch_shape:
            raise ValueError(
                "PCD carries chains from one batch to the next, but the energy of this machine depends on the datum "
                "(lengths of documents, missing ratings), so they belong to none of the next rows. Use inference.CD(k)."
            )

    @property
    def state_names(self) -> tuple[str, ...]:
        """The chains, and the population that follows log Z, if there is one."""
        return ("chains", *super().state_names)

    @property
    def roles(self) -> dict[str, Role]:
        """The chains of both sides are shared out."""
        return {**super().roles, "chains": "chains", "odd_chains": "chains"}

    def init(self, law: UndirectedDistribution, value: Tensor) -> State:
        """Chains drawn from the base rates; their odd side and the offsets of centring are made by the first step."""
        with torch.no_grad():
            return {"chains": base_rate_draw(law.base_energy, (self.num_chains,)), **self._population(law)}

    def surrogate(self, law: UndirectedDistribution, value: Tensor, state: State) -> tuple[Tensor, State]:
        """Gradient of the chains' free energies after k sweeps from where they were."""
        energy = law.base_energy
        with torch.no_grad():
            # The odd side is carried over, so that its input serves its draw and the free energy alike.
            odd = state["odd_chains"] if "odd_chains" in state else energy.sample_opposite(state["chains"], EVEN)
            odd = energy.gibbs(odd, ODD, self.sweeps - 1)
            chains = energy.sample_opposite(odd, ODD)
            moved = {**state, "chains": chains, "odd_chains": energy.sample_opposite(chains, EVEN)}
        return self._expectation(law, chains), self._followed(law, moved)

    def fantasies(self, law: UndirectedDistribution, value: Tensor, state: State, count: int) -> Tensor:
        """Persistent chains, drawn with replacement."""
        return picked(state["chains"], count)
