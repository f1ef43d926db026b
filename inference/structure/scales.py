"""Scales that a user put around sites though the objective counts the data by itself."""

import warnings

from ppgen.inference.structure.layout import Layout

_CLOSE = 1e-3  # relative; N / B as a user computes it, in float32 or rounded


def warn_of_scales(layout: Layout, num_rows: int, num_data: int) -> None:
    r"""Warn where a scale is the factor by which the data plate stands for the whole data set anyway.

    .. math:: \text{scale} = N / B \quad \Rightarrow \quad p(x \mid z)^{N / B} \text{ is what is learned}

    Args:
        layout: Structure of a pair.
        num_rows: Rows B of a batch.
        num_data: Rows N of the whole data set.
    """
    factor = num_data / num_rows
    if abs(factor - 1) <= _CLOSE:
        return
    doubled = [name for name, scale in layout.by_hand.items() if abs(scale / factor - 1) <= _CLOSE]
    if doubled:
        also = f", and {doubled[1:]} too" if doubled[1:] else ""
        warnings.warn(
            f"Site {doubled[0]!r} is scaled by {factor:g}{also}, which is N / B = {num_data} / {num_rows} rows. The "
            f"objective counts the rows of plate {layout.plate!r} for the whole data set by itself, so their terms "
            f"would count {factor:g} times too much: delete poutine.scale around the site.",
            stacklevel=2,
        )
