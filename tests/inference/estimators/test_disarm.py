"""Antithetic pairs: less variance than independent ones, how runs are shared, masks, names and refusals."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import inference, models, testing
from ppgen.inference.estimators.antithetic_pairs import Pairing
from ppgen.training.steps.traced_step import TracedStep

BITS = (torch.rand(30, 8, generator=torch.Generator().manual_seed(2)) < 0.4).float()


def variances(net: models.SigmoidBeliefNet, what: inference.Inference, steps: int, blocks: int) -> Tensor:
    """Summed variance of the guide's gradient in each block of steps."""
    torch.manual_seed(9)
    bound = what.bind(net, BITS, num_data=len(BITS))
    draws = []
    for _ in range(steps):
        found = bound.step(BITS).gradients
        draws.append(torch.cat([g.flatten() for name, g in found.items() if name.startswith("encoders")]))
    return torch.stack([block.var(0).sum() for block in torch.stack(draws).chunk(blocks)])


def test_variance_is_below_that_of_two_independent_draws() -> None:
    """Catches a weight that counts twice, and members of a pair that are not compared: two runs of the program each."""
    torch.manual_seed(4)
    net = models.SigmoidBeliefNet((8, 6))
    net.prepare(BITS)
    steps, blocks = 400, 20
    ours = variances(net, inference.Inference(inference.ELBO(1), inference.DisARM()), steps, blocks)
    others = variances(net, inference.Inference(inference.ELBO(2), inference.LeaveOneOut()), steps, blocks)
    ratio = float(ours.mean() / others.mean())
    error = ratio * math.sqrt(sum(float(each.var() / each.mean().square()) / blocks for each in (ours, others)))
    assert ratio + 4 * error < 1, (ratio, error)


