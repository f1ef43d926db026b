"""Exact, CD and PCD gradients against theory: enumeration, transition matrices, centred parametrisations."""

from collections.abc import Sequence
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor

from ppgen import inference, testing
from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
from ppgen.inference.negative_phases.centring import centred_gradients, updated_offsets
from ppgen.models import RBM
from ppgen.testing.examples import state_index

X = torch.tensor([[1.0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 1], [1, 0, 0, 0]], dtype=torch.float64)
NAMES = ("weight", "visible_bias", "hidden_bias")


def make_rbm(device: torch.device | str = "cpu") -> RBM:
    bias, hidden_bias, weight = (each.detach() for each in testing.boltzmann_machine((4, 3)).parameters())
    return RBM.from_arrays(weight, bias, hidden_bias).to(device)


def bind(rbm: RBM, phase, x: Tensor, objective=None):
    chosen = inference.Inference(objective or inference.ELBO(), negative_phase=phase)
    return chosen.bind(rbm, x, num_data=len(x))


def log_evidence(rbm: RBM, x: Tensor) -> Tensor:
    """log p(v) of each row by summing all 2^7 joint states: (rows,)."""
    states, log_weights = testing.enumerated(rbm.machine())
    same = (states[:, :4].unsqueeze(0) == x.unsqueeze(1)).all(-1)
    masked = torch.where(same, log_weights, torch.full_like(log_weights, -torch.inf))
    return torch.logsumexp(masked, 1) - torch.logsumexp(log_weights, 0)


def gradient(value: Tensor, rbm: RBM) -> dict[str, Tensor]:
    parameters = [getattr(rbm, name) for name in NAMES]
    return dict(zip(NAMES, torch.autograd.grad(value, parameters), strict=True))


def free_energy(rbm: RBM, v: Tensor) -> Tensor:
    hidden = torch.nn.functional.softplus(rbm.hidden_bias + v @ rbm.weight).sum(-1)
    return -(v @ rbm.visible_bias) - hidden


def transition(rbm: RBM) -> tuple[Tensor, Tensor]:
    """Every visible state, and the matrix of one sweep v -> h -> v' by enumeration: (16, 4), (16, 16)."""
    with torch.no_grad():
        bits = torch.arange(16, device=rbm.weight.device)
        v = torch.stack([(bits >> shift) & 1 for shift in (3, 2, 1, 0)], -1).to(rbm.weight)
        h = torch.stack([(bits[:8] >> shift) & 1 for shift in (2, 1, 0)], -1).to(rbm.weight)
        to_h = torch.sigmoid(rbm.hidden_bias + v @ rbm.weight)
        to_v = torch.sigmoid(rbm.visible_bias + h @ rbm.weight.mT)
        given_v = torch.where(h.bool(), to_h.unsqueeze(1), 1 - to_h.unsqueeze(1)).prod(-1)
        given_h = torch.where(v.bool(), to_v.unsqueeze(1), 1 - to_v.unsqueeze(1)).prod(-1)
        return v, given_v @ given_h


