"""Inferences side by side: bias, variance and signal-to-noise ratio of the gradient of one step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ppgen import inference as inference_module
from ppgen.batch import check_features
from ppgen.checks.arguments import check_count
from ppgen.checks.seeding import check_seed
from ppgen.diagnostics.gradients.reference import exact_gradient, reference_for
from ppgen.diagnostics.gradients.statistics import MAX_BATCHES, GradientDraws, draw_in_batches, statistics
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference import Inference, Objective
from ppgen.inference.structure.layout import find_layout
from ppgen.pair import AnyPair, as_pair, keeping_buffers
from ppgen.undisturbed import evaluating, forked, keeping_modes

LEAST_DRAWS = 20
SIGNIFICANT = 1e-4  # p-value below which a bias is called one
_UNITS = {"bias": "nats per datum", "variance": "nats^2 per datum^2", "snr": "1", "reference_norm": "nats per datum"}

Block = Literal["parameter", "module"] | Callable[[str], str]


def compare_estimators(
    pair: Any,
    x: Any,
    inferences: Mapping[str, Any] | Sequence[Any],
    *,
    num_draws: int = 1000,
    num_reference_draws: int | None = None,
    objective: Objective | None = None,
    by: Block = "parameter",
    num_data: int | None = None,
    warmup_steps: int = 100,
    seed: int = 0,
) -> Any:
    r"""Bias, variance and signal-to-noise ratio of the gradient that each inference would train with.

    .. math:: \text{bias} = |E[g] - \nabla \mathcal{L}|, \quad \text{variance} = E|g - E[g]|^2, \quad
              \text{snr} = \frac{|E[g]|}{\sqrt{E|g - E[g]|^2}}

    g is the gradient of one step on the batch `x` in one block of parameters: what another draw of the latents changes
    about it, at the parameters as they are. No parameter moves; buffers, training flags and the caller's random state
    are left as they are. Baselines, schedules and chains are what `warmup_steps` steps make of them, the same for
    every draw.

    The gradient of the objective itself is exact where the latents of a datum are few Bernoulli variables. Else it is
    the mean of many draws of what `"auto"` picks for that objective, under an ELBO with ten particles or more, and its
    error is part of that of the bias. Reweighted wake-sleep is held against the importance-weighted bound, whose value
    it reports, and wake-sleep against the ELBO: they follow other gradients, and the bias tells how far other.
    Under a negative phase log Z is enumerated for the reference, which takes a small machine.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        x: A batch of data; for programs with several arguments a tuple or a mapping.
        inferences: Inferences by the names they shall have, or a sequence of them: names such as `"vimco"`, objectives,
            or an `Inference`, which is named by `inference.describe`.
        num_draws: Gradients of each inference; rounded up to full batches, from which the errors come.
        num_reference_draws: Gradients of the reference; four times as many by default.
        objective: What all are held against, such as `inference.IWELBO(50)`; by default each against its own.
        by: Blocks: each `"parameter"`, each `"module"` at the top (layers of a list apart), or a function from the name
            of a parameter to the name of its block.
        num_data: Rows of the whole data set; by default those of `x`.
        warmup_steps: Steps of an inference with a state before its gradients are drawn; 1 or more.
        seed: Seed of all draws.

    Returns:
        `xarray.Dataset` with dimensions `inference` and `parameter` and the variables `bias`, `variance`, `snr`, each
        with its Monte Carlo standard error (`bias_se`, ...), `bias_p`, the p-value of no bias at all, and
        `reference_norm`, the length of the objective's gradient; the coordinates `reference` and `num_elements` tell
        what the gradient was held against and how large the blocks are. Bias and variance are of one datum in nats.

    Raises:
        ValueError: If there is no inference, a label stands twice, an inference is not legal for the pair, or a number
            is too small.
        TypeError: If an inference is none.

    References:
        | Tighter Variational Bounds are Not Necessarily Better (Rainforth et al., 2018)
        | https://arxiv.org/abs/1802.04537

    Example:
        >>> import torch
        >>> from ppgen import diagnostics, models
        >>> sbn = models.SigmoidBeliefNet(sizes=(6, 4))
        >>> x = torch.ones(5, 6)
        >>> found = diagnostics.compare_estimators(sbn, x, ["nvil", "vimco"], num_draws=40, by="module")
        >>> dict(found.sizes), str(found.reference.values[0])
        ({'inference': 2, 'parameter': 3}, 'ELBO(num_particles=10), enumerated')
    """
    seed = check_seed(seed)
    import xarray as xr

    for name, number, least in (
        ("num_draws", num_draws, LEAST_DRAWS),
        ("num_reference_draws", num_reference_draws, LEAST_DRAWS),
        ("warmup_steps", warmup_steps, 1),
        ("num_data", num_data, 1),
    ):
        check_count(name, number, least, optional=name in ("num_reference_draws", "num_data"))
    if objective is not None and not isinstance(objective, Objective):
        raise TypeError(f"objective must be an objective such as inference.ELBO(), got {objective!r}.")
    pair = as_pair(pair)
    labelled = _labelled(inferences, pair)
    rows = CheckedRows(x, pair)
    check_features(rows.parts, pair)
    batch = rows(0, len(rows))
    num_data = len(rows) if num_data is None else num_data
    with evaluating(pair):
        pair.prepare(batch)
        layout = find_layout(pair, batch)
    blocks = _blocks(pair, by)
    num_batches = min(MAX_BATCHES, num_draws // 2)
    references = {name: reference_for(each, objective) for name, each in labelled.items()}
    bound = {name: each.bind(pair, batch, num_data) for name, each in labelled.items()}  # all errors come now
    found: dict[str, list[list[float]]] = {}
    known: list[tuple[Inference, GradientDraws]] = []
    told = []
    for index, (name, each) in enumerate(bound.items()):
        wanted = references[name]
        held = next((draws for reference, draws in known if reference == wanted), None)
        if held is None:
            count = 4 * num_draws if num_reference_draws is None else num_reference_draws
            with step_mode(pair, seed, 2 * index + 1):
                exact = exact_gradient(pair, batch, wanted.objective, layout, num_data)
                if exact is not None:
                    held = GradientDraws({b: _flat(exact, names)[None] for b, names in blocks.items()}, {}, 0)
                else:
                    draw = drawing(wanted.bind(pair, batch, num_data), batch, warmup_steps)
                    held = draw_in_batches(draw, blocks, count, num_batches)
            known.append((wanted, held))
        told.append(_told(wanted, held))
        with step_mode(pair, seed, 2 * index):
            draws = draw_in_batches(drawing(each, batch, warmup_steps), blocks, num_draws, num_batches)
        measured = [statistics(draws.means[b], draws.variances[b], held.means[b]) for b in blocks]
        for key in measured[0]:
            found.setdefault(key, []).append([each[key] for each in measured])
    sizes = {name: parameter.numel() for name, parameter in pair.named_parameters()}
    variables = {key: (("inference", "parameter"), np.array(values), _attributes(key)) for key, values in found.items()}
    return xr.Dataset(
        variables,
        coords={
            "inference": list(labelled),
            "parameter": list(blocks),
            "reference": ("inference", told),
            "num_elements": ("parameter", [sum(sizes[name] for name in names) for names in blocks.values()]),
        },
        attrs={"model": type(pair).__name__, "num_draws": draws.num_draws, "num_rows": len(rows), "seed": seed},
    )


def gradient_table(comparison: Any) -> str:
    """The numbers of a comparison as text: one line for each block and inference.

    A bias that its error can explain (p-value above 0.0001) is written as 0, with the error beside it.

    Args:
        comparison: What `compare_estimators` returned.

    Raises:
        TypeError: If it is something else.

    Example:
        >>> import torch
        >>> from ppgen import diagnostics, models
        >>> sbn = models.SigmoidBeliefNet(sizes=(6, 4))
        >>> found = diagnostics.compare_estimators(sbn, torch.ones(5, 6), ["vimco"], num_draws=40, by="module")
        >>> diagnostics.gradient_table(found).splitlines()[0].split()
        ['parameter', 'inference', 'bias', 'variance', 'snr']
    """
    if not {"parameter", "inference"} <= set(getattr(comparison, "dims", ())):
        raise TypeError(
            f"comparison must be what diagnostics.compare_estimators returned, got {type(comparison).__name__}."
        )
    lines = [("parameter", "inference", "bias", "variance", "snr")]
    for parameter in comparison.parameter.values:
        for name in comparison.inference.values:
            cell = comparison.sel(parameter=parameter, inference=name)
            value = {key: float(cell[key]) for key in comparison.data_vars}
            bias = value["bias"] if value["bias_p"] < SIGNIFICANT else 0.0
            lines.append(
                (
                    str(parameter),
                    str(name),
                    _number(bias, value["bias_se"]),
                    _number(value["variance"], value["variance_se"]),
                    _number(value["snr"], value["snr_se"]),
                )
            )
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    counts = f"{comparison.attrs['num_draws']} draws on {comparison.attrs['num_rows']} rows"
    return "\n".join([*shown, f"bias in nats per datum, variance in their square; {counts}; ± one standard error"])


def _number(value: float, error: float) -> str:
    return f"{value:.3g} ± {error:.1g}"


def _attributes(key: str) -> dict[str, str]:
    base = key.removesuffix("_se")
    return {"units": _UNITS[base]} if base in _UNITS else {}


def _labelled(inferences: Any, pair: AnyPair) -> dict[str, Inference]:
    """Whole inferences by their labels."""
    if isinstance(inferences, (str, Inference, Objective)) or not isinstance(inferences, (Mapping, Sequence)):
        raise TypeError(
            "inferences must be a sequence of inferences or a mapping from labels to them, such as ['nvil', 'vimco'], "
            f"got {inferences!r}."
        )
    given = list(inferences.items()) if isinstance(inferences, Mapping) else [(None, each) for each in inferences]
    if not given:
        raise ValueError("inferences must hold at least one inference, got none.")
    labelled: dict[str, Inference] = {}
    for label, each in given:
        resolved = inference_module.resolve(each, pair)
        check_gradient_alone("inferences", resolved)
        name = label or (each if isinstance(each, str) else inference_module.describe(resolved))
        if name in labelled:
            raise ValueError(f"inferences holds {name!r} twice: give a mapping from labels to inferences.")
        labelled[name] = resolved
    return labelled


def _blocks(pair: AnyPair, by: Block) -> dict[str, list[str]]:
    if not callable(by) and by not in ("parameter", "module"):
        raise ValueError(f'by must be "parameter", "module" or a function of the name, got {by!r}.')
    block: Callable[[str], str] = by if callable(by) else (_module if by == "module" else str)
    blocks: dict[str, list[str]] = {}
    for name, parameter in pair.named_parameters():
        if parameter.requires_grad:
            blocks.setdefault(block(name), []).append(name)
    if not blocks:
        raise ValueError("pair has no parameter that wants a gradient, so there is nothing to compare.")
    return blocks


def _module(name: str) -> str:
    """The child of the pair that a parameter belongs to; members of a list are children of their own."""
    parts = name.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 and parts[1].isdigit() else parts[0]


@contextmanager
def step_mode(pair: AnyPair, seed: int, stream: int) -> Iterator[None]:
    """Context of training steps: random state of its own; buffers, training flags and the caller's as before."""
    own = int(np.random.SeedSequence([seed, stream]).generate_state(1)[0])
    with forked(pair.device, own), keeping_modes(pair), keeping_buffers(pair):
        pair.train()
        yield


