"""Neural autoregressive density estimators as models: bits, levels, any order, real numbers."""

import itertools
import math
import warnings

import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import datasets, evaluation, models, testing

_BITS = (torch.arange(60 * 4).reshape(60, 4) % 7 < 3).float()


def _moved(model: torch.nn.Module, size: float = 0.7) -> torch.nn.Module:
    """The model with random weights of a size."""
    torch.manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0, size)
    return model


def _all_bits(size: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=size)), dtype=torch.float64)


def test_levels_are_laws_of_whole_numbers():
    """Catches a model of levels whose probabilities do not sum to 1."""
    x = torch.tensor(list(itertools.product([0.0, 1.0, 2.0], repeat=3)), dtype=torch.float64)
    for model in (
        models.NADE(3, hidden=4, levels=3),
        models.MADE(3, hidden=(8,), levels=3, orders=2),
        models.OrderlessNADE(3, hidden=(5,), levels=3, orders=3),
    ):
        law = _moved(model).double().eval().law()
        torch.testing.assert_close(law.log_prob(x).exp().sum().item(), 1.0, atol=1e-12, rtol=0)


def test_orderless_estimate_is_unbiased():
    """Catches a factor D / (D - d) that is off by one, or orders that are not uniform: by all orders of 4 entries."""
    model = _moved(models.OrderlessNADE(4, hidden=(5, 3), orders=1)).double()
    x = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    exact = 0.0
    for order in itertools.permutations(range(4)):
        for position, entry in enumerate(order):
            known = torch.zeros(4, dtype=torch.bool)
            known[list(order[:position])] = True
            parameters = model.network.parameters_of(x, known)[entry]
            exact += model.output.log_prob(parameters, x[entry]).detach() / math.factorial(4)
    torch.manual_seed(0)
    with torch.no_grad():
        estimates = model.law().log_prob(x.expand(20_000, 4))
    testing.check_mean(estimates, exact, "estimate of the mean log p over orders")
    assert estimates.std() > 0.01


def test_any_part_is_given():
    """Catches a completion in an order in which what is known does not come first; other vectors' known entries."""
    model = _moved(models.OrderlessNADE(4, hidden=(6,), orders=3)).double().eval()
    value = torch.tensor([[torch.nan, 1, torch.nan, 0], [torch.nan, 0, torch.nan, 0]], dtype=torch.float64)
    law, x = model.law(), _all_bits(4)
    conditioned = law.condition(value)
    for row in range(2):
        states = x[(x[:, [1, 3]] == value[row, [1, 3]]).all(-1)]
        expected = []
        for each in law.laws:
            order = each.order.tolist()
            first = torch.tensor([e for e in order if e in (1, 3)] + [e for e in order if e in (0, 2)])
            joint = model.in_order(first).log_prob(states)
            expected.append((joint - joint.logsumexp(0)).exp())
        found = law.condition(value[row]).log_prob(states).exp()
        torch.testing.assert_close(found, torch.stack(expected).mean(0), atol=1e-12, rtol=0)
        assert conditioned.sample((5,))[:, row, [1, 3]].eq(value[row, [1, 3]]).all()
    value[1, 0] = 1
    with pytest.raises(ValueError, match="known in the same entries of all vectors, .* vectors 0 and 1"):
        law.condition(value)


def test_mixtures_average_probabilities():
    """Catches a mixture over orders that averages logarithms, in evaluation; a bound in the place of log p."""
    x = _all_bits(4)
    for model in (models.MADE(4, hidden=(9,), orders=3), models.OrderlessNADE(4, hidden=(6,), orders=3)):
        law = _moved(model).double().eval().law()
        each = torch.stack([each.log_prob(x) for each in law.laws])
        assert (each.std(0) > 0.01).any()
        torch.testing.assert_close(law.log_prob(x), each.exp().mean(0).log(), atol=1e-12, rtol=0)
        torch.testing.assert_close(law.log_prob(x).exp().sum().item(), 1.0, atol=1e-12, rtol=0)
        found = evaluation.log_likelihood(model, x, method="exact")
        assert abs(found.value - law.log_prob(x).mean().item()) < 1e-10


def test_training_of_orders_takes_each():
    """Catches an order of MADE that is never trained under, and a density in training that is not one order's."""
    model = _moved(models.MADE(4, hidden=(9,), orders=3)).double()
    x = _BITS[:5].double()
    each = torch.stack([law.log_prob(x) for law in model.eval().law().laws])
    law, seen = model.train().law(), set()
    assert type(law).__name__ == "OrderEstimate"
    for _ in range(40):
        distances = (law.log_prob(x) - each).abs().amax(1)
        assert distances.min() < 1e-12
        seen.add(int(distances.argmin()))
    assert seen == {0, 1, 2}


def test_rnade_integrates_to_one():
    """Catches a density in standardised units, or without the determinant: by quadrature in two dimensions."""
    for law in ("normal", "laplace"):
        model = _moved(models.RNADE(2, hidden=4, components=3, law=law), 0.3).double().eval()
        model.network.standardise(torch.tensor([3.0, -1.0]), torch.tensor([2.0, 0.2]))
        grid = torch.linspace(-15, 15, 401, dtype=torch.float64)
        x = torch.stack(torch.meshgrid(3 + 2 * grid, -1 + 0.2 * grid, indexing="ij"), -1)
        with torch.no_grad():
            total = model.law().log_prob(x).exp().sum() * (grid[1] - grid[0]) ** 2 * 2 * 0.2
        assert abs(float(total) - 1) < 2e-3, (law, total)


