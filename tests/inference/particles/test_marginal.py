"""Discrete sites of the model that are summed out, against mixtures written by hand."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from structures import MARK, ROWS, Mixture, Structure, X, assert_exact
from torch import Tensor

import ppgen
from ppgen import diagnostics, evaluation, inference

OBJECTIVES = [inference.ELBO(2), inference.IWELBO(3), inference.Renyi(2, alpha=0.5), inference.MaximumLikelihood()]


@pytest.mark.parametrize("objective", [*OBJECTIVES, inference.IWELBO(2, vectorize_particles=False)], ids=str)
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
        inference.Inference(inference.ELBO(2, vectorize_particles=False), inference.StickTheLanding()),
        inference.Inference(inference.IWELBO(3)),
        inference.Inference(inference.IWELBO(3, vectorize_particles=False)),
        inference.Inference(inference.IWELBO(3), inference.LeaveOneOut()),
        inference.Inference(inference.IWELBO(2), inference.DoublyReparameterized()),
        inference.Inference(inference.ReweightedWakeSleep(3)),
        inference.Inference(inference.ReweightedWakeSleep(3), inference.DoublyReparameterized()),
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


def test_what_needs_draws_refuses_a_marginal() -> None:
    """Catches a table of units without one that is summed out, and chains that move beside a site drawn at random."""
    pair = Mixture(drawn="z")
    with pytest.raises(ValueError, match="'c'"):
        inference.LatentDensity(pair, X)
    with pytest.raises(ValueError, match=r"\['c'\] of the model are summed out"):
        diagnostics.latent_units(pair, X, num_samples=2, num_aggregate=2)
