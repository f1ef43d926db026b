"""Sparse coding: its density, its codes, its M-step atom by atom, atoms that are dead."""

import itertools
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from sklearn.decomposition import sparse_encode
from torch import Tensor

import ppgen
from ppgen import datasets, inference, models
from ppgen.closed_form import Draw
from ppgen.coders import Coder
from ppgen.models.sparse_coding.dictionary import best_atoms, unused, with_unit_norm


def sparse_data(rows: int = 400, size: int = 5, positive: bool = False) -> tuple[Tensor, Tensor]:
    """Sums of two of (size + 1) atoms in so many dimensions, and the atoms."""
    generator = torch.Generator().manual_seed(0)
    dictionary = with_unit_norm(torch.randn(size, size + 1, generator=generator))
    codes = torch.zeros(rows, size + 1)
    chosen = torch.rand(rows, size + 1, generator=generator).argsort(1)[:, :2]
    values = 1 + torch.rand(rows, 2, generator=generator)
    signs = torch.ones(()) if positive else torch.randn(rows, 2, generator=generator).sign()
    codes.scatter_(1, chosen, signs * values)
    return codes @ dictionary.T + 0.02 * torch.randn(rows, size, generator=generator), dictionary


def objective(coder: models.SparseCoding, x: Tensor) -> float:
    """Mean of the Lasso's objective at its solution."""
    problem = coder.lasso(x)
    return float(problem.objective(problem.solve(1e-7)).mean())


@pytest.mark.parametrize("positive", [False, True])
def test_the_joint_density_is_the_objective_of_the_lasso(positive: bool) -> None:
    """Catches a scale that is not tied to noise and penalty: wrong by a factor of 2 or a square."""
    coder = models.SparseCoding(4, 3, penalty=1.7, positive=positive, noise=0.6).double()
    x, codes = torch.randn(5, 4).double(), torch.randn(5, 3).double()
    codes = codes.abs() if positive else codes
    with coder.running():
        sites = pyro.poutine.trace(pyro.condition(coder.model, {"codes": codes})).get_trace(x)
        sites.compute_log_prob()
    joint = sites.nodes["x"]["log_prob"] + sites.nodes["codes"]["log_prob"]
    constant = -2 * np.log(0.6 * np.sqrt(2 * np.pi)) * 4 / 2 - 3 * np.log(coder.scale * (1 if positive else 2))
    torch.testing.assert_close(joint, constant - coder.lasso(x).objective(codes) / (2 * 0.6**2))
    assert coder.scale == pytest.approx(2 * 0.6**2 / 1.7)


def test_codes_are_scikit_learns_and_decode_to_sums_of_atoms() -> None:
    """Catches codes of a dictionary that is not normalised, a penalty halved, and a decoder transposed."""
    coder = models.SparseCoding(5, 7, penalty=0.8).double()
    with torch.no_grad():
        coder.weight.mul_(torch.linspace(0.1, 5, 7))
    x = torch.randn(6, 5).double()
    atoms = coder.dictionary.detach().numpy().T
    expected = sparse_encode(x.numpy(), atoms, algorithm="lasso_cd", alpha=0.4, max_iter=100_000)
    codes = coder.encode(x)
    np.testing.assert_allclose(codes, expected, atol=0.02)
    np.testing.assert_allclose(coder.decode(codes).detach(), codes.numpy() @ atoms, atol=1e-12)
    assert isinstance(coder, Coder) and not codes.requires_grad


def test_a_dictionary_is_found_again() -> None:
    """Catches an update that ends anywhere but at the atoms that made the data, up to their order and sign."""
    x, dictionary = sparse_data(600, size=12)
    coder = models.SparseCoding(12, 13, penalty=0.5)
    ppgen.fit(coder, x, epochs=15, batch_size=60, seed=1, compile=False, progress=False)
    similar = (coder.dictionary.T @ dictionary).abs()
    assert similar.amax(0).min() > 0.98 and similar.amax(1).min() > 0.98


