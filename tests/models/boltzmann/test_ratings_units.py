"""Ratings with real hidden units and ordinal weights: closed forms against sums over every rating."""

import itertools

import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import evaluation, inference, models, testing
from ppgen.distributions import PrecisionGaussian
from ppgen.inference.negative_phases.centring import centred_gradients
from ppgen.training.steps.traced_step import TracedStep

RATINGS = torch.tensor([[1, 0, 3, 2], [0, 2, 0, 0], [3, 1, 1, 0], [0, 0, 2, 2], [2, 3, 1, 1]])
KINDS = list(itertools.product(("bernoulli", "gaussian"), ("categorical", "ordinal")))


def random_model(hidden_units: str, weights: str, items: int = 4) -> models.RatingsRBM:
    torch.manual_seed(items)
    model = models.RatingsRBM(items, 3, 3, hidden_units=hidden_units, weights=weights).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape))
        if weights == "ordinal":
            model.item_mean.copy_(1 + torch.rand(items))
    return model


def log_weight(model: models.RatingsRBM, ratings: dict[int, int]) -> Tensor:
    """Logarithm of the density of ratings from 1 by item, not normalised, with the hidden units integrated out."""
    total, input = torch.zeros((), dtype=torch.float64), model.hidden_bias
    for item, rating in ratings.items():
        total = total + model.visible_bias[item, rating - 1]
        if model.ordered:
            input = input + (rating - model.item_mean[item]) * model.weight[item] + model.rated_weight[item]
        else:
            input = input + model.weight[3 * item + rating - 1]
    if not model.real:
        return (total + torch.log1p(input.exp()).sum()).detach()
    precision = len(ratings) + model.log_precision.exp()
    return (total + (input.square() / precision / 2 - precision.log() / 2).sum()).detach()


def given(ratings: list[int]) -> dict[int, int]:
    return {item: rating for item, rating in enumerate(ratings) if rating}


def law_of(model: models.RatingsRBM, known: dict[int, int], item: int) -> Tensor:
    """Law of the rating of an item given all others."""
    return torch.stack([log_weight(model, {**known, item: rating}) for rating in (1, 2, 3)]).log_softmax(0)


@pytest.mark.parametrize(("hidden_units", "weights"), KINDS)
def test_the_pseudo_likelihood_of_ratings(hidden_units: str, weights: str) -> None:
    """Catches a rating that is its own evidence, a curvature that is lost, items that were not rated in the value."""
    model = random_model(hidden_units, weights)
    x = model.encode(RATINGS)
    bound = inference.resolve("pseudo-likelihood", model).bind(model, x, num_data=5)
    expected = [
        sum(float(law_of(model, known, item)[rating - 1]) for item, rating in known.items())
        for known in map(given, RATINGS.tolist())
    ]
    assert float(bound.value(x)) == pytest.approx(sum(expected) / 5)
    for row, value in enumerate(expected):
        assert float(bound.value(x[row : row + 1])) == pytest.approx(value)
    testing.check_gradient(bound, x)


@pytest.mark.parametrize(("hidden_units", "weights"), KINDS)
def test_missing_ratings_change_nothing(hidden_units: str, weights: str) -> None:
    """Catches a gradient of items that nobody rated."""
    model = random_model(hidden_units, weights)
    x = model.encode(RATINGS * torch.tensor([1, 1, 0, 1]))
    found = inference.resolve("pseudo-likelihood", model).bind(model, x, num_data=5).step(x).gradients
    per_item = 1 if weights == "ordinal" else 3
    assert not found["visible_bias"][2].any() and not found["weight"].reshape(4, per_item, 3)[2].any()
    assert found["visible_bias"][[0, 1, 3]].any() and found["weight"].any()
    if weights == "ordinal":
        assert not found["rated_weight"][2].any()


@pytest.mark.parametrize(("hidden_units", "weights"), KINDS)
def test_the_truth_is_a_stationary_point(hidden_units: str, weights: str) -> None:
    """Catches a closed form that is none of the density's: its expected gradient would not vanish at the truth."""
    model = random_model(hidden_units, weights)
    every = torch.tensor([[a, 0, b, c] for a, b, c in itertools.product((1, 2, 3), repeat=3)])
    x = model.encode(every)
    p = torch.stack([log_weight(model, given(each)) for each in every.tolist()]).softmax(0)
    bound = inference.resolve("pseudo-likelihood", model).bind(model, x, num_data=27)
    steps = [bound.step(row.unsqueeze(0)).gradients for row in x]
    for name in steps[0]:
        mean = sum(weight * step[name] for weight, step in zip(p, steps, strict=True))
        testing.check_close(mean, torch.zeros_like(mean), name, atol=1e-10)


