"""The baseline that is a network of the data."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ppgen.checks.arguments import check_kind
from ppgen.checks.switches import check_switches
from ppgen.inference.baselines.held_modules import (
    adam_moments,
    adam_step,
    check_one_number,
    copied_like,
    held_tensors,
    module_name,
    run_held,
    slopes,
    trained_names,
)
from ppgen.inference.baselines.moving_average import LEAST, Baseline, State
from ppgen.inference.state_roles import Role

_WIDTH = 100


@dataclass(frozen=True, repr=False)
class InputDependent(Baseline):
    r"""A network of the data that predicts the signal, with variance normalisation.

    .. math:: \frac{f(z, x) - b(x) - c}{\max(1, \hat\sigma)}

    b is fitted to the signal by least squares, by steps of Adam of its own inside the training step; c and the scale
    are moving averages.

    A module given as `net` says where b starts and what it computes. It is left as it is: its parameters are copied
    into the state of the inference at the first step, where those that want a gradient are trained and from where they
    are saved and resumed; its buffers go along. A configuration holds only its type and the shapes of its tensors, so
    `fit(resume=...)` needs an inference with the same module again, and the baseline of a run that `ppgen.load` read
    has a `net` that says what it was and cannot be trained.

    References:
        | Neural Variational Inference and Learning in Belief Networks (Mnih and Gregor, 2014),
          https://arxiv.org/abs/1402.0030

    Args:
        net: A module that maps the rows of a batch, flattened to (B, F), to one number each, (B,) or (B, 1); None makes
            one hidden layer of tanh units.
        hidden: Width of that layer.
        lr: Step size of Adam.
        decay: Weight of the past in the averages.
        normalise: Whether the signal is divided by its standard deviation where that is above one nat.

    Raises:
        TypeError: If `net` is not a module.
        ValueError: If the width or a rate is not positive, or a width is given beside a module; before training, if
            the module does not map each row to one number.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from ppgen.inference import InputDependent
        >>> InputDependent(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), lr=0.01)
        InputDependent(net=Sequential, lr=0.01, decay=0.9, normalise=True)
        >>> sorted(InputDependent(hidden=4).init(torch.zeros(2, 3)))[:3]
        ['bias0', 'bias1', 'first_bias0']
    """

    net: nn.Module | None = None
    hidden: int = _WIDTH
    lr: float = 1e-3
    decay: float = 0.9
    normalise: bool = True

    def __post_init__(self) -> None:
        check_switches(normalise=self.normalise)
        if self.net is not None and not isinstance(self.net, nn.Module):
            raise TypeError(
                f"net must be a torch.nn.Module that maps rows to one number each, or None, got {self.net!r}. Give the "
                "width of the built-in network as InputDependent(hidden=...)."
            )
        if self.net is not None and self.hidden != _WIDTH:
            raise ValueError(f"hidden={self.hidden} is the width of the built-in network: give it or net, not both.")
        check_kind("hidden", self.hidden, int, "a whole number")
        for name in ("lr", "decay"):
            check_kind(name, getattr(self, name), (int, float), "a number")
        if not (1 <= self.hidden and 0 < self.lr < math.inf and 0 <= self.decay < 1):
            raise ValueError(
                "hidden and lr must be positive and decay lie in [0, 1), got "
                f"hidden={self.hidden}, lr={self.lr}, decay={self.decay}."
            )

    def __repr__(self) -> str:
        net = f"hidden={self.hidden}" if self.net is None else f"net={module_name(self.net)}"
        return f"InputDependent({net}, lr={self.lr}, decay={self.decay}, normalise={self.normalise})"

    def check(self, site: str, rows: Callable[[], Tensor]) -> None:
        """Raise unless a module that was given maps each row to one number."""
        if self.net is None:
            return
        label = f"InputDependent at site {site!r}: net={module_name(self.net)}"
        table = rows()
        check_one_number(label, self.net, lambda: self._output(self.init(table), table), table)

    @property
    def roles(self) -> dict[str, Role]:
        """Each process has a network and averages of its own, whatever the names in a module that was given."""
        held = self._trained if self.net is None else list(held_tensors(self.net))
        moments = [f"{which}_{name}" for which in ("first", "second") for name in self._trained]
        return dict.fromkeys([*held, *moments, "mean", "variance", "steps"], "own")

    def init(self, rows: Tensor) -> State:
        """Weights from a fixed seed, so that binding an inference draws nothing, or the module's; Adam's; averages."""
        if self.net is None:
            features = rows.shape[1]
            generator = torch.Generator().manual_seed(0)
            first = torch.randn(features, self.hidden, generator=generator, device="cpu") / math.sqrt(features)
            held = {
                "weight0": first.to(rows),
                "bias0": rows.new_zeros(self.hidden),
                "weight1": rows.new_zeros(self.hidden),
                "bias1": rows.new_zeros(()),
            }
        else:
            held = {key: copied_like(tensor, rows) for key, tensor in held_tensors(self.net).items()}
        averages = {name: rows.new_zeros(()) for name in ("mean", "variance", "steps")}
        return {**held, **adam_moments(held, self._trained), **averages}

    def centred(self, signal: Tensor, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """The signal less network and average, scaled; the network moves towards the signal."""
        weights = {name: state[name].detach().requires_grad_() for name in self._trained}
        held = {**self._constants(state), **weights}
        with torch.enable_grad():
            predicted = self._output(held, rows).reshape(len(rows))
            if signal.shape[1] == 1:
                predicted = predicted.sum().reshape(1)
            steps = state["steps"] + 1
            known = (1 - self.decay ** state["steps"]).clamp(min=LEAST)  # weight of the past in the averages
            residual = signal - predicted - state["mean"] / known
            gradients = slopes(residual.square().mean(), list(weights.values()))
        residual = residual.detach()
        moved = {name: tensor.detach() for name, tensor in held.items()}
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            moved |= adam_step(name, weight, gradient, state, lr=self.lr, steps=steps)
        centre = (signal - predicted.detach()).mean()
        averages = {
            "mean": torch.lerp(centre, state["mean"], self.decay),
            "variance": torch.lerp(residual.square().mean(), state["variance"], self.decay),
            "steps": steps,
        }
        if self.normalise:
            residual = residual / (state["variance"] / known).sqrt().clamp(min=1)
        return residual, {**moved, **averages}

    @property
    def _trained(self) -> list[str]:
        """Names in the state of what Adam moves."""
        if self.net is None:
            return ["weight0", "bias0", "weight1", "bias1"]
        return trained_names(self.net)

    def _constants(self, state: State) -> State:
        """Frozen parameters and buffers of a module; copies, for buffers may be written to when it runs."""
        names = [] if self.net is None else set(held_tensors(self.net)) - set(self._trained)
        return {name: state[name].clone() for name in names}

    def _output(self, held: State, rows: Tensor) -> Tensor:
        if self.net is None:
            hidden = torch.tanh(rows @ held["weight0"] + held["bias0"])
            return hidden @ held["weight1"] + held["bias1"]
        return run_held(self.net, held, rows)
