"""Generative adversarial networks: a discriminator tells how far draws are from data, and the model makes that less."""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ppgen.checks.arguments import check_count, check_number
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
from ppgen.inference.objectives.adversarial_losses import LOSSES, gradient_penalty
from ppgen.inference.objectives.draw_objective import Compared, DrawObjective, State
from ppgen.inference.state_roles import Roles
from ppgen.undisturbed import keeping_modes

_HIDDEN = (256, 256)
_LEAK = 0.2


@dataclass(frozen=True, repr=False)
class Adversarial(DrawObjective):
    r"""Generative adversarial training: the model makes less what a discriminator D tells of draws and data.

    .. math::
        V(D) = E_{x \sim \text{data}} \log D(x) + E_{y \sim \text{model}} \log (1 - D(y)), \qquad
        D^* = \frac{p_\text{data}}{p_\text{data} + p_\text{model}}, \quad V(D^*) = 2\,\mathrm{JSD} - \log 4

    The value is what the discriminator, as the steps before left it, tells of the batch and of as many draws. In
    expectation it is a *lower bound of a divergence* between data and model, which a poor discriminator makes small and
    which therefore chooses no best epoch; it says nothing of log p(x).

    ==================  ====================================  ===============================  =====================
    loss                value                                 discriminator descends           generator descends
    ==================  ====================================  ===============================  =====================
    `jensen-shannon`    JSD = (V + log 4) / 2, nats           -V                               E log(1 - D(y))
    `non-saturating`    the same                              -V                               -E log D(y)
    `wasserstein-gp`    E D(x) - E D(y), Wasserstein-1        that, negative, + penalty        -E D(y)
    `hinge`             total variation distance, at most 1   E (1 - D(x))+ + E (1 + D(y))+    -E D(y)
    ==================  ====================================  ===============================  =====================

    Under the last two D is any real number, under the first two the logistic function of one. Each step moves the
    discriminator by Adam, `discriminator_steps` times, and then gives the model's gradient. A module given as
    `discriminator` says where D starts and what it computes. It is left as it is: its tensors are copied into the state
    of the inference at the first step, from where they are trained, saved and resumed. A configuration holds only its
    type and shapes, so that `fit(resume=...)` needs an inference with the same module again.

    No guide is run; latents, and the data's own law, must be reparameterised. Batch normalisation may be trained, in
    the model and in the discriminator; values of validation rows are taken in evaluation mode.

    References:
        | Generative Adversarial Nets (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661
        | Improved Training of Wasserstein GANs (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028
        | Geometric GAN (Lim and Ye, 2017), https://arxiv.org/abs/1705.02894

    Args:
        discriminator: A module that maps rows, flattened to (B, F), to one number each, (B,) or (B, 1); None makes one
            of leaky rectified layers.
        loss: `"jensen-shannon"`, `"non-saturating"`, `"wasserstein-gp"` or `"hinge"`.
        hidden: Widths of its layers.
        lr: Step size of the discriminator's Adam; that of the model is an argument of `ppgen.fit`.
        momentum: Weight of the past in Adam's average of the gradient, for the discriminator.
        discriminator_steps: Steps of the discriminator before each of the model.
        penalty: Weight of the gradient penalty under `"wasserstein-gp"`.
        compared: What stands for a draw: `"sample"` of the data's law, which must be reparameterised, or its `"mean"`,
            such as the grey pixels of bits.

    Raises:
        TypeError: If `discriminator` is no module.
        ValueError: If an argument is out of its range, or widths are given beside a module; before training, if the
            discriminator does not map each row to one number, or the model is not one that can be compared.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from ppgen.inference import Adversarial
        >>> objective = Adversarial(nn.Linear(3, 1), loss="hinge")
        >>> objective, sorted(objective.init(torch.zeros(2, 3)))[-3:]
        (Adversarial(discriminator=Linear, loss='hinge'), ['second_net/bias', 'second_net/weight', 'updates'])
    """

    discriminator: nn.Module | None = None
    loss: str = "non-saturating"  # type: ignore[assignment]  # in the place of Pyro's method, which would refuse it
    hidden: tuple[int, ...] = field(default=_HIDDEN, kw_only=True)
    lr: float = field(default=1e-3, kw_only=True)
    momentum: float = field(default=0.5, kw_only=True)
    discriminator_steps: int = field(default=1, kw_only=True)
    penalty: float = field(default=10.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        net = self.discriminator
        if net is not None and not isinstance(net, nn.Module):
            raise TypeError(
                f"discriminator must be a torch.nn.Module that maps rows to one number each, or None, got {net!r}. "
                "Give the widths of the built-in network as Adversarial(hidden=...)."
            )
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))}, got {self.loss!r}.")
        if not isinstance(self.hidden, (tuple, list)):
            raise TypeError(f"hidden must be widths of layers such as (256, 256), got {self.hidden!r}.")
        object.__setattr__(self, "hidden", tuple(check_count("each of hidden", each) for each in self.hidden))
        if net is not None and self.hidden != _HIDDEN:
            raise ValueError(
                f"hidden={self.hidden} are widths of the built-in network: give it or discriminator, not both."
            )
        check_number("lr", self.lr, "be positive", lambda number: number > 0)
        check_number("momentum", self.momentum, "lie in [0, 1)", lambda number: 0 <= number < 1)
        check_number("penalty", self.penalty, "be at least 0", lambda number: number >= 0)
        check_count("discriminator_steps", self.discriminator_steps)

    def __repr__(self) -> str:
        net = f"discriminator={module_name(self.discriminator)}, " if self.discriminator is not None else ""
        return f"Adversarial({net}loss={self.loss!r})"

    @property
    def value_name(self) -> str:
        """Which divergence its value tells."""
        return LOSSES[self.loss].name

    @property
    def roles(self) -> Roles:
        """Processes have one discriminator: after each step its tensors are averaged, as gradients are."""
        names = self._names if self.discriminator is None else list(held_tensors(self.discriminator))
        moments = [f"{which}_{name}" for which in ("first", "second") for name in self._trained]
        return {**dict.fromkeys([*names, *moments], "common"), **self._whole_numbers, "updates": "own"}

    def check_rows(self, data: Tensor) -> None:
        """Raise unless a module that was given maps each row to one number."""
        if self.discriminator is None:
            return
        label = f"Adversarial(discriminator={module_name(self.discriminator)})"
        check_one_number(label, self.discriminator, lambda: self._output(self.init(data), data), data)

    def init(self, data: Tensor) -> State:
        """Weights from a fixed seed, so that binding an inference draws nothing, or the module's; Adam's; a count."""
        if self.discriminator is None:
            generator = torch.Generator("cpu").manual_seed(0)
            held = {}
            widths = (data.shape[1], *self.hidden, 1)
            for layer, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
                gain = 1.0 if layer == len(self.hidden) else math.sqrt(2 / (1 + _LEAK**2))
                weight = torch.randn(inputs, outputs, generator=generator, device="cpu") * (gain / math.sqrt(inputs))
                held[f"weight{layer}"], held[f"bias{layer}"] = weight.to(data), data.new_zeros(outputs)
        else:
            held = {key: copied_like(tensor, data) for key, tensor in held_tensors(self.discriminator).items()}
        return {**held, **adam_moments(held, self._trained), "updates": data.new_zeros(())}

    @torch.no_grad()
    def distance(self, drawn: Tensor, data: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """The divergence as the discriminator tells it, in evaluation mode; nothing moves."""
        net = self.discriminator
        with nullcontext() if net is None else keeping_modes(net):
            if net is not None:
                net.eval()
            held = {**state, **self._constants(state)}
            return LOSSES[self.loss].value(*(self._output(held, rows).reshape(-1) for rows in (data, drawn)))

    def followed(self, draw: Callable[[], Tensor], data: Tensor, state: State) -> Compared:
        """The value before the discriminator moves, the generator's loss after it has, and its state then."""
        loss, value = LOSSES[self.loss], None
        for turn in range(self.discriminator_steps):
            last = turn == self.discriminator_steps - 1
            with nullcontext() if last else torch.no_grad():
                drawn = draw()
            found, state = self._discriminated(drawn.detach(), data, state)
            value = found if value is None else value
        held = {**state, **self._constants(state)}
        outputs = self._output(held, drawn).reshape(-1)
        state = {**state, **{name: held[name].detach() for name in self._constants(state)}}
        return Compared(value if value is not None else outputs.mean(), loss.generator(outputs), state)

    def _discriminated(self, drawn: Tensor, data: Tensor, state: State) -> tuple[Tensor, State]:
        """The value, and the state after a step of the discriminator."""
        loss = LOSSES[self.loss]
        weights = {name: state[name].detach().requires_grad_() for name in self._trained}
        held = {**self._constants(state), **weights}
        with torch.enable_grad():
            outputs = [self._output(held, rows).reshape(-1) for rows in (data, drawn)]
            total = loss.discriminator(*outputs)
            if loss.penalised:
                critic = lambda rows: self._output(held, rows)  # noqa: E731
                total = total + self.penalty * gradient_penalty(critic, data, drawn)
            gradients = slopes(total, list(weights.values()))
        after = {name: tensor.detach() for name, tensor in held.items()}
        after["updates"] = state["updates"] + 1
        betas = (self.momentum, 0.999)
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            after |= adam_step(name, weight, gradient, state, lr=self.lr, steps=after["updates"], betas=betas)
        return loss.value(*outputs).detach(), after

    @property
    def _names(self) -> list[str]:
        return [f"{kind}{layer}" for layer in range(len(self.hidden) + 1) for kind in ("weight", "bias")]

    @property
    def _trained(self) -> list[str]:
        """Names in the state of what Adam moves."""
        return self._names if self.discriminator is None else trained_names(self.discriminator)

    @property
    def _whole_numbers(self) -> Roles:
        """Counters of the module, such as the batches that its normalisation has met, which all processes count."""
        held = {} if self.discriminator is None else held_tensors(self.discriminator)
        return {name: "own" for name, tensor in held.items() if not tensor.is_floating_point()}

    def _constants(self, state: Mapping[str, Tensor]) -> State:
        """Frozen parameters and buffers of a module; copies, for buffers may be written to when it runs."""
        held = [] if self.discriminator is None else list(held_tensors(self.discriminator))
        return {name: state[name].clone() for name in held if name not in self._trained}

    def _output(self, held: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        if self.discriminator is not None:
            return run_held(self.discriminator, held, rows)
        for layer in range(len(self.hidden) + 1):
            rows = rows @ held[f"weight{layer}"] + held[f"bias{layer}"]
            rows = rows if layer == len(self.hidden) else leaky_relu(rows, _LEAK)
        return rows
