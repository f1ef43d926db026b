"""Mean activities drawn towards a target: the term in training, what it leaves alone, and what it does to a machine."""

import math

import pytest
import torch

import ppgen
from ppgen import inference, models, testing


def bits(rows: int, size: int) -> torch.Tensor:
    return torch.rand(rows, size, generator=torch.Generator().manual_seed(rows)).lt(0.4).double()


def sparse(target: float = 0.1, weight: float = 3.0, **named: object) -> inference.Inference:
    objective = inference.ELBO(sparsity_target=target, sparsity_weight=weight, **named)  # type: ignore[arg-type]
    return inference.Inference(objective, negative_phase=inference.ExactPartition())


@pytest.mark.parametrize("pool", [0, 1, 2])
def test_the_gradient_is_that_of_bound_and_distance(pool: int) -> None:
    """Catches activities averaged over units that share none, a map counted once, a pull along the weights."""
    torch.manual_seed(pool)
    x = bits(7, 9)
    pair = models.RBM(9, 3) if pool == 0 else models.ConvolutionalRBM(9, 2, 2, pool)
    pair = pair.double()
    plain = inference.Inference(inference.ELBO(), negative_phase=inference.ExactPartition())
    steps = [each.bind(pair, x, num_data=7).step(x) for each in (plain, sparse())]
    testing.check_close(steps[1].value, steps[0].value, "value")
    energy = pair.machine().base_energy
    (heard,) = energy.inputs(x, 0)
    mean = energy.units[1].mean(heard.detach()).mean(0)
    if pool == 0:
        distance = (mean - 0.1).square().sum()
    else:
        distance = 4 * (mean.reshape(2, 4).mean(1) - 0.1).square().sum()
    named = dict(pair.named_parameters())
    slopes = torch.autograd.grad(3.0 * distance, list(named.values()), allow_unused=True)
    for (name, parameter), slope in zip(named.items(), slopes, strict=True):
        expected = torch.zeros_like(parameter) if slope is None else slope
        testing.check_close(steps[1].gradients[name] - steps[0].gradients[name], expected, f"what is added in {name}")


@pytest.mark.parametrize("particles", [1, 3])
def test_bits_that_a_guide_draws(particles: int) -> None:
    """Catches activities of one particle alone, or of one layer of several."""
    torch.manual_seed(2)
    net, x = models.SigmoidBeliefNet((5, 3, 2)).double(), bits(6, 5)
    what = inference.ELBO(particles, sparsity_target=0.2, sparsity_weight=50.0)
    bound = inference.Inference(what, inference.ScoreFunction()).bind(net, x, num_data=6)
    traced = ppgen.training.steps.traced_step.TracedStep(bound, dict(net.named_parameters()))
    bound.step(x)
    assert traced.check(x) is None and math.isfinite(float(bound.step(x).value))


def test_a_machine_grows_sparse() -> None:
    """Catches a term that is left out of the step, or has the wrong sign."""
    activity = []
    for what in (inference.ELBO(), inference.ELBO(sparsity_target=0.02, sparsity_weight=30.0)):
        torch.manual_seed(3)
        machine = models.ConvolutionalRBM(36, 4, 3, 2)
        x = bits(100, 36).float()
        chosen = inference.Inference(what, negative_phase=inference.PCD(num_chains=20, centred=False))
        ppgen.fit(machine, x, chosen, epochs=40, batch_size=50, lr=0.1, progress=False, compile=False)
        activity.append(float(machine.machine().base_energy.mean_opposite(x, 0).mean().detach()))
    assert activity[1] < 0.05 and activity[0] > 0.08


def test_errors_and_records() -> None:
    """Catches a target that nothing can reach, and one that a checkpoint forgets."""
    with pytest.raises(ValueError, match="sparsity_target must lie between 0 and 1, got 1"):
        inference.ELBO(sparsity_target=1.0)
    with pytest.raises(ValueError, match="sparsity_weight must be a finite number of at least 0"):
        inference.ELBO(sparsity_target=0.1, sparsity_weight=-1.0)
    with pytest.raises(ValueError, match="mean activity of latent bits, and the guide draws none"):
        inference.Inference(inference.ELBO(sparsity_target=0.1)).bind(models.VAE(4, 2, (3,)), torch.ones(2, 4), 2)
    assert inference.from_config(inference.to_config(sparse())) == sparse()
