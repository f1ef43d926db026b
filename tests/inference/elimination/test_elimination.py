"""Sites that are summed out by elimination, against all their joint values."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from chains import LOC, MARK, PROGRAMS, TRANSITION, enumerated, hidden_markov, rows, summed, value_at
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

import ppgen
from ppgen import inference
from ppgen.inference.elimination.posterior import draws, most_probable, probabilities
from ppgen.inference.structure.plates import PARTICLES

SIGMAS = 4


@pytest.mark.parametrize("name", PROGRAMS)
def test_values_probabilities_and_paths_are_those_of_enumeration(name: str) -> None:
    """Catches a potential left out or counted twice, steps stacked in another order, and a path that is no maximum."""
    program, sizes, columns = PROGRAMS[name]
    y = rows(columns)
    joint, places = enumerated(program, y, sizes)
    found = summed(program, y, sizes)
    torch.testing.assert_close(found.log_density(), joint.logsumexp(0).unsqueeze(0), rtol=1e-10, atol=1e-10)
    posterior, marginals, path = joint.softmax(0), probabilities(found), most_probable(found)
    best = places[joint.argmax(0)]
    for at, (site, size) in enumerate(sizes.items()):
        exact = torch.stack([posterior[places[:, at] == value].sum(0) for value in range(size)])
        torch.testing.assert_close(marginals[site], exact, rtol=1e-9, atol=1e-10)
        assert torch.equal(path[site].double(), value_at(site, best[:, at]).squeeze(1).double())


@pytest.mark.parametrize("name", ["chain", "chains side by side", "second order", "mixture"])
def test_draws_follow_the_posterior(name: str) -> None:
    """Catches draws of each site by itself, rows that share a draw, and a site drawn from its law without the data."""
    program, sizes, columns = PROGRAMS[name]
    y, number = rows(columns), 5000
    joint, places = enumerated(program, y, sizes)
    torch.manual_seed(1)
    drawn = draws(summed(program, y, sizes).repeated(PARTICLES, number))
    codes: Tensor = torch.zeros(number, len(y), dtype=torch.long)
    for site, size in sizes.items():
        value = drawn[site][..., 0] + 2 * drawn[site][..., 1] if site == "b" else drawn[site]
        codes = codes * size + value.long()
    for row in range(len(y)):
        expected = number * joint[:, row].softmax(0)
        counts = torch.bincount(codes[:, row], minlength=len(places)).double()
        often = expected > 5
        deviation = ((counts - expected)[often].square() / expected[often]).sum()
        degrees = int(often.sum())
        assert abs(float(deviation) - degrees) < SIGMAS * math.sqrt(2 * degrees)
        rare = float(expected[~often].sum())
        assert abs(float(counts[~often].sum()) - rare) < SIGMAS * math.sqrt(rare + 1)
    first, second = codes.double().T
    correlation = torch.corrcoef(torch.stack([first, second]))[0, 1]
    assert abs(float(correlation)) < SIGMAS / math.sqrt(number)


def test_missing_ends_of_a_chain_count_for_nothing() -> None:
    """Catches a mask that leaves out the law of a summed site, so that its states are counted, and NaN in gradients."""
    y = rows(6)
    y[1, 4:] = math.nan
    transition, loc = TRANSITION.clone().requires_grad_(), LOC.clone().requires_grad_()
    names = {f"z{t}": 3 for t in range(6)}
    value = summed(lambda y: hidden_markov(y, transition, loc), y, names).log_density()
    short = summed(hidden_markov, y[:, :4], names).log_density()
    torch.testing.assert_close(value[0, 1], short[0, 1])
    assert all(bool(each.isfinite().all()) for each in torch.autograd.grad(value.sum(), (transition, loc)))


def test_a_chain_of_forty_steps_is_that_of_pyro() -> None:
    """Catches a value or gradient of a long chain that is not TraceEnum_ELBO's."""
    y = rows(40)
    results = []
    for ours in (False, True):
        transition, loc = TRANSITION.clone().requires_grad_(), LOC.clone().requires_grad_()

        def program(y: Tensor, transition: Tensor = transition, loc: Tensor = loc) -> None:
            hidden_markov(y, transition, loc)

        if ours:
            value = summed(program, y, {f"z{t}": 3 for t in range(40)}).log_density().sum()
        else:
            value = -TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(program, lambda y: None, y)
        results.append((value, *torch.autograd.grad(value, (transition, loc))))
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_words_of_a_document_are_eliminated_in_their_plate() -> None:
    """Catches inner plates unrolled into joint states: 2 x 4 ** 30 of them."""

    def topics(y: Tensor) -> None:
        weights, words = torch.tensor([[4.0, 3.0, 2.0, 1.0]]).double() / 10, torch.eye(4, 7).double() + 0.1
        with pyro.plate("data", len(y), dim=-1):
            turn = pyro.sample("turn", dist.Bernoulli(weights[0, 0]), infer=MARK)
            with pyro.plate("word", y.shape[1], dim=-2):
                topic = pyro.sample("topic", dist.Categorical(weights), infer=MARK)
                pyro.sample("y", dist.Categorical(words[(topic + turn.long()) % 4]), obs=y.T)

    y = torch.arange(60).reshape(2, 30) * 5 % 7
    weights, words = torch.tensor([4.0, 3.0, 2.0, 1.0]).double() / 10, torch.eye(4, 7).double() + 0.1
    words = words / words.sum(-1, keepdim=True)
    by_turn = []
    for turn, probability in ((0, 0.6), (1, 0.4)):
        each = (weights[:, None, None] * words.roll(-turn, 0)[:, y]).sum(0).log()
        by_turn.append(each.sum(1) + math.log(probability))
    found = summed(topics, y, {"topic": 4, "turn": 2}).log_density()
    torch.testing.assert_close(found[0], torch.stack(by_turn).logsumexp(0))


