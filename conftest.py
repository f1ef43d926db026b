"""What every test and docstring example starts from: seed 0, one thread, no screen, an empty Pyro store."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack

os.environ.setdefault("MPLBACKEND", "Agg")

import pyro
import pytest
import torch

from ppgen.testing.simulated_device import make_room, second_device
from ppgen.undisturbed import forked

torch.set_num_threads(1)
make_room()  # a test may want a second device when others have taken gradients

# A shell that runs the tests in the background hands Ctrl-C down as ignored, to them and to the processes they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same files are ppgen/models and ppgen/inference; under their bare names they refuse to be imported.
collect_ignore = ["models", "inference"]


# What runs on the simulated device in every run of the tests; the others with the fixture `device` only under
# `pytest -m second_device`.
ON_EVERY_DEVICE = {"test_second_device.py", "test_undisturbed.py"}  # and the contract of each name's first example
OTHER_EXAMPLE = re.compile(r"-[1-9]\d*\]$")  # how ids of further examples end


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where there is no device; leave out those of the simulated one unless asked for."""
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device here: a test of what the GPU alone does"))
    asked = config.option.markexpr
    left_out = [
        item
        for item in items
        if (item.get_closest_marker("pyro_programs") and "pyro_programs" not in asked)
        or item.get_closest_marker("second_device")
        and "second_device" not in asked
        and item.path.name not in ON_EVERY_DEVICE
        and (item.path.parent.name != "contract" or OTHER_EXAMPLE.search(item.name))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


@pytest.fixture(autouse=True)
def seed() -> Iterator[int]:
    """Run each test from seed 0 in a fork of torch's random state, so that no test feels another's draws.

    Not by `torch.manual_seed`, which writes the whole stack down for every kind of device that is not here.
    """
    devices = [torch.device("cpu"), *(torch.device("cuda", index) for index in range(torch.cuda.device_count()))]
    if hasattr(torch, "sim"):
        devices.append(torch.device("sim"))
    with ExitStack() as stack:
        for each in devices:
            stack.enter_context(forked(each, seed=0))
        yield 0


@pytest.fixture(autouse=True)
def pyro_store(request: pytest.FixtureRequest) -> Iterator[None]:
    """Start each test with an empty parameter store, and fail one that leaves parameters in it unasked."""
    pyro.clear_param_store()
    yield
    names = list(pyro.get_param_store().keys())
    pyro.clear_param_store()
    if names and not request.node.get_closest_marker("uses_pyro_store"):
        pytest.fail(f"Pyro's global parameter store was left holding {names}")


@pytest.fixture(
    scope="session",
    params=[
        "cpu",
        pytest.param("sim", marks=pytest.mark.second_device),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ],
)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device here: a test that asks for it runs on the CPU, a simulated device and, where there is one, CUDA."""
    return second_device() if request.param == "sim" else torch.device(request.param)
