"""Predictive sparse decomposition: codes and gradients of its objective, an encoder that comes close to the Lasso."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import features, inference, models

MATCHED = ("codes", "objective")


def coder(**options: Any) -> models.PredictiveSparseDecomposition:
    torch.manual_seed(0)
    made = models.PredictiveSparseDecomposition(4, 5, **{"penalty": 0.6, "weight": 0.7, "sweeps": 400, **options})
    return made.double()


def objective(model: models.PredictiveSparseDecomposition, x: Tensor, codes: Tensor) -> Tensor:
    """The sum of the docstring at any codes, (rows,)."""
    predicted = model.encode(x)
    value = (x - codes @ model.dictionary.T).square().sum(-1) + model.penalty * codes.abs().sum(-1)
    if model.match == "codes":
        return value + model.prediction_weight * (predicted - codes).square().sum(-1)
    held = (x - predicted @ model.dictionary.detach().T).square().sum(-1) + model.penalty * predicted.abs().sum(-1)
    return value + model.prediction_weight * held


def guided(model: models.PredictiveSparseDecomposition, x: Tensor) -> Tensor:
    with model.running():
        return model.guide(x)


@pytest.mark.parametrize("match", MATCHED)
@pytest.mark.parametrize("positive", [False, True])
def test_codes_of_the_guide_minimise_the_sum(match: str, positive: bool) -> None:
    """Catches a weight of the prediction that is squared or lost, and codes not drawn to the prediction at all."""
    model, x = coder(match=match, positive=positive), torch.randn(6, 4).double()
    codes = guided(model, x)
    best = objective(model, x, codes)
    for _ in range(20):
        moved = codes + 1e-3 * torch.randn_like(codes)
        moved = moved.clamp(min=0) if positive else moved
        assert bool((objective(model, x, moved) >= best - 1e-9).all())
    pulled = (codes - model.lasso(x).solve(1e-12)).abs().max()
    assert pulled > 1e-2 if match == "codes" else pulled < 1e-5


@pytest.mark.parametrize("match", MATCHED)
def test_values_are_the_objective(match: str) -> None:
    """Catches the cost of the prediction added with the wrong sign, or not over 2 noise^2."""
    model, x = coder(match=match, noise=0.8), torch.randn(6, 4).double()
    with model.running():
        weights = inference.log_weights(model, x, num_particles=1).local.squeeze(0)
    constant = weights + objective(model, x, guided(model, x)) / (2 * 0.8**2)
    torch.testing.assert_close(constant, constant[:1].expand(6))


@pytest.mark.parametrize("match", MATCHED)
def test_gradients_are_those_of_the_minimum_over_codes(match: str) -> None:
    """Catches a gradient through the solver, an encoder without one, and a dictionary moved by the prediction."""
    model, x = coder(match=match), torch.randn(6, 4).double()
    step = inference.Inference(inference.ELBO()).bind(model, x, num_data=6).step(x)
    for name in ("weight", "encoder.inputs.1"):
        parameter = dict(model.named_parameters())[name]
        for place in ((0, 0), (2, 3)):
            ends = []
            for shift in (1e-4, -1e-4):
                with torch.no_grad():
                    parameter[place] += shift
                    value = objective(model, x, guided(model, x))
                    if match == "objective" and name == "weight":  # D is held fixed in the last term
                        problem = model.lasso(x)
                        value = problem.objective(problem.solve(1e-12))
                    ends.append(float(value.mean()) / (2 * model.noise**2))
                    parameter[place] -= shift
            found = abs(float(step.gradients[name][place]))  # of the loss or of the value
            assert found == pytest.approx(abs(ends[0] - ends[1]) / 2e-4, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("encoder", ["soft threshold", "lista"])
def test_an_encoder_comes_close_to_the_lasso_with_its_dictionary_held(encoder: str, tmp_path: Path) -> None:
    """Catches a dictionary that moves though it was to stay, also in a run that goes on, and an encoder that stays."""
    torch.manual_seed(0)
    dictionary, x = torch.nn.functional.normalize(torch.randn(6, 9), dim=0), torch.randn(300, 6)
    options: dict[str, Any] = {"match": "objective", "learn_dictionary": False}
    model = models.PredictiveSparseDecomposition(6, 9, 0.8, encoder, **options)
    model.use_dictionary(3 * dictionary)
    before = features.encoder_gap(model, x).overall
    fitted: dict[str, Any] = {"batch_size": 50, "lr": 0.01, "seed": 0, "compile": False, "progress": False}
    ppgen.fit(model, x, epochs=20, folder=tmp_path / "run", **fitted)
    loaded = ppgen.training.load(tmp_path / "run").pair
    ppgen.fit(loaded, x, epochs=1, **fitted)
    torch.testing.assert_close(loaded.dictionary, dictionary)
    after = features.encoder_gap(model, x).overall
    torch.testing.assert_close(model.dictionary, dictionary)
    assert 0 < after < 0.6 * before


def test_training_from_data_lowers_the_sum_and_codes_are_inferred_exactly() -> None:
    """Catches atoms and encoder that do not start at the data, and exact codes that depend on the prediction."""
    x = torch.randn(200, 4)
    model = models.PredictiveSparseDecomposition(4, 5, 0.6, "tanh")
    run = ppgen.fit(model, x, epochs=15, lr=0.02, batch_size=50, seed=0, compile=False, progress=False)
    curve = [each["train_value"] for each in run.metrics]
    assert curve[-1] > curve[0]
    assert "squared error of the predicted codes" in repr(run)
    plain = models.SparseCoding(4, 5, 0.6)
    plain.load_state_dict({"weight": model.weight.detach()})
    torch.testing.assert_close(model.infer_codes(x), plain.encode(x), atol=5e-3, rtol=0)


def test_a_closed_form_is_refused() -> None:
    """Catches training that moves the dictionary and leaves the encoder as it was made."""
    with pytest.raises((TypeError, ValueError), match="maximise|closed form"):
        ppgen.fit(coder(), torch.randn(50, 4), "alternating", epochs=1, progress=False)


def test_bad_arguments_are_refused() -> None:
    """Catches names and weights that are found out in training, or never."""
    make = models.PredictiveSparseDecomposition
    with pytest.raises(ValueError, match="encoder must be one of 'tanh'.*got 'relu'"):
        make(4, 5, encoder="relu")
    with pytest.raises(ValueError, match="match must be 'codes' or 'objective'"):
        make(4, 5, match="data")
    with pytest.raises(ValueError, match="tanh.*negative codes"):
        make(4, 5, encoder="tanh", positive=True)
    with pytest.raises(ValueError, match="weight must be positive"):
        make(4, 5, weight=0)
    with pytest.raises(ValueError, match="layers must be at least 1"):
        make(4, 5, layers=0)
    with pytest.raises(TypeError, match="learn_dictionary must be True or False"):
        make(4, 5, learn_dictionary="no")
    with pytest.raises(ValueError, match=r"shape \(4, 5\)"):
        make(4, 5).use_dictionary(torch.randn(5, 4))
    with pytest.raises(TypeError, match="must be a tensor"):
        make(4, 5).use_dictionary([[1.0]])
