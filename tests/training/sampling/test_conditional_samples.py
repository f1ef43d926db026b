"""Conditional simulation: what is missing from rows, against the enumerated law given the rest."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import ppgen
from ppgen import models, testing
from ppgen.pair import GenerativeModel
from ppgen.testing.examples import bit_vectors, state_index
from ppgen.training.sampling import completion as conditional

NAN = float("nan")
GIVEN = torch.tensor([[1.0, NAN, 0.0, NAN], [NAN, NAN, NAN, 1.0], [0.0, 1.0, 1.0, 0.0]])


def rbm() -> models.RBM:
    bias, hidden_bias, weight = (each.detach() for each in testing.boltzmann_machine((4, 3)).parameters())
    return models.RBM.from_arrays(weight, bias, hidden_bias)


def dbm() -> models.DBM:
    pair = models.DBM(4, (2, 3)).double()
    with torch.no_grad():
        for own, other in zip(
            pair.machine().parameters(), testing.boltzmann_machine((4, 2, 3)).parameters(), strict=True
        ):
            own.copy_(other)
    return pair


def visible_law(pair: Any, given: Tensor) -> Tensor:
    """p(v | the entries that are no NaN) of every visible state, by summing all joint states: (16,)."""
    states, log_weights = testing.enumerated(pair.machine())
    fits = ((states[:, :4] == given) | given.isnan()).all(-1)
    law = log_weights.detach().masked_fill(~fits, -torch.inf).softmax(0)
    return torch.zeros(16, dtype=torch.float64).index_add(0, state_index(states[:, :4]), law)


@pytest.mark.parametrize(("make", "compile"), [(rbm, False), (dbm, False), (dbm, True)])
def test_rows_follow_their_law_given_their_part(make: Any, compile: bool) -> None:
    """Catches rows that share what they are given, given entries that are drawn anew, draws of unequal chains."""
    pair = make()
    before = torch.get_rng_state()
    options = {"given": GIVEN, "num_chains": 200, "sweeps": 8, "warmup_steps": 30, "seed": 1, "compile": compile}
    drawn = ppgen.sample(pair, 4000, **options)
    assert torch.equal(torch.get_rng_state(), before)
    assert drawn.samples.shape == drawn.means.shape == (4000, 3, 4) and drawn.num_chains == 200
    known = ~GIVEN.isnan()
    for values in (drawn.samples, drawn.means):
        assert torch.equal(values[:, known], GIVEN.double()[known].expand(4000, -1))
    for row in range(2):  # there is but one way to complete the last one
        law = visible_law(pair, GIVEN[row].double())
        testing.check_frequencies(state_index(drawn.samples[:, row]), law, f"row {row}")
        mean = law @ bit_vectors(4)
        testing.check_mean(drawn.means[:, row], mean, f"means of row {row}")
    assert 0.98 < drawn.rhat < 1.05
    assert torch.equal(ppgen.sample(pair, 4000, **options).samples, drawn.samples)
    assert not torch.equal(ppgen.sample(pair, 4000, **options | {"seed": 2}).samples, drawn.samples)


def test_persistent_chains_are_left_alone() -> None:
    """Catches rows that start from chains of the whole machine, and chains that are moved."""
    pair = rbm()
    chains = torch.ones(3, 4, dtype=torch.float64)
    pair.inference_state = {"hidden.chains": chains}
    drawn = ppgen.sample(pair, 8, given=GIVEN, sweeps=2, warmup_steps=2)
    assert drawn.num_chains == 8 and pair.inference_state["hidden.chains"] is chains
    assert ppgen.sample(pair, 5, given=GIVEN, num_chains=2, sweeps=1, warmup_steps=0).samples.shape == (5, 3, 4)


def test_sweeps_and_warm_up_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches numbers that are ignored, and a warm-up of persistent chains, none, for chains that are new."""
    seen: list[Any] = []
    run = conditional.gibbs_chains

    def counted(*arguments: Any, **options: Any) -> Any:
        seen.append((options["warmup_steps"], options["draws"], options["sweeps"]))
        return run(*arguments, **options)

    monkeypatch.setattr(conditional, "gibbs_chains", counted)
    ppgen.sample(rbm(), 6, given=GIVEN, num_chains=3, sweeps=7, warmup_steps=5)
    ppgen.sample(rbm(), 2, given=GIVEN)
    assert seen == [(5, 2, 7), (1000, 1, 100)]


class _Labelled(GenerativeModel):
    """An RBM under one more observed variable."""

    def __init__(self) -> None:
        super().__init__()
        self.rbm = rbm()
        self.slope = nn.Parameter(torch.zeros(4, dtype=torch.float64))

    @pyro.nn.module.pyro_method
    def model(self, x: Tensor) -> None:
        machine = self.rbm.machine()
        with pyro.plate("data", len(x)):
            hidden = pyro.sample("hidden", machine.marginal("hidden"))
            pyro.sample("visible", machine.conditional("visible", given=hidden), obs=x)
            pyro.sample("label", dist.Normal(x @ self.slope, 1.0), obs=x[:, 0])

    @pyro.nn.module.pyro_method
    def guide(self, x: Tensor) -> None:
        pass


@pytest.mark.parametrize(
    ("make", "given", "options", "message"),
    [
        (rbm, GIVEN[0], {}, r"given must be rows of data, \(rows, features\), got shape \(4,\)"),
        (rbm, GIVEN[2:], {}, "given has nothing to simulate: put NaN"),
        (rbm, torch.ones(3, 4, dtype=torch.long), {}, "given has nothing to simulate: put NaN"),
        (rbm, GIVEN[:, :3], {}, "given must have 4 features, as the data have, got 3"),
        (rbm, GIVEN * 0.5, {}, "holds 0.5, which is no value of Bernoulli units"),
        (rbm, GIVEN, {"like": GIVEN}, "Give either like or given"),
        (lambda: models.VAE(4, 2, (3,)), GIVEN, {}, "VAE is directed where it draws its data"),
        (lambda: models.DiscreteVAE(4, 3, (3,), prior_hidden=2), GIVEN, {}, "DiscreteVAE is directed"),
        (_Labelled, GIVEN, {}, r"this one has the sites \['hidden', 'visible', 'label'\]"),
    ],
)
def test_what_cannot_be_completed_is_refused(make: Any, given: Tensor, options: dict[str, Any], message: str) -> None:
    """Catches rows or models that go through and are not what was meant."""
    with pytest.raises(ValueError, match=message):
        ppgen.sample(make(), 4, given=given, sweeps=1, warmup_steps=1, **options)


@pytest.mark.parametrize("given", ["x", [[1.0, float("nan")], [1.0]]])
def test_what_is_no_table_is_refused(given: Any) -> None:
    """Catches an error of torch's own that does not say which argument it is about."""
    with pytest.raises(TypeError, match="given must be a tensor or an array of numbers"):
        ppgen.sample(rbm(), 4, given=given)