def test_rnade_is_that_of_standardised_data():
    """Catches a likelihood that depends on the units: it moves by the logarithm of their size alone."""
    torch.manual_seed(0)
    x = torch.randn(300, 3) @ torch.randn(3, 3)
    values = []
    for scale, shift in ((1.0, 0.0), (50.0, 7.0)):
        torch.manual_seed(1)
        run = ppgen.fit(
            models.RNADE(3, hidden=4, components=2).double(),
            x * scale + shift,
            epochs=2,
            batch_size=100,
            seed=0,
            progress=False,
            compile=False,
        )
        found = evaluation.log_likelihood(run.pair, (x * scale + shift).double(), method="exact").value
        values.append(found + 3 * math.log(scale))
    assert abs(values[0] - values[1]) < 1e-3
    assert run.pair.preprocessing.startswith("features standardised: means from")
    assert "smallest scale of a component 0.001" in repr(run.pair)


def test_rnade_gradient_in_a_location_is_scaled():
    """Catches `scaled_gradient` that scales nothing, or another parameter."""
    x, gradients = torch.randn(5, 3, dtype=torch.float64), []
    for scaled in (True, False):
        model = _moved(models.RNADE(3, hidden=4, components=1, scaled_gradient=scaled)).double()
        model.network.standardise(torch.zeros(3), torch.full((3,), 2.0))
        model.law().log_prob(x).sum().backward()
        gradients.append(model.network.network.bias.grad)
        inner = model.network.network(x / 2)
    scales = model.network.minimum_scale + inner[0, 0, 2].exp()  # of the first entry, which is that of all rows
    torch.testing.assert_close(gradients[0][:, [0, 2]], gradients[1][:, [0, 2]])
    torch.testing.assert_close(gradients[0][0, 1], gradients[1][0, 1] * scales)


def test_rnade_tells_of_features_without_a_density():
    """Catches a likelihood of repeated values that grows as the smallest scale falls, untold."""
    torch.manual_seed(0)
    x = torch.randn(200, 4)
    settings = {"epochs": 1, "progress": False, "compile": False, "seed": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ppgen.fit(models.RNADE(4, hidden=2, components=2), x, **settings)
    with pytest.warns(UserWarning, match="Features are constant: 1"):
        run = ppgen.fit(models.RNADE(4, hidden=2, components=2), x * torch.tensor([1.0, 0, 1, 1]), **settings)
    assert math.isfinite(evaluation.log_likelihood(run.pair, x * torch.tensor([1.0, 0, 1, 1]), method="exact").value)
    with pytest.warns(UserWarning, match="Features repeat few values in .* rows: 0, 1, 2, 3"):
        ppgen.fit(models.RNADE(4, hidden=2, components=2), x.round(), **settings)


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.NADE(4, hidden=3),
        lambda: models.MADE(4, hidden=(6,), orders=2),
        lambda: models.OrderlessNADE(4, hidden=(4,), orders=2),
        lambda: models.RNADE(4, hidden=3, components=2),
    ],
)
def test_runs_are_loaded_as_they_were(make, tmp_path):
    """Catches orders, masks or a standardisation that a run folder loses."""
    torch.manual_seed(0)
    x = torch.randn(60, 4) if "RNADE" in type(make()).__name__ else _BITS
    run = ppgen.fit(make(), x, epochs=1, seed=0, progress=False, compile=False, folder=tmp_path / "run")
    loaded = ppgen.load(tmp_path / "run")
    values = [evaluation.log_likelihood(each.pair, x[:20], method="exact").value for each in (run, loaded)]
    assert values[0] == values[1]


def test_biases_start_at_the_data():
    """Catches biases that start at 0, from which the first epochs learn means alone; and trained ones set back."""
    data = datasets.load("digits", binarize="threshold")
    for model in (models.NADE(64, hidden=2), models.MADE(64, hidden=(4,)), models.OrderlessNADE(64, hidden=(4,))):
        model.initialise(data)
        wanted = torch.logit(data.mean.clamp(0.001, 0.999))
        torch.testing.assert_close(model.network.bias.squeeze(-1), wanted)
        with torch.no_grad():
            model.network.bias.fill_(2.0)
        model.initialise(data)
        assert (model.network.bias == 2).all()


def test_unsound_models_are_refused():
    """Catches arguments that are taken as they come."""
    with pytest.raises(ValueError, match="levels must be at least 2, got 1"):
        models.NADE(4, levels=1)
    with pytest.raises(ValueError, match='activation must be "sigmoid", "tanh" or "relu", got "gelu"'):
        models.NADE(4, activation="gelu")
    with pytest.raises(ValueError, match="orders must be at least 1, got 0"):
        models.MADE(4, orders=0)
    with pytest.raises(ValueError, match="hidden must name at least one layer where direct is False"):
        models.MADE(4, hidden=(), direct=False)
    with pytest.raises(ValueError, match="hidden must name at least one layer"):
        models.OrderlessNADE(4, hidden=())
    with pytest.raises(ValueError, match='law must be "normal" or "laplace", got "cauchy"'):
        models.RNADE(4, law="cauchy")
    with pytest.raises(ValueError, match="minimum_scale must be positive, got 0"):
        models.RNADE(4, minimum_scale=0)
    with pytest.raises(
        ValueError, match="must lie in the support of its law .whole numbers from 0 to 2.*values range from 3"
    ):
        evaluation.log_likelihood(models.MADE(4, levels=3), torch.full((2, 4), 3), method="exact")
