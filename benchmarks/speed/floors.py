"""What a step costs at least: operations of its matrix products, and bytes that must move."""

from typing import Any

from benchmarks.speed.synthetic import FEATURES, HIDDEN, LATENT, UNITS, UPPER

FLOAT = 4  # bytes

Floor = dict[str, float]


def product(rows: int, inner: int, columns: int) -> int:
    """Operations of one matrix product: a multiplication and an addition for each term."""
    return 2 * rows * inner * columns


def vae(
    batch_size: int,
    particles: int = 1,
    features: int = FEATURES,
    hidden: int = HIDDEN,
    latent: int = LATENT,
) -> Floor:
    """A step of the VAE with two hidden layers on either side, and Adam.

    Each layer has three products: forward, gradient of its weights, gradient of its input; the data want no
    gradient. The encoder runs once a datum, the decoder once a particle. Adam reads parameter, gradient and two
    moments and writes three of them; the weights are read forward and backward, and their gradient is written.
    """
    rows = batch_size * particles
    encoder = product(batch_size, features, hidden) + product(batch_size, hidden, hidden)
    encoder += 2 * product(batch_size, hidden, latent)
    decoder = product(rows, latent, hidden) + product(rows, hidden, hidden) + product(rows, hidden, features)
    weights = 2 * (features * hidden + hidden * hidden) + 3 * hidden * latent
    parameters = weights + 4 * hidden + 2 * latent + features
    return {
        "flops": 3 * (encoder + decoder) - product(batch_size, features, hidden),
        "bytes": FLOAT * (10 * parameters + batch_size * features),
    }


def sbn(
    batch_size: int,
    particles: int,
    features: int = FEATURES,
    hidden: int = HIDDEN,
) -> Floor:
    """A step of a sigmoid belief network with two latent layers, and Adam.

    Each layer has two products, forward and for the gradient of its weights: none goes through a draw. The data are
    recognised once a datum, all else is done once a particle. The weights are moved and read as those of the VAE.
    """
    rows = batch_size * particles
    forward = product(batch_size, features, hidden) + 2 * product(rows, hidden, hidden)
    forward += product(rows, hidden, features)
    parameters = 2 * (features * hidden + hidden * hidden) + 4 * hidden + features
    return {"flops": 2 * forward, "bytes": FLOAT * (10 * parameters + batch_size * features)}


def rbm(batch_size: int, num_chains: int, visible: int = FEATURES, hidden: int = UNITS) -> Floor:
    """A step of PCD-1 with momentum: two products for the data, three for the chains.

    Weights, gradient and momentum are read and written once.
    """
    parameters = visible * hidden + visible + hidden
    return {
        "flops": 2 * product(batch_size, visible, hidden) + 3 * product(num_chains, visible, hidden),
        "bytes": FLOAT * (6 * parameters + (batch_size + 2 * num_chains) * visible),
    }


def dbm(
    batch_size: int,
    num_chains: int,
    sweeps: int,
    mean_field: int,
    sizes: tuple[int, int, int] = (FEATURES, UNITS, UPPER),
) -> Floor:
    """A step of a deep machine of two hidden layers with momentum.

    For the data one product from the visible units, one of the first pass and two a mean-field sweep between the hidden
    layers; for the chains both products in both directions a sweep; for the gradients one product of each coupling on
    each side. Weights, gradients and momenta are read and written once.
    """
    visible, first, second = sizes

    def both(rows: int) -> int:
        return product(rows, visible, first) + product(rows, first, second)

    data = product(batch_size, visible, first) + (1 + 2 * mean_field) * product(batch_size, first, second)
    chains = 2 * sweeps * both(num_chains)
    parameters = visible * first + first * second + sum(sizes)
    moved = batch_size * visible + 2 * num_chains * (visible + first + second)
    return {
        "flops": data + chains + both(batch_size) + both(num_chains),
        "bytes": FLOAT * (6 * parameters + moved),
    }


def gibbs(num_chains: int, sweeps: int = 1, visible: int = FEATURES, hidden: int = UNITS) -> Floor:
    """Sweeps of block Gibbs sampling: two products each, every side written once and read once."""
    return {
        "flops": sweeps * 2 * product(num_chains, visible, hidden),
        "bytes": sweeps * FLOAT * (2 * num_chains * (visible + hidden) + visible * hidden),
    }


def annealing(num_chains: int, levels: int, visible: int = FEATURES, hidden: int = UNITS) -> Floor:
    """Annealed importance sampling: a sweep at each level but the last, which needs one product.

    So few chains stay in the cache with the weights, so that these are read once.
    """
    flops = (2 * levels - 1) * product(num_chains, visible, hidden)
    return {"flops": flops, "bytes": FLOAT * (visible * hidden + num_chains * visible)}


def milliseconds(floor: Floor, machine: dict[str, Any]) -> dict[str, float]:
    """The floor on a machine of known rates: for its operations, for its bytes, and the larger of the two.

    Args:
        floor: Operations and bytes.
        machine: `flops` and `bandwidth`, both per second.
    """
    compute, memory = 1e3 * floor["flops"] / machine["flops"], 1e3 * floor["bytes"] / machine["bandwidth"]
    return {**floor, "compute_ms": compute, "memory_ms": memory, "floor_ms": max(compute, memory)}
