"""Boltzmann machines as Pyro distributions, against sums over all states."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive
from torch import Size, Tensor, nn

from ppgen import inference, models, testing
from ppgen.distributions import (
    BaseRatePath,
    Bernoulli,
    BoltzmannMachine,
    Categorical,
    Dense,
    Gaussian,
    GibbsSampler,
    MaxPooled,
    Multinomial,
)
from ppgen.pair import Pair
from ppgen.testing.examples import state_index

SIZES = [(4, 3), (3, 2, 4), (2, 3, 2, 2)]


def normalised(machine: BoltzmannMachine) -> BoltzmannMachine:
    return machine.with_log_partition(machine.exact_log_partition())


@pytest.mark.parametrize("sizes", SIZES)
def test_everything_equals_the_sum_over_states(sizes: tuple[int, ...], device: torch.device) -> None:
    """Catches a term of the energy left out: here it is written with loops, outside of the machine."""
    machine = testing.boltzmann_machine(sizes, device=device)
    states, log_weights = testing.enumerated(machine)
    log_partition = torch.logsumexp(log_weights, 0)
    testing.check_close(machine.exact_log_partition(), log_partition, "log Z")
    testing.check_close(-machine.energy(states), log_weights, "minus the energy")
    joint = normalised(machine)
    testing.check_close(joint.log_prob(states), log_weights - log_partition, "log_prob of the joint law")
    exact = torch.autograd.grad(log_partition, machine.parameters())
    for found, expected in zip(
        torch.autograd.grad(machine.exact_log_partition(), machine.parameters()), exact, strict=True
    ):
        testing.check_close(found, expected, "gradient of log Z")
    layers = machine.split(states)
    for parity in (0, 1):
        names = [name for index, name in enumerate(machine.names) if index % 2 == parity]
        side = torch.cat([layers[name] for name in names], -1)
        index = state_index(side)
        law = torch.zeros(2 ** side.shape[1], dtype=torch.float64, device=device)
        law = law.index_add(0, index, (log_weights - log_partition).exp())
        marginal = joint.marginal(names)
        testing.check_close(marginal.log_prob(side), law[index].log(), f"marginal of {names}")
        testing.check_close(machine.free_energy(side, names[0]), -(law[index].log() + log_partition), "free energy")


@pytest.mark.parametrize("sizes", SIZES)
def test_joint_is_marginal_times_conditionals(sizes: tuple[int, ...]) -> None:
    """Catches a program (marginal, then conditionals) that states another law than the machine."""
    machine = testing.boltzmann_machine(sizes)
    states, log_weights = testing.enumerated(machine)
    joint, layers = normalised(machine), machine.split(states)
    testing.check_close(machine.join(layers), states, "join of split")
    odd = [name for index, name in enumerate(machine.names) if index % 2]
    total = joint.marginal(odd).log_prob(torch.cat([layers[name] for name in odd], -1))
    for index, name in enumerate(machine.names):
        if index % 2 == 0:
            around = [machine.names[i] for i in (index - 1, index + 1) if 0 <= i < len(sizes)]
            total = total + machine.conditional(name, {each: layers[each] for each in around}).log_prob(layers[name])
    testing.check_close(total, joint.log_prob(states), "marginal times conditionals")


@pytest.mark.parametrize("sampler", ["exact", GibbsSampler(sweeps=60)], ids=["exact", "gibbs"])
@pytest.mark.parametrize("sizes", SIZES[:2])
def test_joint_draws(sizes: tuple[int, ...], sampler: Any, device: torch.device) -> None:
    """Catches layers joined in the order of the sides, or a side drawn given a stale other side."""
    machine = testing.boltzmann_machine(sizes, device=device)
    for parameter in machine.parameters():
        parameter.data.mul_(0.6)  # mixes in few sweeps
    _, log_weights = testing.enumerated(machine)
    drawn = machine.with_sampler(sampler).sample(Size([100, 100]))
    assert drawn.shape == (100, 100, sum(sizes)) and drawn.dtype == torch.float64 and drawn.device.type == device.type
    testing.check_frequencies(state_index(drawn), torch.softmax(log_weights, 0), f"joint draws, {sampler}")


def test_shapes_under_expand_plates_and_masks() -> None:
    """Catches copies that share a draw, a log-density without the batch shape, a lost mask."""
    machine = normalised(testing.boltzmann_machine((3, 2))).with_sampler("exact")
    mask = torch.tensor([True, False, True])
    for law, units in ((machine, 5), (machine.marginal("layer0"), 3), (machine.marginal("layer1"), 2)):
        wide = law.expand(Size([4, 3]))
        assert (wide.batch_shape, wide.event_shape) == ((4, 3), (units,)) and law.batch_shape == ()
        value = wide.sample(Size([2]))
        assert value.shape == (2, 4, 3, units) and wide.log_prob(value).shape == (2, 4, 3)
        assert wide.log_prob(value[0, 0, 0]).shape == (4, 3)
        testing.check_close(wide.log_prob(value), law.log_prob(value), "log_prob of copies")
        assert len(law.expand(Size([200])).sample().unique(dim=0)) > 1

        def program(value: Tensor, law: Any = law) -> Tensor:
            with pyro.plate("outer", 4, dim=-2), pyro.plate("inner", 3), poutine.mask(mask=mask):
                return pyro.sample("site", law, obs=value)

        trace = poutine.trace(program).get_trace(value[0])
        trace.compute_log_prob()
        testing.check_close(trace.nodes["site"]["log_prob"], law.log_prob(value[0]) * mask, "masked log_prob")


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("sampler", ["exact", GibbsSampler(sweeps=60)], ids=["exact", "gibbs"])
def test_predictive(sampler: Any, parallel: bool, device: torch.device) -> None:
    """Catches draws of a whole program that follow another law than its machine."""
    bias, hidden_bias, weight = (each.detach() * 0.6 for each in testing.boltzmann_machine((4, 3)).parameters())
    rbm = models.RBM.from_arrays(weight, bias, hidden_bias).to(device)
    _, log_weights = testing.enumerated(rbm.machine())
    law = torch.softmax(log_weights, 0).reshape(16, 8).sum(1)
    draws, rows = (2000, 5) if parallel else (100, 100)
    with rbm.running():
        program = inference.attach(sampler=sampler)(rbm.model)
        drawn = Predictive(program, num_samples=draws, parallel=parallel)(num_rows=rows)
    assert drawn["visible"].shape == (draws, rows, 4) and drawn["hidden"].shape == (draws, rows, 3)
    testing.check_frequencies(state_index(drawn["visible"]), law, "visible units of Predictive")


@pytest.mark.parametrize("sizes", [(4, 3), (3, 2, 2)])
@pytest.mark.parametrize("beta", [0.0, 0.35, 1.0])
def test_tempered_path(sizes: tuple[int, ...], beta: float, device: torch.device) -> None:
    """Catches a bias that is not tempered, or moves at another temperature than the density they are weighed by."""
    machine = testing.boltzmann_machine(sizes, device=device)
    energy = machine.base_energy
    even, odd = (energy.states(side, 0, energy.num_states(side)) for side in (0, 1))
    mean = torch.linspace(0.2, 0.7, even.shape[1], dtype=torch.float64, device=device)
    path = BaseRatePath(energy, mean)
    grid = -beta * energy.energy(even.unsqueeze(1), odd.unsqueeze(0)) + (1 - beta) * (even @ mean.logit()).unsqueeze(1)
    expected = torch.logsumexp(grid, 1)
    testing.check_close(path.log_density(even, beta), expected, "log f")
    if beta == 0:
        testing.check_close(path.log_base_partition(), torch.logsumexp(expected, 0).detach(), "log Z of the base")
        drawn = path.sample_base(20_000)
    else:
        law = torch.softmax(expected.detach(), 0)
        with torch.no_grad():
            drawn = path.move(even[torch.multinomial(law, 20_000, replacement=True)], beta)
    order = torch.zeros_like(expected).index_copy(0, state_index(even), torch.softmax(expected, 0))
    testing.check_frequencies(state_index(drawn), order, "one move from exact draws")


class _Estimate:
    def __init__(self, value: float, fingerprint: str) -> None:
        self.value, self.fingerprint = value, fingerprint


def test_what_is_not_known_raises() -> None:
    """Catches an unnormalised or stale number handed out as a log-density."""
    machine = testing.boltzmann_machine((3, 2))
    value = torch.zeros(5, dtype=torch.float64)
    for law, given in ((machine, value), (machine.marginal("layer0"), value[:3])):
        with pytest.raises(ValueError, match=r"machine\.with_log_partition\(ppgen\.evaluation\.log_partition"):
            law.log_prob(given)
        with pytest.raises(ValueError, match=r'machine\.with_sampler\("exact"\)'):
            law.sample()
    known = normalised(machine)
    estimate = _Estimate(3.0, machine.fingerprint())
    attached = machine.with_log_partition(estimate)
    assert attached.log_prob(value).item() == pytest.approx(-3.0) and known.log_prob(value).isfinite()
    with torch.no_grad():
        machine.parameters()[-1].add_(0.1)
    for stale in (known, attached, known.marginal("layer1")):
        with pytest.raises(ValueError, match="changed after log Z was attached"):
            stale.log_prob(value[: stale.event_shape[0]])
    with pytest.raises(ValueError, match="estimated for other weights"):
        machine.with_log_partition(estimate)
    with pytest.raises(ValueError, match=r"method=\"ais\""):
        testing.boltzmann_machine((12, 11)).exact_log_partition(max_states=2**10)


def test_bad_arguments() -> None:
    """Catches a bad shape or name that fails somewhere deep, or not at all."""
    bias = Bernoulli(torch.zeros(3)), Bernoulli(torch.zeros(2))
    with pytest.raises(ValueError, match=r"layers 'a' and 'b' needs weights of shape \(3, 2\), got \(2, 3\)"):
        BoltzmannMachine(dict(zip("ab", bias, strict=True)), [Dense(torch.zeros(2, 3))])
    with pytest.raises(ValueError, match="at least two layers and one coupling.*got 2 layers and 0"):
        BoltzmannMachine(dict(zip("ab", bias, strict=True)), [])
    machine = testing.boltzmann_machine((3, 2, 2))
    with pytest.raises(ValueError, match=r"machine\.marginal\(\['layer0', 'layer2'\]\)"):
        machine.marginal("layer0")
    with pytest.raises(ValueError, match="Unknown layer 'top'. Layers: layer0, layer1, layer2"):
        machine.conditional("top", torch.zeros(2))
    with pytest.raises(ValueError, match="has neighbours"):
        machine.conditional("layer1", torch.zeros(3))
    with pytest.raises(ValueError, match=r"misses the values of layers \['layer2'\]"):
        machine.conditional("layer1", {"layer0": torch.zeros(3)})
    with pytest.raises(ValueError, match="sweeps must be at least 1, got 0"):
        GibbsSampler(sweeps=0)
    with pytest.raises(ValueError, match="Unknown sampler 'magic'. Known: exact, gibbs"):
        machine.with_sampler("magic")


class _Table(dist.TorchDistribution):
    """A law over listed states, one for each row."""

    arg_constraints: dict = {}  # noqa: RUF012
    support = dist.constraints.independent(dist.constraints.boolean, 1)
    has_enumerate_support = False

    def __init__(self, states: Tensor, logits: Tensor) -> None:
        self.states, self.logits = states, logits.log_softmax(-1)
        super().__init__(logits.shape[:-1], states.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Size, _instance: Any = None) -> "_Table":
        return _Table(self.states, self.logits.expand(*batch_shape, -1))

    def sample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008
        index = dist.Categorical(logits=self.logits).sample(sample_shape)
        return self.states[index]

    def log_prob(self, value: Tensor) -> Tensor:
        index = (value.unsqueeze(-2) == self.states).all(-1).long().argmax(-1)
        return self.logits.expand(*index.shape, -1).gather(-1, index.unsqueeze(-1)).squeeze(-1)


class _PriorProgram(nn.Module):
    """z from a side of a machine (or all of it), x | z by a linear decoder; the guide is the enumerated posterior."""

    def __init__(self, place: str) -> None:
        super().__init__()
        machine = testing.boltzmann_machine((3, 2))
        self.bias, self.hidden_bias, self.weight = (nn.Parameter(each.detach()) for each in machine.parameters())
        self.decoder = nn.Parameter(torch.tensor([[1.2, -0.7], [0.4, 0.9], [-1.5, 0.3]], dtype=torch.float64))
        self.place = place

    def law(self) -> Any:
        layers = {"low": Bernoulli(self.bias), "high": Bernoulli(self.hidden_bias)}
        machine = BoltzmannMachine(layers, [Dense(self.weight)])
        return machine if self.place == "joint" else machine.marginal(self.place)

    def logits(self, z: Tensor) -> Tensor:
        return z @ (self.decoder[: z.shape[-1]] if z.shape[-1] < 5 else torch.cat([self.decoder, self.decoder[:2]]))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.law())
            pyro.sample("x", dist.Bernoulli(logits=self.logits(z)).to_event(1), obs=x)

    def table(self, x: Tensor) -> tuple[Tensor, Tensor]:
        law = self.law()
        index = torch.arange(2 ** law.event_shape[0], device=x.device).unsqueeze(-1)
        states = ((index >> torch.arange(law.event_shape[0], device=x.device)) & 1).to(x)
        likelihood = dist.Bernoulli(logits=self.logits(states)).to_event(1).log_prob(x.unsqueeze(-2))
        return states, law.unnormalised(states) + likelihood

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", _Table(*self.table(x)), infer={"posterior": "exact"})


@pytest.mark.parametrize("place", ["low", "high", "joint"])
@pytest.mark.parametrize("phase", ["exact", "pcd"])
def test_prior_of_a_directed_program(place: str, phase: str, device: torch.device) -> None:
    """Catches a log Z whose gradient is lost, doubled or counted per particle when the machine is a prior."""
    module = _PriorProgram(place).to(device)
    x = torch.tensor([[1.0, 0], [1, 1], [0, 1], [1, 0]], dtype=torch.float64, device=device)
    pair = Pair(module.model, module.guide)
    states, _ = module.table(x)
    log_partition = torch.logsumexp(module.law().unnormalised(states), 0)
    evidence = (torch.logsumexp(module.table(x)[1], -1) - log_partition).mean()
    names = [name for name, _ in pair.named_parameters()]
    exact = dict(zip(names, torch.autograd.grad(-evidence, list(pair.parameters())), strict=True))
    if phase == "exact":
        for objective in (inference.ELBO(), inference.IWELBO(num_particles=3)):
            chosen = inference.Inference(objective, negative_phase=inference.ExactPartition())
            result = chosen.bind(pair, x, num_data=4).step(x)
            testing.check_close(result.value, evidence.detach(), "log p(x)")
            for name in names:
                testing.check_close(result.gradients[name], exact[name], f"gradient in {name}")
        return
    chosen = inference.Inference(inference.ELBO(), negative_phase=inference.PCD(num_chains=300, centred=False))
    bound = chosen.bind(pair, x, num_data=4)
    layers = {"low": Bernoulli(module.bias), "high": Bernoulli(module.hidden_bias)}
    low = BoltzmannMachine(layers, [Dense(module.weight)]).marginal("low").with_sampler("exact")
    results = []
    for chains in low.sample(Size([60, 300])):
        bound.load_state({"z.chains": chains})
        results.append(bound.step(x).gradients)
    for name in names:
        testing.check_mean(torch.stack([each[name] for each in results]), exact[name], f"PCD gradient in {name}")


def test_undirected_prior_needs_a_negative_phase() -> None:
    """Catches a machine trained without its log Z; and a negative phase given where there is nothing to do."""
    module, x = _PriorProgram("low"), torch.tensor([[1.0, 0]], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"'z' is undirected.*inference\.PCD\(\)"):
        inference.Inference(inference.ELBO()).bind(Pair(module.model, module.guide), x, num_data=1)
    with pytest.raises(ValueError, match="no undirected site"):
        chosen = inference.Inference(inference.ELBO(), negative_phase=inference.CD())
        chosen.bind(testing.conjugate_pair(), x[0], num_data=2)


def test_a_site_of_several_machines_is_undirected() -> None:
    """Catches `.to_event` around a machine, behind which its unknown log Z is overlooked."""
    law = testing.boltzmann_machine((3, 2)).marginal("layer0").expand(Size([2])).to_event(1)
    x = torch.randint(2, (5, 2, 3)).double()

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", law, obs=x)

    pair = Pair(model, lambda x: None)
    assert inference.find_layout(pair, x).undirected == ("x",)
    with inference.attach(log_partition=0.5):
        weights = inference.log_weights(pair, x).local[0]
    torch.testing.assert_close(weights, -law.base_dist.base_energy.free_energy(x, 0).sum(-1) - 1.0)


def test_values_of_another_dtype() -> None:
    """Catches bits in single precision that a machine in double precision has no product with."""
    machine = normalised(testing.boltzmann_machine((3, 2)))
    bits = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 1, 0, 1]])
    for dtype in (torch.float32, torch.long):
        value, double = bits.to(dtype), bits.double()
        for law in (machine, machine.marginal("layer0")):
            size = law.event_shape[0]
            assert torch.equal(law.log_prob(value[:, :size]), law.log_prob(double[:, :size]))
        assert torch.equal(machine.free_energy(value[:, :3], "layer0"), machine.free_energy(double[:, :3], "layer0"))
        given = [machine.conditional("layer1", given=each[:, :3]).mean for each in (value, double)]
        means = [machine.mean_field({"layer0": each[:, :3]})["layer1"] for each in (value, double)]
        assert torch.equal(*given) and torch.equal(*means)
        assert machine.gibbs(value[:, :3], side="layer0").dtype == torch.float64


NAN = float("nan")


@pytest.mark.parametrize(
    ("units", "value", "error", "message"),
    [
        (Categorical(torch.zeros(2, 3)), [NAN, 1, 0, NAN, NAN, NAN], ValueError, "a part of a group of 3 Categorical"),
        (Categorical(torch.zeros(2, 3)), [1, 1, 0, NAN, NAN, NAN], ValueError, "Categorical units cannot have: one of"),
        (MaxPooled(torch.zeros(2, 2)), [NAN, 1, 0, 0], ValueError, "a part of a group of 2 MaxPooled"),
        (MaxPooled(torch.zeros(2, 2)), [1, 1, NAN, NAN], ValueError, "MaxPooled units cannot have: at most one"),
        (Multinomial(torch.zeros(3), 4), [5, 0, 0], ValueError, "documents of other lengths"),
        (Gaussian(torch.zeros(2)), [float("inf"), 0], ValueError, "holds inf, which is no value of Gaussian"),
        (Bernoulli(torch.zeros(2)), "x", TypeError, r"given\['a'\] must be a tensor of 2 values.*got str"),
    ],
)
def test_what_cannot_be_given_is_refused(units: Any, value: Any, error: type[Exception], message: str) -> None:
    """Catches values that go through and make the log Z of no law."""
    layers = {"a": units, "b": Bernoulli(torch.zeros(2))}
    machine = BoltzmannMachine(layers, [Dense(torch.zeros(units.size, 2))])
    with pytest.raises(error, match=message):
        machine.condition({"a": torch.tensor(value) if isinstance(value, list) else value})


def test_layers_given_in_turn() -> None:
    """Catches units that are set free, or counted twice, by what is given later; and rows that do not fit."""
    machine = testing.boltzmann_machine((4, 2))
    first, second = torch.tensor([1.0, 0.0, NAN, NAN]), torch.tensor([NAN, NAN, 1.0, NAN])
    turns = machine.condition({"layer0": first}).condition({"layer0": second})
    both = machine.condition({"layer0": torch.where(first.isnan(), second, first)})
    testing.check_close(turns.exact_log_partition(), both.exact_log_partition(), "given in turn")
    with pytest.raises(ValueError, match=r"equally many rows.*\(2,\).*\(3,\)"):
        machine.condition({"layer0": torch.zeros(2, 4), "layer1": torch.zeros(3, 2)})
    with pytest.raises(TypeError, match="given must map names of layers to values.*got Tensor"):
        machine.condition(torch.zeros(4))  # type: ignore[arg-type]
