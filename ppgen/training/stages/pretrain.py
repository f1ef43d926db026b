"""Greedy layer-wise training of deep belief networks, deep Boltzmann machines and deep autoencoders."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ppgen import datasets, seeds
from ppgen import inference as inferences
from ppgen.checks.arguments import check_count, check_path
from ppgen.checks.seeding import check_seed
from ppgen.checks.switches import check_switches
from ppgen.inference.annealing.annealing import make_betas
from ppgen.pair import as_pair
from ppgen.stacks import BoundedStack, GreedyCoders, GreedyStack, LayerMachine
from ppgen.training import environment
from ppgen.training.fitting import fit
from ppgen.training.processes import world as processes
from ppgen.training.run import Run
from ppgen.training.stages.layer_bounds import LayerBound, layer_bound
from ppgen.training.stages.layer_data import LayerData
from ppgen.training.stages.layer_options import epochs_of_layers, options_of_layers, per_layer
from ppgen.undisturbed import forked


@dataclass(frozen=True)
class Pretraining:
    """What greedy training returns.

    Attributes:
        pair: The pair, which now holds the weights of all layers.
        runs: The run of each layer's machine, or autoencoder, from the bottom up.
        bounds: Variational bound of the model that the layers so far make, after each of them; none for a deep
            Boltzmann machine, whose layers are no model by themselves, none for autoencoders, and none of the first
            layer of documents, each of which has a normaliser of its own.
    """

    pair: Any
    runs: tuple[Run, ...]
    bounds: tuple[LayerBound, ...]

    def __repr__(self) -> str:
        parts = [f"Pretraining of {type(self.pair).__name__}, {len(self.runs)} layers"]
        if self.bounds:
            values = ", ".join(f"{bound.train:.4f} ± {bound.se:.2g}" for bound in self.bounds)
            parts.append(f"bounds on the training data layer by layer: {values} nats per datum")
        return "; ".join(parts) + "."


def pretrain(
    pair: Any,
    data: Any,
    inference: Any = None,
    *,
    epochs: int | Sequence[int] = 10,
    activities: Literal["sample", "mean"] | None = None,
    num_particles: int = 10,
    num_chains: int = 100,
    betas: Any = 1000,
    seed: int = 0,
    device: Any = "auto",
    folder: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> Pretraining:
    r"""Train the layers of a deep belief network, a deep Boltzmann machine or a deep autoencoder from the bottom up.

    Each layer of a network is a restricted Boltzmann machine, trained by `ppgen.fit` on the hidden activities of the
    layer below: on bits that every batch draws anew from p(h = 1 | below), those of the pooling units in a
    convolutional network. What the pair held before is replaced.

    In a belief network a machine starts at the transposed weights and exchanged biases of the one below it where the
    sizes allow. Adding it then leaves the model as it is, and training it raises, in expectation,

    .. math:: \log p(x) \ge E_{q(z \mid x)} \Big[\log p(x \mid z_1) + \dots + \log p(z_{l-1})
              - \log q(z \mid x)\Big],

    which is measured after each layer. In a deep Boltzmann machine the first machine takes what the hidden units hear
    from the data, and their biases, twice, and the last one what they hear from above; those between are trained as
    they are and halved. A layer's biases are then the sum of those of its two machines. Machines of doubled layers are
    trained on plain gradients, not on centred ones.

    Each layer of an autoencoder is one of the same kind with one layer, trained on the codes of the layer below, which
    are sent up as they are: of denoising ones only the layer in training sees noise. The first has the law of the data
    that the pair has; layers above reconstruct codes through the non-linearity of the units that gave them, those of
    sigmoid units by their cross-entropy, others by their squared error. Their decoders become those of the stack, which
    `ppgen.fit` then trains as a whole.

    Args:
        pair: A `models.DBN`, `models.ConvolutionalDBN` or `models.DBM`, or an autoencoder of fully connected layers.
        data: As for `ppgen.fit`: a data set, the name of one, or an array; bits, or what the lowest layer takes.
        inference: How each layer is trained, as for `ppgen.fit`, or a list of one for each; by default persistent
            chains, of documents contrastive divergence.
        epochs: Passes over the data for each layer; one number, or one for each.
        activities: What is sent up through a trained machine: `"sample"`, draws, the default; or `"mean"`,
            probabilities. Codes of autoencoders are no draws.
        num_particles: Draws of the guide for each row at which a bound is measured.
        num_chains: Annealing runs for the log Z of a bound, where the machine is too large to be enumerated.
        betas: Their ladder: a number of equal steps, increasing numbers in [0, 1], or `"salakhutdinov-2008"`.
        seed: Seed of everything that is drawn.
        device: As for `ppgen.fit`.
        folder: Where the runs are kept, in `layer1`, `layer2`, ...; with `resume="auto"` finished layers are read back.
        progress: Whether to show what is run, and the bounds.
        **options: Other arguments of `ppgen.fit`, such as `batch_size` and `lr`; a list or a tuple holds one value for
            each layer, as `lr=(0.1, 0.1, 0.001)`.

    Raises:
        ValueError: If the pair is no stack of layers, an argument is out of its range, or a list has not one value for
            each layer; before any layer is trained.
        TypeError: If `pair` is none, or the data are several arguments.

    References:
        | A Fast Learning Algorithm for Deep Belief Nets (Hinton, Osindero and Teh, 2006)
        | Greedy Layer-Wise Training of Deep Networks (Bengio, Lamblin, Popovici and Larochelle, 2007)
        | Deep Boltzmann Machines (Salakhutdinov and Hinton, 2009)
        | Stacked Denoising Autoencoders: Learning Useful Representations in a Deep Network with a Local Denoising
          Criterion (Vincent, Larochelle, Lajoie, Bengio and Manzagol, 2010)

    Example:
        >>> from ppgen import datasets, models, training
        >>> digits = datasets.load("digits", binarize="threshold")
        >>> dbn = models.DBN(visible=64, hidden=(16, 8))
        >>> trained = training.pretrain(dbn, digits, epochs=2, progress=False)
        >>> [run.dataset for run in trained.runs][1], len(trained.bounds)
        ('digits, hidden layer 1 (dynamic binarisation, evaluation draw of seed 0)', 2)
    """
    check_switches(progress=progress)
    seed = check_seed(seed)
    pair = as_pair(pair)
    _check_stack(pair)
    coders, num_layers = isinstance(pair, GreedyCoders), pair.num_hidden_layers
    lengths = epochs_of_layers(epochs, num_layers)
    inferences_of, options_of = per_layer("inference", inference, num_layers), options_of_layers(options, num_layers)
    _check(activities, coders, num_particles, num_chains, data)
    make_betas(betas)
    if folder is not None:
        check_path("folder", folder)
    dataset = datasets.as_dataset(data)
    if dataset.num_features != pair.num_features:
        raise ValueError(
            f"data must have {pair.num_features} features, as {type(pair).__name__} does; got {dataset.num_features} "
            f"({dataset.describe()})."
        )
    where = environment.resolve_device(processes.local_device(device))
    pair.to(where)
    like = next(pair.parameters())
    layers = LayerData(dataset)
    parts: list[Any] = []
    runs, bounds = [], []
    for layer, count in enumerate(lengths, start=1):
        own_seed = seeds.derive(seed, "layer", layer)
        with forked(where, own_seed):
            part = pair.layer_autoencoder(layer) if coders else pair.layer_rbm(layer, parts[-1] if parts else None)
            part.to(like)
        if layer < num_layers and not coders:
            _check_machine(part, pair)
        way = inferences_of[layer - 1]
        run = fit(
            part,
            layers.dataset,
            way if coders else _suited(way, part),
            epochs=count,
            seed=own_seed,
            device=where,
            folder=None if folder is None else Path(folder) / f"layer{layer}",
            progress=progress,
            **options_of[layer - 1],
        )
        parts.append(part)
        runs.append(run)
        if isinstance(pair, BoundedStack):
            budget = {"num_particles": num_particles, "num_chains": num_chains, "betas": betas}
            with forked(where, own_seed):
                stack = pair.stacked(parts)
            if stack is not None:
                bounds.append(layer_bound(stack, dataset, layer, seed=seed, **budget))
                if progress and processes.join(where).writes:
                    print(bounds[-1], flush=True)
        if layer < num_layers:
            layers = layers.coded(part, layer) if coders else layers.above(part, layer, activities or "sample", seed)
    pair.compose(parts)
    pair.inference_state = None  # chains of the weights that were replaced
    return Pretraining(pair, tuple(runs), tuple(bounds))


def _suited(inference: Any, rbm: Any) -> Any:
    """The inference, without centring where a machine's weights are not the parameters but made of them."""
    chosen = inferences.resolve(inference, rbm)
    own = {id(tensor) for tensor in (*rbm.parameters(), *rbm.buffers())}
    plain = all(id(each) in own for each in rbm.machine().parameters())
    phase: Any = chosen.negative_phase
    if plain or not getattr(phase, "centred", False):
        return chosen
    return dataclasses.replace(chosen, negative_phase=dataclasses.replace(phase, centred=False))


