"""Edges and parts of faces: a convolutional deep belief network on grey images, and pictures of what its units see.

    python -m benchmarks.faces.measure              # writes record, figure and page; minutes
    python -m benchmarks.faces.measure --epochs 2   # a trial; writes to runs/benchmarks
    python -m benchmarks.faces.measure --check      # exit code 1 if docs/faces.md is not what the record says

`faces25.npy` holds 100 faces of 25 x 25 pixels and then images of other things. 80 faces and their mirror images are
learnt from, without labels; on the other 20, and on what are no faces, it is measured where the units answer.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ppgen
from benchmarks import command, record
from benchmarks.faces import features, page
from benchmarks.faces.images import load
from benchmarks.undirected.measure import data_file
from ppgen import datasets, inference, models

KIND, NAME, DATA = "features of faces", "faces", "faces25.npy"
IMAGES = {"cutoff": 0.3, "spread": 4.0, "scale": 3.0}
NETWORK: dict[str, Any] = {"filters": (24, 24), "filter_sizes": (6, 5), "pools": (2, 2)}
# Target and weight of the mean activity of a unit. The smaller steps of the second layer would take too long to turn
# its units off, so that their biases start low.
LAYERS: tuple[dict[str, Any], ...] = (
    {"target": 0.004, "weight": 300.0, "bias": 0.0, "lr": 0.03, "epochs": 120},
    {"target": 0.02, "weight": 1000.0, "bias": -4.0, "lr": 0.01, "epochs": 200},
)
TRAINING: dict[str, Any] = {"batch_size": 20, "optimizer": "adam", "lr_schedule": "linear"}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = command.make_parser(__doc__)
    parser.add_argument("--data-dir", help=f"folder that holds {DATA}")
    parser.add_argument("--epochs", type=int, help="epochs of each layer; fewer than the settings write no page")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything that is drawn (default: 0)")
    command.add_page(parser)
    given = parser.parse_args(arguments)
    if given.epochs is not None and given.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {given.epochs}.")
    if given.check or given.render:
        return page.write(command.read(f"{NAME}.json"), check=given.check)
    trial = given.epochs is not None or given.seed != 0
    folder = command.folder(given.results, trial)
    found = measure(data_file(DATA, given.data_dir), given.epochs, given.seed, folder / f"{NAME}.png")
    command.write(folder / f"{NAME}.json", found)
    return 0 if trial or given.results else page.write(found, check=False)


def measure(path: Path, epochs: int | None, seed: int, figure: Path) -> dict[str, Any]:
    """Train the network, draw what its units see, and return the record."""
    images = load(path, **IMAGES)
    start, processor = time.perf_counter(), time.process_time()
    dbn, layers = trained(images.train, epochs, seed)
    seconds = {"seconds": round(time.perf_counter() - start, 1), "processor": round(time.process_time() - processor, 1)}
    own = features.responses(dbn, images.train)
    seen = features.seen_by(dbn, own, images.grey)
    page.draw(figure, images.train, dbn.filters(1)[:, 0].numpy(), dbn.filters(2)[:, 0].numpy(), seen)
    filters, start_filters = dbn.filters(1)[:, 0].numpy(), np.random.default_rng(seed).normal(size=(1000, 6, 6))
    step = NETWORK["pools"][0]  # pixels between units of the second layer
    places = {
        name: features.scatter(features.responses(dbn, each))
        for name, each in (("training faces", images.train), ("other faces", images.faces), ("no faces", images.others))
    }
    return {
        "kind": KIND,
        "command": "python -m benchmarks.faces.measure",
        "data": {"train": len(images.train), "faces": len(images.faces), "others": len(images.others), **IMAGES},
        "network": NETWORK,
        "layers": layers,
        "training": {**TRAINING, "seed": seed},
        "orientation": {
            "filters": _spread(features.orientation(filters)),
            "noise": _spread(features.orientation(start_filters)),
        },
        "scatter": {name: _spread(step * each) for name, each in places.items()},
        "time": seconds,
        "hardware": record.hardware(torch.device("cpu")),
        "versions": record.versions(),
        "commit": record.commit(),
    }


def trained(images: np.ndarray, epochs: int | None, seed: int) -> tuple[models.ConvolutionalDBN, list[dict[str, Any]]]:
    """A network of two layers trained one after the other, and what each layer was like at the end."""
    torch.manual_seed(seed)
    dbn = models.ConvolutionalDBN(images[0].size, **NETWORK, units="gaussian")
    rows = torch.from_numpy(images).flatten(1)
    data: Any = rows
    machines, told = [], []
    for number, layer in enumerate(LAYERS, start=1):
        machine = dbn.layer_rbm(number)
        torch.nn.init.constant_(machine.hidden_bias, layer["bias"])
        count = epochs or layer["epochs"]
        objective = inference.ELBO(sparsity_target=layer["target"], sparsity_weight=layer["weight"])
        way = inference.Inference(objective, negative_phase=inference.CD(1, centred=False))
        options: dict[str, Any] = {"epochs": count, "lr": layer["lr"], "compile": False, "progress": False}
        run = ppgen.fit(machine, data, way, seed=seed, **options, **TRAINING)
        rows = machine.hidden_means(rows)
        activity = float(rows.mean()) / machine.pool**2
        told.append({**layer, "epochs": count, "inference": "CD(1)", "activity": activity, "seconds": run.seconds})
        print(f"layer {number}: mean activity of a unit {activity:.4f}, {run.seconds:.0f} s", flush=True)
        machines.append(machine)
        data = datasets.as_dataset(rows, binarize="dynamic")  # bits of the pooling units, drawn anew
    dbn.compose(machines)
    return dbn, told


def _spread(values: np.ndarray) -> list[float]:
    """Lower quartile, median and upper quartile."""
    return [round(float(each), 4) for each in np.quantile(values, [0.25, 0.5, 0.75])]


if __name__ == "__main__":
    sys.exit(main())
