"""RBMs of three libraries, each by the innermost function that takes one step on a batch."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.speed import synthetic

WARM_UP = 3


def sklearn_step(batch_size: int = 128) -> Callable[[int], None]:
    """`BernoulliRBM.partial_fit`, which is PCD-1 with as many chains as the batch has rows."""
    from sklearn.neural_network import BernoulliRBM

    rbm = BernoulliRBM(synthetic.UNITS, learning_rate=synthetic.RBM_LEARNING_RATE, batch_size=batch_size)
    return _repeated(rbm.partial_fit, _batches(batch_size))


def rbms_step(num_chains: int = 128, batch_size: int = 128, centred: bool = False) -> Callable[[int], None]:
    """`rbms.training.pcd.fit_batch_pcd` and a step of gradient ascent, as its `train` does."""
    torch: Any = importlib.import_module("torch")
    machines = importlib.import_module("rbms.bernoulli_bernoulli.classes")
    training = importlib.import_module("rbms.training.pcd")
    torch.manual_seed(0)
    weight, visible_bias, hidden_bias = (torch.from_numpy(each) for each in synthetic.random_machine())
    rbm = machines.BBRBM(0.5 * weight, visible_bias, hidden_bias)
    for parameter in rbm.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.SGD(
        rbm.parameters(), lr=synthetic.RBM_LEARNING_RATE, momentum=synthetic.MOMENTUM, maximize=True
    )
    chains = rbm.init_chains(num_chains)
    ones = torch.ones(batch_size, 1)

    def step(batch: np.ndarray) -> None:
        nonlocal chains
        with torch.no_grad():
            optimizer.zero_grad(set_to_none=False)
            chains, _ = training.fit_batch_pcd(
                (torch.from_numpy(batch), ones), chains, rbm, gibbs_steps=1, beta=1.0, centered=centred
            )
            optimizer.step()

    return _repeated(step, _batches(batch_size))


def learnergy_step(batch_size: int = 128) -> Callable[[int], None]:
    """The step inside learnergy's `RBM.fit`, which is CD-1 by automatic differentiation; without its monitoring."""
    torch: Any = importlib.import_module("torch")
    bernoulli = importlib.import_module("learnergy.models.bernoulli")
    torch.manual_seed(0)
    rbm = bernoulli.RBM(
        n_visible=synthetic.FEATURES,
        n_hidden=synthetic.UNITS,
        learning_rate=synthetic.RBM_LEARNING_RATE,
        momentum=synthetic.MOMENTUM,
    )

    def step(batch: np.ndarray) -> None:
        samples = torch.from_numpy(batch)
        visible = rbm.gibbs_sampling(samples)[-1].detach()
        cost = torch.mean(rbm.energy(samples)) - torch.mean(rbm.energy(visible))
        rbm.optimizer.zero_grad()
        cost.backward()
        rbm.optimizer.step()

    return _repeated(step, _batches(batch_size))


def _batches(batch_size: int) -> Iterator[np.ndarray]:
    data = synthetic.bits(synthetic.BATCHES * batch_size)
    return (data[index] for index in synthetic.order(len(data), batch_size))


def _repeated(step: Callable[[np.ndarray], Any], batches: Iterator[np.ndarray]) -> Callable[[int], None]:
    def run(steps: int) -> None:
        for _ in range(steps):
            step(next(batches))

    run(WARM_UP)
    return run
