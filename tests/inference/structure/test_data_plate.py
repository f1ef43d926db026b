"""Which plate goes over the data, or none: what is taken by itself, and what a joint weight gives."""

import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal

import ppgen
from ppgen import evaluation, inference, testing

Y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SIGMA = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
X = torch.tensor(2.0)
SQUARE = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _empty_store():
    yield
    pyro.clear_param_store()


def schools(sigma, y=None):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(sigma)):
        theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
        return pyro.sample("y", dist.Normal(mu + tau * theta, sigma), obs=y)


def line(x):
    """log p(x) of N(0, 4)."""
    w = pyro.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(w.sum(-1), 1.0), obs=x)


def exact_guide(x):
    """The exact posterior: covariance I - 11'/4, mean x/4."""
    mean = pyro.param("mean", torch.full((3,), 0.5))
    pyro.sample("w", dist.MultivariateNormal(mean, torch.eye(3) - 0.25))


def rough_guide(x):
    loc = pyro.param("loc", torch.tensor([0.1, 0.2, 0.3]))
    scale = pyro.param("scale", torch.tensor([0.5, 0.4, 0.3]), constraint=dist.constraints.positive)
    pyro.sample("w", dist.Normal(loc, scale).to_event(1))


LOG_P = dist.Normal(0.0, 2.0).log_prob(X).item()


def crossed(x):
    rows, columns = pyro.plate("rows", 4, dim=-2), pyro.plate("columns", 4, dim=-1)
    with rows:
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
    with columns:
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with rows, columns:
        pyro.sample("x", dist.Normal(a + b, 1.0), obs=x)


def looped(x):
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    for i in pyro.plate("loop", len(x)):
        pyro.sample(f"x{i}", dist.Normal(z, 1.0), obs=x[i])


