"""Contract of a model of y given x."""

from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen.batch import split_batch
from ppgen.conditional import ConditionalModel
from ppgen.inference.structure.traces import sites
from ppgen.testing.statistics import check_close, fail
from ppgen.training import sample
from ppgen.undisturbed import evaluating


def check_conditional(model: ConditionalModel, batch: Any) -> None:
    """Raise unless a model of y given x is drawn by its covariates alone, and refuses a wrong batch by name.

    `check_pair` runs it on every `ppgen.ConditionalModel`.

    Args:
        model: The model.
        batch: (x, y), or a mapping of them, of at least two rows.

    Raises:
        AssertionError: Says what does not hold.

    Example:
        >>> import torch
        >>> from ppgen import models, testing
        >>> net = models.StochasticFeedforward(inputs=2, outputs=1, hidden=(3,), stochastic=(2,))
        >>> testing.check_conditional(net, (torch.randn(4, 2), torch.randn(4, 1)))
    """
    args, kwargs = split_batch(batch)
    names = model.argument_names()
    given = dict(zip(names, args, strict=False)) | kwargs
    x, y = (given[name] for name in names)
    _check_refusals(model, x, y)
    drawn = sample(model, 3, covariates=x).samples
    if drawn.shape != (3, *y.shape):
        fail(
            f"Draws of 3 given x must have shape {(3, *y.shape)}, as y has {tuple(y.shape)}; got {tuple(drawn.shape)}."
        )
    if torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[1], drawn[2]):
        fail("Three draws of y given x are equal: the model does not draw y where it is None.")
    _check_law(model, x)


def _check_law(model: ConditionalModel, x: Tensor) -> None:
    """Y has one law given the latents, whether it is drawn or observed."""
    with torch.no_grad(), evaluating(model), model.running():
        drawn = poutine.trace(model.model).get_trace(x)
        value = drawn.nodes["_RETURN"]["value"]
        name = next(name for name, site in sites(drawn).items() if site["value"] is value)
        observed = poutine.trace(poutine.replay(model.model, trace=drawn)).get_trace(x, value)
        laws: list[Any] = [trace.nodes[name]["fn"] for trace in (observed, drawn)]
        found, expected = (law.log_prob(value) for law in laws)
    check_close(found, expected, "log-density of y where it is observed, against where it was drawn", rtol=1e-5)


def _check_refusals(model: ConditionalModel, x: Tensor, y: Tensor) -> None:
    first, second = model.argument_names()
    wider = torch.cat([y, y[:, :1]], 1)
    for wrong, what in (
        (x, f"{second} left out"),
        ((x, None), f"{second} None"),
        ((x, wider), f"{second} of another width"),
        ((x[1:], y), f"fewer rows of {first} than of {second}"),
    ):
        try:
            model.prepare(wrong)
        except ValueError as error:
            if second in str(error):
                continue
            fail(f"With {what} the message must name {second}, got: {error}")
        fail(f"With {what} a ValueError must be raised.")