def test_all_rows_in_a_batch_never_raise_the_objective() -> None:
    """Catches statistics of another dictionary, and a sweep over atoms that does not see those it has changed."""
    x, _ = sparse_data(80)
    coder = models.SparseCoding(5, 6, penalty=0.3, sweeps=100)
    run = ppgen.fit(coder, x, epochs=15, batch_size=80, compile=False, progress=False)
    values = [epoch["train_value"] for epoch in run.metrics]
    assert all(later >= earlier - 1e-5 for earlier, later in itertools.pairwise(values))
    assert values[-1] > values[1] + 0.02


def test_each_atom_is_the_best_given_the_others() -> None:
    """Catches an atom that counts itself among the others, and atoms without a norm of 1."""
    x, codes = torch.randn(40, 5).double(), torch.randn(40, 4).double()
    codes[:, 2] = 0
    start = with_unit_norm(torch.randn(5, 4).double())
    found = start
    for _ in range(300):
        found = best_atoms(found, codes.T @ codes, x.T @ codes)
    assert torch.equal(found[:, 2], start[:, 2])
    torch.testing.assert_close(found.norm(dim=0), torch.ones(4).double())

    def error(dictionary: Tensor) -> Tensor:
        return (x - codes @ dictionary.T).square().sum()

    for k in (0, 1, 3):
        rest = (x - codes @ found.T + codes[:, [k]] * found[:, k]).T @ codes[:, k]
        torch.testing.assert_close(found[:, k], rest / rest.norm())
    first = best_atoms(start, codes.T @ codes, x.T @ codes)
    assert error(found) < error(first) < error(start)


@pytest.mark.parametrize("given", [{"optimizer": "adam", "lr": 0.05}, {"optimizer": "sgd", "lr": 0.05}])
def test_the_gradient_learns_too_and_norms_stay(given: dict[str, Any]) -> None:
    """Catches a gradient through the solver or none at all, and atoms that grow instead of learning."""
    x, _ = sparse_data()
    coder = models.SparseCoding(5, 6, penalty=0.3)
    before: list[float] = []
    ppgen.fit(coder, x, "elbo", steps=1, lr=1e-9, compile=False, progress=False)
    before.append(objective(coder, x))
    ppgen.fit(coder, x, "elbo", epochs=6, batch_size=50, compile=False, progress=False, **given)
    assert objective(coder, x) < 0.9 * before[0]
    torch.testing.assert_close(coder.dictionary.norm(dim=0), torch.ones(6))


@pytest.mark.parametrize("positive", [False, True])
def test_positive_codes_are_positive_and_learned_from(positive: bool) -> None:
    """Catches an option that the guide does not pass on."""
    x, _ = sparse_data(200, positive=True)
    coder = models.SparseCoding(5, 6, penalty=0.2, positive=positive)
    ppgen.fit(coder, x, epochs=3, compile=False, progress=False)
    codes = coder.encode(x)
    assert (codes < 0).any() != positive
    with coder.running():
        guided = pyro.poutine.trace(coder.guide).get_trace(x).nodes["codes"]["value"]
        assert (guided < 0).any() != positive and (coder.model(num_rows=3).shape == (3, 5))


def test_atoms_start_at_different_rows_of_the_data() -> None:
    """Catches atoms that start at noise, at a row of zeros, or twice at one row, where they would stay equal."""
    x = torch.cat([torch.zeros(6, 3), torch.eye(3).repeat(4, 1) * 2, torch.tensor([[3.0, 4.0, 0.0]])])
    coder = models.SparseCoding(3, 4, penalty=0.1)
    coder.initialise(datasets.as_dataset(x))
    atoms = {tuple(round(value, 4) for value in atom) for atom in coder.dictionary.T.tolist()}
    assert atoms == {(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.8, 0)}


