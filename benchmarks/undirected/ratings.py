"""Machines of ratings beside biases alone and a biased matrix factorisation: RMSE on MovieLens 100k.

Five folds of a random order of the ratings; a fold is the test set of what was trained on the other four. What is tuned
is tuned on the first fold, a tenth of whose training ratings are held out for validation, and then used on all folds,
each time with all training ratings.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import ppgen
from benchmarks.undirected.rows import best, row
from ppgen import inference, models

FOLDS = 5


class Ratings(NamedTuple):
    """Triples: user and item from 0, rating from 1 to 5."""

    user: Tensor
    item: Tensor
    rating: Tensor

    def at(self, index: Tensor) -> "Ratings":
        """Some of them."""
        return Ratings(*(each[index] for each in self))


class Shape(NamedTuple):
    """Numbers of users and items."""

    users: int
    items: int


Predict = Callable[[Ratings], Tensor]
Train = Callable[[Ratings, Shape], Predict]


def measure(path: Path, quick: bool) -> dict[str, Any]:
    """Test RMSE of biases, factorisation and machines with real hidden units."""
    found = compare(path, (QUICK if quick else MODELS)["ratings"], quick)
    values = {each["model"]: np.array(each["values"]) for each in found["rows"]}
    return {**found, "difference": row("machine below factorisation", values[RIVAL] - values[OURS])}


def binary(path: Path, quick: bool) -> dict[str, Any]:
    """Test RMSE of machines with binary hidden units."""
    return compare(path, (QUICK if quick else MODELS)["binary"], quick)


def compare(path: Path, compared: Mapping[str, Mapping[str, Train]], quick: bool) -> dict[str, Any]:
    """Test RMSE of every model on every fold."""
    table = np.loadtxt(path, skiprows=1, usecols=(0, 1, 2), dtype=np.float64)
    user, item = (torch.as_tensor(table[:, column]).long() - 1 for column in (0, 1))
    ratings = Ratings(user, item, torch.as_tensor(table[:, 2]).float())
    shape = Shape(int(user.max()) + 1, int(item.max()) + 1)
    folds = torch.randperm(len(user), generator=torch.Generator().manual_seed(0)).chunk(FOLDS)
    rows, validation = [], {}
    for name, candidates in compared.items():
        validation[name] = tuned(candidates, ratings.at(torch.cat(folds[1:])), shape)
        setting = best(validation[name]) if validation[name] else next(iter(candidates))
        values = []
        for fold in range(2 if quick else FOLDS):
            rest = torch.cat([each for other, each in enumerate(folds) if other != fold])
            values.append(rmse(candidates[setting](ratings.at(rest), shape), ratings.at(folds[fold])))
        print(name, validation[name], values, flush=True)
        rows.append(row(name, values, setting=setting, values=values))
    counts = {"users": shape.users, "items": shape.items, "ratings": len(user)}
    return {**counts, "rows": rows, "validation": validation}


def tuned(candidates: Mapping[str, Train], base: Ratings, shape: Shape) -> dict[str, float]:
    """Validation RMSE of each candidate, trained on nine tenths of the ratings; nothing if there is no choice."""
    if len(candidates) == 1:
        return {}
    order = torch.randperm(len(base.user), generator=torch.Generator().manual_seed(1))
    held, kept = order[: len(order) // 10], order[len(order) // 10 :]
    return {name: rmse(train(base.at(kept), shape), base.at(held)) for name, train in candidates.items()}


def rmse(predict: Predict, held: Ratings) -> float:
    """Root of the mean squared error of predictions, none of which is below 1 or above 5."""
    return float((predict(held).clamp(1, 5) - held.rating).square().mean().sqrt())


def biases(ratings: Ratings, shape: Shape, users: float, items: float) -> Predict:
    """Mean, item and user offsets by least squares with a ridge, in turns."""
    mean, user, item = ratings.rating.mean(), torch.zeros(shape.users), torch.zeros(shape.items)
    for _ in range(10):
        left = ratings.rating - mean - user[ratings.user]
        item = _sums(left, ratings.item, shape.items) / (
            _sums(torch.ones_like(left), ratings.item, shape.items) + items
        )
        left = ratings.rating - mean - item[ratings.item]
        user = _sums(left, ratings.user, shape.users) / (
            _sums(torch.ones_like(left), ratings.user, shape.users) + users
        )
    return lambda asked: mean + user[asked.user] + item[asked.item]


def _sums(values: Tensor, index: Tensor, size: int) -> Tensor:
    return torch.zeros(size).index_add(0, index, values)


def factorised(ratings: Ratings, shape: Shape, factors: int, decay: float, epochs: int) -> Predict:
    """Biased matrix factorisation as its users write it: embeddings, Adam, a ridge on what a batch uses."""
    torch.manual_seed(0)
    mean, (users, items) = ratings.rating.mean(), shape
    p, q = (nn.Embedding(size, factors) for size in (users, items))
    a, b = (nn.Embedding(size, 1) for size in (users, items))
    for each, scale in ((p, 0.05), (q, 0.05), (a, 0.0), (b, 0.0)):
        nn.init.normal_(each.weight, std=scale)
    optimizer = torch.optim.Adam([each.weight for each in (p, q, a, b)], lr=0.01)
    steps = epochs * math.ceil(len(ratings.user) / 2000)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(epochs):
        for index in torch.randperm(len(ratings.user)).split(2000):
            batch = ratings.at(index)
            parts = [p(batch.user), q(batch.item), a(batch.user), b(batch.item)]
            predicted = mean + (parts[0] * parts[1]).sum(-1) + (parts[2] + parts[3]).squeeze(-1)
            ridge = sum(part.square().sum(-1).mean() for part in parts)
            optimizer.zero_grad()
            ((predicted - batch.rating).square().mean() + decay * ridge).backward()
            optimizer.step()
            schedule.step()

    @torch.no_grad()
    def predict(asked: Ratings) -> Tensor:
        inner = (p(asked.user) * q(asked.item)).sum(-1)
        return mean + inner + (a(asked.user) + b(asked.item)).squeeze(-1)

    return predict


def machine(
    ratings: Ratings, shape: Shape, kind: str, hidden: int, decay: float, epochs: int, lr: float, by_item: bool = False
) -> Predict:
    """A machine of users' ratings of items, or of items' ratings by users."""
    torch.manual_seed(0)
    given = Ratings(ratings.item, ratings.user, ratings.rating) if by_item else ratings
    rows, columns = (shape.items, shape.users) if by_item else shape
    table = torch.zeros(rows, columns)
    table[given.user, given.item] = given.rating
    known = table.any(-1)  # a row without ratings is no datum
    made, how = models.RatingsRBM(columns, 5, hidden, **OPTIONS[kind]), HOW[kind]
    encoded = made.encode(table[known])
    # Half a ridge of `decay` on the sum over rows; `fit` maximises the mean.
    optimizer = {"name": "adam", "weight_decay": decay / len(encoded)}
    schedule = {"lr": lr, "lr_schedule": "linear", "batch_size": 100}
    ppgen.fit(made, encoded, how, epochs=epochs, optimizer=optimizer, compile=False, progress=False, **schedule)
    predicted = torch.full((rows, columns), float(ratings.rating.mean()))
    predicted[known] = made.predict(encoded)
    return (
        (lambda asked: predicted[asked.item, asked.user])
        if by_item
        else (lambda asked: predicted[asked.user, asked.item])
    )


def _machines(kind: str, choices: list[tuple[int, float, int, float]], by_item: bool = False) -> dict[str, Train]:
    def one(hidden: int, decay: float, epochs: int, lr: float) -> Train:
        return lambda ratings, shape: machine(ratings, shape, kind, hidden, decay, epochs, lr, by_item)

    return {
        f"{hidden} units, decay {decay:g}, {epochs} epochs": one(hidden, decay, epochs, lr)
        for hidden, decay, epochs, lr in choices
    }


def _factorisations(choices: list[tuple[int, float, int]]) -> dict[str, Train]:
    def one(factors: int, decay: float, epochs: int) -> Train:
        return lambda ratings, shape: factorised(ratings, shape, factors, decay, epochs)

    return {
        f"{factors} factors, decay {decay:g}, {epochs} epochs": one(factors, decay, epochs)
        for factors, decay, epochs in choices
    }


def _biases(choices: list[tuple[float, float]]) -> dict[str, Train]:
    def one(users: float, items: float) -> Train:
        return lambda ratings, shape: biases(ratings, shape, users, items)

    return {f"ridges {users:g} and {items:g}": one(users, items) for users, items in choices}


OPTIONS = {"gaussian": {"hidden_units": "gaussian", "weights": "ordinal"}, "binary": {}}
HOW = {"gaussian": inference.PseudoLikelihood(), "binary": inference.CD(1)}
OURS, RIVAL = "RatingsRBM, real hidden units, of films", "biased matrix factorisation"
USERS, FILMS = "RatingsRBM, of users", "RatingsRBM, of films"
MODELS = {
    "ratings": {
        "biases": _biases([(5, 2), (5, 5), (10, 5)]),
        RIVAL: _factorisations([(20, 0.1, 12), (50, 0.1, 12)]),
        OURS: _machines("gaussian", [(20, 2, 12, 0.02)], by_item=True),
        "RatingsRBM, real hidden units, of users": _machines("gaussian", [(50, 2, 10, 0.02)]),
    },
    "binary": {
        USERS: _machines("binary", [(20, 1, 6, 0.02)]),
        FILMS: _machines("binary", [(20, 1, 6, 0.02)], by_item=True),
    },
}
QUICK = {
    "ratings": {
        "biases": _biases([(5, 5)]),
        RIVAL: _factorisations([(2, 0.1, 1), (2, 0.2, 1)]),
        OURS: _machines("gaussian", [(2, 1, 1, 0.02)], by_item=True),
    },
    "binary": {
        USERS: _machines("binary", [(2, 1, 1, 0.01)]),
        FILMS: _machines("binary", [(2, 1, 1, 0.01)], by_item=True),
    },
}
