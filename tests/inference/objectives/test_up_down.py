"""Wake-sleep where the model holds a Boltzmann machine: fantasies through an undirected site."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import ppgen
from ppgen import evaluation, inference, models, testing, training
from ppgen.distributions import UndirectedDistribution
from ppgen.testing.examples import bit_vectors, state_index

PHASES = [inference.ExactPartition(), inference.CD(k=2, centred=False), inference.PCD(num_chains=7, centred=False)]
DRAWS = 800
"""Steps of the test of gradients."""


def network() -> models.DBN:
    torch.manual_seed(1)
    dbn = models.DBN(3, (4, 2)).double()
    with torch.no_grad():
        for parameter in dbn.parameters():
            parameter.copy_(torch.randn(parameter.shape) - 0.3)
    return dbn


def log_bits(logits: Tensor, value: Tensor) -> Tensor:
    return logsigmoid(torch.where(value == 1, logits, -logits)).sum(-1)


def exact_sleep_gradient(dbn: models.DBN) -> dict[str, Tensor]:
    """Gradient of minus E_p(x, z)[log q(z | x)] in the guide, over every state of all three layers."""
    x, z, h = bit_vectors(3), bit_vectors(4), bit_vectors(2)
    up, down = dbn.encoders[0].logits.output, dbn.decoders[0].logits.output
    with torch.no_grad():
        minus_energy = (z @ dbn.top_bias).unsqueeze(1) + h @ dbn.top_hidden_bias + z @ dbn.top_weight @ h.T
        prior = minus_energy.logsumexp(1).softmax(0)
        joint = prior.unsqueeze(1) * log_bits((z @ down.weight.T + down.bias).unsqueeze(1), x).exp()
    log_q = log_bits((x @ up.weight.T + up.bias).unsqueeze(0), z.unsqueeze(1))
    names = {f"encoders.0.logits.{name}": p for name, p in dbn.encoders[0].logits.named_parameters()}
    gradients = torch.autograd.grad(-(joint * log_q).sum(), list(names.values()))
    return dict(zip(names, gradients, strict=True))


def exact_draws(law: UndirectedDistribution, count: int) -> Tensor:
    """Values of the even side by their exact probabilities, by enumeration of that side."""
    states = bit_vectors(law.base_energy.size(0))
    with torch.no_grad():
        law_of_states = torch.softmax(-law.base_energy.free_energy(states, 0), 0)
    return states[torch.multinomial(law_of_states, count, replacement=True)]


def test_the_guide_climbs_its_density_of_exact_fantasies() -> None:
    """Catches fantasies that skip the machine, or a machine that the sleep phase moves or that moves the guide."""
    dbn, x = network(), bit_vectors(3)
    what = inference.Inference(inference.WakeSleep(), negative_phase=inference.ExactPartition())
    bound = what.bind(dbn, x, num_data=len(x))
    torch.manual_seed(2)
    steps = [bound.step(x).gradients for _ in range(DRAWS)]
    for name, expected in exact_sleep_gradient(dbn).items():
        draws = torch.stack([step[name] for step in steps])
        error = draws.std(0) / DRAWS**0.5
        assert bool(((draws.mean(0) - expected).abs() < 4 * error + 1e-9).all()), name


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: type(phase).__name__)
@pytest.mark.parametrize("sizes", [(3, 4), (4, 3)])
def test_fantasies_of_a_chain_at_equilibrium_follow_the_machine(phase, sizes) -> None:
    """Catches a side taken for the other, sweeps that change the law, and chains that are not the phase's own."""
    machine = testing.boltzmann_machine(sizes)
    law = machine.marginal("layer0")
    torch.manual_seed(3)
    value = exact_draws(law, 20_000).reshape(4, 5000, sizes[0])
    state = {"chains": exact_draws(law, 20_000)} if isinstance(phase, inference.PCD) else {}
    drawn = phase.fantasies(law, value, state, 15_000)
    with torch.no_grad():
        expected = torch.softmax(-machine.base_energy.free_energy(bit_vectors(sizes[0]), 0), 0)
    # Chains and values are finite draws themselves, of which the fantasies are picked again.
    sampled = torch.bincount(state_index(drawn), minlength=len(expected)) / len(drawn)
    error = (expected * (1 - expected) * (1 / 15_000 + 1 / 20_000)).sqrt()
    assert drawn.shape == (15_000, sizes[0])
    assert bool(((sampled - expected).abs() < 4 * error + 1e-4).all())


def test_where_each_phase_starts() -> None:
    """Catches a contrastive phase that ignores what was recognised, and a persistent one that follows it."""
    law = testing.boltzmann_machine((3, 2)).marginal("layer0")
    value = torch.ones(10, 3, dtype=torch.float64)
    chains = {"chains": torch.zeros(10, 3, dtype=torch.float64)}
    assert not inference.PCD(num_chains=10).fantasies(law, value, chains, 40).any()
    torch.manual_seed(4)
    with torch.no_grad():
        near, far = (inference.CD(k=1).fantasies(law, start, {}, 20_000).mean(0) for start in (value, 0 * value))
        for found, start in ((near, value[:1]), (far, 0 * value[:1])):
            hidden = bit_vectors(2)
            machine = testing.boltzmann_machine((3, 2))
            given = machine.conditional("layer1", given=start).log_prob(hidden).exp()
            expected = (given.unsqueeze(1) * machine.conditional("layer0", given=hidden).mean).sum(0)
            testing.check_close(found, expected, "mean after a sweep", atol=4 * 0.5 / 20_000**0.5)


@pytest.mark.parametrize("objective", [inference.WakeSleep(), inference.ReweightedWakeSleep(5, sleep=True)], ids=str)
def test_up_down_repairs_a_recognition_network(objective) -> None:
    """Catches a sleep phase that leaves the guide where it was."""
    generator = torch.Generator().manual_seed(5)
    first = (torch.rand(200, 2, generator=generator) < 0.4).float()
    x = (first.repeat(1, 3) + (torch.rand(200, 6, generator=generator) < 0.05).float()) % 2
    dbn = models.DBN(6, (4, 3))
    quiet = {"compile": False, "progress": False}
    training.pretrain(dbn, x, inference.ExactPartition(), epochs=60, lr=0.1, **quiet)
    with torch.no_grad():
        for parameter in dbn.encoders.parameters():
            parameter.mul_(0.2)
    before = evaluation.log_likelihood(dbn, x, method="elbo", num_particles=100).value
    likelihood = evaluation.log_likelihood(dbn, x, num_particles=500).value
    what = inference.Inference(objective, negative_phase=inference.CD(k=3))
    ppgen.fit(dbn, x, what, epochs=60, batch_size=50, lr=0.01, **quiet)
    after = evaluation.log_likelihood(dbn, x, method="elbo", num_particles=100).value
    assert after > before + 0.3
    assert evaluation.log_likelihood(dbn, x, num_particles=500).value > likelihood - 0.1
    assert np.isfinite(after)


@pytest.mark.parametrize(("pair", "site"), [(models.RBM(4, 2), "hidden"), (models.DBM(4, (3, 2)), "hidden")])
def test_a_guide_without_parameters_of_its_own_has_no_sleep_phase(pair, site: str) -> None:
    """Catches a posterior that is taught by fantasies what it knows already, through the model's own weights."""
    what = inference.Inference(inference.WakeSleep(), negative_phase=inference.PCD())
    with pytest.raises(ValueError, match=f"'{site}'.*inference.ELBO"):
        what.bind(pair, torch.ones(2, 4), num_data=2)