def drawing(bound: Any, batch: Any, warmup_steps: int) -> Callable[[], dict[str, Tensor]]:
    """Function that draws a gradient, always from the state that the warm-up left."""
    named = {name: tensor for name, tensor in bound.pair.named_parameters() if tensor.requires_grad}
    bound.step(batch)
    if bound.state:
        for _ in range(warmup_steps - 1):
            bound.step(batch)
    state = bound.state

    def draw() -> dict[str, Tensor]:
        bound.load_state(state)
        gradients = bound.step(batch).gradients
        return {name: gradients[name] if name in gradients else torch.zeros_like(named[name]) for name in named}

    return draw


def _flat(gradient: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    return torch.cat([gradient[name].detach().reshape(-1) for name in names]).cpu()


def _told(reference: Inference, held: GradientDraws) -> str:
    if held.num_draws == 0:
        return f"{inference_module.describe(reference).partition(', estimator')[0]}, enumerated"
    return f"{inference_module.describe(reference)}, {held.num_draws} draws"


def check_gradient_alone(name: str, inference: Inference) -> None:
    """Raise where parameters are set in closed form, so that there is no gradient to look at.

    Args:
        name: Of the argument, for the message.
        inference: The whole inference.

    Raises:
        ValueError: Says what to give instead.
    """
    if inference.update is not None:
        raise ValueError(
            f"{name}: {type(inference.update).__name__} sets parameters in closed form, without a gradient to measure. "
            "Leave the update out: inference.ELBO()."
        )