def collect(bound, x: Tensor, count: int, state: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    results = []
    for _ in range(count):
        if state is not None:
            bound.load_state({name: value() if callable(value) else value for name, value in state.items()})
        results.append(bound.step(x).gradients)
    return {name: torch.stack([each[name] for each in results]) for name in NAMES}


@pytest.mark.parametrize("objective", [inference.ELBO(), inference.ELBO(3), inference.IWELBO(4)], ids=str)
def test_exact_gradient_without_noise(objective, device: torch.device) -> None:
    """Catches a score term at the exact posterior, a stale h, or an RBM whose bound is not log p(x) for every h."""
    rbm, x = make_rbm(device), X.to(device)
    bound = bind(rbm, inference.ExactPartition(), x, objective)
    evidence = log_evidence(rbm, x).mean()
    exact = gradient(-evidence, rbm)
    results = [bound.step(x) for _ in range(20)]
    for result in results:
        testing.check_close(result.value, evidence.detach(), "value")
        for name in NAMES:
            testing.check_close(result.gradients[name], exact[name], f"gradient in {name}")
    for name in NAMES:
        assert torch.stack([result.gradients[name] for result in results]).std(0).max() < 1e-12
    assert bound.normalised and bound.state == {}


def test_log_weight_for_every_hidden_state() -> None:
    """Catches a log-weight that depends on h: then the RBM would be no true pair."""
    rbm = make_rbm()
    evidence, per_state = log_evidence(rbm, X), []
    for h in range(8):
        value = torch.tensor([(h >> shift) & 1 for shift in (2, 1, 0)], dtype=torch.float64).expand(len(X), 3)
        with inference.attach(log_partition=rbm.machine().exact_log_partition()):
            guide = poutine.trace(poutine.condition(rbm.guide, {"hidden": value})).get_trace(X)
            model = poutine.trace(poutine.condition(rbm.model, {"hidden": value})).get_trace(X)
        for trace in (guide, model):
            trace.compute_log_prob()
        log_weight = sum(model.nodes[site]["log_prob"] for site in ("hidden", "visible"))
        log_weight = log_weight - guide.nodes["hidden"]["log_prob"]
        testing.check_close(log_weight, evidence, f"log-weight at h = {h}", atol=1e-12)
        gradients = gradient(log_weight.mean(), rbm)
        per_state.append(torch.cat([gradients[name].flatten() for name in NAMES]))
    pyro.clear_param_store()
    assert torch.stack(per_state).std(0).max() < 1e-12


@pytest.mark.parametrize("k", [1, 2, 3])
def test_cd_expected_gradient(k: int, device: torch.device) -> None:
    """Catches a sweep too many or too few, chains that do not start at the data, means in the place of bits."""
    rbm, x = make_rbm(device), X.to(device)
    v, sweep = transition(rbm)
    ends = torch.linalg.matrix_power(sweep, k)[state_index(x)]  # (rows, 16)
    exact = gradient(free_energy(rbm, x).mean() - (ends @ free_energy(rbm, v)).mean(), rbm)
    many = x.repeat(50, 1)  # more chains a step: the same expectation, fewer steps
    draws = collect(bind(rbm, inference.CD(k=k, centred=False), many), many, 60)
    for name in NAMES:
        testing.check_mean(draws[name], exact[name], f"CD-{k} gradient in {name}")


@pytest.mark.parametrize(("num_chains", "rows"), [(200, 5), (30, 2), (1, 5)])
def test_pcd_from_exact_chains(num_chains: int, rows: int, device: torch.device) -> None:
    """Catches chains and rows divided by one count, which a ragged batch or few chains would show."""
    rbm, x = make_rbm(device), X[:rows].to(device)
    bound = bind(rbm, inference.PCD(num_chains=num_chains, centred=False), X.to(device))
    exact = gradient(-log_evidence(rbm, x).mean(), rbm)
    count = 60 if num_chains > 1 else 400
    chains = iter(rbm.machine().marginal("visible").with_sampler("exact").sample(torch.Size([count, num_chains])))
    draws = collect(bound, x, count, {"hidden.chains": lambda: next(chains)})
    for name in NAMES:
        testing.check_mean(draws[name], exact[name], f"PCD gradient in {name}")
    assert not bound.normalised and bound.state["hidden.chains"].shape == (num_chains, 4)


def test_state_of_another_site_is_refused() -> None:
    """Catches chains of one model loaded into another."""
    bound = bind(make_rbm(), inference.PCD(num_chains=3), X)
    with pytest.raises(ValueError, match=r"holds 'prior.chains', but the undirected sites are \['hidden'\]"):
        bound.load_state({"prior.chains": torch.zeros(3, 4)})


@pytest.mark.parametrize(
    ("left_by", "phase", "missing"),
    [
        (inference.CD(), inference.PCD(num_chains=3), r"PCD goes on from \['chains'\]"),
        (inference.PCD(num_chains=3), inference.TemperedPCD(num_chains=3), "'hot_chains', 'ladder'"),
        (inference.PCD(), inference.PCD(log_partition_chains=10), "'weighted_chains'"),
    ],
)
def test_state_of_another_inference_is_refused(left_by: Any, phase: Any, missing: str) -> None:
    """Catches a state without the chains that the next step asks for by name."""
    first, second = (bind(make_rbm(), each, X) for each in (left_by, phase))
    first.step(X)
    with pytest.raises(ValueError, match=f"{missing}.*left by another inference"):
        second.load_state(first.state)
    second.load_state({})
    second.step(X)


@pytest.mark.parametrize("shape", [(3, 5), (0, 4), (4,)])
def test_chains_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    """Catches chains of a machine of another size, which end in an error of tensor shapes at the next step."""
    bound = bind(make_rbm(), inference.PCD(num_chains=3), X)
    with pytest.raises(ValueError, match=r"chains of shape \(.*site 'hidden'.*needs \(chains, 4\).*another machine"):
        bound.load_state({"hidden.chains": torch.zeros(shape)})
    bound.load_state({"hidden.chains": torch.zeros(2, 4, dtype=torch.float64)})
    bound.step(X)


def plain_biases(
    weights: Sequence[Tensor], centred_biases: Sequence[Tensor], offsets: Sequence[Tensor]
) -> list[Tensor]:
    """b_l = beta_l - W_l m_{l+1} - W_{l-1}' m_{l-1}: plain biases of a machine with offsets m."""
    result = list(centred_biases)
    for layer, weight in enumerate(weights):
        result[layer] = result[layer] - weight @ offsets[layer + 1]
        result[layer + 1] = result[layer + 1] - weight.mT @ offsets[layer]
    return result


def test_centred_gradient_is_that_of_centred_parameters() -> None:
    """Catches an offset of the wrong side, a sign, or W' where W belongs, in machines of two and three layers."""
    for sizes in ((4, 3), (3, 2, 4)):
        machine = testing.boltzmann_machine(sizes)
        weights = [
            each.detach().clone() for coupling in machine.base_energy.couplings for each in coupling.parameters()
        ]
        biases = [each.detach().clone() for units in machine.base_energy.units for each in units.parameters()]
        offsets = [torch.rand(size, dtype=torch.float64) for size in sizes]

        # beta such that plain(...) gives the machine's biases; then the step in (W, beta) is carried back to b.
        zero_biases = plain_biases(weights, [torch.zeros_like(bias) for bias in biases], offsets)
        beta = [(bias - shift).requires_grad_() for bias, shift in zip(biases, zero_biases, strict=True)]
        leaves = [weight.requires_grad_() for weight in weights]
        again = build(leaves, plain_biases(leaves, beta, offsets))
        states, log_weights = testing.enumerated(again)
        target = (log_weights * torch.linspace(-1, 2, len(states), dtype=torch.float64).softmax(0)).sum()
        target = target - torch.logsumexp(log_weights, 0)
        steps = torch.autograd.grad(target, [*leaves, *beta])
        # The map from (W, beta) to b is linear, so half a difference is its differential along the step.
        forward, backward = (
            plain_biases(
                [w + sign * step for w, step in zip(leaves, steps[: len(leaves)], strict=True)],
                [b + sign * step for b, step in zip(beta, steps[len(leaves) :], strict=True)],
                offsets,
            )
            for sign in (1, -1)
        )
        expected = [(up - down).detach() / 2 for up, down in zip(forward, backward, strict=True)]

        flat_biases = [each.detach().requires_grad_() for each in biases]
        flat_weights = [each.detach().requires_grad_() for each in leaves]
        machine = build(flat_weights, flat_biases)
        states, log_weights = testing.enumerated(machine)
        target = (log_weights * torch.linspace(-1, 2, len(states), dtype=torch.float64).softmax(0)).sum()
        target = target - torch.logsumexp(log_weights, 0)
        parameters = [*flat_weights, *flat_biases]
        plain_gradients = torch.autograd.grad(target, parameters)
        state = {
            "even_offset": torch.cat(offsets[0::2]),
            "odd_offset": torch.cat(offsets[1::2]),
        }
        by_id = {id(p): g for p, g in zip(parameters, plain_gradients, strict=True)}
        found = centred_gradients(machine.base_energy, state, by_id)
        for index, (p, e) in enumerate(zip(parameters, [*steps[: len(leaves)], *expected], strict=True)):
            testing.check_close(found[id(p)], e, f"centred gradient {index} of {machine}")
        along = sum((found[id(p)] * by_id[id(p)]).sum() for p in parameters)
        assert along > 0  # J J' is positive: a step uphill stays a step uphill
        still = centred_gradients(machine.base_energy, state, {i: torch.zeros_like(g) for i, g in by_id.items()})
        assert all(not each.any() for each in still.values())


@pytest.mark.parametrize("flipped", [0, 1, 2])
def test_flipped_bits_change_nothing(flipped: int) -> None:
    """Catches a centred step that depends on which of two values is called 1: the plain gradient's step does."""
    generator = torch.Generator().manual_seed(3)
    sizes = (3, 2, 4)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    weights, biases = [random(3, 2), random(2, 4)], [random(size) for size in sizes]
    offsets = [torch.rand(size, generator=generator, dtype=torch.float64) for size in sizes]
    # x = 1 - x' in one layer: the same law in other bits.
    others = [-w if flipped in (index, index + 1) else w for index, w in enumerate(weights)]
    shifted = list(biases)
    shifted[flipped] = -biases[flipped]
    for index, weight in enumerate(weights):
        if index == flipped:
            shifted[index + 1] = biases[index + 1] + weight.sum(0)
        if index + 1 == flipped:
            shifted[index] = biases[index] + weight.sum(1)
    moved = [1 - each if index == flipped else each for index, each in enumerate(offsets)]
    cases = [(weights, biases, offsets), (others, shifted, moved)]
    states, _ = testing.enumerated(build(weights, biases))
    mirrored = states.clone()
    columns = slice(sum(sizes[:flipped]), sum(sizes[: flipped + 1]))
    mirrored[:, columns] = 1 - mirrored[:, columns]
    place = state_index(mirrored)  # where the state with flipped bits stands
    target = torch.rand(len(states), generator=generator, dtype=torch.float64).softmax(0)

    def laws(centred: bool) -> list[Tensor]:
        """Law after one step of each of the two machines, in the bits of the first one."""
        found = []
        for own, (each_weights, each_biases, each_offsets) in enumerate(cases):
            parameters = [each.clone().requires_grad_() for each in (*each_weights, *each_biases)]
            machine = build(parameters[:2], parameters[2:])
            log_law = testing.enumerated(machine)[1].log_softmax(0)
            gradients = torch.autograd.grad((log_law[place] if own else log_law) @ target, parameters)
            steps = {id(p): g for p, g in zip(parameters, gradients, strict=True)}
            if centred:
                state = {"even_offset": torch.cat(each_offsets[0::2]), "odd_offset": each_offsets[1]}
                steps = centred_gradients(machine.base_energy, state, steps)
            after = [(p + 0.5 * steps[id(p)]).detach() for p in parameters]
            law = testing.enumerated(build(after[:2], after[2:]))[1].log_softmax(0)
            found.append(law[place] if own else law)
        return found

    testing.check_close(*laws(centred=True), "the law after a centred step")
    plain, other = laws(centred=False)
    assert float((plain - other).abs().max()) > 1e-3


def build(weights: list[Tensor], biases: list[Tensor]) -> BoltzmannMachine:
    layers = {f"layer{index}": Bernoulli(bias) for index, bias in enumerate(biases)}
    return BoltzmannMachine(layers, [Dense(weight) for weight in weights])


def test_offsets_follow_the_means() -> None:
    """Catches offsets of the wrong side, or a rate of the old ones in the place of the new."""
    rbm = make_rbm()
    means = {"even_offset": X.mean(0), "odd_offset": torch.sigmoid(rbm.hidden_bias + X @ rbm.weight).mean(0).detach()}
    hidden = torch.sigmoid(rbm.hidden_bias + X @ rbm.weight).detach()
    state = updated_offsets(X, hidden, {}, 0.1)
    for name, mean in means.items():
        testing.check_close(state[name], mean, f"first {name}")
    moved = updated_offsets(1 - X, hidden, state, 0.1)
    testing.check_close(moved["even_offset"], 0.9 * X.mean(0) + 0.1 * (1 - X).mean(0), "moved even offset")


def test_the_visible_offset_is_the_mean_of_the_data() -> None:
    """Catches an offset that is the mean of the reconstruction where the data themselves are observed."""
    rbm = make_rbm()
    for phase in (inference.CD(), inference.PCD(num_chains=7)):
        bound = bind(rbm, phase, X)
        bound.step(X)
        testing.check_close(bound.state["hidden.even_offset"], X.mean(0), "visible offset")


def test_centred_steps_use_the_offsets() -> None:
    """Catches a step that keeps offsets and does not carry them to the gradient."""
    rbm = make_rbm()
    phase = inference.PCD(num_chains=7)
    bound = bind(rbm, phase, X)
    bound.step(X)
    state = bound.state
    assert set(state) == {"hidden.chains", "hidden.odd_chains", "hidden.even_offset", "hidden.odd_offset"}
    plain = bind(rbm, inference.PCD(num_chains=7, centred=False), X)
    plain.load_state({name: value for name, value in state.items() if "chains" in name})
    gradients = []
    for each in (bound, plain):
        torch.manual_seed(5)
        gradients.append(each.step(X).gradients)
    offsets = {name.removeprefix("hidden."): value for name, value in bound.state.items() if "offset" in name}
    expected = centred_gradients(
        rbm.machine().base_energy, offsets, {id(getattr(rbm, name)): gradients[1][name] for name in NAMES}
    )
    for name in NAMES:
        testing.check_close(gradients[0][name], expected[id(getattr(rbm, name))], f"centred gradient in {name}")
