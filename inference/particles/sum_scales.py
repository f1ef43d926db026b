"""The scale of a sum over discrete sites: one number before its logarithm, as Pyro has it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ppgen.inference.elimination.marginal import Summand
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.traces import data_factor, data_frame


def scaled_sum(summed: Summand, model_sites: Mapping[str, Any], num_rows: int, layout: Layout) -> Tensor:
    r"""Columns of a log-weight that a sum gives, times the scale that all of its sites have.

    .. math:: s \log \sum_d \prod_i \psi_i(d)

    Args:
        summed: The sum.
        model_sites: Sites of the model.
        num_rows: Rows of the data plate.
        layout: Structure of the pair.

    Raises:
        ValueError: If its sites have several scales; names two of them.
    """
    scale = common_scale(summed, model_sites, layout)
    columns = summed.columns(num_rows)
    return columns if not isinstance(scale, Tensor) and scale == 1 else scale * columns


def check_one_by_one(layout: Layout) -> None:
    """Raise where joint states are run one by one under a scale, which would stand inside of the logarithm."""
    if layout.scaled:
        raise ValueError(
            f"Site {layout.scaled[0]!r} carries a scale of its own, and the values of {list(layout.marginalised)} are "
            "run one by one, whose sum knows no scale: leave vectorize_particles as it is, or take the scale away."
        )


def common_scale(summed: Summand, model_sites: Mapping[str, Any], layout: Layout, *, read: bool = False) -> Any:
    """The one scale of the sites of a sum beside that of the data plate, which stands before the logarithm.

    Args:
        summed: The sum.
        model_sites: Sites of the model.
        layout: Structure of the pair.
        read: Whether tensors are read, which a step that is traced must not do.

    Raises:
        ValueError: As `scaled_sum`.
    """
    scales = {
        name: model_sites[name]["scale"] / data_factor(data_frame(model_sites[name], layout.plate))
        for name in summed.potentials
    }
    if not scales:
        return 1.0
    first, *_ = scales
    for name, scale in scales.items():
        if isinstance(scale, Tensor) and scale.dim():
            raise ValueError(
                f"Site {name!r} is scaled by a tensor of several numbers, and is part of a sum over {summed.names}, "
                "before which one number can stand. Scale all of its sites by one, or draw them in the guide."
            )
        known = read or not (isinstance(scale, Tensor) or isinstance(scales[first], Tensor))
        if known and abs(float(scale) - float(scales[first])) > 1e-6 * abs(float(scale)):
            raise ValueError(
                f"Site {name!r} is scaled by {float(scale):g} and site {first!r} by {float(scales[first]):g}, and both "
                f"are parts of a sum over {summed.names}, before which one scale can stand. Put poutine.scale, or the "
                f"plate that subsamples, around all of them, or draw {summed.names} in the guide."
            )
    return scales[first]
