"""Baselines of score-function gradients: predictions of the learning signal that do not see the draw."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

State = dict[str, Tensor]

_LEAST = 1e-6


@dataclass(frozen=True)
class Baseline:
    """What is subtracted from a learning signal; a value without state.

    State is a mapping of tensors that a step takes and gives back, so that it is traced, saved and resumed.
    """

    @abstractmethod
    def init(self, rows: Tensor) -> State:
        """State before the first step, for batches like `rows`, (B, F)."""

    @abstractmethod
    def centred(self, signal: Tensor, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """The signal less the baseline, and the state after having seen it.

        Args:
            signal: Learning signal, (particles, B) or (particles, 1), nats.
            rows: Rows of the batch, (B, F).
            state: State left by the last step.
        """


@dataclass(frozen=True)
class MovingAverage(Baseline):
    """Exponentially decaying average of past signals, the same for all data.

    References:
        | Neural Variational Inference and Learning in Belief Networks (Mnih and Gregor, 2014),
          https://arxiv.org/abs/1402.0030

    Args:
        decay: Weight of the past, in [0, 1).

    Raises:
        ValueError: If the decay is outside.

    Example:
        >>> state = MovingAverage().init(torch.zeros(2, 3))
        >>> MovingAverage().centred(torch.ones(1, 2), torch.zeros(2, 3), state)[0]
        tensor([[1., 1.]])
    """

    decay: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {self.decay!r}.")

    def init(self, rows: Tensor) -> State:
        """Mean zero, of no weight."""
        return {"mean": rows.new_zeros(()), "weight": rows.new_zeros(())}

    def centred(self, signal: Tensor, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """The signal less the average of the steps before this one."""
        centred = signal - state["mean"] / state["weight"].clamp(min=_LEAST)
        mean = torch.lerp(signal.mean(), state["mean"], self.decay)
        return centred, {"mean": mean, "weight": torch.lerp(torch.ones_like(mean), state["weight"], self.decay)}


@dataclass(frozen=True)
class InputDependent(Baseline):
    r"""A network of the data that predicts the signal, with variance normalisation.

    .. math:: \frac{f(z, x) - b(x) - c}{\max(1, \hat\sigma)}

    b is fitted to the signal by least squares, by steps of Adam of its own inside the training step; c and the scale
    are moving averages.

    References:
        | Neural Variational Inference and Learning in Belief Networks (Mnih and Gregor, 2014),
          https://arxiv.org/abs/1402.0030

    Args:
        hidden: Width of its one hidden layer of tanh units.
        lr: Step size of Adam.
        decay: Weight of the past in the averages.
        normalise: Whether the signal is divided by its standard deviation where that is above one nat.

    Raises:
        ValueError: If the width or a rate is not positive.

    Example:
        >>> baseline = InputDependent(hidden=4)
        >>> sorted(baseline.init(torch.zeros(2, 3)))[:3]
        ['bias0', 'bias1', 'first_bias0']
    """

    hidden: int = 100
    lr: float = 1e-3
    decay: float = 0.9
    normalise: bool = True

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.lr <= 0 or not 0 <= self.decay < 1:
            raise ValueError(
                "hidden and lr must be positive and decay lie in [0, 1), got "
                f"hidden={self.hidden}, lr={self.lr}, decay={self.decay}."
            )

    def init(self, rows: Tensor) -> State:
        """Weights from a fixed seed, so that binding an inference draws nothing; moments of Adam; averages."""
        features = rows.shape[1]
        generator = torch.Generator().manual_seed(0)
        first = torch.randn(features, self.hidden, generator=generator) / math.sqrt(features)
        weights = {
            "weight0": first.to(rows),
            "bias0": rows.new_zeros(self.hidden),
            "weight1": rows.new_zeros(self.hidden),
            "bias1": rows.new_zeros(()),
        }
        moments = {
            f"{which}_{name}": torch.zeros_like(w) for which in ("first", "second") for name, w in weights.items()
        }
        averages = {name: rows.new_zeros(()) for name in ("mean", "variance", "steps")}
        return {**weights, **moments, **averages}

    def centred(self, signal: Tensor, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """The signal less network and average, scaled; the network moves towards the signal."""
        weights = {name: state[name].detach().requires_grad_() for name in ("weight0", "bias0", "weight1", "bias1")}
        with torch.enable_grad():
            hidden = torch.tanh(rows @ weights["weight0"] + weights["bias0"])
            predicted = hidden @ weights["weight1"] + weights["bias1"]
            if signal.shape[1] == 1:
                predicted = predicted.sum().reshape(1)
            steps = state["steps"] + 1
            known = (1 - self.decay ** state["steps"]).clamp(min=_LEAST)  # weight of the past in the averages
            residual = signal - predicted - state["mean"] / known
            gradients = torch.autograd.grad(residual.square().mean(), list(weights.values()))
        residual = residual.detach()
        moved = {}
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            first = torch.lerp(gradient, state[f"first_{name}"], 0.9)
            second = torch.lerp(gradient.square(), state[f"second_{name}"], 0.999)
            size = (second / (1 - 0.999**steps)).sqrt() + 1e-8
            moved[name] = weight.detach() - self.lr * (first / (1 - 0.9**steps)) / size
            moved[f"first_{name}"], moved[f"second_{name}"] = first, second
        centre = (signal - predicted.detach()).mean()
        averages = {
            "mean": torch.lerp(centre, state["mean"], self.decay),
            "variance": torch.lerp(residual.square().mean(), state["variance"], self.decay),
            "steps": steps,
        }
        if self.normalise:
            residual = residual / (state["variance"] / known).sqrt().clamp(min=1)
        return residual, {**moved, **averages}
