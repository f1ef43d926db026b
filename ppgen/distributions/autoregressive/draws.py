"""Draws entry by entry: a loop over positions, which a traced step holds as one operator."""

import itertools
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from torch import Size, Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from ppgen.causal import CausalNetwork
from ppgen.distributions.autoregressive.output_law import OutputLaw

# Networks and laws by the numbers under which graphs know them; counted, so that another process counts alike and
# finds compiled graphs again.
numbered_networks: WeakValueDictionary[int, nn.Module] = WeakValueDictionary()
_numbers: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
_outputs: dict[OutputLaw, int] = {}
_counter = itertools.count()


def tracing() -> bool:
    """Whether operations are being recorded, so that no value of a tensor may be read."""
    return get_proxy_mode() is not None or torch.compiler.is_compiling()


def draw_entries(
    network: CausalNetwork, output: OutputLaw, uniforms: Tensor, given: Tensor | None, known: Tensor | None = None
) -> Tensor:
    """Values of all positions, each drawn given those before it; one operator where operations are being recorded.

    Args:
        network: A causal network.
        output: Law of an entry.
        uniforms: Uniform numbers in [0, 1), shape (..., positions, output.num_uniforms).
        given: What vectors are conditioned on, (..., numbers).
        known: Values that are not drawn, (..., positions), with NaN where they are.

    Returns:
        Values in the dtype of the uniform numbers, (..., positions).
    """
    if tracing() and isinstance(network, nn.Module):
        tensors = [*dict(network.named_parameters()).values(), *dict(network.named_buffers()).values()]
        number = _outputs.setdefault(output, len(_outputs))
        found: Tensor = autoregressive_draws(network_number(network), number, tensors, uniforms, given, known)
        return found
    return _loop(network, output, uniforms, given, known)


@torch.no_grad()
def _loop(
    network: CausalNetwork, output: OutputLaw, uniforms: Tensor, given: Tensor | None, known: Tensor | None
) -> Tensor:
    *batch, positions, _ = uniforms.shape
    # Positions first: each step reads and writes what lies side by side.
    columns = uniforms.movedim(-2, 0).contiguous()
    clamped = None if known is None else known.movedim(-1, 0).contiguous()
    drawn = uniforms.new_empty(positions, *batch)
    state = network.start(Size(batch), given)
    previous = uniforms.new_zeros(batch)
    for position in range(positions):
        parameters, state = network.step(state, previous)
        value = output.draw(parameters, columns[position])
        if clamped is not None:
            value = torch.where(clamped[position].isnan(), value, clamped[position])
        drawn[position] = value
        previous = output.code(value)
    return drawn.movedim(0, -1).contiguous()


class _Drawing(nn.Module):
    """The loop as the forward pass of a module, whose weights can be given."""

    def __init__(self, network: nn.Module, output: OutputLaw) -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, uniforms: Tensor, given: Tensor | None, known: Tensor | None) -> Tensor:
        return _loop(self.network, self.output, uniforms, given, known)  # type: ignore[arg-type]


def network_number(network: nn.Module) -> int:
    """Number under which graphs know a network; `numbered_networks` finds it again."""
    if network not in _numbers:
        _numbers[network] = next(_counter)
        numbered_networks[_numbers[network]] = network
    return _numbers[network]


# One operator, as a traced step would else hold some operations for each entry and take minutes to compile.
@torch.library.custom_op("ppgen::autoregressive_draws", mutates_args=())
def autoregressive_draws(
    network: int, output: int, tensors: list[Tensor], uniforms: Tensor, given: Tensor | None, known: Tensor | None
) -> Tensor:
    """Values of all positions by the network and the law of these numbers, with the weights of now.

    Args:
        network: Number of the network.
        output: Number of the law of an entry.
        tensors: Parameters of the network, then its buffers.
        uniforms: Uniform numbers in [0, 1), shape (..., positions, uniforms of an entry).
        given: What vectors are conditioned on, (..., numbers).
        known: Values that are not drawn, (..., positions), with NaN where they are.
    """
    module = numbered_networks[network]
    names = [*dict(module.named_parameters()), *dict(module.named_buffers())]
    law = next(law for law, number in _outputs.items() if number == output)
    weights = {f"network.{name}": tensor for name, tensor in zip(names, tensors, strict=True)}
    found: Tensor = torch.func.functional_call(_Drawing(module, law), weights, (uniforms, given, known))
    return found


@autoregressive_draws.register_fake
def _(
    network: int, output: int, tensors: list[Tensor], uniforms: Tensor, given: Tensor | None, known: Tensor | None
) -> Tensor:
    return uniforms.new_empty(uniforms.shape[:-1])
