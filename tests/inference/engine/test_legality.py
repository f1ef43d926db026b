"""The legality table: every row of it is tried on a program of that kind."""

import dataclasses
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from ppgen import inference, models, registry
from ppgen.inference.structure.layout import (
    DISCRETE,
    EXACT_POSTERIOR,
    MEAN_FIELD,
    RECOGNISED,
    REPARAMETERISED,
    UNDIRECTED,
)
from ppgen.pair import Pair

X = torch.tensor([1.0, 0.0, 1.0, 1.0])


def directed(kind: str) -> Pair:
    """A pair with one latent site of that kind."""

    def model(x: Tensor) -> None:
        p = pyro.param("p", torch.tensor(0.2))
        with pyro.plate("data", len(x)):
            law = dist.Normal(p, 1.0) if kind == REPARAMETERISED else dist.Bernoulli(logits=p)
            z = pyro.sample("z", law)
            pyro.sample("x", dist.Bernoulli(logits=z - 0.5), obs=x)

    def guide(x: Tensor) -> None:
        q = pyro.param("q", torch.tensor(0.1))
        with pyro.plate("data", len(x)):
            if kind == REPARAMETERISED:
                pyro.sample("z", dist.Normal(q + 0.1 * x, 1.0))
            elif kind == DISCRETE:
                pyro.sample("z", dist.Bernoulli(logits=q + 0.1 * x))
            else:  # log p(z = 1 | x) - log p(z = 0 | x)
                logit = pyro.param("p", torch.tensor(0.2))
                one, zero = (dist.Bernoulli(logits=torch.tensor(s - 0.5)).log_prob(x) for s in (1.0, 0.0))
                pyro.sample("z", dist.Bernoulli(logits=logit + one - zero), infer={"posterior": "exact"})

    return Pair(model, guide)


def identity(rule: inference.Rule) -> str:
    return f"{rule.objective}, {rule.part}, {rule.site}"


class OneNumber(Pair):
    """The pair with one latent site, whose parameter of the model is the mean of some statistic."""

    def sufficient_statistics(self, guide: Any, x: Tensor) -> dict[str, Tensor]:
        return {"count": x.new_tensor(float(len(x))), "sum": guide["z"].value.sum()}

    def maximise(self, statistics: Any) -> dict[str, Tensor]:
        return {"captured.p": statistics["sum"] / statistics["count"]}


def of_an_update(rule: inference.Rule) -> None:
    """A row of the table that is of an update: at a directed site, or at a machine."""
    machines = {UNDIRECTED: lambda: models.RBM(4, 2), RECOGNISED: lambda: models.DBN(4, (3, 2))}
    machines[MEAN_FIELD] = lambda: models.DBM(4, (2, 2))
    objective, update = registry.lookup("objective", rule.objective)(), registry.lookup("update", rule.part)()
    if rule.site in machines:
        pair, x = machines[rule.site](), X.reshape(1, 4)
        chosen = inference.Inference(objective, negative_phase=inference.ExactPartition(), update=update)
    else:
        pair, x = OneNumber(*directed(rule.site).programs), X
        chosen = inference.Inference(objective, update=update)
        pair.prepare(x)
    if rule.legal:
        bound = chosen.bind(pair, x, num_data=len(x))
        assert bound.step(x).value.isfinite()
        before = pair.captured.p.detach().clone()
        bound.maximise()
        assert not torch.equal(pair.captured.p, before)
        return
    with pytest.raises(ValueError) as caught:
        chosen.bind(pair, x, num_data=len(x))
    site = {UNDIRECTED: "hidden", MEAN_FIELD: "hidden", RECOGNISED: "z1"}.get(rule.site, "z")
    assert repr(site) in str(caught.value) and rule.instead in str(caught.value) and rule.instead.startswith("Use")


@pytest.mark.parametrize("rule", inference.legality(), ids=identity)
def test_rule(rule: inference.Rule) -> None:
    """Catches a table that says one thing and a check that does another; and a refusal that names no way out."""
    if rule.part in registry.UPDATES:
        of_an_update(rule)
        return
    made = registry.lookup("objective", rule.objective)
    objective = made(compared="mean") if made.compares_draws else made(num_particles=2)
    if rule.site in (UNDIRECTED, RECOGNISED):
        pair, x = models.RBM(4, 2) if rule.site == UNDIRECTED else models.DBN(4, (3, 2)), X.reshape(1, 4)
        phase = None if rule.part == "none" else registry.lookup("negative phase", rule.part)()
        chosen = inference.Inference(objective, negative_phase=phase)
    elif rule.site == MEAN_FIELD:
        pair, x = models.DBM(4, (2, 2)), X.reshape(1, 4)
        estimator = "auto" if rule.part == "auto" else registry.lookup("estimator", rule.part)()
        chosen = inference.Inference(objective, estimator, inference.ExactPartition())
    else:
        pair, x = directed(rule.site), X
        if rule.part == "AnalyticELBO" and rule.legal:  # sound in a linear program alone
            pair, x = models.SparseCoding(4, 2, guide="normal"), X.reshape(1, 4)
        estimator = "auto" if rule.part == "auto" else registry.lookup("estimator", rule.part)()
        chosen = inference.Inference(objective, estimator)
        pair.prepare(x)
    if rule.legal:
        result = chosen.bind(pair, x, num_data=len(x)).step(x)
        assert result.value.isfinite() and result.gradients
    else:
        assert rule.instead.startswith(("Use", "Give"))
        site = {UNDIRECTED: "hidden", MEAN_FIELD: "hidden", RECOGNISED: "z1"}.get(rule.site, "z")
        with pytest.raises(ValueError) as caught:
            chosen.bind(pair, x, num_data=len(x))
        assert repr(site) in str(caught.value) and rule.instead in str(caught.value)


