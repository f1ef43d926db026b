"""Parameters of mixtures of numbers that are standardised before they are read."""

import math

import torch
from torch import Size, Tensor
from torch.nn import functional

from ppgen.causal import State
from ppgen.checks.arguments import check_number
from ppgen.nn.autoregressive.causal import Causal


class StandardisedMixture(Causal):
    r"""Causal network of numbers that reads them standardised, and gives mixtures of the numbers as they are.

    .. math:: z_i = \frac{x_i - m_i}{s_i}, \quad \mu_{ik} = m_i + s_i \mu'_{ik}(z_{<i}), \quad
        \sigma_{ik} = s_i \big(\sigma_{\min} + e^{a_{ik}(z_{<i})}\big)

    So log p is that of the numbers in their own units. The network inside gives K logits, K locations and K logarithms
    of scales a of the standardised entries. `standardise` sets m and s; before, they are 0 and 1.

    Args:
        network: Causal network with 3 K outputs.
        minimum_scale: The smallest scale, as a part of the entry's standard deviation.
        scaled_gradient: Whether the gradient in a location is multiplied by the component's scale, so that narrow
            components do not make large steps. It is then not the gradient of log p.

    Raises:
        ValueError: If the outputs are no three times a number, or the smallest scale is not positive.

    Example:
        >>> import torch
        >>> from ppgen import nn
        >>> network = nn.StandardisedMixture(nn.NADENetwork(4, hidden=8, outputs=6))
        >>> network.standardise(torch.zeros(4), torch.full((4,), 2.0))
        >>> network(torch.zeros(5, 4)).shape
        torch.Size([5, 4, 6])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: Causal, minimum_scale: float = 1e-3, scaled_gradient: bool = True) -> None:
        super().__init__(network.positions, network.outputs, network.given)
        if network.outputs % 3:
            raise ValueError(f"network must have three outputs for each component, got {network.outputs} in all.")
        check_number("minimum_scale", minimum_scale, "be positive", lambda scale: scale > 0)
        self.network, self.minimum_scale, self.scaled_gradient = network, minimum_scale, scaled_gradient
        self.register_buffer("mean", torch.zeros(network.positions))
        self.register_buffer("scale", torch.ones(network.positions))

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Set what is subtracted from the entries and what they are divided by, (positions,) each.

        Raises:
            ValueError: If a scale is not positive.
        """
        if not bool((scale > 0).all()):
            raise ValueError(f"scale must be positive, got {float(scale.min()):g}.")
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries: (..., positions) -> (..., positions, outputs)."""
        standardised = (x.to(self.mean.dtype) - self.mean) / self.scale
        return self._placed(self.network(standardised, given), self.mean, self.scale)

    def start(self, batch_shape: Size | tuple[int, ...], given: Tensor | None = None) -> State:
        """State of the network inside."""
        return self.network.start(batch_shape, given)

    def step(self, state: State, previous: Tensor) -> tuple[Tensor, State]:
        """Parameters of the next entry, (..., outputs), and the state behind it."""
        position = state["position"]
        last, index = (position - 1).clamp(min=0).reshape(1), position.reshape(1)
        mean, scale = self.mean.index_select(0, last).squeeze(0), self.scale.index_select(0, last).squeeze(0)
        parameters, state = self.network.step(state, (previous - mean) / scale)
        mean, scale = self.mean.index_select(0, index).squeeze(0), self.scale.index_select(0, index).squeeze(0)
        return self._placed(parameters, mean, scale), state

    def initialise(self, bias: Tensor) -> None:
        """Start the bias of the network inside, (positions, outputs), where it was not trained."""
        self.network.initialise(bias)

    def extra_repr(self) -> str:
        """How entries are standardised."""
        return f"minimum_scale={self.minimum_scale}, scaled_gradient={self.scaled_gradient}"

    def _placed(self, parameters: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        """Parameters of standardised entries as those of the entries themselves."""
        logits, locations, raw = parameters.unflatten(-1, (3, self.outputs // 3)).unbind(-2)
        least = math.log(self.minimum_scale)
        log_scales = functional.softplus(raw - least) + least  # of smallest scale + e^raw
        if self.scaled_gradient:
            scales = log_scales.detach().exp()
            locations = locations * scales + (locations * (1 - scales)).detach()
        mean, scale = mean.unsqueeze(-1), scale.unsqueeze(-1)
        return torch.cat([logits, mean + scale * locations, log_scales + scale.log()], -1)
