"""Log-weights: data plates of every form, scales, masks, global latents, particles."""

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor

from ppgen import inference, testing
from ppgen.pair import Pair

X = torch.tensor([0.9, -1.1, 2.0, 0.2, -0.4], dtype=torch.float64)
NUM_DATA = len(X)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def plate(x: Tensor, size: int | None) -> pyro.plate:
    return pyro.plate("data", len(x)) if size is None else pyro.plate("data", size, subsample=x)


def make_pair(size: int | None, with_global: bool) -> Pair:
    """Normal chain m (global, or a parameter) -> z -> x, with guides whose every draw is reparameterised."""

    def model(x: Tensor) -> None:
        m = pyro.param("m", scalar(0.4))
        if with_global:
            m = pyro.sample("m_latent", dist.Normal(m, scalar(0.8)))
        with plate(x, size):
            z = pyro.sample("z", dist.Normal(m, scalar(1.0)))
            pyro.sample("x", dist.Normal(z * pyro.param("slope", scalar(1.3)), scalar(0.7)), obs=x)

    def guide(x: Tensor) -> None:
        if with_global:
            pyro.sample("m_latent", dist.Normal(pyro.param("q_m", scalar(-0.2)), pyro.param("q_s", scalar(0.5))))
        with plate(x, size):
            pyro.sample("z", dist.Normal(x * pyro.param("a", scalar(0.3)), pyro.param("s", scalar(0.6))))

    return Pair(model, guide)