class Watch(pyro.poutine.messenger.Messenger):
    """Keeps the last value at each site."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Tensor] = {}

    def _pyro_post_sample(self, msg) -> None:
        self.values[msg["name"]] = msg["value"]


def test_what_the_members_of_a_pair_share() -> None:
    """Catches groups that share too much or too little: before a site all, at it u and 1 - u, after it nothing."""
    torch.manual_seed(0)
    net = models.SigmoidBeliefNet((8, 40, 30))
    net.prepare(BITS)
    bound = inference.Inference(inference.ELBO(3), inference.DisARM()).bind(net, BITS, num_data=30)
    with Watch() as watch:
        bound.step(BITS)
    first, second = (watch.values[name].unflatten(0, (2, 2, 3)) for name in ("z1", "z2"))
    assert first.shape == (2, 2, 3, 30, 40)
    for bits, given in ((first[0], BITS), (second[1], first[1, 0])):  # at the site: u and 1 - u
        probs = net.encoders[0 if given is BITS else 1](given).base_dist.probs
        assert bool((torch.where(probs < 0.5, bits.sum(0), 2 - bits.sum(0)) < 2).all())
    assert not torch.equal(second[0, 0], second[0, 1])  # after it: independent
    assert torch.equal(first[1, 0], first[1, 1])  # before z2: shared
    assert not torch.equal(first[0, 0], first[1, 0]) and not torch.equal(first[0, 0, 0], first[0, 0, 1])
    assert Pairing(("z1", "z2"), ("z1", "z2")).runs(3) == 12


def test_named_and_bare() -> None:
    """Catches a name that fit does not know, and an estimator that needs an objective spelt out."""
    expected = inference.Inference(inference.ELBO(), inference.DisARM())
    net = models.SigmoidBeliefNet((8, 4))
    assert inference.resolve("disarm", net) == inference.resolve(inference.DisARM(), net) == expected
    assert inference.resolve("doubly-reparameterized", net).objective == inference.IWELBO()
    assert inference.from_config(inference.to_config(expected)) == expected
    run = ppgen.fit(net, BITS, "disarm", epochs=2, progress=False)
    assert run.inference == expected


def test_the_graph_is_the_program() -> None:
    """Catches pairs that a graph freezes."""
    net = models.SigmoidBeliefNet((8, 4, 3))
    net.prepare(BITS)
    bound = inference.Inference(inference.ELBO(2), inference.DisARM()).bind(net, BITS, num_data=30)
    traced = TracedStep(bound, dict(net.named_parameters()))
    assert traced.check(BITS) is None
    torch.manual_seed(6)
    expected = bound.step(BITS)
    torch.manual_seed(6)
    result = traced(BITS)
    assert torch.equal(result.value, expected.value)
    for name, gradient in expected.gradients.items():
        torch.testing.assert_close(result.gradients[name], gradient, rtol=1e-6, atol=1e-7)


def bernoulli_pair(mask: Tensor | None, inner: bool) -> ppgen.Pair:
    """Two bits a datum, masked at the site or in its law; logits are a parameter of each datum."""

    def law(logits: Tensor) -> dist.TorchDistribution:
        found = dist.Bernoulli(logits=logits).to_event(1)
        return found.mask(mask) if mask is not None and inner else found

    def draw(logits: Tensor) -> Tensor:
        with pyro.poutine.mask(mask=mask if mask is not None and not inner else True):
            return pyro.sample("z", law(logits))

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = draw(torch.tensor([0.3, -0.8], dtype=x.dtype))
            pyro.sample("x", dist.Normal(z @ torch.tensor([1.0, 2.0], dtype=x.dtype), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        logits = pyro.param("logits", torch.tensor([[0.5, -1.0], [2.0, 0.1], [-0.4, 0.9]], dtype=x.dtype))
        with pyro.plate("data", len(x)):
            draw(logits)

    return ppgen.Pair(model, guide)


@pytest.mark.parametrize("inner", [False, True], ids=["handler", "law"])
def test_masks_are_respected(inner: bool) -> None:
    """Catches a gradient at what is masked, and a mask laid along the wrong dimension."""
    x = torch.tensor([0.5, 1.0, 2.5], dtype=torch.float64)
    kept = torch.tensor([True, False, True])
    found = {}
    for name, mask in (("masked", kept), ("whole", None)):
        pair = bernoulli_pair(mask, inner)
        pair.prepare(x)
        bound = inference.Inference(inference.ELBO(500), inference.DisARM()).bind(pair, x, num_data=3)
        torch.manual_seed(8)
        found[name] = bound.step(x).gradients["captured.logits"]
    assert bool((found["masked"][1] == 0).all()) and bool((found["whole"] != 0).all())
    torch.testing.assert_close(found["masked"][kept], found["whole"][kept])


def autoregressive() -> models.SigmoidBeliefNet:
    return models.SigmoidBeliefNet((8, 4, 3), autoregressive=True)


@pytest.mark.parametrize(
    ("make", "what", "message"),
    [
        (
            autoregressive,
            inference.Inference(inference.ELBO(), inference.DisARM()),
            "'z1'.*got Autoregressive.*Use inf",
        ),
        (
            None,
            inference.Inference(inference.IWELBO(), inference.DisARM()),
            "DisARM under IWELBO is not sound at site 'z1'.* Use.*ELBO",
        ),
        (
            None,
            inference.Inference(inference.ELBO(2, vectorize_particles=False), inference.DisARM()),
            "'z1'.*vectorize_particles is False.*use inference.LeaveOneOut",
        ),
        (
            None,
            inference.Inference(inference.ELBO(2), {"z1": inference.DisARM(), "z2": inference.LeaveOneOut()}),
            "LeaveOneOut at site 'z2'.*Use inference.ScoreFunction",
        ),
    ],
)
def test_where_it_is_not_sound(make, what, message: str) -> None:
    """Catches pairs where they cannot be drawn, and a baseline made of draws that are not independent."""
    net = make() if make is not None else models.SigmoidBeliefNet((8, 4, 3))
    net.prepare(BITS)
    with pytest.raises(ValueError, match=message):
        what.bind(net, BITS, num_data=30)


def check_exact(pair: ppgen.Pair, x: Tensor, exact: dict[str, Tensor], num_particles: int = 200) -> None:
    """Raise unless gradients of independent steps average to minus those given."""
    torch.manual_seed(12)
    pair.prepare(x)
    bound = inference.Inference(inference.ELBO(num_particles), inference.DisARM()).bind(pair, x, num_data=len(x))
    results = [bound.step(x).gradients for _ in range(200)]
    for name, gradient in exact.items():
        draws = torch.stack([found[f"captured.{name}"] for found in results])
        testing.check_mean(draws, -gradient, f"gradient in {name}")


def test_a_site_with_a_scale_of_its_own() -> None:
    """Catches a scale that is applied to the log-weight and to its gradient again."""
    x, weight, scale = torch.tensor([0.5, 2.0], dtype=torch.float64), torch.tensor([1.0, 2.0]).double(), 0.3
    prior = torch.tensor([0.3, -0.8], dtype=torch.float64)
    start = torch.tensor([[0.5, -1.0], [2.0, 0.1]], dtype=torch.float64)

    def draw(logits: Tensor) -> Tensor:
        with pyro.poutine.scale(scale=scale):
            return pyro.sample("z", dist.Bernoulli(logits=logits).to_event(1))

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(draw(prior) @ weight, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        logits = pyro.param("logits", start)
        with pyro.plate("data", len(x)):
            draw(logits)

    logits = start.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for z in torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 2):
        log_q = dist.Bernoulli(logits=logits).to_event(1).log_prob(z)
        log_p = dist.Bernoulli(logits=prior).to_event(1).log_prob(z)
        f = dist.Normal(z @ weight, 1.0).log_prob(x) + scale * (log_p - log_q)
        total = total + (log_q.exp() * f).mean()
    total.backward()
    check_exact(ppgen.Pair(model, guide), x, {"logits": logits.grad})


def test_a_site_outside_the_data_plate() -> None:
    """Catches the weight of one row, or of one batch, where that of the whole data set is due."""
    x = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64)

    def model(x: Tensor) -> None:
        common = pyro.sample("common", dist.Bernoulli(logits=x.new_tensor(-0.4)))
        with pyro.plate("data", len(x)):
            bit = pyro.sample("bit", dist.Bernoulli(logits=0.3 + common))
            pyro.sample("x", dist.Normal(1.5 * common + bit, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        logit, slope = pyro.param("logit", x.new_tensor(0.7)), pyro.param("slope", x.new_tensor(0.9))
        common = pyro.sample("common", dist.Bernoulli(logits=logit))
        with pyro.plate("data", len(x)):
            pyro.sample("bit", dist.Bernoulli(logits=slope * x - common))

    logit, slope = (torch.tensor(start, dtype=torch.float64, requires_grad=True) for start in (0.7, 0.9))
    total = torch.zeros((), dtype=torch.float64)
    for common in torch.tensor([0.0, 1.0], dtype=torch.float64):
        outer = dist.Bernoulli(logits=logit).log_prob(common)
        f = (dist.Bernoulli(logits=x.new_tensor(-0.4)).log_prob(common) - outer) / len(x)
        for bit in torch.tensor([0.0, 1.0], dtype=torch.float64):
            inner = dist.Bernoulli(logits=slope * x - common).log_prob(bit)
            row = dist.Normal(1.5 * common + bit, 1.0).log_prob(x)
            row = row + dist.Bernoulli(logits=0.3 + common).log_prob(bit) - inner
            f = f + (inner.exp() * row).mean()
        total = total + outer.exp() * f
    total.backward()
    check_exact(ppgen.Pair(model, guide), x, {"logit": logit.grad, "slope": slope.grad})


def test_what_auto_picks_beside_it() -> None:
    """Catches a baseline made of members of one pair, and a mapping of some sites that is refused for it."""
    net = models.SigmoidBeliefNet((8, 4, 3))
    net.prepare(BITS)
    bound = inference.Inference(inference.ELBO(3), {"z1": inference.DisARM()}).bind(net, BITS, num_data=30)
    assert bound.plan == {"z1": inference.DisARM(), "z2": inference.ScoreFunction(inference.MovingAverage())}


def test_a_program_that_cannot_broadcast_is_told_so() -> None:
    """Catches an error about shapes that the user never made, out of the handler that draws in pairs."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.3 * torch.ones(2)).to_event(1))
            pyro.sample("x", dist.Normal(z[:, 0], 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=pyro.param("logits", torch.zeros(2))).to_event(1))

    pair, x = ppgen.Pair(model, guide), torch.tensor([0.5, 2.0, 1.5])
    pair.prepare(x)
    bound = inference.Inference(inference.ELBO(), inference.DisARM()).bind(pair, x, num_data=3)
    with pytest.raises(ValueError, match="(?s)or after site 'z'.*vectorize_particles=False"):
        bound.step(x)
