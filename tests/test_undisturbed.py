"""Contexts that leave random state, training flags and buffers as they were."""

import ast
from pathlib import Path

import torch
from torch import nn

from ppgen.undisturbed import device_of, forked, random_state, set_random_state

ROOT = Path(__file__).parents[1]


def test_forked_draws_from_its_seed_and_puts_back(device: torch.device) -> None:
    """Catches a fork that seeds the caller's own stream, or leaves one of the two generators moved."""
    torch.rand(3, device=device)
    before = random_state(device)
    with forked(device, seed=3):
        first = torch.rand(4), torch.rand(4, device=device)
        with forked(device):
            torch.rand(5), torch.rand(5, device=device)
        second = torch.rand(4), torch.rand(4, device=device)
    with forked(device, seed=3):
        assert all(torch.equal(torch.rand(4, device=value.device), value) for value in (*first, *second))
    after = random_state(device)
    assert set(before) == {"cpu", device.type}
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_forked_seeds_as_manual_seed_does(device: torch.device) -> None:
    """Catches another start of the stream of a device: numbers of seeded runs would change."""
    with forked(device):
        torch.manual_seed(11)
        expected = torch.rand(4), torch.randn(4, device=device)
    with forked(device, seed=11):
        assert torch.equal(torch.rand(4), expected[0]) and torch.equal(torch.randn(4, device=device), expected[1])


def test_forked_puts_back_after_an_error() -> None:
    """Catches a random state that stays the fork's where the program in it fails."""
    before = torch.get_rng_state()
    try:
        with forked(torch.device("cpu"), seed=1):
            raise RuntimeError
    except RuntimeError:
        pass
    assert torch.equal(before, torch.get_rng_state())


def test_state_of_another_device_is_left_out() -> None:
    """Catches a checkpoint of a GPU that cannot be read where there is none."""
    state = random_state(torch.device("cpu")) | {"cuda": torch.zeros(16, dtype=torch.uint8)}
    set_random_state(state, torch.device("cpu"))


def test_device_of_looks_into_everything() -> None:
    """Catches a batch of a nested form whose device would not be forked."""
    meta = torch.zeros(2, device="meta")
    plain = torch.zeros(2)
    for things in (
        (meta,),
        (plain, (plain, [meta])),
        ({"x": plain}, {"y": {"z": meta}}),
        (nn.Linear(1, 1, device="meta"),),
    ):
        assert device_of(*things) == meta.device
    for things in ((), (None, 3, "x"), (plain, nn.ReLU(), nn.Linear(1, 1))):
        assert device_of(*things) == plain.device


def test_only_one_place_forks() -> None:
    """Catches a fork of its own, with a list of devices that knows CUDA alone."""
    files = [path for name in ("ppgen", "models", "inference") for path in (ROOT / name).rglob("*.py")]
    names = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "fork_rng"
    }
    assert not names
