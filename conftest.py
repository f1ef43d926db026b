"""What every test and docstring example starts from: seed 0, one thread, no screen, an empty Pyro store."""

import os
import signal
from collections.abc import Iterator

os.environ.setdefault("MPLBACKEND", "Agg")

import pyro
import pytest
import torch

torch.set_num_threads(1)

# A shell that runs the tests in the background hands Ctrl-C down as ignored, to them and to the processes they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same files are ppgen/models and ppgen/inference; under their bare names they refuse to be imported.
collect_ignore = ["models", "inference"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where there is no device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def seed() -> Iterator[int]:
    """Run each test from seed 0 in a fork of torch's random state, so that no test feels another's draws."""
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)
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


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device here: a test that asks for it runs on the CPU and, where there is one, on CUDA."""
    return torch.device(request.param)
