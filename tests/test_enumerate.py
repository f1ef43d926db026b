"""Sums over discrete sites of the guide and of the model, and the log-likelihood, against formulas and brute force."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from structures import ROWS, Structure, check, expected, measured
from torch import Tensor, nn

import ppgen
from ppgen import diagnostics, evaluation, inference, models
from ppgen.inference.states import JointStates
from ppgen.testing.enumeration import enumerated
from ppgen.training.traced_step import TracedStep

MARK = {"enumerate": "parallel"}
X = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.7, 2.0], [0.1, 0.2]], dtype=torch.float64)


class Mixture(ppgen.GenerativeModel):
    """x ~ sum_c p(c) N(mean_c + z, 1) over two columns; what the guide draws of c and z is chosen."""

    def __init__(self, law: str = "categorical", drawn: str = "c", by_hand: bool = False, mask: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.law, self.drawn, self.by_hand, self.mask = law, drawn, by_hand, mask
        self.prior, self.means, self.tilt = weights(3), weights(3, 2), weights(3)
        self.up, self.bias, self.mean, self.mean_bias = weights(2, 3), weights(3), weights(2), weights(1)

    def choice(self, logits: Tensor) -> dist.TorchDistribution:
        return (dist.OneHotCategorical if self.law == "one-hot" else dist.Categorical)(logits=logits)

    def seen(self, x: Tensor) -> Tensor:
        return (x[:, 0] > 0) if self.mask else torch.ones(len(x), dtype=torch.bool)

    @pyro.nn.module.pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.mask(mask=self.seen(x)):
            shift, logits = 0.0, self.prior
            if "z" in self.drawn:
                z = pyro.sample("z", dist.Normal(self.prior.new_tensor(0.2), self.prior.new_tensor(1.0)))
                shift, logits = z[..., None, None], self.prior + z.unsqueeze(-1) * self.tilt
            if self.by_hand:
                parts = dist.Normal(self.means + shift, torch.ones_like(self.means)).to_event(1)
                pyro.sample("x", dist.MixtureSameFamily(dist.Categorical(logits=logits), parts), obs=x)
                return
            c = pyro.sample("c", self.choice(logits), infer={} if "c" in self.drawn else MARK)
            means = c @ self.means if self.law == "one-hot" else self.means[c]
            means = means if isinstance(shift, float) else means + shift.squeeze(-1)
            pyro.sample("x", dist.Normal(means, torch.ones_like(means)).to_event(1), obs=x)

    @pyro.nn.module.pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.mask(mask=self.seen(x)):
            if "z" in self.drawn:
                pyro.sample("z", dist.Normal(x @ self.mean + self.mean_bias[0], self.prior.new_tensor(0.8)))
            if "c" in self.drawn:
                pyro.sample("c", self.choice(x @ self.up + self.bias))

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(c, x) without z: (rows, 3)."""
        law = dist.Normal(self.means, torch.ones_like(self.means)).to_event(1)
        return self.prior.log_softmax(-1) + law.log_prob(x.unsqueeze(1))


def gradients(pair: nn.Module, value: Tensor) -> dict[str, Tensor]:
    named = dict(pair.named_parameters())
    found = torch.autograd.grad(-value, list(named.values()), allow_unused=True)
    return {name: g for name, g in zip(named, found, strict=True) if g is not None}


