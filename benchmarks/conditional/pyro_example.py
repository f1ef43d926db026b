"""The method of Pyro's CVAE example, written anew from its description, and trained by Pyro's own ELBO.

Images of 784 pixels hold -1 where a pixel is not given. A network without latents, 500 and 500 rectified units, is
trained first and guesses the whole image; the prior network sees the image completed by that guess, the recognition
network the true image, and the decoder the 200 latents alone, of which it makes all pixels. Adam of step size 1e-3,
batches of 128, one draw. Its early stopping is replaced by what is better for it: it trains until the minutes end, and
keeps the weights of its best validation epoch.

References:
    | https://pyro.ai/examples/cvae.html
"""

import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO
from pyro.nn.module import pyro_method
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import ppgen
from ppgen.datasets import PairedDataset

PATIENCE = 3  # epochs without a better validation value after which the guesses are trained
BATCH = 128


def layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers of rectified units."""
    first = (nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
    return nn.Sequential(*first, nn.Linear(hidden, outputs))


class Example(ppgen.ConditionalModel):
    """Model and guide of the example, of pairs (given pixels, the others)."""

    def __init__(self, data: PairedDataset, latent: int = 200, hidden: int = 500) -> None:
        super().__init__()
        given, rest = data.whole(*(part[None] for part in _places(data)))[0].long(), data.num_features
        count = data.test[0].shape[1]
        self.inputs, self.outputs = count, rest - count
        self.places: Tensor
        self.register_buffer("places", given)  # of each pixel among the given ones, then the others
        self.baseline = layers(rest, hidden, rest)
        self.prior = layers(rest, hidden, 2 * latent)
        self.recognition = layers(rest, hidden, 2 * latent)
        self.decoder = layers(latent, hidden, rest)
        self.register_buffer("others", given.argsort()[count:])

    def image(self, x: Tensor, y: Tensor) -> Tensor:
        """The whole image of its two parts."""
        return torch.cat([x, y.to(x)], -1)[..., self.places]

    def guess(self, x: Tensor) -> Tensor:
        """Logits of the pixels that are not given, without latents."""
        logits: Tensor = self.baseline(self.image(x, x.new_full((*x.shape[:-1], self.outputs), -1.0)))
        return logits[..., self.others]

    @pyro_method
    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Joint density of the latent and the missing pixels given the others."""
        decoder = self.decoder
        self.check_arguments(x, y)
        with torch.no_grad():
            guessed = self.guess(x).sigmoid()
        law = _normal(self.prior(self.image(x, guessed)))
        with pyro.plate(self.plate, len(x)):
            z = pyro.sample("z", law)
            logits = decoder(z)[..., self.others]
            return pyro.sample("y", dist.Bernoulli(logits=logits).to_event(1), obs=y)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor) -> Tensor:
        """Approximate posterior of the latent."""
        law = _normal(self.recognition(self.image(x, y)))
        self.check_arguments(x, y)
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("z", law)


def train(data: PairedDataset, seconds: float, folder: Path, **sizes: int) -> tuple[Example, dict[str, Any]]:
    """The example after so many seconds of training, from its last epoch where it was stopped."""
    torch.manual_seed(0)
    net = Example(data, **sizes)
    done: dict[str, Any] = {}
    _until(net, data, seconds, folder / "baseline.pt", _guessing, net.baseline, PATIENCE, done)
    spent = done["seconds"]
    epochs = {"baseline epochs": done["epochs"]}
    _until(net, data, seconds - spent, folder / "cvae.pt", _bound, net, None, done)
    about = {"training seconds": round(spent + done["seconds"], 1), "epochs": done["epochs"], **epochs}
    return net.eval(), {**about, "best epoch": done["best epoch"]}


def _until(
    net: Example,
    data: PairedDataset,
    seconds: float,
    path: Path,
    loss: Callable[[Example, Tensor, Tensor], Tensor],
    part: nn.Module,
    patience: int | None,
    done: dict[str, Any],
) -> None:
    """Train a part of the network, whose weights of the best validation epoch are left in it; `done` says how long."""
    trained = [each for name, each in net.named_parameters() if (part is not net) == name.startswith("baseline.")]
    adam = torch.optim.Adam(trained, lr=1e-3)
    done.clear()
    done.update({"epochs": 0, "seconds": 0.0, "best epoch": 0, "best": float("inf"), "weights": None})
    if path.exists():
        kept = torch.load(path, weights_only=False)
        net.load_state_dict(kept["net"])
        adam.load_state_dict(kept["adam"])
        done.update(kept["done"])
    path.parent.mkdir(parents=True, exist_ok=True)
    stale = patience or float("inf")
    while not done["epochs"] or (done["seconds"] < seconds and done["epochs"] - done["best epoch"] < stale):
        begun = time.perf_counter()
        generator = torch.Generator().manual_seed(done["epochs"])
        torch.manual_seed(done["epochs"])
        for x, y in _batches(data, generator):
            adam.zero_grad()
            loss(net, x, y).backward()  # type: ignore[no-untyped-call]
            adam.step()
        with torch.no_grad():
            value = sum(
                float(loss(net, x, y)) for x, y in zip(*(each[:].split(500) for each in data.valid), strict=True)
            )
        done["epochs"] += 1
        if value < done["best"]:
            weights = copy.deepcopy(part.state_dict())
            done.update({"best": value, "best epoch": done["epochs"], "weights": weights})
        done["seconds"] += time.perf_counter() - begun
        torch.save({"net": net.state_dict(), "adam": adam.state_dict(), "done": done}, path)
    if done["weights"] is not None:
        part.load_state_dict(done["weights"])


def _batches(data: PairedDataset, generator: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
    for index in torch.randperm(data.num_train, generator=generator).split(BATCH):
        yield data.batch("train", index, generator)


def _guessing(net: Example, x: Tensor, y: Tensor) -> Tensor:
    """Cross entropy of the pixels that are not given."""
    return binary_cross_entropy_with_logits(net.guess(x), y, reduction="sum")


def _bound(net: Example, x: Tensor, y: Tensor) -> Tensor:
    """Minus Pyro's own ELBO of a batch, by its own loss."""
    with net.running():
        loss: Tensor = Trace_ELBO().differentiable_loss(net.model, net.guide, x, y)
    return loss


def _normal(parameters: Tensor) -> Any:
    loc, log_scale = parameters.chunk(2, -1)
    return dist.Normal(loc, log_scale.exp()).to_event(1)


def _places(data: PairedDataset) -> tuple[Tensor, Tensor]:
    """Where each pixel of the two parts stands when they are put one after the other."""
    count = data.test[0].shape[1]
    every = torch.arange(data.num_features)
    return every[:count], every[count:]