def _check_stack(pair: Any) -> None:
    if not isinstance(pair, (GreedyStack, GreedyCoders)):
        raise ValueError(
            "pretrain trains a stack of layers: an autoencoder of fully connected layers, a models.DBN, "
            f"models.ConvolutionalDBN or models.DBM, got {type(pair).__name__}. Use ppgen.fit, which trains any pair."
        )


def _check_machine(rbm: Any, pair: Any) -> None:
    if not isinstance(rbm, LayerMachine):
        raise TypeError(
            f"{type(pair).__name__}.layer_rbm must return a machine with the methods machine() and hidden_means(x), "
            f"from whose activities the next layer learns; got {type(rbm).__name__}."
        )


def _check(activities: str | None, coders: bool, num_particles: int, num_chains: int, data: Any) -> None:
    if activities not in (None, "sample", "mean"):
        raise ValueError(f'activities must be "sample" or "mean", got {activities!r}.')
    if coders and activities == "sample":
        raise ValueError('activities cannot be "sample" for an autoencoder, whose codes are no draws: leave it out.')
    for name, value in (("num_particles", num_particles), ("num_chains", num_chains)):
        check_count(name, value, 2, wanted="a whole number of at least 2 (one has no error bar)")
    if isinstance(data, tuple):
        raise TypeError("data must be one table: a data set, the name of one, or an array; got a tuple.")