def assert_exact(pair: nn.Module, result: inference.StepResult, value: Tensor) -> None:
    """The step's value and gradients are those of a scalar."""
    torch.testing.assert_close(result.value, value.detach(), rtol=1e-9, atol=1e-10)
    exact = gradients(pair, value)
    for name in set(exact) | set(result.gradients):
        zero = torch.zeros_like(dict(pair.named_parameters())[name])
        found = result.gradients.get(name, zero)
        torch.testing.assert_close(found, exact.get(name, zero), rtol=1e-8, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("vectorize", [True, False], ids=["at once", "one by one"])
@pytest.mark.parametrize("law", ["categorical", "one-hot"])
def test_categorical_sites_are_summed_exactly(law: str, vectorize: bool) -> None:
    """Catches states that are drawn, weighted by 1/n, or weighted by a probability without a gradient."""
    pair = Mixture(law)
    log_q = (X @ pair.up + pair.bias).log_softmax(-1)
    joint = pair.log_joint(X)
    bound = inference.Inference(inference.ELBO(1, vectorize), inference.Enumerate()).bind(pair, X, num_data=len(X))
    assert_exact(pair, bound.step(X), (log_q.exp() * (joint - log_q)).sum(-1).mean())
    torch.testing.assert_close(bound.value(X), (log_q.exp() * (joint - log_q)).sum(-1).mean().detach())
    likelihood = inference.MaximumLikelihood(vectorize_particles=vectorize)
    bound = inference.Inference(likelihood, inference.Enumerate()).bind(pair, X, num_data=len(X))
    assert_exact(pair, bound.step(X), joint.logsumexp(-1).mean())


@pytest.mark.parametrize("structure", ["plain", "inner", "global", "mask", "law_mask", "scale"])
@pytest.mark.parametrize("objective", [inference.ELBO(1), inference.ELBO(3), inference.ELBO(2, False)], ids=str)
def test_bernoulli_sites_of_every_structure_are_summed_exactly(structure: str, objective: inference.ELBO) -> None:
    """Catches states of an inner plate or of a global latent that are counted wrongly, and probabilities under a mask."""
    pair = Structure(structure, False)
    bound = inference.Inference(objective, inference.Enumerate()).bind(pair, ROWS, num_data=5)
    value, exact = expected(pair, objective, num_data=5)
    result = bound.step(ROWS)
    torch.testing.assert_close(result.value, value, rtol=1e-9, atol=1e-10)
    for name, gradient in exact.items():
        torch.testing.assert_close(result.gradients[name], gradient, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("normal", [False, True], ids=["discrete first", "continuous first"])
@pytest.mark.parametrize(
    "low",
    [
        inference.Pathwise(),
        inference.AnalyticKL(),
        inference.StickTheLanding(),
        inference.ScoreFunction(),
        inference.LeaveOneOut(),
    ],
    ids=str,
)
def test_a_sum_beside_draws(normal: bool, low: inference.Estimator) -> None:
    """Catches a sum whose other site is scored without the probability of its state, or loses its path."""
    if normal and isinstance(low, inference.AnalyticKL):
        low = inference.Pathwise()  # the prior of `low` hangs on `high`, which is drawn after it
    pair = Structure("mixed", normal)
    what = inference.Inference(inference.ELBO(2), {"low": low, "high": inference.Enumerate()})
    check(measured(pair, what, ROWS.repeat(150, 1), 24), expected(pair, what.objective))


def test_a_drawn_site_beside_two_sums() -> None:
    """Catches joint states of two sites that are not all combinations, and a site below that is forced with them."""
    pair = Structure("inner", False)
    what = inference.Inference(inference.ELBO(2), {"top": inference.Enumerate(), "low": inference.LeaveOneOut()})
    check(measured(pair, what, ROWS.repeat(150, 1), 24), expected(pair, what.objective))


def test_states_share_the_draws_of_sites_before() -> None:
    """Catches draws made anew for each state, so that the states' probabilities no longer sum to one."""

    def program(x: Tensor) -> Tensor:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(pyro.param("m", torch.tensor(0.3)), 1.0))
            return pyro.sample("c", dist.Bernoulli(logits=z + pyro.param("b", torch.tensor(0.1))))

    def model(x: Tensor) -> None:
        program(x)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    pair, x = ppgen.Pair(model, program), torch.tensor([0.5, -1.0])
    pair.prepare(x)
    what = inference.Inference(inference.ELBO(3), {"c": inference.Enumerate()})
    value = what.bind(pair, x, num_data=2).value(x)
    torch.testing.assert_close(value, dist.Normal(0.0, 1.0).log_prob(x).mean())


OBJECTIVES = [inference.ELBO(2), inference.IWELBO(3), inference.Renyi(2, alpha=0.5), inference.MaximumLikelihood()]


@pytest.mark.parametrize("objective", [*OBJECTIVES, inference.IWELBO(2, False)], ids=str)
@pytest.mark.parametrize("law", ["categorical", "one-hot"])
def test_marked_sites_of_the_model_are_summed_out(law: str, objective: inference.Objective) -> None:
    """Catches a site of the model that is drawn, or summed over outside the logarithm."""
    pair = Mixture(law, drawn="")
    bound = inference.Inference(objective).bind(pair, X, num_data=len(X))
    assert_exact(pair, bound.step(X), pair.log_joint(X).logsumexp(-1).mean())


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize(
    "what",
    [
        inference.Inference(inference.ELBO(2)),
        inference.Inference(inference.ELBO(1)),
        inference.Inference(inference.ELBO(2), inference.StickTheLanding()),
        inference.Inference(inference.ELBO(2, False), inference.StickTheLanding()),
        inference.Inference(inference.IWELBO(3)),
        inference.Inference(inference.IWELBO(3, False)),
        inference.Inference(inference.IWELBO(3), inference.LeaveOneOut()),
        inference.Inference(inference.IWELBO(2), inference.DoublyReparameterized()),
        inference.Inference(inference.ReweightedWakeSleep(3)),
        inference.Inference(inference.Renyi(2, alpha=0.5)),
    ],
    ids=str,
)
@pytest.mark.parametrize("law", ["categorical", "one-hot"])
def test_a_sum_in_the_model_is_the_mixture_written_by_hand(law: str, what: inference.Inference, mask: bool) -> None:
    """Catches states and particles of a continuous site mixed up, and a mask under which states still count."""
    if mask and isinstance(what.estimator, inference.DoublyReparameterized):
        what = inference.Inference(what.objective)
    results = []
    for by_hand in (False, True):
        pair = Mixture(law, drawn="z", by_hand=by_hand, mask=mask)
        bound = what.bind(pair, X, num_data=len(X))
        torch.manual_seed(4)
        results.append(bound.step(X))
    torch.testing.assert_close(results[0].value, results[1].value)
    assert set(results[0].gradients) == set(results[1].gradients)
    for name, gradient in results[1].gradients.items():
        torch.testing.assert_close(results[0].gradients[name], gradient, rtol=1e-8, atol=1e-10)


def test_a_sum_in_the_model_beside_one_in_the_guide() -> None:
    """Catches states of the guide's sites and of the model's that overwrite each other."""

    class Both(Structure):
        def both_model(self, x: Tensor) -> None:
            with self.rows(x, -2):
                top = pyro.sample("top", dist.Bernoulli(logits=self.top_prior))
                with pyro.plate("column", 2, dim=-1):
                    low = pyro.sample("low", dist.Bernoulli(logits=self.prior + top * self.down), infer=MARK)
                    pyro.sample("x", dist.Bernoulli(logits=low * self.weight + self.bias), obs=x)

        def both_guide(self, x: Tensor) -> None:
            with self.rows(x, -2):
                pyro.sample("top", dist.Bernoulli(logits=(x @ self.high_weight).unsqueeze(-1) + self.high_bias))

    pair = Both("both", False)
    top = torch.tensor([0.0, 1.0], dtype=torch.float64)[:, None, None, None]
    low = torch.tensor([0.0, 1.0], dtype=torch.float64)[:, None, None]
    given = dist.Bernoulli(logits=pair.prior + top * pair.down).log_prob(low)
    given = given + dist.Bernoulli(logits=low * pair.weight + pair.bias).log_prob(ROWS)
    top = top[:, 0]
    joint = given.logsumexp(1).sum(-1) + dist.Bernoulli(logits=pair.top_prior).log_prob(top).squeeze(-1)
    log_q = dist.Bernoulli(logits=ROWS @ pair.high_weight + pair.high_bias).log_prob(top.squeeze(-1))
    elbo = inference.Inference(inference.ELBO(2), inference.Enumerate()).bind(pair, ROWS, num_data=3)
    assert_exact(pair, elbo.step(ROWS), (log_q.exp() * (joint - log_q)).sum(0).mean())
    likelihood = inference.Inference(inference.MaximumLikelihood(), inference.Enumerate()).bind(pair, ROWS, num_data=3)
    assert_exact(pair, likelihood.step(ROWS), joint.logsumexp(0).mean())


@pytest.mark.uses_pyro_store
def test_the_same_number_as_pyro() -> None:
    """Catches a loss of SVI that is not Pyro's own enumeration where the guide draws nothing."""

    def model(x: Tensor) -> None:
        means = pyro.param("means", torch.tensor([-1.0, 0.5, 2.0]))
        logits = pyro.param("logits", torch.tensor([0.3, -0.2, 0.6]))
        with pyro.plate("data", 8, subsample=x):
            c = pyro.sample("c", dist.Categorical(logits=logits), infer=MARK)
            pyro.sample("x", dist.Normal(means[c], 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pass

    x = torch.tensor([0.4, -1.0, 2.2, 0.1])
    theirs = pyro.infer.TraceEnum_ELBO(max_plate_nesting=1).loss(model, guide, x)
    for loss in (inference.ELBO(), inference.MaximumLikelihood(), inference.IWELBO(3)):
        assert loss.loss(model, guide, x) == pytest.approx(theirs, rel=1e-5)
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), loss=inference.MaximumLikelihood())
    losses = [svi.step(x) for _ in range(30)]
    assert losses[-1] < losses[0] - 0.1


def test_marks_in_the_guide_are_read() -> None:
    """Catches Pyro's mark in a guide that is passed over, or that makes a bound illegal."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(logits=pyro.param("p", torch.tensor(0.3))))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=pyro.param("q", torch.tensor(-0.4)) * x), infer=MARK)

    pair, x = ppgen.Pair(model, guide), torch.tensor([0.5, -1.0])
    pair.prepare(x)
    kinds = {
        inference.ELBO(): inference.Enumerate,
        inference.MaximumLikelihood(): inference.Enumerate,
        inference.IWELBO(3): inference.LeaveOneOut,
    }
    for objective, kind in kinds.items():
        assert isinstance(inference.Inference(objective).bind(pair, x, num_data=2).plan["z"], kind)


def test_a_belief_network_of_two_layers() -> None:
    """Catches a sum over layers that depend on each other which is no longer log p(x)."""
    sbn = models.SigmoidBeliefNet((4, 3, 2)).double()
    x = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    weights, mass = enumerated(sbn, x)
    bound = inference.Inference(inference.MaximumLikelihood(), inference.Enumerate()).bind(sbn, x, num_data=2)
    assert_exact(sbn, bound.step(x), (weights.local + mass).logsumexp(0).mean())


def test_log_likelihood_without_latents() -> None:
    """Catches an objective that wants a latent, or a factor outside the data plate counted for each datum."""

    def model(x: Tensor) -> None:
        mean = pyro.param("mean", torch.tensor(0.3))
        pyro.sample("prior", dist.Normal(0.0, 1.0), obs=mean)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    pair, x = ppgen.Pair(model, lambda x: None), torch.tensor([0.5, -1.0, 2.0])
    pair.prepare(x)
    result = inference.Inference(inference.MaximumLikelihood()).bind(pair, x, num_data=6).step(x)
    torch.testing.assert_close(result.gradients["captured.mean"], torch.tensor(0.3 - 0.5 + 0.3 / 6))
    exact = dist.Normal(0.3, 1.0).log_prob(x).mean() + dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.3)) / 6
    torch.testing.assert_close(result.value, exact)


def test_log_likelihood_of_an_exact_posterior() -> None:
    """Catches a machine whose hidden units, drawn from their exact posterior, are taken for latents to be drawn."""
    rbm, x = models.RBM(4, 3).double(), torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    found = {}
    for objective in (inference.MaximumLikelihood(), inference.ELBO()):
        what = inference.Inference(objective, negative_phase=inference.ExactPartition())
        found[type(objective)] = what.bind(rbm, x, num_data=2).step(x)
    exact, other = found.values()
    torch.testing.assert_close(exact.value, other.value)
    assert set(exact.gradients) == {"weight", "visible_bias", "hidden_bias"}
    for name, gradient in other.gradients.items():
        torch.testing.assert_close(exact.gradients[name], gradient)


def test_training_and_evaluation() -> None:
    """Catches a marginal that the graph of a step freezes, that a checkpoint forgets, or that evaluation draws."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 2, generator=generator, dtype=torch.float64) + torch.tensor([2.0, -1.0])
    pair = Mixture(drawn="")
    before = evaluation.log_likelihood(pair, x, method="importance", num_particles=2)
    run = ppgen.fit(pair, x, inference.MaximumLikelihood(), steps=40, batch_size=16, lr=0.05, progress=False)
    after = evaluation.log_likelihood(run.pair, x, method="importance", num_particles=2)
    assert float(after) > float(before) + 0.2
    exact = pair.log_joint(x).logsumexp(-1).mean()
    assert float(after) == pytest.approx(float(exact.detach()), abs=1e-9)


@pytest.mark.parametrize(
    "what",
    [
        inference.Inference(inference.ELBO(2), {"low": inference.Pathwise(), "high": inference.Enumerate(max_states=4)}),
        inference.Inference(inference.ELBO(2), {"low": inference.LeaveOneOut(), "high": inference.Enumerate()}),
    ],
    ids=str,
)
def test_traced_described_and_written(what: inference.Inference) -> None:
    """Catches a sum that a graph does otherwise, and a mapping by site that no line of `fit` and no file can hold."""
    assert inference.from_config(inference.to_config(what)) == what
    assert "'high': Enumerate(" in inference.describe(what)
    pair = Structure("mixed", True)
    bound = what.bind(pair, ROWS, num_data=3)
    traced = TracedStep(bound, dict(pair.named_parameters()))
    assert traced.check(ROWS) is None
    torch.manual_seed(5)
    eager = bound.step(ROWS)
    torch.manual_seed(5)
    result = traced(ROWS)
    torch.testing.assert_close(result.value, eager.value)
    for name, gradient in eager.gradients.items():
        torch.testing.assert_close(result.gradients[name], gradient)


def test_numbers_of_joint_states() -> None:
    """Catches two numbers with the same states."""
    states = JointStates({"b": (2, 3), "c": (3, 1)})
    number = torch.arange(states.count)
    table = torch.cat([states.indices("b", number), states.indices("c", number)], -1)
    assert states.count == 24 and len(torch.unique(table, dim=0)) == 24
    assert JointStates({"b": (2, 5000)}).told == "about 10^1505"


def bits(size: int, rows_outside: bool = False, infer: dict | None = None) -> ppgen.Pair:
    """A pair with a vector of bits, which the guide does not draw if it is marked."""

    def model(x: Tensor) -> None:
        law = dist.Bernoulli(logits=pyro.param("p", torch.zeros(size))).to_event(1)
        if rows_outside:
            b = pyro.sample("b", law, infer=infer or {})
        with pyro.plate("data", len(x)):
            if not rows_outside:
                b = pyro.sample("b", law, infer=infer or {})
            pyro.sample("x", dist.Normal(b.sum(-1), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        law = dist.Bernoulli(logits=pyro.param("q", torch.zeros(size))).to_event(1)
        if infer is None:
            with pyro.plate("data", len(x)):
                pyro.sample("b", law)

    pair = ppgen.Pair(model, guide)
    pair.prepare(torch.zeros(2))
    return pair


def poisson() -> ppgen.Pair:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            n = pyro.sample("n", dist.Poisson(pyro.param("p", torch.tensor(1.0))))
            pyro.sample("x", dist.Normal(n, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("n", dist.Poisson(pyro.param("q", torch.tensor(2.0))))

    pair = ppgen.Pair(model, guide)
    pair.prepare(torch.zeros(2))
    return pair


def scaled() -> ppgen.Pair:
    pair = bits(2, infer=MARK)
    model, guide = pair.programs
    other = ppgen.Pair(poutine.scale(model, scale=0.5), guide)
    return other


ELBO, SUM = inference.ELBO(), inference.Enumerate()


@pytest.mark.parametrize(
    ("make", "objective", "estimator", "message"),
    [
        (lambda: bits(20), ELBO, SUM, r"\['b'\] has 1048576 joint states.*max_states=1024.*LeaveOneOut"),
        (lambda: bits(60), ELBO, SUM, r"about 10\^18 joint states"),
        (lambda: bits(3), ELBO, inference.Enumerate(max_states=7), "has 8 joint states.*max_states=7"),
        (lambda: bits(20, infer=MARK), ELBO, "auto", "1048576 joint states.*Draw them in the guide"),
        (lambda: bits(2, rows_outside=True, infer=MARK), ELBO, "auto", "'b'.*outside plate 'data'.*in the guide"),
        (scaled, ELBO, "auto", "scale of its own, and 'b' is marked"),
        (lambda: bits(2, infer={"enumerate": None}), ELBO, "auto", r"guide misses the latent sites \['b'\]"),
        (poisson, ELBO, SUM, "'n' cannot be summed over: Poisson has no finite set"),
        (lambda: bits(3), inference.IWELBO(2), SUM, "Enumerate under IWELBO is not sound at site 'b'"),
        (lambda: bits(3), inference.MaximumLikelihood(), "auto", "MaximumLikelihood.*'b'.*Enumerate"),
        (lambda: bits(3), inference.MaximumLikelihood(2), inference.LeaveOneOut(), "MaximumLikelihood.*'b'.*Enumerate"),
        (lambda: Mixture(drawn="z"), inference.MaximumLikelihood(), "auto", "MaximumLikelihood.*'z'.*continuous"),
        (lambda: Mixture(drawn="z"), ELBO, inference.AnalyticKL(), "AnalyticKL at site 'z': site 'c'.*summed out"),
        (lambda: Mixture(drawn="z"), inference.ELBO(kl_weight=0.5), "auto", "kl_weight.*'c'.*summed out"),
        (lambda: Structure("scale", False), inference.MaximumLikelihood(), SUM, "'low' carries a scale.*ELBO"),
        (lambda: Structure("global", False), inference.MaximumLikelihood(), SUM, "'top' lies outside plate 'data'"),
    ],
)
def test_what_cannot_be_summed_raises_before_training(make, objective, estimator, message: str) -> None:
    """Catches a sum that runs out of memory, or that stands for another number, after training has begun."""
    pair = make()
    batch = torch.zeros(2) if isinstance(pair, ppgen.Pair) else X if isinstance(pair, Mixture) else ROWS
    with pytest.raises(ValueError, match=message):
        inference.Inference(objective, estimator).bind(pair, batch, num_data=len(batch))


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_number_of_states(count: object) -> None:
    """Catches a limit that is no number of states."""
    with pytest.raises(ValueError, match="max_states must be a positive integer"):
        inference.Enumerate(max_states=count)


def test_what_needs_draws_refuses_a_marginal() -> None:
    """Catches a table of draws with one row for each state, and chains that move beside a site drawn at random."""
    pair = Mixture(drawn="z")
    with pytest.raises(ValueError, match="'c'"):
        inference.LatentDensity(pair, X)
    with pytest.raises(ValueError, match=r"\['c'\] of the model are summed out"):
        diagnostics.from_pyro_svi(pair, X, num_samples=2)
