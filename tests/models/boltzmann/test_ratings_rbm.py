"""Ratings of which most are missing: sums over what was rated, and predictions from nothing else."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import evaluation, inference, models, testing
from ppgen.testing.examples import bit_vectors
from ppgen.training.steps.traced_step import TracedStep

RATINGS = torch.tensor([[1, 0, 3, 2], [0, 2, 0, 0], [3, 1, 1, 0], [0, 0, 2, 2], [2, 3, 1, 1]])


def random_model(items: int = 4, values: int = 3, hidden: int = 3) -> models.RatingsRBM:
    torch.manual_seed(items + hidden)
    model = models.RatingsRBM(items, values, hidden)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape))
    return model.double()


def log_weight(model: models.RatingsRBM, ratings: list[int]) -> float:
    """log of the sum over hidden states of exp(-E), with a loop over the items that are rated."""
    values = model.visible_bias.shape[1]
    weight = model.weight.detach().reshape(-1, values, len(model.hidden_bias))
    h = bit_vectors(len(model.hidden_bias))
    total = h @ model.hidden_bias.detach()
    for item, rating in enumerate(ratings):
        if rating:
            total = total + model.visible_bias[item, rating - 1].detach() + h @ weight[item, rating - 1]
    return float(total.logsumexp(0))


def brute_force(model: models.RatingsRBM, ratings: list[int]) -> float:
    values = model.visible_bias.shape[1]
    every = itertools.product(*[range(1, values + 1) if rating else [0] for rating in ratings])
    return float(np.logaddexp.reduce([log_weight(model, list(each)) for each in every]))


def test_each_user_has_the_normaliser_of_what_was_rated() -> None:
    """Catches missing items that add log K to log Z or a bias to the energy, and users with each other's items."""
    model = random_model()
    x = model.encode(RATINGS)
    expected = [brute_force(model, each) for each in RATINGS.tolist()]
    found = evaluation.log_partition(model, x=x)
    np.testing.assert_allclose(found.per_datum["log_partition"], expected, atol=1e-9)
    likelihood = evaluation.log_likelihood(model, x)
    own = np.array([log_weight(model, each) for each in RATINGS.tolist()])
    np.testing.assert_allclose(likelihood.per_datum["log_likelihood"], own - expected, atol=1e-9)
    assert likelihood.kind == "exact"


def test_annealing_each_user() -> None:
    """Catches missing items that are drawn on the way."""
    model = random_model()
    x = model.encode(RATINGS)
    truth = evaluation.log_partition(model, x=x).per_datum["log_partition"]
    found = evaluation.log_partition(model, x=x, method="sandwich", num_chains=2000, betas=30)
    for side in (found.lower, found.upper):
        assert (np.abs(side.per_datum["log_partition"] - truth) < 4 * side.per_datum["se"] + 1e-3).all()
        assert side.per_datum["se"].max() < 0.1


def test_blocks_of_rows_have_streams_of_their_own(monkeypatch) -> None:
    """Catches blocks that are given one seed, so that their errors are one and do not fall with the rows."""
    model = random_model()
    with torch.no_grad():
        model.weight[3:6], model.visible_bias[1] = model.weight[:3].clone(), model.visible_bias[0].clone()
    x = model.encode(torch.tensor([[1, 0, 1, 0], [0, 1, 1, 0]]))  # users of one law, with other items
    monkeypatch.setattr("ppgen.evaluation.partition.per_row._AT_ONCE", 1)
    found = evaluation.log_partition(model, x=x, method="ais", num_chains=50, betas=3).per_datum["log_partition"]
    exact = evaluation.log_partition(model, x=x).per_datum["log_partition"]
    assert exact[0] == pytest.approx(exact[1]) and found[0] != pytest.approx(found[1])


def test_missing_ratings_change_nothing() -> None:
    """Catches an item that nobody rated in the likelihood of the others: it may have any weights."""
    model = random_model()
    fewer = models.RatingsRBM(3, 3, 3).double()
    with torch.no_grad():
        fewer.weight.copy_(model.weight[:9])
        fewer.visible_bias.copy_(model.visible_bias[:3])
        fewer.hidden_bias.copy_(model.hidden_bias)
    ratings = RATINGS[[1, 2]]
    values = [
        evaluation.log_likelihood(each, each.encode(ratings[:, :count])).per_datum["log_likelihood"]
        for each, count in ((model, 4), (fewer, 3))
    ]
    np.testing.assert_allclose(values[0], values[1], atol=1e-12)
    x = model.encode(ratings)
    chosen = inference.Inference(inference.ELBO(), negative_phase=inference.CD(centred=False))
    result = chosen.bind(model, x, 2).step(x)
    assert not result.gradients["visible_bias"][3].any() and not result.gradients["weight"][9:].any()
    assert result.gradients["visible_bias"][:3].any()