def test_more_atoms_than_rows_are_refused() -> None:
    """Catches a dictionary that starts with atoms of noise or of nothing, without a word."""
    x = torch.cat([torch.eye(4), torch.eye(4), torch.zeros(2, 4)])
    with pytest.raises(ValueError, match=r"atoms=5, but the dictionary starts from training rows, and .* 4 that are"):
        ppgen.fit(models.SparseCoding(4, 5), x, steps=1, progress=False)


def test_a_penalty_that_leaves_no_code_is_told_with_the_largest_useful_one() -> None:
    """Catches a run that learns nothing without a word, and a largest penalty that is not the largest."""
    x, _ = sparse_data(60)
    with pytest.warns(
        UserWarning, match=r"penalty=100 makes all codes of the training data zero.* below ([\d.]+),"
    ) as told:
        ppgen.fit(models.SparseCoding(5, 6, penalty=100.0), x, steps=1, seed=0, compile=False, progress=False)
    largest = float(str(told[0].message).split("below ")[1].split(",")[0])
    coder = models.SparseCoding(5, 6, penalty=0.99 * largest)
    ppgen.fit(coder, x, steps=1, seed=0, lr=1e-9, inference="elbo", compile=False, progress=False)
    assert (coder.encode(x) != 0).any()
    coder.penalty = 1.01 * largest
    assert not coder.encode(x).any()
    with pytest.warns(UserWarning, match="makes all codes"):  # a later fit of the trained pair is told too
        ppgen.fit(coder, x, "elbo", steps=1, compile=False, progress=False)


def test_dead_atoms_come_back_at_data_without_their_past() -> None:
    """Catches atoms that stay dead, living ones that are replaced, and statistics that pull a new atom back."""
    coder = models.SparseCoding(3, 4, penalty=0.1)
    x = torch.tensor([[1.0, 0, 0], [0, 5.0, 0], [0, 0, 3.0], [0.0, 0, 1]])
    codes = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2.0], [0, 0, 0, 1]])
    with torch.no_grad():
        coder.weight.copy_(torch.tensor([[1.0, 0.6, 0.8, 0], [0, 0, 0, 0], [0, 0.8, 0.6, 1]]))
    guide = {"codes": Draw(None, codes)}
    statistics = coder.sufficient_statistics(guide, x)
    statistics["products"] = statistics["products"] + 1  # a past of dead atoms too
    found = coder.candidates(guide, x)
    assert found["worst"].shape == (16, 3) and torch.equal(found["worst"][:2], x[[1, 2]])
    values, altered = coder.reseed(statistics, found, torch.tensor(4.0))
    expected = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]])
    torch.testing.assert_close(values["weight"], expected)
    assert altered["products"][1:3].abs().sum() + altered["products"][:, 1:3].abs().sum() == 0
    assert altered["products"][0, 3] == statistics["products"][0, 3] and altered["images"][:, 1:3].abs().sum() == 0
    assert altered["use"].tolist() == [1, 4, 4, 2]
    living = torch.ones(4)
    values, altered = coder.reseed({**statistics, "use": living}, found, torch.tensor(4.0))
    torch.testing.assert_close(values["weight"], coder.dictionary.detach())
    assert torch.equal(altered["products"], statistics["products"]) and torch.equal(altered["use"], living)


def test_no_atom_is_dead_for_what_few_rows_leave_unused() -> None:
    """Catches atoms that are replaced after the first small batch, most of which it cannot use."""
    torch.manual_seed(0)
    true, codes = torch.randn(20, 40), torch.distributions.Laplace(0.0, 1.0).sample((600, 40))
    codes = codes * (torch.rand(600, 40) < 0.05)
    x = codes @ (true / true.norm(dim=0)).mT + 0.01 * torch.randn(600, 20)
    coder = models.SparseCoding(20, 40, penalty=0.2)
    options: dict[str, Any] = {"batch_size": 8, "compile": False, "progress": False}
    torch.manual_seed(0)
    ppgen.fit(coder, x, steps=1, lr=1e-12, inference="elbo", **options)
    before = coder.dictionary.detach().clone()
    ppgen.fit(coder, x, steps=1, **options)
    idle = coder.inference_state["statistics.use"] == 0
    assert 5 < int(idle.sum()) < 40
    torch.testing.assert_close(coder.dictionary.detach()[:, idle], before[:, idle])