class Chain(ppgen.GenerativeModel):
    """A chain of eight steps, around a level that the guide may draw."""

    def __init__(self, level: bool = False) -> None:
        super().__init__()
        self.level, self.loc = level, torch.nn.Parameter(LOC.clone())
        self.logits = torch.nn.Parameter(TRANSITION.log())

    @pyro.nn.module.pyro_method
    def model(self, y: Tensor) -> None:
        loc, transition = self.loc, self.logits.softmax(-1)
        with pyro.plate("data", len(y), dim=-1):
            level = pyro.sample("level", dist.Normal(loc.new_zeros(()), 1.0)) if self.level else 0.0
            z: int | Tensor = 0
            for t in pyro.markov(range(y.shape[1])):
                z = pyro.sample(f"z{t}", dist.Categorical(transition[z]), infer=MARK)
                pyro.sample(f"y{t}", dist.Normal(loc[z] + level, 1.0), obs=y[:, t])

    @pyro.nn.module.pyro_method
    def guide(self, y: Tensor) -> None:
        if self.level:
            with pyro.plate("data", len(y), dim=-1):
                pyro.sample("level", dist.Normal(0.3 * y.mean(-1), y.new_tensor(0.7)))


@pytest.mark.parametrize("vectorize", [True, False])
def test_particles_of_a_continuous_site_each_have_a_sum(vectorize: bool) -> None:
    """Catches values of a chain and particles mixed up, at once or one by one."""
    pair, y = Chain(level=True), rows(8)
    torch.manual_seed(2)
    weights = inference.log_weights(pair, y, 3, vectorize=vectorize)
    levels = torch.stack([trace.nodes["level"]["value"] for trace in weights.guide_traces]).reshape(3, 2)
    for draw, level in enumerate(levels):
        alone = inference.log_weights(Chain(), y - level[:, None]).local[0]
        prior, law = dist.Normal(0.0, 1.0).log_prob(level), dist.Normal(0.3 * y.mean(-1), 0.7).log_prob(level)
        torch.testing.assert_close(weights.local[draw], alone + prior - law)


@pytest.mark.parametrize("objective", [inference.MaximumLikelihood(), inference.ELBO(2), inference.IWELBO(2)], ids=str)
def test_a_step_has_the_gradient_of_the_sum(objective: inference.Objective) -> None:
    """Catches an objective that does not know the sum of more joint values than can be listed."""
    pair, y = Chain(), rows(8)
    step = inference.Inference(objective).bind(pair, y, num_data=2).step(y)
    copies = [each.detach().clone().requires_grad_() for each in (pair.logits, pair.loc)]
    joint, _ = enumerated(
        lambda y: hidden_markov(y, copies[0].softmax(-1), copies[1]), y, {f"z{t}": 3 for t in range(8)}
    )
    exact = joint.logsumexp(0).mean()
    torch.testing.assert_close(step.value, exact.detach())
    for name, gradient in zip(("logits", "loc"), torch.autograd.grad(-exact, copies), strict=True):
        torch.testing.assert_close(step.gradients[name], gradient)


