"""Sites of the guide that are marked to be drawn several times, each draw beside all draws of the others."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import inference, testing
from ppgen.training.steps.traced_step import TracedStep

X = torch.tensor([0.5, -1.0, 2.0])
DRAWS = {"enumerate": "parallel", "num_samples": 4}


def model(x):
    """A discrete site of the data, one in each row after it, and a Normal one after that."""
    a = pyro.sample("a", dist.Bernoulli(0.3))
    with pyro.plate("data", len(x)):
        b = pyro.sample("b", dist.Bernoulli(0.2 + 0.5 * a))
        z = pyro.sample("z", dist.Normal(b, 1.0))
        pyro.sample("x", dist.Normal(z + a, 1.0), obs=x)


def guide_with(marks):
    def guide(x):
        p = pyro.param("p", torch.tensor([0.85, 0.7, 0.6]))
        a = pyro.sample("a", dist.Bernoulli(p[0]), infer=marks)
        with pyro.plate("data", len(x)):
            b = pyro.sample("b", dist.Bernoulli(p[1] + 0.2 * a), infer=marks)
            pyro.sample("z", dist.Normal(p[2] * b + 0.3 * x, 0.8), infer=marks)

    return guide


def bound_to(pair, objective=None, num_data=3):
    """An inference bound to a pair, by default the ELBO."""
    what = (
        objective if isinstance(objective, inference.Inference) else inference.Inference(objective or inference.ELBO())
    )
    pair.prepare(X)
    return what.bind(pair, X, num_data=num_data)


def exact():
    """ELBO per datum in closed form over both sites, with its gradient."""
    p = torch.tensor([0.85, 0.7, 0.6], requires_grad=True)
    total = 0.0
    for a in (0.0, 1.0):
        pa = p[0] if a else 1 - p[0]
        rows = 0.0
        for b in (0.0, 1.0):
            q = p[1] + 0.2 * a
            pb, prior = (q, 0.2 + 0.5 * a) if b else (1 - q, 0.8 - 0.5 * a)
            m = p[2] * b + 0.3 * X
            second = 0.8**2
            normal = (
                -0.5 * ((m - b) ** 2 + second) - 0.5 * ((X - m - a) ** 2 + second) - torch.log(torch.tensor(6.2832))
            )
            entropy = 0.5 * torch.log(torch.tensor(2 * torch.pi * torch.e * second))
            rows = rows + pb * (torch.log(torch.tensor(prior)) - torch.log(pb) + normal + entropy)
        total = total + pa * (torch.log(torch.tensor(0.3 if a else 0.7)) - torch.log(pa) + rows.sum())
    value = total / len(X)
    (gradient,) = torch.autograd.grad(value, p)
    return torch.cat([value.detach().view(1), -gradient])


@pytest.mark.parametrize("expand", [True, False])
def test_value_and_gradient(expand):
    """Catches local draws that are combined with other values than they were drawn for, or scores that are left out."""
    pair = ppgen.Pair(model, guide_with({**DRAWS, "expand": expand}))
    torch.manual_seed(0)
    bound = bound_to(pair, inference.ELBO(num_particles=6))
    rows = []
    for _ in range(50):
        result = bound.step(X)
        rows.append(torch.cat([result.value.view(1), result.gradients["captured.p"]]))
    testing.check_mean(torch.stack(rows).double(), exact().double(), "ELBO of local draws and its gradient")


def test_less_noise_than_one_draw():
    """Catches marks that are read and not heeded: sixteen combinations have the noise of a single draw."""
    spread = {}
    for name, marks in (("marked", DRAWS), ("single", {})):
        bound = bound_to(ppgen.Pair(model, guide_with(marks)))
        torch.manual_seed(0)
        spread[name] = torch.stack([bound.step(X).value for _ in range(60)]).std()
    assert spread["marked"] < 0.7 * spread["single"]


def test_traced_steps():
    """Catches local draws whose number or place is frozen into a traced step as something else."""
    bound = bound_to(ppgen.Pair(model, guide_with(DRAWS)))
    assert TracedStep(bound, dict(bound.pair.named_parameters())).check(X) is None


def poisson_guide(x):
    """Sites of a law without a finite set of values."""
    with pyro.plate("data", len(x)):
        pyro.sample("n", dist.Poisson(pyro.param("rate", torch.tensor(1.5))), infer=DRAWS)


def poisson(x):
    with pyro.plate("data", len(x)):
        n = pyro.sample("n", dist.Poisson(2.0))
        pyro.sample("x", dist.Normal(n, 1.0), obs=x)


def test_infinitely_many_values():
    """Catches a refusal of sites that have no finite set of values to be summed over, but draws."""
    assert bound_to(ppgen.Pair(poisson, poisson_guide)).step(X).gradients["captured.rate"].isfinite()


def masked_guide(x):
    with pyro.plate("data", len(x)), pyro.poutine.mask(mask=x > 0):
        pyro.sample("n", dist.Poisson(pyro.param("rate", torch.tensor(1.5))), infer=DRAWS)


def chain_guide(x):
    """Each site after the one before it, so that draws multiply."""
    p, a = pyro.param("p", torch.tensor(0.3)), 0.0
    for t in range(12):
        a = pyro.sample(f"a{t}", dist.Bernoulli(p + 0.1 * a), infer=DRAWS)


def chain(x):
    for t in range(12):
        pyro.sample(f"a{t}", dist.Bernoulli(0.5))
    pyro.sample("x", dist.Normal(0.0, 1.0), obs=x[0])


LOO = inference.Inference(inference.ELBO(2), inference.LeaveOneOut())


@pytest.mark.parametrize(
    ("pair", "objective", "num_data", "match"),
    [
        (ppgen.Pair(model, guide_with(DRAWS)), inference.IWELBO(2), 3, "IWELBO is no mean of log-weights"),
        (ppgen.Pair(model, guide_with(DRAWS)), LOO, 3, 'leave it to "auto"'),
        (ppgen.Pair(model, guide_with({**DRAWS, "num_samples": 1})), inference.ELBO(), 3, "at least 2"),
        (ppgen.Pair(poisson, masked_guide), inference.ELBO(), 3, "under a mask"),
        (ppgen.Pair(chain, chain_guide), inference.ELBO(), 1, "draws of sites after each other multiply"),
    ],
)
def test_refusals(pair, objective, num_data, match):
    """Catches local draws under an objective or beside sites that cannot hold them, run to a wrong value."""
    with pytest.raises(ValueError, match=match):
        bound_to(pair, objective, num_data).step(X)
