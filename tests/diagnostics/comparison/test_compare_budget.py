"""Annealing runs and levels of a comparison where nobody has said how many: those of what moves the latents."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import ppgen
from ppgen import models
from ppgen.evaluation.likelihood import likelihood

QUICK: dict[str, Any] = {
    "processes": 0, "steps": 1, "batch_size": 5, "gradient_draws": 20, "gradient_rows": 5, "progress": False,
    "compile": False, "seeds": 1,
}  # fmt: skip
X = torch.linspace(-1, 1, 40).reshape(10, 4)


def compared(monkeypatch: pytest.MonkeyPatch, folder: Path, factory: Any, name: str, **given: Any) -> tuple[Any, ...]:
    """Budget in the cell's configuration, and that which its evaluation took."""
    taken = []
    kept = likelihood.Annealing

    def watched(ladder: Any, num_chains: int, *rest: Any) -> Any:
        taken.append((num_chains, len(ladder) - 1))
        return kept([0.0, 1.0], 2, *rest)

    monkeypatch.setattr(likelihood, "Annealing", watched)
    ppgen.compare_inferences(factory, X, [name], folder=folder, **QUICK, **given)
    (cell,) = folder.rglob("cell.json")
    told = json.loads(cell.read_text())["evaluation"]
    return (told["num_chains"], told["betas"]), *taken


def test_a_tempered_kernel_has_its_own_budget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Catches the runs and levels of Hamiltonian chains for Gibbs sampling, which forgets more at a step."""
    codes = lambda: models.SparseCoding(features=4, atoms=3)
    assert compared(monkeypatch, tmp_path / "own", codes, "alternating") == ((16, 200), (16, 200))
    given = compared(monkeypatch, tmp_path / "given", codes, "alternating", num_chains=3, betas=7)
    assert given == ((3, 7), (3, 7))


def test_other_kernels_have_the_one_that_they_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Catches folders of comparisons of before whose cells would be called those of other settings."""
    vae = lambda: models.VAE(features=4, latent=2, hidden=(3,), likelihood="gaussian")
    assert compared(monkeypatch, tmp_path, vae, "elbo", method="ais") == ((100, 1000), (100, 1000))