def sizeless(x):
    m = pyro.param("m", torch.tensor(0.0))
    with pyro.plate("free"):
        z = pyro.sample("z", dist.Normal(m.expand(len(x)), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def free_guide(x):
    with pyro.plate("free"):
        pyro.sample("z", dist.Normal(x / 2, 1.0))


def latent_only(x):
    with pyro.plate("inner", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x.sum())


def nested(x):
    with pyro.plate("outer", len(x), dim=-2):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("inner", x.shape[1], dim=-1):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.mark.parametrize(
    ("model", "batch", "plate"),
    [
        (schools, (SIGMA, Y), "school"),
        (schools, (SIGMA, Y[:, None].expand(8, 8)[0]), "school"),
        (line, X, None),
        (crossed, SQUARE, None),  # two plates of that size: neither
        (looped, Y, None),
        (sizeless, Y, "free"),
        (latent_only, Y, None),
        (nested, SQUARE[:, :3], "outer"),
        (nested, SQUARE[:, :3].mT.contiguous().mT, "outer"),
    ],
)
def test_which_plate_is_taken(model, batch, plate):
    """Catches a plate that holds no data, has other rows, or is one of several, taken for that of the data."""
    pair = ppgen.Pair(model, free_guide if model is sizeless else AutoNormal(model))
    pair.prepare(batch)
    layout = inference.find_layout(pair, batch)
    assert (layout.plate, pair.plate, pair.plate_settled) == (plate, plate, True)
    assert layout.num_rows == (1 if plate is None else len(batch[0] if isinstance(batch, tuple) else batch))
    weights = inference.log_weights(pair, batch, 3)
    assert weights.local.shape == (3, layout.num_rows) and weights.joint.shape == (3,)
    if plate is None:
        assert layout.global_latents == () and weights.outside is None and layout.data_dim is None


def test_a_plate_that_was_named_must_be_there():
    """Catches a name that is not looked for, and advice that speaks of another call than the user's."""
    with pytest.raises(ValueError, match=r"no vectorised plate 'pupil'.*\['school'\].*Pair\(\.\.\., plate=\.\.\.\)"):
        inference.find_layout(ppgen.Pair(schools, AutoNormal(schools), plate="pupil"), (SIGMA, Y))
    with pytest.raises(ValueError, match=r"no vectorised plate 'pupil'.*\['school'\].*ELBO\(\.\.\., plate=\.\.\.\)"):
        inference.ELBO(plate="pupil").loss(schools, AutoNormal(schools), SIGMA, Y)
    with pytest.raises(TypeError, match="plate must be the name"):
        inference.ELBO(plate=3)
    with pytest.raises(ValueError, match=r"num_data must be 1.*no data plate"):
        inference.Inference(inference.ELBO()).bind(ppgen.Pair(line, rough_guide), X, num_data=5)


@pytest.mark.parametrize(
    "objective",
    [
        inference.ELBO(2),
        inference.IWELBO(3),
        inference.DReG(3),
        inference.Inference(inference.ELBO(2), inference.StickTheLanding()),
        inference.Inference(inference.ELBO(2), inference.AnalyticKL()),
        inference.Renyi(3),
        inference.ReweightedWakeSleep(3),
        inference.MaximumLikelihood(),
    ],
)
def test_the_joint_weight_of_an_exact_guide_is_the_evidence(objective):
    """Catches a joint weight that lacks a term, counts one twice, or averages where it should add."""
    if isinstance(objective, inference.MaximumLikelihood):
        pair = ppgen.Pair(lambda x: pyro.sample("x", dist.Normal(pyro.param("m", torch.tensor(0.5)), 1.0), obs=x), line)
        pair = ppgen.Pair(pair.programs[0], lambda x: None)
        expected = dist.Normal(0.5, 1.0).log_prob(X).item()
    elif isinstance(getattr(objective, "estimator", None), inference.AnalyticKL):
        pair, expected = ppgen.Pair(line, rough_guide), None
    else:
        pair, expected = ppgen.Pair(line, exact_guide), LOG_P
    pair.prepare(X)
    whole = inference.resolve(objective, pair)
    bound = whole.bind(pair, X, num_data=1)
    result = bound.step(X)
    assert all(gradient.isfinite().all() for gradient in result.gradients.values())
    if expected is not None:
        assert result.value.item() == pytest.approx(expected, abs=1e-4)
        assert bound.value(X).item() == pytest.approx(expected, abs=1e-4)


def test_a_loss_of_svi_without_a_plate_is_that_of_pyro():
    """Catches a value or a gradient of a program without a plate that is another than that of Trace_ELBO."""
    found = {}
    for loss in (Trace_ELBO(20_000, vectorize_particles=True, max_plate_nesting=0), inference.ELBO(20_000)):
        pyro.clear_param_store()
        torch.manual_seed(0)
        value = loss.loss_and_grads(line, rough_guide, X)
        named = pyro.get_param_store().named_parameters()
        found[type(loss).__name__] = [torch.tensor(value), *(parameter.grad for _, parameter in named)]
    for ours, theirs in zip(found["ELBO"], found["Trace_ELBO"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.01, atol=0.03)


def test_plates_of_a_loss():
    """Catches a plate of a loss that is ignored, taken by fit, or lost in the configuration."""
    guide = AutoNormal(schools)
    losses = [inference.ELBO(plate="school"), inference.ELBO()]
    values = [
        torch.tensor(SVI(schools, guide, pyro.optim.Adam({}), loss=loss).evaluate_loss(SIGMA, Y)) for loss in losses
    ]
    assert all(value.isfinite() for value in values)
    with pytest.raises(ValueError, match=r"loss of pyro\.infer\.SVI.*ppgen\.Pair\(model, guide, plate='school'\)"):
        ppgen.fit(ppgen.Pair(schools, guide), (SIGMA, Y), losses[0], steps=1, progress=False)
    whole = inference.Inference(losses[0])
    config = inference.to_config(whole)
    assert config["objective"]["plate"] == "school" and inference.from_config(config) == whole
    assert "plate" not in inference.to_config(inference.Inference(losses[1]))["objective"]  # as older runs have it


def mixed(x):
    """Sums over particles, too."""
    w = pyro.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(w.sum(), 1.0), obs=x)


def test_a_program_that_mixes_particles_up_is_run_one_by_one():
    """Catches a sum over all dimensions, particles among them, that gives a bound of nothing without a word."""
    results = []
    for model in (mixed, line):
        pair = ppgen.Pair(model, rough_guide)
        pair.prepare(X)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            bound = inference.Inference(inference.IWELBO(4)).bind(pair, X, num_data=1)
        assert ["run alone" in str(each.message) for each in told] == ([True] if model is mixed else [])
        with torch.random.fork_rng():
            torch.manual_seed(3)
            results.append(torch.stack([bound.value(X) for _ in range(300 if model is line else 50)]))
    standard = [each.std() / len(each) ** 0.5 for each in results]
    assert abs(results[0].mean() - results[1].mean()) < 4 * (standard[0] ** 2 + standard[1] ** 2) ** 0.5
    testing.check_close(results[1].mean(), torch.tensor(LOG_P), "bound", rtol=1, atol=1)


def test_discrete_sites_of_a_joint_weight():
    """Catches sums over states, or score terms, that need a data plate."""

    def model(x):
        c = pyro.sample("c", dist.Categorical(torch.tensor([0.2, 0.3, 0.5])))
        pyro.sample("x", dist.Normal(c.float() - 1.0, 1.0), obs=x)

    def guide(x):
        pyro.sample("c", dist.Categorical(logits=pyro.param("logits", torch.zeros(3))))

    log_p = (
        (dist.Normal(torch.tensor([-1.0, 0.0, 1.0]), 1.0).log_prob(X).exp() * torch.tensor([0.2, 0.3, 0.5])).sum().log()
    )
    pair = ppgen.Pair(model, guide)
    pair.prepare(X)
    exact = inference.Inference(inference.MaximumLikelihood(), inference.Enumerate()).bind(pair, X, num_data=1)
    torch.testing.assert_close(exact.step(X).value, log_p, rtol=1e-5, atol=1e-5)
    expected = inference.Inference(inference.ELBO(), inference.Enumerate()).bind(pair, X, num_data=1).step(X)
    for estimator in (inference.LeaveOneOut(), inference.ScoreFunction()):
        bound = inference.Inference(inference.ELBO(2000), estimator).bind(pair, X, num_data=1)
        torch.testing.assert_close(bound.step(X).gradients, expected.gradients, rtol=0.1, atol=0.05)


def _subsampled(y=Y, drawn=True):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("N", 8, subsample_size=3) as index:
        z = pyro.sample("z", dist.Normal(mu, 1.0))
        if drawn:
            pyro.sample("y", dist.Normal(z, 9.0), obs=y[index])


def _two(y=Y, drawn=True):
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    if drawn:
        for name, size in (("p", 8), ("q", 4)):
            with pyro.plate(name, size):
                pyro.sample(name + "_y", dist.Normal(a, 9.0), obs=y[:size])


def _loop(y=Y, drawn=True):
    for i in pyro.plate("loop", 3):
        z = pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))
        if drawn:
            with pyro.plate(f"inner{i}", i + 1):
                pyro.sample(f"y{i}", dist.Normal(z.unsqueeze(-1) if z.dim() else z, 9.0), obs=y[: i + 1])


