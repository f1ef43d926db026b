"""Sparse codes against scikit-learn, their duality gaps against the optimum, and what a step may hold."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.decomposition import sparse_encode
from sklearn.linear_model import Lasso as ScikitLasso
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from ppgen.datasets.photo_patches import photographs
from ppgen.nn import Lasso
from ppgen.nn.fista import eigenvalue_bound


def problem(features: int = 6, atoms: int = 9, rows: int = 7, **more: object) -> Lasso:
    """Random data and a dictionary whose atoms have different norms."""
    generator = torch.Generator().manual_seed(3)
    x = 2 * torch.randn(rows, features, generator=generator, dtype=torch.float64)
    dictionary = torch.randn(features, atoms, generator=generator, dtype=torch.float64)
    return Lasso(x, dictionary * torch.linspace(0.4, 1.3, atoms, dtype=torch.float64), 1.5, **more)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("atoms", [4, 9, 15])
def test_codes_are_those_of_scikit_learn(atoms: int, positive: bool) -> None:
    """Catches a penalty off by a factor (of 2, of the features), and one of the two ways of a step that is wrong."""
    given = problem(atoms=atoms, positive=positive)
    codes = given.solve(tolerance=1e-12, max_sweeps=20_000)
    settings = {"algorithm": "lasso_cd", "alpha": given.penalty / 2, "positive": positive, "max_iter": 100_000}
    encoded = sparse_encode(given.x.numpy(), given.dictionary.T.numpy(), **settings)
    np.testing.assert_allclose(given.objective(torch.from_numpy(encoded)), given.objective(codes), rtol=2e-4)
    alpha = given.penalty / (2 * given.x.shape[-1])
    one = ScikitLasso(alpha=alpha, fit_intercept=False, positive=positive, tol=1e-14, max_iter=1_000_000)
    expected = np.stack([one.fit(given.dictionary.numpy(), row).coef_.copy() for row in given.x.numpy()])
    np.testing.assert_allclose(codes, expected, atol=1e-5)
    assert not positive or codes.min() >= 0
    assert 0 < (codes == 0).sum() < codes.numel()


def test_photographs_as_atoms_take_more_sweeps_and_the_gap_says_so() -> None:
    """Catches a step that diverges, or never gets there, where atoms are much alike: patches that are not whitened."""
    tiles = photographs()[0][:240, :240]
    rows = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(tiles, (6, 6))[::8, ::8].reshape(-1, 36)).float()
    rows = 5 * (rows - rows.mean(1, keepdim=True))
    given = Lasso(rows[300:340], rows[:48].T / rows[:48].norm(dim=1), penalty=0.5)
    least = Lasso(given.x.double(), given.dictionary.double(), 0.5)
    best = least.objective(least.solve(1e-9, max_sweeps=20_000))
    found = {sweeps: given.fista(sweeps) for sweeps in (20, 500)}
    above = {sweeps: least.objective(codes.double()) - best for sweeps, codes in found.items()}
    assert above[20].max() > 0.1 and above[500].max() < 1e-3
    for sweeps, codes in found.items():
        assert (given.gap(codes) >= above[sweeps] - 1e-5).all()
    assert given.gap(found[500]).max() < 0.05 < given.gap(found[20]).max()


@pytest.mark.parametrize("more", [{}, {"positive": True}, {"target": torch.linspace(-2, 3, 63).double().view(7, 9)}])
def test_the_gap_is_above_the_distance_to_the_optimum(more: dict[str, object]) -> None:
    """Catches a dual point that is not feasible, and a scale of it that is not the best: a gap that is no bound."""
    given = problem(**more)
    best = given.solve(tolerance=1e-13, max_sweeps=20_000)
    assert given.gap(best).max() < 1e-9
    generator = torch.Generator().manual_seed(0)
    for size in (1e-3, 0.1, 1.0, 10.0):
        codes = best + size * torch.randn(best.shape, generator=generator, dtype=best.dtype)
        codes = codes.clamp(min=0) if given.positive else codes
        gap, above = given.gap(codes), given.objective(codes) - given.objective(best)
        assert (gap >= above * (1 - 1e-9)).all() and (above > 0).all()
        residual = given.x - codes @ given.dictionary.T
        inner, squares, along = residual @ given.dictionary, residual.square().sum(-1), (residual * given.x).sum(-1)
        if given.target is None:  # of all feasible multiples of the residual none is better
            largest = 2 * (inner if given.positive else inner.abs()).amax(-1)
            for s in torch.linspace(0, 1, 50, dtype=torch.float64):
                scale = torch.minimum(s.expand(len(largest)), given.penalty / largest.clamp(min=1e-30))
                dual = 2 * scale * along - scale.square() * squares
                assert (gap <= given.objective(codes) - dual + 1e-9).all()


def test_a_target_is_more_rows_of_data_and_dictionary() -> None:
    """Catches the quadratic term left out of the step, of its size, of the objective, or of the gap."""
    target = torch.linspace(-2, 3, 63, dtype=torch.float64).view(7, 9)
    given = problem(target=target)
    dictionary = torch.cat([given.dictionary, torch.eye(9, dtype=torch.float64)])
    larger = Lasso(torch.cat([given.x, target], -1), dictionary, given.penalty)
    codes = given.fista(400)
    torch.testing.assert_close(codes, larger.fista(400), atol=1e-7, rtol=0)
    torch.testing.assert_close(given.objective(codes), larger.objective(codes))
    torch.testing.assert_close(given.gap(0.9 * codes), larger.gap(0.9 * codes))
    torch.testing.assert_close(given.largest_penalty(), larger.largest_penalty())


def test_the_codes_of_a_row_do_not_depend_on_the_others() -> None:
    """Catches rows that go on after they are done because others are not, and momentum kept with the wrong rows."""
    given = problem(rows=30)
    given.x[3] *= 100
    together = given.solve(1e-6)
    alone = torch.cat([Lasso(row[None], given.dictionary, given.penalty).solve(1e-6) for row in given.x])
    torch.testing.assert_close(together, alone, atol=1e-10, rtol=1e-10)
    assert (given.gap(together) <= 1e-6 * given.x.square().sum(-1)).all()
    assert given.gap(given.solve(1e-1)).max() > given.gap(together).max()


def test_a_start_is_gone_on_from() -> None:
    """Catches a start that is thrown away, changed in place, or left where it should move."""
    given = problem()
    best = given.solve(1e-12)
    kept = best.clone()
    torch.testing.assert_close(given.fista(1, start=best), best, atol=1e-5, rtol=0)
    assert torch.equal(best, kept)
    assert (given.gap(given.fista(5, start=best + 0.01)) < given.gap(given.fista(5))).all()


def test_the_largest_useful_penalty_leaves_nothing() -> None:
    """Catches the factor of 2 of the derivative of a square left out."""
    given = problem(rows=1)
    largest = float(given.largest_penalty())
    for factor, zero in ((1.001, True), (0.99, False)):
        codes = Lasso(given.x, given.dictionary, factor * largest).solve(1e-12)
        assert bool((codes == 0).all()) == zero


@pytest.mark.parametrize("spectrum", [[3.0, 1.0, 0.1, 0.0], [1.0, 1.0, 1.0, 1.0], [1e-20, 0, 0, 0], [1e20, 1, 1, 1]])
def test_the_bound_on_the_largest_eigenvalue(spectrum: list[float]) -> None:
    """Catches a bound below the eigenvalue, where steps diverge, and powers that leave the range of float32."""
    basis = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    gram = (basis * torch.tensor(spectrum, dtype=torch.float64)) @ basis.T
    for matrix in (gram, gram.float()):
        bound = float(eigenvalue_bound(matrix))
        assert max(spectrum) * (1 - 1e-5) <= bound <= 1.05 * max(spectrum)
    assert float(eigenvalue_bound(torch.zeros(3, 3))) < 1e-30


def test_the_body_is_traced_and_keeps_its_precision() -> None:
    """Catches a step that reads a tensor's value, and a constant of another type than the data's."""
    given = problem()

    def codes(x: Tensor, dictionary: Tensor) -> Tensor:
        return Lasso(x, dictionary, 1.5).fista(10)

    graph = make_fx(codes)(given.x, given.dictionary)
    assert torch.equal(graph(given.x + 1, given.dictionary), codes(given.x + 1, given.dictionary))
    single = codes(given.x.float(), given.dictionary.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, codes(given.x, given.dictionary).float(), atol=1e-4, rtol=0)
    particles = codes(given.x.expand(3, *given.x.shape), given.dictionary)
    torch.testing.assert_close(particles[2], codes(given.x, given.dictionary))


def test_codes_carry_no_gradient() -> None:
    """Catches a backward pass through the solver, which the envelope theorem spares."""
    given = problem()
    dictionary = given.dictionary.clone().requires_grad_()
    assert not Lasso(given.x, dictionary, 1.5).fista(3).requires_grad


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(2, 3), torch.zeros(4, 5), 1.0), ValueError, "as many features"),
        ((torch.zeros(2, 3), torch.zeros(3), 1.0), ValueError, r"shape \(features, atoms\)"),
        ((torch.zeros(2, 3), torch.zeros(3, 5), -1.0), ValueError, "penalty must be at least 0"),
        ((torch.zeros(2, 3), torch.zeros(3, 5), float("nan")), ValueError, "penalty must be at least 0"),
        ((torch.zeros(2, 3), torch.zeros(3, 5), "2"), TypeError, "penalty must be a number"),
        ((torch.zeros(2, 3), torch.zeros(3, 5), 1.0, False, torch.zeros(2, 4)), ValueError, "target must have 5 codes"),
    ],
)
def test_what_is_no_problem_is_refused(arguments: tuple[object, ...], error: type[Exception], message: str) -> None:
    """Catches shapes that are broadcast to other problems than were meant."""
    with pytest.raises(error, match=message):
        Lasso(*arguments)


def test_rows_of_zeros_and_no_rows() -> None:
    """Catches a gap of 0 / 0 at data that are zero, and an empty batch that fails."""
    given = Lasso(torch.zeros(2, 3), torch.eye(3), 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert given.solve().abs().sum() == 0 and given.gap(given.solve()).sum() == 0
        assert Lasso(torch.zeros(0, 3), torch.eye(3), 1.0).solve().shape == (0, 3)


def test_atoms_that_are_zero_have_codes_of_zero():
    """Catches a step without end where a dictionary, or that of a part of the data, is empty: codes that are NaN."""
    problem = Lasso(torch.ones(2, 4), torch.zeros(4, 3), penalty=1.0)
    assert torch.equal(problem.solve(), torch.zeros(2, 3)) and torch.equal(problem.gap(problem.solve()), torch.zeros(2))


def test_rows_of_any_shape_and_a_shared_target_are_solved():
    """Catches rows that are told apart by the first dimension alone, and a target that is cut as if it had rows."""
    generator = torch.Generator().manual_seed(0)
    x, dictionary, target = (torch.randn(shape, generator=generator) for shape in ((2, 3, 4), (4, 5), (5,)))
    for each in (x, x[0, 0], x[0]):
        problem = Lasso(each, dictionary, 0.5, target=target)
        codes = problem.solve(1e-4)
        assert codes.shape == (*each.shape[:-1], 5)
        assert bool((problem.gap(codes) <= 2e-4 * problem.objective(torch.zeros_like(codes))).all())