@pytest.mark.parametrize("weights", ["categorical", "ordinal"])
def test_predictions_of_real_hidden_units_are_exact(weights: str) -> None:
    """Catches an item asked for that does not count as rated, and one in the data that is its own evidence."""
    model = random_model("gaussian", weights)
    found = model.distribution(model.encode(RATINGS))
    for row, known in enumerate(map(given, RATINGS.tolist())):
        for item in range(4):
            testing.check_close(found[row, item].log(), law_of(model, known, item), f"user {row}, item {item}")


@pytest.mark.parametrize("weights", ["categorical", "ordinal"])
def test_annealing_of_each_user_with_real_hidden_units(weights: str) -> None:
    """Catches a temperature that changes the precision, and a count that is lost on the way."""
    model = random_model("gaussian", weights)
    x = model.encode(RATINGS[[1, 2, 3]])
    truth = []
    for known in map(given, RATINGS[[1, 2, 3]].tolist()):
        each = [
            log_weight(model, dict(zip(known, ratings, strict=True)))
            for ratings in itertools.product((1, 2, 3), repeat=len(known))
        ]
        truth.append(float(torch.stack(each).logsumexp(0)) + 1.5 * 1.8378770664093453)  # 3/2 log(2 pi)
    found = evaluation.log_partition(model, x=x, method="ais", num_chains=2000, betas=30, seed=0).per_datum
    assert (abs(found["log_partition"] - truth) < 4 * found["se"] + 1e-3).all() and found["se"].max() < 0.1


def test_gibbs_chains_with_real_hidden_units() -> None:
    """Catches draws of one user's precision for another."""
    model = random_model("gaussian", "ordinal")
    known = {0: 1, 3: 1}  # which items are rated; what they are is drawn
    x = model.encode(torch.tensor([[1, 0, 0, 1]])).repeat(4000, 1)
    drawn = model.decode(model.machine(x).gibbs(x, 30, generator=torch.Generator().manual_seed(0)))
    states = list(itertools.product((1, 2, 3), repeat=2))
    law = torch.stack([log_weight(model, dict(zip(known, each, strict=True))) for each in states]).softmax(0)
    testing.check_frequencies(3 * (drawn[:, 0] - 1) + drawn[:, 3] - 1, law, "ratings after 30 sweeps")
    assert not drawn[:, 1:3].any()


@pytest.mark.parametrize(("hidden_units", "weights"), KINDS)
def test_a_rating_that_is_asked_for_is_drawn(hidden_units: str, weights: str) -> None:
    """Catches NaN taken for an item that was not rated, of which every draw is then no rating at all."""
    model = random_model(hidden_units, weights)
    given = model.encode(RATINGS[:2])
    given[0, 3:6] = float("nan")  # item 1 is asked of the first user, who did not rate it; item 3 of both
    given[:, 9:] = float("nan")
    drawn = ppgen.sample(model, 2000, num_chains=2000, given=given, warmup_steps=30, sweeps=1).samples
    ratings = model.decode(drawn.flatten(0, 1)).reshape(2000, 2, 4)
    for user, known in ((0, {0: 1, 2: 3}), (1, {1: 2})):
        free = (1, 3) if user == 0 else (3,)
        states = list(itertools.product((1, 2, 3), repeat=len(free)))
        each = [log_weight(model, {**known, **dict(zip(free, state, strict=True))}) for state in states]
        index = sum(3 ** (len(free) - 1 - place) * (ratings[:, user, item] - 1) for place, item in enumerate(free))
        testing.check_frequencies(index, torch.stack(each).softmax(0), f"user {user}")
        others = [item for item in range(4) if item not in free]
        assert (ratings[:, user, others] == torch.tensor([known.get(item, 0) for item in others])).all()
    given[0, 3] = 1.0
    with pytest.raises(ValueError, match=r"given has groups of which a part is NaN; put NaN at all 3 values"):
        ppgen.sample(model, 2, given=given)