def _factor(y=Y, drawn=True):
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    if drawn:
        pyro.factor("f", -z.square())


@pytest.mark.parametrize("model", [_subsampled, _two, _factor, _loop])
def test_losses_of_svi_agree_with_pyro_whatever_the_plates(model):
    """Catches plates that subsample, stand side by side, are loops or are missing, counted otherwise than Pyro does."""

    def guide(y=Y):
        model(y, drawn=False)

    vectorize = model is not _loop
    count, draws = (400, 8) if vectorize else (4, 12)
    ours = inference.ELBO(count, vectorize_particles=vectorize)
    theirs = Trace_ELBO(count, vectorize_particles=vectorize, max_plate_nesting=2)
    found = [torch.tensor([loss.loss(model, guide) for _ in range(draws)]) for loss in (ours, theirs)]
    errors = [each.std() / draws**0.5 for each in found]
    assert abs(found[0].mean() - found[1].mean()) < 4 * (errors[0] ** 2 + errors[1] ** 2) ** 0.5 + 1e-4


@pytest.mark.parametrize("loss", [inference.DReG(4), inference.STL(3)], ids=["DReG", "STL"])
def test_stopped_densities_under_svi(loss):
    """Catches parameters of Pyro's store that are followed where the guide's density is to hold them constant."""
    torch.manual_seed(0)
    value = loss.loss_and_grads(line, rough_guide, X)
    found = {name: parameter.grad for name, parameter in pyro.get_param_store().named_parameters()}
    assert all(parameter.requires_grad for _, parameter in pyro.get_param_store().named_parameters())
    pyro.clear_param_store()
    module = loss(line, rough_guide)
    torch.manual_seed(0)
    module(X)  # makes the parameters
    torch.manual_seed(0)
    whole = module(X)
    whole.backward()
    assert value == pytest.approx(whole.item(), rel=1e-5)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(found[name.rpartition(".")[2].removesuffix("_unconstrained")], parameter.grad)


def test_what_is_asked_of_each_datum_is_refused():
    """Catches a likelihood of rows of a program that has none, or an error that does not say what there is."""
    pair = ppgen.Pair(line, rough_guide)
    with pytest.raises(ValueError, match=r"no data plate.*evaluation\.log_evidence"):
        evaluation.log_likelihood(pair, X[None])
    assert inference.LatentDensity(pair, X).joint  # chains take all of it as one datum