class Structured(Chain):
    """The chain with a guide that is a chain too, or draws each step by itself."""

    def __init__(self, chained: bool) -> None:
        super().__init__()
        self.chained = chained
        self.weight = torch.nn.Parameter(torch.tensor([0.4, -0.2, 0.3], dtype=torch.float64))
        self.tilt = torch.nn.Parameter(torch.tensor([[0.5, 0.1, -0.3], [0.0, 0.2, 0.4], [-0.6, 0.3, 0.1]]).double())

    @pyro.nn.module.pyro_method
    def guide(self, y: Tensor) -> None:
        weight, tilt = self.weight, self.tilt
        with pyro.plate("data", len(y), dim=-1):
            z: int | Tensor = 0
            for t in pyro.markov(range(y.shape[1])):
                logits = y[:, t, None] * weight + (tilt[z] if self.chained else 0.0)
                z = pyro.sample(f"z{t}", dist.Categorical(logits=logits), infer=MARK)


@pytest.mark.parametrize("chained", [True, False])
def test_a_guide_with_more_states_than_can_be_listed(chained: bool) -> None:
    """Catches expectations over a guide's chain that leave out how its steps hang together, or have no gradient."""
    pair, y = Structured(chained), rows(7)
    step = inference.Inference(inference.ELBO()).bind(pair, y, num_data=2).step(y)
    names = {f"z{t}": 3 for t in range(7)}
    with pair.running():
        log_p, _ = enumerated(pair.model, y, names)
        log_q, _ = enumerated(pair.guide, y, names)
    exact = (log_q.exp() * (log_p - log_q)).sum(0).mean()
    torch.testing.assert_close(step.value, exact.detach())
    named = {name: each for name, each in pair.named_parameters() if chained or name != "tilt"}
    for (name, _), gradient in zip(named.items(), torch.autograd.grad(-exact, list(named.values())), strict=True):
        torch.testing.assert_close(step.gradients[name], gradient)


def test_particles_of_a_continuous_site_beside_a_guide_of_many_states() -> None:
    """Catches expectations of one particle that are given to another, or averaged before the draw is looked at."""

    class Levelled(Structured):
        @pyro.nn.module.pyro_method
        def guide(self, y: Tensor) -> None:
            weight = self.weight
            with pyro.plate("data", len(y), dim=-1):
                level = pyro.sample("level", dist.Normal(0.3 * y.mean(-1), y.new_tensor(0.7)))
                for t in range(y.shape[1]):
                    logits = (y[:, t] - level).unsqueeze(-1) * weight
                    pyro.sample(f"z{t}", dist.Categorical(logits=logits), infer=MARK)

    pair, y, names = Levelled(False), rows(7), {f"z{t}": 3 for t in range(7)}
    pair.level = True
    bound = inference.Inference(inference.ELBO(2)).bind(pair, y, num_data=2)
    torch.manual_seed(0)
    found = bound.step(y)
    torch.manual_seed(0)
    law = dist.Normal(0.3 * y.mean(-1), 0.7)
    levels = law.expand((2, 2)).rsample()
    each = []
    for level in levels:
        with pair.running():
            log_p, _ = enumerated(poutine.condition(pair.model, {"level": level}), y, names)
            log_q, _ = enumerated(poutine.condition(pair.guide, {"level": level}), y, names)
        each.append(((log_q - law.log_prob(level)).exp() * (log_p - log_q)).sum(0))
    exact = torch.stack(each).mean()
    torch.testing.assert_close(found.value, exact.detach())
    for name, gradient in zip(("weight", "loc"), torch.autograd.grad(-exact, (pair.weight, pair.loc)), strict=True):
        torch.testing.assert_close(found.gradients[name], gradient)