def test_table_is_complete() -> None:
    """Catches a part or a kind of site about which the table is silent, or says two things."""
    rules = inference.legality()
    keys = [(rule.objective, rule.part, rule.site) for rule in rules]
    expected = {
        (objective, part, site)
        for objective in registry.OBJECTIVES
        for parts, kinds in (
            (("auto", *registry.ESTIMATORS), (REPARAMETERISED, DISCRETE, MEAN_FIELD, EXACT_POSTERIOR)),
            (("none", *registry.NEGATIVE_PHASES), (UNDIRECTED, RECOGNISED)),
            (registry.UPDATES, (REPARAMETERISED, DISCRETE, MEAN_FIELD, EXACT_POSTERIOR, UNDIRECTED, RECOGNISED)),
        )
        for part in parts
        for site in kinds
    }
    assert set(keys) == expected and len(keys) == len(expected)
    assert all(rule.legal == (rule.instead == "") for rule in rules)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, inference.Inference(inference.ELBO(), negative_phase=inference.PCD())),
        ("cd", inference.Inference(inference.ELBO(), negative_phase=inference.CD())),
        ("iwelbo", inference.Inference(inference.IWELBO(), negative_phase=inference.PCD())),
        (inference.CD(k=3), inference.Inference(inference.ELBO(), negative_phase=inference.CD(k=3))),
        (inference.IWAE(5), dataclasses.replace(inference.IWAE(5), negative_phase=inference.PCD())),
    ],
    ids=str,
)
def test_completed_from_the_default(given: Any, expected: inference.Inference) -> None:
    """Catches a bare part that is completed with something else than the model's own default."""
    assert inference.resolve(given, models.RBM(4, 2)) == expected


def test_names_and_descriptions() -> None:
    """Catches a name that is known to nobody, and a line of `fit` that hides what is run."""
    with pytest.raises(ValueError, match="Unknown inference 'iwea'.*Did you mean 'IWAE'"):
        inference.resolve("iwea", models.RBM(4, 2))
    with pytest.raises(TypeError, match="got int"):
        inference.resolve(3, models.RBM(4, 2))
    told = inference.describe(inference.resolve(inference.CD(k=3), models.RBM(4, 2)))
    assert told == "ELBO(num_particles=1), estimator auto, negative phase CD(k=3)"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: inference.Inference(inference.CD()), TypeError, "objective must be an objective"),
        (lambda: inference.Inference(inference.ELBO(), "magic"), TypeError, 'estimator must be "auto", an estimator'),
        (lambda: inference.Inference(inference.ELBO(), negative_phase=inference.ELBO()), TypeError, "negative_phase"),
        (lambda: inference.ELBO(5, "linear"), ValueError, "kl_weight must be a schedule or a finite number"),
        (lambda: inference.ELBO(5, False), ValueError, "kl_weight must be a schedule or a finite number"),
        (lambda: inference.ELBO(free_bits=float("inf")), ValueError, "free_bits must be a finite number"),
        (lambda: inference.ELBO(vectorize_particles=0.5), TypeError, "vectorize_particles must be True or False"),
        (lambda: inference.ELBO(True), ValueError, "num_particles must be an integer of at least 1, got True"),
        (lambda: inference.Renyi(2, 10), TypeError, "positional"),
        (lambda: inference.Renyi(alpha=float("inf")), ValueError, "alpha must be a finite number, got inf"),
        (lambda: inference.WakeSleep(fantasy=3), TypeError, "fantasy must be a callable"),
        (lambda: inference.Linear(steps=3, end=float("nan")), ValueError, "start and end finite"),
        (lambda: inference.CD(k=0), ValueError, "k must be a number of Gibbs sweeps of at least 1, got 0"),
        (lambda: inference.PCD(num_chains=0), ValueError, "num_chains must be at least 1, got 0"),
        (lambda: inference.PCD(offset_rate=0.0), ValueError, r"offset_rate must lie in \(0, 1\], got 0.0"),
    ],
)
def test_bad_parts(call: Any, error: type, message: str) -> None:
    """Catches a part of the wrong kind that would fail at the first step, or be taken for another argument."""
    with pytest.raises(error, match=message):
        call()


def test_arguments_by_position() -> None:
    """Catches a weight or a phase that lands in another argument, which then trains something else without a word."""
    assert inference.ELBO(5, 0.5, 0.1) == inference.ELBO(num_particles=5, kl_weight=0.5, free_bits=0.1)
    both = inference.ReweightedWakeSleep(num_particles=5, wake=False, sleep=True)
    assert inference.ReweightedWakeSleep(5, False, True) == both


def test_an_exact_site_above_an_approximate_one_raises() -> None:
    """Catches a mark that drops the score term of a site on which the weight still depends."""

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            first = pyro.sample("a", dist.Bernoulli(0.3 * torch.ones(len(x))), infer={"posterior": "exact"})
            pyro.sample("b", dist.Normal(first, 1.0))

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            first = pyro.sample("a", dist.Bernoulli(0.5 * torch.ones(len(x))))
            pyro.sample("x", dist.Normal(pyro.sample("b", dist.Normal(first, 1.0)), 1.0), obs=x)

    with pytest.raises(ValueError, match="Draw 'a' last"):
        inference.Inference(inference.ELBO()).bind(Pair(model, guide), torch.zeros(3), num_data=3)


def test_an_enumeration_too_large_is_refused_before_training() -> None:
    """Catches a run that starts, or an error that comes out of the middle of a program."""
    phase = inference.ExactPartition(max_states=4)
    with pytest.raises(ValueError, match="at most 4 states"):
        inference.resolve(phase, models.RBM(4, 3)).bind(models.RBM(4, 3), X[None], num_data=1)
