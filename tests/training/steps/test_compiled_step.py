"""What is done to a traced step before it is compiled: the optimiser joins it, repeated work and idle draws leave."""

import copy
import warnings
from collections import Counter
from functools import partial

import pyro
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

import ppgen
from ppgen import inference, models
from ppgen.graphs.passes import functional, simplify
from ppgen.graphs.products import products_in_bfloat16
from ppgen.inference.structure.collapse import collapsed
from ppgen.inference.structure.traces import sites
from ppgen.training.steps import traced_step
from ppgen.training.steps.traced_step import TracedStep
from ppgen.training.steps.updates import Update, make_update

BITS = (torch.rand(40, 12, generator=torch.Generator().manual_seed(3)) < 0.3).float()

OPTIMIZERS = [
    (torch.optim.Adam, {"lr": 0.01}),
    (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.9)}),
    (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    (torch.optim.SGD, {"lr": 0.1}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.01}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.5, "nesterov": True}),
]


@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize(("cls", "options"), OPTIMIZERS, ids=str)
def test_updates_are_those_of_the_optimizer(cls, options, clip_norm) -> None:
    """Catches a wrong bias correction, decay, momentum or clipping, and counters that stand still."""
    generator = torch.Generator().manual_seed(1)
    first = {"a": nn.Parameter(torch.randn(3, 2, generator=generator)), "b": nn.Parameter(torch.ones(4))}
    second = copy.deepcopy(first)
    optimizers = [cls(list(parameters.values()), **options) for parameters in (first, second)]
    update = make_update(optimizers[1], second, clip_norm)
    assert update is not None
    for step in range(6):
        gradients = [torch.randn(value.shape, generator=generator) for value in first.values()]
        for parameters, optimizer in zip((first, second), optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = options["lr"] / (1 + step)
            if parameters is second and update.ready(list(second)):
                with torch.no_grad():
                    update.apply(
                        list(second.values()), gradients, update.slots(list(second)), update.numbers(list(second))
                    )
                continue
            for value, gradient in zip(parameters.values(), gradients, strict=True):
                value.grad = gradient.clone()
            if clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(list(parameters.values()), clip_norm)
            optimizer.step()
    for name in first:
        torch.testing.assert_close(second[name], first[name])
    states = [optimizer.state_dict()["state"] for optimizer in optimizers]
    torch.testing.assert_close(states[1], states[0])


def test_other_optimizers_stay_beside_the_graph() -> None:
    """Catches an optimiser whose step the graph would replace by another one's."""
    value = nn.Parameter(torch.ones(2))
    assert not Update.supports(torch.optim.RMSprop([value]))
    assert not Update.supports(torch.optim.Adam([value], amsgrad=True))
    assert not Update.supports(torch.optim.Adam([{"params": [value], "lr": 0.1}, {"params": [nn.Parameter(value)]}]))
    assert make_update(torch.optim.SGD([value], maximize=True), {"value": value}, None) is None
    hooked = torch.optim.SGD([value])
    hooked.register_step_post_hook(lambda *_: None)
    assert not Update.supports(hooked)


def test_parameters_that_the_optimizer_does_not_own_stay() -> None:
    """Catches a graph that moves what the user's own optimiser was not given."""
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    update = make_update(torch.optim.SGD([first]), {"first": first, "second": second}, None)
    assert update is not None
    assert update.ready(["first"])
    assert not update.ready(["first", "second"])


def test_the_step_size_is_that_of_the_optimizer_after_its_state_was_loaded() -> None:
    """Catches a resumed run whose compiled steps keep the step size of the start, whatever the schedule says."""
    value = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([value], lr=0.1)
    update = make_update(optimizer, {"value": value}, None)
    assert update is not None
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.param_groups[0]["lr"] = 0.025
    assert float(update.numbers(["value"])[0]) == 0.025


def _by_graph(program, inputs, **options):
    """In the place of the compiler: the graph that it is given."""
    flat, spec = tree_flatten(inputs)
    module = functional(lambda *leaves: tree_leaves(program(*tree_unflatten(leaves, spec))), flat)

    def run(*arguments):
        with torch.no_grad():
            return list(module(*tree_leaves(arguments)))

    return run


def test_a_changed_momentum_counts_in_compiled_steps(monkeypatch) -> None:
    """Catches a momentum that a callback raises, as is usual for Boltzmann machines, and a graph keeps at its start."""
    monkeypatch.setattr(traced_step, "compiled", _by_graph)
    weights = []
    for compile in (False, True):
        made = []

        def optimizer(parameters, made=made):
            made.append(torch.optim.SGD(parameters, lr=0.1, momentum=0.5))
            return made[0]

        def raise_momentum(event, made=made):
            if event.kind == "epoch" and event.epoch == 2:
                made[0].param_groups[0]["momentum"] = 0.9

        torch.manual_seed(5)
        pair = models.RBM(12, 4)
        options = {"optimizer": optimizer, "callbacks": [raise_momentum], "progress": False}
        run = ppgen.fit(pair, BITS[:32], "cd", epochs=5, batch_size=16, compile=compile, **options)
        weights.append(list(pair.state_dict().values()))
    assert run.state["execution"]["stage"] == "compiled"
    for eager, compiled in zip(*weights, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_machine_code_is_for_the_usual_batch(monkeypatch) -> None:
    """Catches a run that compiles for the ragged batch which its second step happens to take, and for no other."""
    sizes = []

    def compiled(program, inputs, **options):
        sizes.append(len(inputs[2][-1]))  # the index of the rows
        return _by_graph(program, inputs)

    monkeypatch.setattr(traced_step, "compiled", compiled)
    run = ppgen.fit(models.VAE(12, 3, (5,)), BITS, "elbo", epochs=3, batch_size=25, compile=True, progress=False)
    assert sizes == [25]
    assert run.state["execution"]["stage"] == "compiled"


def test_compiling_copies_no_data(monkeypatch) -> None:
    """Catches a trial run of the machine code on a second copy of all rows."""
    seen = []
    data = BITS.clone()

    def compiled(program, inputs, **options):
        run = _by_graph(program, inputs)
        return lambda *arguments: [seen.append(arguments[2][0].data_ptr()), *run(*arguments)][1:]

    monkeypatch.setattr(traced_step, "compiled", compiled)
    pair = ppgen.Pair(*_mean_model())
    ppgen.fit(pair, data, "elbo", steps=4, batch_size=20, compile=True, progress=False)
    assert set(seen) == {data.data_ptr()}


def _mean_model():
    def model(x: Tensor) -> None:
        mean = pyro.param("mean", torch.zeros(12))
        with pyro.plate("data", len(x)):
            pyro.sample("x", pyro.distributions.Normal(mean, 1.0).to_event(1), obs=x)

    return model, lambda x: None


def _simplified(phase: inference.NegativePhase) -> Counter:
    rbm = models.RBM(12, 4)
    rbm.prepare(BITS)
    bound = inference.resolve(phase, rbm).bind(rbm, BITS, len(BITS))
    bound.step(BITS)
    traced = TracedStep(bound, dict(rbm.named_parameters()))
    graph = traced.graph(BITS)
    inputs = [list(traced.parameters.values()), list(bound.state.values()), [BITS]]
    module = simplify(functional(graph.module, inputs))
    return Counter(str(node.target) for node in module.graph.nodes)


def test_a_step_of_pcd_is_five_matrix_products() -> None:
    """Catches a product that is done twice: two hidden inputs, one visible input and two gradients are needed."""
    counts = _simplified(inference.PCD(num_chains=7, centred=False))
    assert counts["aten.mm.default"] == 5
    assert counts["aten.rand.generator"] + counts["aten.rand.default"] == 2
    assert counts["aten.softplus.default"] == 1  # of the data: the value of the chains' surrogate is zero
    assert _simplified(inference.PCD(num_chains=7))["aten.mm.default"] == 5


def test_two_draws_are_never_one() -> None:
    """Catches noise that is shared between sites because its shape is."""

    def program(x: Tensor) -> Tensor:
        return (x * 2 + torch.rand(5)) - (x * 2 + torch.rand(5)) * torch.rand(5).add_(1)

    module = simplify(functional(program, [torch.ones(5)]))
    counts = Counter(str(node.target) for node in module.graph.nodes)
    assert counts["aten.rand.default"] == 3 and counts["aten.mul.Tensor"] == 2
    torch.manual_seed(0)
    expected = program(torch.ones(5))
    torch.manual_seed(0)
    assert torch.equal(module(torch.ones(5)), expected)


def test_products_in_bfloat16_move_the_chains_as_float64_does(monkeypatch) -> None:
    """Catches steps in bfloat16 that stray from float64 by more than their products are rounded: on the same uniforms
    a unit differs with a probability of at most |input| / 4 times 2^-9."""
    torch.manual_seed(2)
    pair = models.RBM(12, 4)
    with torch.no_grad():
        for parameter in pair.parameters():  # as the factors of a product are rounded
            parameter.copy_(torch.randn(parameter.shape).bfloat16())
    exact = copy.deepcopy(pair).double()
    rand, sweeps, num_chains = torch.rand, 2, 2000

    def same(*shape, dtype=None, **options) -> Tensor:
        return rand(*shape, dtype=torch.float32, **options).to(dtype)

    results = []
    for each in (pair, exact):
        monkeypatch.setattr(torch, "rand", same if each is exact else rand)
        like = next(each.parameters())
        torch.manual_seed(3)
        each.prepare(BITS.to(like))
        phase = inference.PCD(k=sweeps, num_chains=num_chains, centred=False)
        bound = inference.resolve(phase, each).bind(each, BITS.to(like), len(BITS))
        bound.step(BITS.to(like))  # makes the chains
        if each is pair:
            state = dict(bound.state)
        bound.load_state({name: value.to(like) for name, value in state.items()})
        step = bound.step
        if each is pair:
            traced = TracedStep(bound, dict(each.named_parameters()), bfloat16=True)
            traced.faithful = True
            step = partial(traced, compiled=True)
        with torch._inductor.config.patch(fallback_random=True), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's own imports
            if each is pair:
                traced.compile(BITS)
            torch.manual_seed(4)
            results.append((step(BITS.to(like)), bound.state["hidden.chains"]))
    (rough, moved), (fine, expected) = results
    differing = int((moved.double() != expected).any(1).sum())
    inputs = sum(float(2 * each.detach().abs().sum()) for each in pair.parameters() if each.dim() == 2)
    most = num_chains * sweeps * inputs / 4 * 2**-9
    assert differing < most + 4 * most**0.5
    for name, gradient in fine.gradients.items():
        noise = 4 * (0.25 * 2 * differing) ** 0.5 / num_chains  # of chains that moved elsewhere
        torch.testing.assert_close(rough.gradients[name].double(), gradient, rtol=0.0, atol=2**-8 + noise)


def test_products_in_bfloat16() -> None:
    """Catches products that stay in float32, and anything else that is rounded."""
    x, weight, bias = torch.randn(3, 300), torch.randn(300, 4), torch.full((4,), 1.001)
    module = functional(lambda x, weight, bias: torch.addmm(bias, x, weight), [x, weight, bias])
    rounded = products_in_bfloat16(module)(x, weight, bias)
    expected = (x.bfloat16().double() @ weight.bfloat16().double()).bfloat16().float() + bias
    torch.testing.assert_close(rounded, expected, rtol=2**-7, atol=0.1)
    assert not torch.equal(rounded, torch.addmm(bias, x, weight))
    zeros = products_in_bfloat16(functional(lambda x, b: torch.addmm(b, x, weight * 0), [x, bias]))(x, bias)
    assert torch.equal(zeros, bias.expand(3, 4))


def test_noise_written_into_a_buffer_is_not_shared() -> None:
    """Catches noise written twice into one buffer, because two empty ones of a shape were taken for equal."""

    def program(x: Tensor) -> Tensor:
        return (torch.empty(5).normal_() - torch.empty(5).normal_()) * x

    module = simplify(functional(program, [torch.ones(5)]))
    torch.manual_seed(4)
    expected = program(torch.ones(5))
    torch.manual_seed(4)
    assert torch.equal(module(torch.ones(5)), expected) and expected.abs().min() > 0


def _sites(rbm: models.RBM, x: Tensor, given: Tensor) -> tuple[dict, dict]:
    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("hidden", rbm.machine().conditional("hidden", given=given), infer={"posterior": "exact"})

    with rbm.running(), inference.attach(log_partition=0.0):
        guide_trace = pyro.poutine.trace(guide).get_trace(x)
        model_trace = pyro.poutine.trace(pyro.poutine.replay(rbm.model, trace=guide_trace)).get_trace(x)
    return sites(model_trace), sites(guide_trace)


def test_hidden_units_are_summed_out_only_where_that_is_certain() -> None:
    """Catches a guide that conditions on other values, or on another machine, and is taken for the posterior."""
    rbm = models.RBM(12, 4)
    found = collapsed(*_sites(rbm, BITS, BITS))
    assert set(found) == {"hidden"} and found["hidden"][1] == {"visible"}
    torch.testing.assert_close(found["hidden"][0], -rbm.machine().free_energy(BITS))
    assert not collapsed(*_sites(rbm, BITS, 1 - BITS))
    model_sites, guide_sites = _sites(rbm, BITS, BITS)
    other = _sites(models.RBM(12, 4), BITS, BITS)[1]
    other["hidden"]["value"] = model_sites["hidden"]["value"]
    assert not collapsed(model_sites, other)
    guide_sites["hidden"]["scale"] = 2.0
    assert not collapsed(model_sites, guide_sites)


def test_a_compiled_run_equals_an_eager_one(monkeypatch) -> None:
    """Catches an optimiser step inside the graph that is lost, doubled or taken with the step size of another step."""
    weights = []
    monkeypatch.setattr(TracedStep, "faithful", True)
    with torch._inductor.config.patch(fallback_random=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler's own imports
        for compile in (False, True):
            torch.manual_seed(5)
            pair = models.RBM(12, 4)
            run = ppgen.fit(pair, BITS[:32], "pcd", epochs=4, batch_size=16, compile=compile, progress=False)
            weights.append(list(pair.state_dict().values()))
    assert run.state["execution"]["stage"] == "compiled"
    for eager, compiled in zip(*weights, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5, equal_nan=True)