def test_predictions_are_one_pass_from_what_is_known() -> None:
    """Catches a prediction that sees the rating asked for, and a scale that starts at 0."""
    model = random_model()
    known = torch.tensor([[1, 0, 3, 0]])
    weight = model.weight.detach().reshape(4, 3, 3)
    hidden = torch.sigmoid(model.hidden_bias + weight[0, 0] + weight[2, 2])
    law = torch.softmax(model.visible_bias + weight @ hidden, -1)
    found = model.predict(model.encode(known))
    expected = (law @ torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)).detach()
    testing.check_close(found[0], expected, "expected ratings")
    testing.check_close(model.distribution(model.encode(known)).sum(-1), torch.ones(1, 4).double(), "sums")


def tastes(users: int, seed: int) -> Tensor:
    """Users of two tastes, who rate half of twelve items from 1 to 5: the first six high and the others low, or not."""
    generator = torch.Generator().manual_seed(seed)
    taste = (torch.rand(users, 1, generator=generator) < 0.5).float()
    likes = torch.where(torch.arange(12) < 6, taste, 1 - taste)
    rating = (1.5 + 3 * likes + torch.randn(users, 12, generator=generator).mul(0.7)).round().clamp(1, 5).long()
    seen = torch.rand(users, 12, generator=generator) < 0.5
    seen[:, 0] = True
    return rating * seen


def test_training_predicts_held_out_ratings(tmp_path) -> None:
    """Catches a default that does not learn; the error must fall far below that of item means."""
    train, test = tastes(600, 0), tastes(300, 1)
    model = models.RatingsRBM(items=12, ratings=5, hidden=3)
    options = {"epochs": 25, "batch_size": 50, "lr": 0.02, "compile": False, "progress": False}
    run = ppgen.fit(model, model.encode(train), folder=tmp_path / "run", **options)
    held = (test > 0) & (torch.arange(12) % 3 == 1)
    x = model.encode(test * ~held)
    means = (train.sum(0) / (train > 0).sum(0)).expand(300, -1)
    errors = [float((each - test)[held].square().mean().sqrt()) for each in (model.predict(x), means)]
    assert errors[0] < 0.95 < 1.4 < errors[1]
    again = ppgen.load(tmp_path / "run").pair
    testing.check_close(again.predict(x), run.pair.predict(x), "predictions of a run read back")
    drawn = ppgen.sample(again, 3, warmup_steps=2, sweeps=1).samples
    assert bool((model.decode(drawn) >= 1).all())
    some = ppgen.sample(again, 300, like=x, warmup_steps=2, sweeps=1).samples
    assert torch.equal(model.decode(some) > 0, model.decode(x) > 0)


def test_encoding_and_back() -> None:
    """Catches a scale shifted by one, and a missing rating that becomes the lowest."""
    model = random_model()
    assert torch.equal(model.decode(model.encode(RATINGS)), RATINGS)
    with_nan = RATINGS.double().masked_fill(RATINGS == 0, float("nan"))
    assert torch.equal(model.encode(with_nan.numpy()), model.encode(RATINGS))
    assert model.encode(RATINGS).sum() == (RATINGS > 0).sum()


def test_the_step_can_be_traced() -> None:
    """Catches missing items that are looked up while a graph is made, and so frozen into it."""
    model = models.RatingsRBM(12, 5, 2)
    x = model.encode(tastes(40, 0))
    model.prepare(x)
    bound = inference.resolve(None, model).bind(model, x[:20], 40)
    bound.step(x[:20])
    traced = TracedStep(bound, dict(model.named_parameters()))
    assert traced.check(x[:20]) is None and traced.check(x[20:]) is None and traced.num_traces == 1


def test_errors() -> None:
    """Catches ratings outside the scale, users without any, and two ratings of one item."""
    model = models.RatingsRBM(items=3, ratings=5, hidden=2)
    with pytest.raises(ValueError, match=r"from 1 to 5.*user 1 gave item 2 6"):
        model.encode([[1, 0, 5], [0, 2, 6]])
    with pytest.raises(ValueError, match=r"user 0 gave item 1 2\.5"):
        model.encode([[1, 2.5, 5]])
    with pytest.raises(ValueError, match="1 of 2 have none, the first is row 1"):
        model.encode([[1, 0, 5], [0, 0, 0]])
    with pytest.raises(ValueError, match=r"shape \(users, 3\), got \(1, 2\)"):
        model.encode([[1, 2]])
    x = torch.zeros(300, 15)
    x[:, 2] = 1.0
    for row, change in ((250, {2: 0.0}), (251, {3: 1.0})):
        wrong = x.clone()
        for place, value in change.items():
            wrong[row, place] = value
        with pytest.raises(ValueError, match=f"one of 5 values in each of 3 groups.*the first is row {row}"):
            ppgen.fit(model, wrong, epochs=1, batch_size=10, progress=False)
        with pytest.raises(ValueError, match=f"the first is row {row}"):
            evaluation.log_likelihood(model, wrong)
    with pytest.raises(ValueError, match=r"Use inference\.CD"):
        ppgen.fit(model, x, inference.PCD(), epochs=1, progress=False)
    with pytest.raises(ValueError, match="none, the first is row 0"):
        model.predict(torch.zeros(2, 15))
    with pytest.raises(ValueError, match="one-hot vectors"):
        model.predict(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="2 or more, got 1"):
        models.RatingsRBM(3, 1, 2)