def test_what_cannot_be_eliminated_is_said() -> None:
    """Catches a wrong sum, without a word, where a site depends on steps that are out of its reach."""

    def forgetful(y: Tensor) -> None:
        with pyro.plate("data", len(y), dim=-1):
            first = z = pyro.sample("z0", dist.Categorical(TRANSITION[0]), infer=MARK)
            for t in pyro.markov(range(1, 9)):
                z = pyro.sample(f"z{t}", dist.Categorical(TRANSITION[z]), infer=MARK)
                first = z if t == 1 else first
                pyro.sample(f"y{t}", dist.Normal(LOC[z] + LOC[first], 1.0), obs=y[:, t])

    with pytest.raises(ValueError, match=r"'y3' .*do not explain: .*history"):
        inference.Inference(inference.MaximumLikelihood()).bind(
            ppgen.Pair(forgetful, lambda y: None), rows(9), num_data=2
        )

    def many(y: Tensor) -> None:
        with pyro.plate("data", len(y), dim=-1):
            b = pyro.sample("b", dist.Bernoulli(torch.full((12,), 0.5)).to_event(1), infer=MARK)
            pyro.sample("y", dist.Normal(b.sum(-1), 1.0), obs=y[:, 0])

    with pytest.raises(ValueError, match="'b' holds 12 variables of 2 values"):
        inference.log_weights(ppgen.Pair(many, lambda y: None), rows(1))


def test_a_program_that_writes_to_a_shared_result_is_run_again() -> None:
    """Catches a step of a chain whose law is changed by what the program writes at another step."""

    def writing(y: Tensor) -> None:
        with pyro.plate("data", len(y), dim=-1):
            z: int | Tensor = 0
            for t in pyro.markov(range(y.shape[1])):
                law, other = TRANSITION[z], TRANSITION[z]
                other[..., 0] += 0.1 * t
                z = pyro.sample(f"z{t}", dist.Categorical(law + other), infer=MARK)
                pyro.sample(f"y{t}", dist.Normal(LOC[z], 1.0), obs=y[:, t])

    y, names = rows(6), {f"z{t}": 3 for t in range(6)}
    joint, _ = enumerated(writing, y, names)
    torch.testing.assert_close(summed(writing, y, names).log_density()[0], joint.logsumexp(0))


def test_what_was_computed_without_a_gradient_is_not_shared() -> None:
    """Catches parameters that get no gradient because the program had looked at their values before."""
    loc = LOC.clone().requires_grad_()

    def looking(y: Tensor) -> None:
        with torch.no_grad():
            loc.exp()
        hidden_markov(y, TRANSITION, loc.exp())

    value = summed(looking, rows(6), {f"z{t}": 3 for t in range(6)}).log_density().sum()
    assert bool((torch.autograd.grad(value, loc)[0] != 0).all())


@pytest.mark.parametrize("given", ["probs", "logits"])
@pytest.mark.parametrize("apart", [True, False], ids=["one table", "a table for each row"])
def test_words_are_looked_up_in_the_table_of_their_topics(given: str, apart: bool) -> None:
    """Catches a look-up with topics and words mixed up, and one where each row has a table of its own."""
    shape = (4, 7) if apart else (4, 2, 7)
    table = torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    y = torch.arange(10).reshape(2, 5) * 3 % 7

    def topics(y: Tensor) -> None:
        with pyro.plate("data", len(y), dim=-1), pyro.plate("word", y.shape[1], dim=-2):
            topic = pyro.sample("topic", dist.Categorical(LOC.new_ones(4)), infer=MARK)
            law = table[topic] if apart else table[topic, torch.arange(2)]
            pyro.sample("y", dist.Categorical(**{given: law}), obs=y.T)

    found = summed(topics, y, {"topic": 4}).log_density()[0]
    words = table / table.sum(-1, keepdim=True) if given == "probs" else table.softmax(-1)
    chosen = words[:, y] if apart else words[:, torch.arange(2).unsqueeze(-1), y]
    expected = chosen.mean(0).log().sum(-1)
    torch.testing.assert_close(found, expected)
    weight = torch.tensor([1.0, 2.0], dtype=torch.float64)
    mine, theirs = (torch.autograd.grad((each * weight).sum(), table)[0] for each in (found, expected))
    torch.testing.assert_close(mine, theirs)
