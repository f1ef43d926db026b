"""From a graph of tensor operations to machine code, by Inductor."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx


def machine_code(module: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
    """Machine code of a functional graph for inputs of these shapes; it does not run."""
    options: dict[str, Any] = {}
    if all(leaf.device.type == "cpu" for leaf in inputs):
        # Inductor's own uniforms cost ten times those of torch's generator on a CPU, for they are not vectorised.
        options["fallback_random"] = True
        # Rounds of Threefry read their input several times: unless Inductor names it early on, it writes each round
        # out again and again, and takes twenty seconds over that.
        options["realize_opcount_threshold"] = 12
    # The graph is there already: without Dynamo a step is spared its guards, a tenth of a millisecond.
    arguments: list[Any] = list(inputs)
    return torch._inductor.compile(module, arguments, options=options)
