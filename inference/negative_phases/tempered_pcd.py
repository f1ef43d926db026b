"""Persistent contrastive divergence whose chains are kept mixing by parallel tempering."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ppgen.checks.arguments import check_count, check_number
from ppgen.distributions import BaseRatePath, UndirectedDistribution
from ppgen.distributions.machines.replicas import Replicas, accepted_swaps, exchanged
from ppgen.inference.annealing.swap_ladder import followed
from ppgen.inference.negative_phases.contrastive_divergence import PCD
from ppgen.inference.negative_phases.negative_phase import State
from ppgen.inference.state_roles import Role


@dataclass(frozen=True)
class TemperedPCD(PCD):
    r"""Persistent chains with hotter replicas of each, from independent units (beta = 0) to the machine (beta = 1).

    .. math:: \nabla \log Z \approx \frac{1}{C} \sum_c -\nabla F(v_{c, T}), \qquad
        \alpha_t = \min\Big\{1, \frac{f_{\beta_t}(v_{t+1}) \, f_{\beta_{t+1}}(v_t)}
        {f_{\beta_t}(v_t) \, f_{\beta_{t+1}}(v_{t+1})}\Big\}

    After each sweep of all replicas every second pair of neighbours is offered a swap, with probability alpha by the
    tempered free energies f; the gradient is that of the chains at beta = 1. The base rates at beta = 0 follow the
    means of the positive phase, the data's at a visible layer. The ladder follows the swaps that are rejected, until
    all neighbours swap equally often. A step costs about `num_temperatures` times the sweeps of `PCD`.

    References:
        | Tempered Markov Chain Monte Carlo for Training of Restricted Boltzmann Machines (Desjardins et al., 2010)
        | Parallel Tempering is Efficient for Learning Restricted Boltzmann Machines (Cho, Raiko and Ilin, 2010)

    Args:
        k: Gibbs sweeps each step, each followed by a round of swaps: a number, or from which step on how many, as in
            `CD`.
        num_chains: Persistent chains at beta = 1.
        num_temperatures: Replicas of each chain, itself included.
        ladder_rate: Rate at which the ladder follows the rejected swaps; 0 keeps its steps equal.
        centred: Whether the gradient is that of the centred parameters (Montavon and Mueller, 2012).
        offset_rate: Rate at which offsets and base rates follow the means of the positive phase.
        log_partition_chains: Weighted chains, not tempered, that follow log Z in training; 0 for none. See `PCD`.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> from ppgen import inference
        >>> inference.TemperedPCD(num_chains=50, num_temperatures=8).num_temperatures
        8
    """

    num_temperatures: int = 10
    ladder_rate: float = field(default=0.01, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("num_temperatures", self.num_temperatures, 2, wanted="at least 2, beta = 0 and beta = 1")
        check_number("ladder_rate", self.ladder_rate, "lie in [0, 1]", lambda rate: 0 <= rate <= 1)

    @property
    def state_names(self) -> tuple[str, ...]:
        """The chains, their replicas and the ladder, and the population that follows log Z, if there is one."""
        return (*super().state_names, "hot_chains", "ladder", "rejections", "parity")

    @property
    def roles(self) -> dict[str, Role]:
        """Replicas are shared out with their chains; base rates and ladder follow those of all processes."""
        common: dict[str, Role] = dict.fromkeys(("base_offset", "ladder", "rejections"), "common")
        return {**super().roles, "hot_chains": "chains", **common, "parity": "own"}

    def init(self, law: UndirectedDistribution, value: Tensor) -> State:
        """Chains and their hotter replicas at independent units, and a ladder of equal steps."""
        like, count = law.base_energy.parameters()[0], self.num_temperatures
        with torch.no_grad():
            # Chains come first, so that processes can share them out.
            even = BaseRatePath(law.base_energy).sample_base(self.num_chains * count).unflatten(0, (-1, count))
            between = torch.arange(1, count - 1, dtype=like.dtype, device=like.device) / (count - 1)
            return {
                "chains": even[:, -1].clone(),
                "hot_chains": even[:, :-1].clone(),
                "ladder": between,
                "rejections": like.new_zeros(count - 1),
                "parity": torch.zeros((), dtype=torch.long, device=like.device),
                **self._population(law),
            }

    @staticmethod
    def betas(state: State) -> Tensor:
        """Inverse temperatures from 0 to 1: (temperatures,)."""
        between = state["ladder"]
        return torch.cat([between.new_zeros(1), between, between.new_ones(1)])

    def observe(self, law: UndirectedDistribution, even: Tensor, odd: Tensor, state: State) -> State:
        """Base rates, and offsets of centring if it is on, moved towards the means of the positive phase."""
        mean = even.detach().flatten(0, -2).mean(0)
        rates = torch.lerp(state["base_offset"], mean, self.offset_rate) if "base_offset" in state else mean
        return {**super().observe(law, even, odd, state), "base_offset": rates}

    def surrogate(self, law: UndirectedDistribution, value: Tensor, state: State) -> tuple[Tensor, State]:
        """Gradient of the free energies of the chains at beta = 1, after k sweeps and rounds of swaps."""
        betas, parity = self.betas(state), state["parity"]
        with torch.no_grad():
            replicas = Replicas(BaseRatePath(law.base_energy, state.get("base_offset")), betas)
            if "odd_chains" in state:
                odd = state["odd_chains"].movedim(1, 0)
            else:
                even = torch.cat([state["hot_chains"], state["chains"].unsqueeze(1)], 1).movedim(1, 0)
                odd = replicas.sample_odd(replicas.inputs(even))
            rejected = []
            for _ in range(self.sweeps):
                even = replicas.sample_even(odd)
                inputs = replicas.inputs(even)
                log_ratio = replicas.log_ratio(even, inputs)
                uniform = torch.rand(log_ratio.shape, dtype=even.dtype, device=even.device)
                swaps = accepted_swaps(log_ratio, parity, uniform)
                parity = 1 - parity
                even = exchanged(even, swaps)
                # Drawn anew at its own temperature, from products that are known: it is carried over to the next sweep.
                odd = replicas.sample_odd([exchanged(input, swaps) for input in inputs])
                rejected.append(1 - log_ratio.clamp(max=0).exp().mean(1))
            moved = {
                **state,
                "chains": even[-1].clone(),
                "hot_chains": even[:-1].movedim(0, 1).contiguous(),
                "odd_chains": odd.movedim(0, 1).contiguous(),
                "parity": parity,
            }
            if self.ladder_rate:
                following, rejections = followed(
                    betas, state["rejections"], torch.stack(rejected).mean(0), self.ladder_rate
                )
                moved |= {"ladder": following[1:-1].clone(), "rejections": rejections}
        return self._expectation(law, moved["chains"]), self._followed(law, moved)