def exact_gradient(with_global: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """ELBO per datum of the whole data set in closed form, and minus its gradient."""
    start = {"m": 0.4, "slope": 1.3, "q_m": -0.2, "q_s": 0.5, "a": 0.3, "s": 0.6}
    p = {name: scalar(value).requires_grad_() for name, value in start.items()}
    mean, variance = (p["q_m"], p["q_s"] ** 2) if with_global else (p["m"], scalar(0.0))
    z, s2 = p["a"] * X, p["s"] ** 2
    value = -0.5 * ((z - mean) ** 2 + variance + s2) + 0.5 + p["s"].log()
    value = value - 0.5 * ((X - p["slope"] * z) ** 2 + p["slope"] ** 2 * s2) / 0.49
    value = value.sum() - NUM_DATA * (scalar(0.7).log() + 0.5 * scalar(2 * torch.pi).log())
    if with_global:
        value = value - 0.5 * ((p["q_m"] - p["m"]) ** 2 + p["q_s"] ** 2) / 0.64
        value = value + 0.5 + p["q_s"].log() - scalar(0.8).log()
    value = value / NUM_DATA
    used = [name for name in p if with_global or not name.startswith("q_")]
    gradients = torch.autograd.grad(-value, [p[name] for name in used])
    return value.detach(), dict(zip(used, gradients, strict=True))


@pytest.mark.parametrize("with_global", [False, True], ids=["local", "global"])
@pytest.mark.parametrize("size", [None, NUM_DATA], ids=["len(x)", "N"])
def test_gradient_of_the_data_set(size: int | None, with_global: bool) -> None:
    """Catches a plate's factor applied twice or not at all, a global latent counted once a batch."""
    pair = make_pair(size, with_global)
    pair.prepare(X[:2])
    bound = inference.Inference(inference.ELBO()).bind(pair, X[:2], num_data=NUM_DATA)
    every = [X[list(rows)] for rows in itertools.combinations(range(NUM_DATA), 2)]
    passes = []
    for _ in range(150):
        results = [bound.step(batch) for batch in every]
        values = {"value": torch.stack([result.value for result in results]).mean()}
        for name in results[0].gradients:
            values[name] = torch.stack([result.gradients[name] for result in results]).mean()
        passes.append(values)
    value, gradients = exact_gradient(with_global)
    testing.check_mean(torch.stack([each["value"] for each in passes]), value, "value")
    assert {f"captured.{name}" for name in gradients} == set(passes[0]) - {"value"}
    for name, exact in gradients.items():
        draws = torch.stack([each[f"captured.{name}"] for each in passes])
        testing.check_mean(draws, exact, f"gradient in {name}")


def test_ragged_last_batch() -> None:
    """Catches rows of a short last batch that weigh more or less than others."""
    pair = make_pair(NUM_DATA, with_global=True)
    bound = inference.Inference(inference.ELBO(num_particles=20)).bind(pair, X[:3], num_data=NUM_DATA)
    epochs = [sum(bound.value(part) * len(part) for part in X.split(3)) / NUM_DATA for _ in range(300)]
    testing.check_mean(torch.stack(epochs), exact_gradient(True)[0], "value of an epoch with a ragged batch")


def decorated(pair: Pair, handler) -> Pair:
    return Pair(handler(pair.model), pair.guide)


def seeded(pair: Pair, x: Tensor = X, particles: int = 3, **options) -> Tensor:
    torch.manual_seed(3)
    return inference.log_weights(pair, x, particles, **options).local


@pytest.mark.parametrize("size", [None, 50], ids=["len(x)", "N"])
def test_scales_of_the_user(size: int | None) -> None:
    """Catches a `poutine.scale` that is divided out together with the plate's own factor."""
    x = X.clone()

    def model(x: Tensor) -> None:
        with plate(x, size):
            z = pyro.sample("z", dist.Normal(scalar(0.0), scalar(1.0)))
            with poutine.scale(scale=0.25):
                pyro.sample("x", dist.Normal(z, scalar(0.7)), obs=x)

    def guide(x: Tensor) -> None:
        with plate(x, size):
            pyro.sample("z", dist.Normal(x / 2, scalar(0.6)))

    torch.manual_seed(3)
    weights = inference.log_weights(Pair(model, guide), x, 3)
    z = weights.guide_traces[0].nodes["z"]["value"]
    expected = (
        dist.Normal(scalar(0.0), scalar(1.0)).log_prob(z)
        + 0.25 * dist.Normal(z, scalar(0.7)).log_prob(x)
        - dist.Normal(x / 2, scalar(0.6)).log_prob(z)
    )
    testing.check_close(weights.local, expected, "log-weights with a scale")
    assert weights.num_data == (50 if size else len(x))


def test_masks_of_the_user() -> None:
    """Catches a mask that is dropped: rows of padding would then have a likelihood."""
    mask = torch.tensor([True, False, True, True, False])
    pair = make_pair(None, with_global=False)
    plain = seeded(pair)
    torch.manual_seed(3)
    weights = inference.log_weights(decorated(pair, lambda f: poutine.mask(f, mask)), X, 3)
    z = weights.guide_traces[0].nodes["z"]
    expected = torch.where(mask, plain, -z["fn"].log_prob(z["value"]))
    testing.check_close(weights.local, expected, "log-weights with a mask")


@pytest.mark.parametrize("size", [None, 40], ids=["len(x)", "N"])
def test_data_plate_at_another_dimension(size: int | None) -> None:
    """Catches a data plate taken for the last dimension when an inner plate has it."""
    x = torch.randn(4, 3, dtype=torch.float64)

    def data(x: Tensor) -> pyro.plate:
        return pyro.plate("rows", size or len(x), subsample=x if size else None, dim=-2)

    def model(x: Tensor) -> None:
        with data(x):
            z = pyro.sample("z", dist.Normal(torch.zeros(4, 1).double(), scalar(1.0)))
            with pyro.plate("columns", 3, dim=-1):
                pyro.sample("x", dist.Normal(z, scalar(0.5)), obs=x)

    def guide(x: Tensor) -> None:
        with data(x):
            pyro.sample("z", dist.Normal(x.mean(-1, keepdim=True), scalar(0.3)))

    pair = Pair(model, guide, plate="rows")
    assert inference.find_layout(pair, x).data_dim == -2
    weights = inference.log_weights(pair, x, 6)
    z = weights.guide_traces[0].nodes["z"]["value"]
    expected = dist.Normal(scalar(0.0), scalar(1.0)).log_prob(z) + dist.Normal(z, scalar(0.5)).log_prob(x).sum(
        -1, keepdim=True
    )
    expected = (expected - dist.Normal(x.mean(-1, keepdim=True), scalar(0.3)).log_prob(z)).squeeze(-1)
    testing.check_close(weights.local, expected, "log-weights with the data plate at -2")


def test_particles_one_by_one() -> None:
    """Catches particles that share a draw, or a global latent drawn once for all of them."""
    pair = make_pair(None, with_global=True)
    for vectorize in (True, False):
        weights = inference.log_weights(pair, X, 400, vectorize=vectorize)
        assert weights.local.shape == (400, NUM_DATA) and weights.outside.shape == (400,)
        assert len(weights.outside.unique()) == 400 and len(weights.local.unique()) == 400 * NUM_DATA
        total = (weights.local.sum(1) + weights.outside).detach() / NUM_DATA
        testing.check_mean(total, exact_gradient(True)[0], f"ELBO with vectorize={vectorize}")


def column_pair() -> Pair:
    """Reads column 0 from the left, so it cannot have particles there."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), scalar(1.0)).to_event(1))
            pyro.sample("x", dist.Normal(z[:, 0] @ torch.ones(len(x)).double(), scalar(1.0)), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.unsqueeze(-1).expand(-1, 2), scalar(1.0)).to_event(1))

    return Pair(model, guide)


def test_program_that_cannot_broadcast() -> None:
    """Catches a bare shape error of torch that names neither the site nor the way out."""
    x = X[:4]
    with pytest.raises(ValueError, match=r"(?s)'z'.*vectorize_particles=False"):
        inference.log_weights(column_pair(), x, 3)
    bound = inference.Inference(inference.ELBO(3, vectorize_particles=False)).bind(column_pair(), x, num_data=4)
    assert bound.value(x).isfinite()


def observing(**options) -> Pair:
    """A pair of one Normal site; options change one thing that makes it illegal."""

    def model(x: Tensor) -> None:
        with pyro.plate(options.get("plate", "data"), 9, options.get("subsample_size")) as index:
            pyro.sample("z", dist.Normal(scalar(0.0), scalar(1.0)))
            pyro.sample("x", dist.Normal(scalar(0.0), scalar(1.0)), obs=x[: len(index)])

    def guide(x: Tensor) -> None:
        with pyro.plate(options.get("plate", "data"), 9, options.get("subsample_size")):
            for name in options.get("latent", ["z"]):
                pyro.sample(name, dist.Normal(scalar(0.0), scalar(1.0)))

    return Pair(model, guide, plate="data")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plate": "rows"}, r"model has no vectorised plate 'data'.*\['rows'\]"),
        ({"subsample_size": 4}, "'data' draws a subsample by itself"),
        ({"latent": []}, r"guide misses the latent sites \['z'\]"),
        ({"latent": ["z", "y"]}, r"guide draws the sites \['y'\]"),
    ],
)
def test_illegal_structure(options: dict, message: str) -> None:
    """Catches a program that would be trained on something else than its author means."""
    x = torch.zeros(9, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        inference.Inference(inference.ELBO()).bind(observing(**options), x, num_data=9)


def test_foreign_scale_in_a_multi_sample_objective() -> None:
    """Catches a scale inside the logarithm, under which the value is no bound."""
    pair = decorated(make_pair(None, with_global=False), lambda f: poutine.scale(f, 2.0))
    with pytest.raises(ValueError, match=r"carries a scale of its own.*ELBO"):
        inference.IWAE(5).bind(pair, X, num_data=NUM_DATA)
    assert inference.Inference(inference.ELBO()).bind(pair, X, num_data=NUM_DATA).value(X).isfinite()


@pytest.mark.parametrize("size", [None, NUM_DATA], ids=["len(x)", "N"])
def test_global_latent_in_a_multi_sample_objective(size: int | None) -> None:
    """Catches the weight of a global latent averaged over a minibatch; the whole data set is legal."""
    pair = make_pair(size, with_global=True)
    with pytest.raises(ValueError, match="'m_latent' lies outside plate 'data'"):
        inference.IWAE(5).bind(pair, X[:2], num_data=NUM_DATA)
    bound = inference.IWAE(50).bind(pair, X, num_data=NUM_DATA)
    with pytest.raises(ValueError, match="on a batch of 2 of 5 rows is no bound"):
        bound.step(X[:2])
    tight = torch.stack([bound.value(X) for _ in range(100)]).mean()
    ones = torch.ones(NUM_DATA, dtype=torch.float64)
    covariance = (1.3**2 + 0.49) * torch.eye(NUM_DATA).double() + (1.3 * 0.8) ** 2 * torch.outer(ones, ones)
    evidence = dist.MultivariateNormal(1.3 * 0.4 * ones, covariance).log_prob(X) / NUM_DATA
    assert exact_gradient(True)[0] < tight < evidence + 0.01