@pytest.mark.parametrize(("rows", "told"), [(40.0, False), (90.0, True), (599.0, True), (600.0, True)])
@pytest.mark.parametrize("use", [0.08, 1e-3])
def test_atoms_are_dead_of_enough_rows(rows: float, told: bool, use: float) -> None:
    """Catches a verdict by rows alone, whatever share of them uses an atom, and one that never comes."""
    found = unused(torch.tensor([0.0, 2 * use]), torch.tensor(rows), torch.tensor(600.0))
    assert found.tolist() == [told if use > 0.01 else rows == 600, False]


def test_no_atom_is_dead_after_training_from_dead_ones() -> None:
    """Catches a reseeding that training never calls."""
    x, _ = sparse_data()
    coder = models.SparseCoding(5, 6, penalty=0.3)
    ppgen.fit(coder, x, steps=1, lr=1e-9, inference="elbo", compile=False, progress=False)
    with torch.no_grad():
        coder.weight[:, :3] = torch.eye(5)[:, :1] + 1e-3 * torch.eye(5)[:, 1:4]
        coder.weight[:, 3:] = -coder.weight[:, :3]
    ppgen.fit(coder, x, epochs=20, batch_size=50, compile=False, progress=False)
    assert ((coder.encode(x) != 0).float().mean(0) > 0.02).all()


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Any) -> None:
    """Catches statistics, or rows for dead atoms, that a checkpoint leaves out."""
    x, _ = sparse_data(100)

    def trained(epochs: int, folder: Any = None, **more: Any) -> Tensor:
        torch.manual_seed(0)
        coder = models.SparseCoding(5, 6, penalty=0.3)
        ppgen.fit(coder, x, epochs=epochs, batch_size=30, folder=folder, compile=False, progress=False, **more)
        return coder.weight.detach()

    whole = trained(4)
    trained(2, tmp_path / "run")
    assert torch.equal(trained(4, tmp_path / "run", resume=True), whole)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"penalty": 0.0}, ValueError, "penalty must be positive"),
        ({"penalty": -1}, ValueError, "penalty must be positive"),
        ({"penalty": "2"}, TypeError, "penalty must be a number"),
        ({"noise": 0}, ValueError, "noise must be positive"),
        ({"noise": float("inf")}, ValueError, "noise must be positive and finite"),
        ({"atoms": 0}, ValueError, "atoms must be at least 1"),
        ({"positive": 1}, TypeError, "positive must be True or False"),
        ({"sweeps": 0}, ValueError, "sweeps must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """Catches a noise of zero that divides, and a penalty of zero, under which codes have no law."""
    with pytest.raises(error, match=message):
        models.SparseCoding(**{"features": 4, "atoms": 3, **arguments})


def test_a_point_is_no_bound() -> None:
    """Catches a log joint density at a point reported as a bound of log p(x)."""
    x, _ = sparse_data(20)
    coder = models.SparseCoding(5, 6)
    layout = inference.find_layout(coder, x)
    assert layout.points == ("codes",)


def test_a_penalty_that_was_set_is_that_of_the_saved_model():
    """Catches a run that is loaded with the penalty of the constructor: other codes, without a word."""
    coder = models.SparseCoding(4, atoms=3, penalty=0.5)
    coder.penalty = 2.0
    again = models.SparseCoding(**coder.config())
    assert (again.penalty, again.scale) == (coder.penalty, coder.scale) == (2.0, 0.25)
