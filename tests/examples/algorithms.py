"""Named algorithms with few particles, and what they are tried on."""

from typing import Any

import torch
from batches import reals

from ppgen import inference, models, testing

ALGORITHMS = {
    "IWAE": [inference.IWAE(num_particles=5)],
    "DReG": [inference.DReG(num_particles=5)],
    "NVIL": [inference.NVIL(hidden=3)],
    "VIMCO": [inference.VIMCO(num_particles=3)],
    "RLOO": [inference.RLOO(num_particles=3)],
    "RWS": [inference.RWS(num_particles=3)],
}


def tried_on(algorithm: inference.Inference, device: torch.device) -> tuple[Any, Any]:
    """A small pair and a batch of its data: with labels of some rows where the algorithm weighs those."""
    if algorithm.label_weight:
        pair, batch = models.SemiSupervisedVAE.example()
        return pair.to(device), tuple(part.to(device) for part in batch)
    return testing.conjugate_pair(device=device), reals(4).to(device)
