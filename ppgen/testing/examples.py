"""Small asymmetric models whose every quantity is known."""

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.nn.module import PyroModule, pyro_method
from torch import Tensor, nn

from ppgen import inference
from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
from ppgen.pair import Pair


def boltzmann_machine(
    sizes: Sequence[int] = (4, 3), *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> BoltzmannMachine:
    """Machine with layers `layer0`, `layer1`, ... whose weights all differ: no symmetry hides a bug.

    Example:
        >>> from ppgen.testing import boltzmann_machine
        >>> boltzmann_machine((3, 2))
        BoltzmannMachine(layer0=3, layer1=2)
    """
    generator = torch.Generator().manual_seed(sum(sizes))

    def parameter(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype)
        return drawn.requires_grad_()

    layers = {f"layer{index}": Bernoulli(parameter(size)) for index, size in enumerate(sizes)}
    pairs = zip(sizes[:-1], sizes[1:], strict=True)
    return BoltzmannMachine(layers, [Dense(parameter(*pair)) for pair in pairs])


def enumerated(machine: BoltzmannMachine) -> tuple[Tensor, Tensor]:
    """Every joint state of a machine of Bernoulli units and dense couplings, and its log-weight -E(x), nats.

    Written with loops over layers and nothing of the machine but its tensors, so that it is no mirror of its
    code.

    Returns:
        States in binary order, (states, all units), and log-weights, (states,), differentiable in the
        weights.
    """
    biases = [units.parameters()[0] for units in machine.base_energy.units]
    weights = [coupling.parameters()[0] for coupling in machine.base_energy.couplings]
    total = sum(len(bias) for bias in biases)
    index = torch.arange(2**total, device=biases[0].device)
    states = torch.stack([(index >> (total - 1 - bit)) & 1 for bit in range(total)], -1).to(biases[0])
    layers = states.split([len(bias) for bias in biases], -1)
    log_weights = torch.zeros(2**total).to(biases[0])
    for bias, layer in zip(biases, layers, strict=True):
        log_weights = log_weights + (layer * bias).sum(-1)
    for weight, lower, upper in zip(weights, layers[:-1], layers[1:], strict=True):
        log_weights = log_weights + torch.einsum("si,ij,sj->s", lower, weight, upper)
    return states, log_weights


def state_index(values: Tensor) -> Tensor:
    """Number whose binary digits are the bits: (..., bits) -> (...,) integers."""
    shifts = torch.arange(values.shape[-1] - 1, -1, -1, device=values.device)
    return (values.long() << shifts).sum(-1)


def bit_vectors(size: int) -> Tensor:
    """Every vector of bits in the order of `state_index`, float64: (2^size, size).

    Example:
        >>> bit_vectors(2).tolist()
        [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    shifts = torch.arange(size - 1, -1, -1)
    return ((torch.arange(2**size).unsqueeze(-1) >> shifts) & 1).double()


def densities_at(pair: Any, batch: Any, latents: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Log-weights and log q(z | x) at given values of the latents, as `inference.log_weights` finds them.

    With every state of discrete latents, the sum of q times the weight is p(x), exactly.

    Args:
        pair: A pair.
        batch: A batch of data.
        latents: Value of each latent site: (values, rows or 1, ...).

    Returns:
        log p(x, z) - log q(z | x) and log q(z | x), nats, both (values, rows).

    Example:
        >>> pair, x = conjugate_pair(), torch.zeros(3, dtype=torch.float64)
        >>> log_weights, _ = densities_at(pair, x, {"z": torch.zeros(5, 3, dtype=torch.float64)})
        >>> log_weights.shape
        torch.Size([5, 3])
    """
    found = log_weights_at(pair, batch, latents)
    log_q = torch.zeros_like(found.local)
    for name in latents:
        site: Any = found.guide_traces[0].nodes[name]
        log_q = log_q + site["fn"].log_prob(site["value"])
    return found.local, log_q


def log_weights_at(pair: Any, batch: Any, latents: Mapping[str, Tensor]) -> inference.LogWeights:
    """What `inference.log_weights` gives for given values of the latents instead of draws: (values, rows).

    Args:
        pair: A pair.
        batch: A batch of data.
        latents: Value of each latent site: (values, rows or 1, ...), two values or more.
    """
    held = poutine.Trace()
    for name, value in latents.items():
        held.add_node(name, name=name, type="sample", is_observed=False, value=value, infer={})
    guide = poutine.replay(pair.guide, trace=held)
    program = SimpleNamespace(model=pair.model, guide=guide, running=pair.running)
    layout = inference.find_layout(pair, batch)
    return inference.log_weights(program, batch, len(next(iter(latents.values()))), layout=layout)


class _Conjugate(PyroModule):
    """z ~ N(loc, 1), x | z ~ N(slope z, scale^2), and a guide N(a x + b, s^2)."""

    def __init__(self, full_size: int | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.full_size = full_size
        start = {"loc": 0.3, "slope": 1.4, "log_scale": -0.4, "a": 0.35, "b": -0.2, "log_s": -0.7}
        for name, value in start.items():
            setattr(self, name, nn.Parameter(torch.tensor(value, dtype=dtype)))

    def _plate(self, x: Tensor) -> pyro.plate:
        if self.full_size is None:
            return pyro.plate("data", len(x))
        return pyro.plate("data", self.full_size, subsample=x)

    @pyro_method
    def model(self, x: Tensor) -> None:
        with self._plate(x):
            z = pyro.sample("z", dist.Normal(self.loc, torch.ones_like(self.loc)))
            pyro.sample("x", dist.Normal(self.slope * z, self.log_scale.exp()), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        with self._plate(x):
            pyro.sample("z", dist.Normal(self.a * x + self.b, self.log_s.exp()))

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x) of each datum, in nats: (rows,) -> (rows,)."""
        variance = self.slope**2 + (2 * self.log_scale).exp()
        return -0.5 * ((x - self.slope * self.loc) ** 2 / variance + variance.log() + math.log(2 * math.pi))

    def elbo(self, x: Tensor) -> Tensor:
        """Exact ELBO of each datum, in nats: (rows,) -> (rows,)."""
        mean, variance = self.a * x + self.b, (2 * self.log_s).exp()
        prior = -0.5 * ((mean - self.loc) ** 2 + variance)
        noise = (2 * self.log_scale).exp()
        residual = (x - self.slope * mean) ** 2 + self.slope**2 * variance
        likelihood = -0.5 * (residual / noise + noise.log() + math.log(2 * math.pi))
        return prior + likelihood + 0.5 + self.log_s


def conjugate_pair(
    full_size: int | None = None, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> Pair:
    """Pair with one Normal latent per datum whose evidence and ELBO are known in closed form.

    Its `model_module` has `log_evidence(x)` and `elbo(x)`, both (rows,) -> (rows,) in nats and
    differentiable.

    Args:
        full_size: Size given to the data plate, the batch being a subsample; None for `len(x)`.
        dtype: Of the parameters.
        device: Of the parameters.

    Example:
        >>> from ppgen.testing import conjugate_pair
        >>> import torch
        >>> pair = conjugate_pair()
        >>> known, x = pair.model_module, torch.ones(2)
        >>> bool((known.elbo(x) < known.log_evidence(x)).all())
        True
    """
    module = _Conjugate(full_size, dtype).to(device)
    return Pair(module.model, module.guide)


class _Bits(PyroModule):
    """z_j ~ Bernoulli, x | z ~ N(w . z + c, 1), and a guide whose logits are linear in x."""

    def __init__(self) -> None:
        super().__init__()
        start = {
            "prior": [0.3, -0.5],
            "weight": [1.2, -0.8],
            "constant": 0.2,
            "slope": [0.6, -0.3],
            "offset": [0.1, 0.4],
        }
        for name, value in start.items():
            setattr(self, name, nn.Parameter(torch.tensor(value, dtype=torch.float64)))

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(logits=self.prior).to_event(1))
            mean = (z * self.weight).sum(-1) + self.constant
            pyro.sample("x", dist.Normal(mean, torch.ones_like(mean)), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=x.unsqueeze(-1) * self.slope + self.offset).to_event(1))


def bernoulli_pair(*, device: torch.device | str = "cpu") -> Pair:
    """Pair in float64 with two Bernoulli latents per datum, few enough to sum every objective over their states.

    Example:
        >>> inference.log_weights(bernoulli_pair(), torch.ones(3, dtype=torch.float64), 2).local.shape
        torch.Size([2, 3])
    """
    module = _Bits().to(device)
    return Pair(module.model, module.guide)