def test_the_centred_gradient_of_ordinal_weights() -> None:
    """Catches a map that is none: it must be J J' of the change to centred parameters, found by differentiation."""
    model = random_model("bernoulli", "ordinal")
    energy = model.machine().base_energy
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.rand(size, generator=generator, dtype=torch.float64)
        for name, size in (("even_offset", 12), ("odd_offset", 3))
    }
    below, above = state["even_offset"].reshape(4, 3), state["odd_offset"]
    parameters = [model.weight, model.rated_weight, model.visible_bias, model.hidden_bias]

    def plain(a: Tensor, d: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        scores = torch.arange(1.0, 4.0, dtype=torch.float64) - model.item_mean.unsqueeze(-1)
        weight = scores.unsqueeze(-1) * a.unsqueeze(1) + d.unsqueeze(1)
        return a, d, b - weight @ above, c - torch.einsum("ik,ikj->j", below, weight)

    given = [torch.randn(each.shape, generator=generator, dtype=torch.float64) for each in parameters]
    values = tuple(each.detach() for each in parameters)
    _, pulled = torch.autograd.functional.vjp(plain, values, tuple(given))
    _, expected = torch.autograd.functional.jvp(plain, values, pulled)
    found = centred_gradients(energy, state, {id(p): g for p, g in zip(parameters, given, strict=True)})
    for parameter, each in zip(parameters, expected, strict=True):
        testing.check_close(found[id(parameter)], each, "centred gradient")


def tastes(users: int, seed: int) -> Tensor:
    """Users of two tastes with a mean of their own, who rate half of twelve items from 1 to 5."""
    generator = torch.Generator().manual_seed(seed)
    taste = (torch.rand(users, 1, generator=generator) < 0.5).float()
    likes = torch.where(torch.arange(12) < 6, taste, 1 - taste)
    noise = torch.randn(users, 12, generator=generator).mul(0.5) + torch.randn(users, 1, generator=generator).mul(0.5)
    rating = (1.5 + 3 * likes + noise).round().clamp(1, 5).long()
    seen = torch.rand(users, 12, generator=generator) < 0.5
    seen[:, 0] = True
    return rating * seen


def test_training_predicts_held_out_ratings(tmp_path) -> None:
    """Catches a name that trains something else, and a machine that is another one when it is read back."""
    train, test = tastes(400, 0), tastes(200, 1)
    model = models.RatingsRBM(12, 5, 3, hidden_units="gaussian", weights="ordinal")
    options = {"epochs": 15, "batch_size": 50, "lr": 0.02, "compile": False, "progress": False}
    run = ppgen.fit(model, model.encode(train), "pseudo-likelihood", folder=tmp_path / "run", **options)
    assert isinstance(run.inference.negative_phase, inference.PseudoLikelihood)
    held = (test > 0) & (torch.arange(12) % 3 == 1)
    x = model.encode(test * ~held)
    means = (train.sum(0) / (train > 0).sum(0)).expand(200, -1)
    errors = [float((each - test)[held].square().mean().sqrt()) for each in (model.predict(x), means)]
    assert errors[0] < 1.0 < 1.4 < errors[1]
    again = ppgen.load(tmp_path / "run").pair
    testing.check_close(again.predict(x), run.pair.predict(x), "predictions of a run read back")
    some = ppgen.sample(again, 200, like=x, warmup_steps=2, sweeps=1).samples
    assert torch.equal(model.decode(some) > 0, model.decode(x) > 0)


def test_the_first_real_unit_is_the_mean_of_the_user() -> None:
    """Catches ordinal weights of which the mean item is no middle, and a mean that moves at the second fit."""
    for weights in ("categorical", "ordinal"):
        model = models.RatingsRBM(12, 5, 2, hidden_units="gaussian", weights=weights)
        x = model.encode(tastes(100, 0))
        ppgen.fit(model, x, "pseudo-likelihood", epochs=1, lr=1e-6, compile=False, progress=False)
        low, high = (model.predict(model.encode(torch.full((1, 12), rating)))[0] for rating in (1, 5))
        assert (high > low + 0.3).all()
    before = model.item_mean.clone()
    ppgen.fit(model, x[:10], epochs=1, compile=False, progress=False)
    assert torch.equal(model.item_mean, before)
    expected = (tastes(100, 0).float().sum(0) + 3) / ((tastes(100, 0) > 0).sum(0) + 1)
    assert (before - expected).abs().max() < 0.05


def test_the_step_can_be_traced() -> None:
    """Catches counts of ratings that are frozen into a graph."""
    model = models.RatingsRBM(12, 5, 2, hidden_units="gaussian", weights="ordinal")
    x = model.encode(tastes(40, 0))
    model.prepare(x)
    bound = inference.resolve("pseudo-likelihood", model).bind(model, x[:20], 40)
    bound.step(x[:20])
    traced = TracedStep(bound, dict(model.named_parameters()))
    assert traced.check(x[:20]) is None and traced.check(x[20:]) is None and traced.num_traces == 1


def test_errors() -> None:
    """Catches a kind of units that is taken for another."""
    with pytest.raises(ValueError, match=r"hidden_units must be one of 'bernoulli', 'gaussian', got 'real'"):
        models.RatingsRBM(3, 5, 2, hidden_units="real")
    with pytest.raises(ValueError, match=r"weights must be one of 'categorical', 'ordinal', got 'free'"):
        models.RatingsRBM(3, 5, 2, weights="free")
    with pytest.raises(ValueError, match=r"log_precision must have shape \(units,\).*\(2,\) and \(3,\)"):
        PrecisionGaussian(torch.zeros(3), torch.zeros(2))
    model = random_model("gaussian", "ordinal")
    x = model.encode(RATINGS)
    with pytest.raises(ValueError, match="annealed importance sampling"):
        evaluation.log_partition(model, x=x, method="exact")
