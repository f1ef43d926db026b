"""Training flags of modules, put back one by one."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def keeping_modes(module: nn.Module) -> Iterator[None]:
    """Context after which the training flag of every module is as before, whatever happens inside.

    Modules made inside get the flag that `module` itself had.

    Args:
        module: Root of the modules.

    Example:
        >>> net = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
        >>> with keeping_modes(net):
        ...     net = net.train()
        >>> net.training, net[1].training
        (True, False)
    """
    flags = [(each, each.training) for each in module.modules()]
    known = {id(each) for each, _ in flags}
    flag_of_root = module.training
    try:
        yield
    finally:
        for each in module.modules():
            if id(each) not in known:
                each.training = flag_of_root
        for each, flag in flags:
            each.training = flag
