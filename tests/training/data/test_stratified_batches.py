"""Batches of labelled and unlabelled rows: unbiased by enumeration, outside of logarithms, resumed, refused."""

import itertools
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import cli, datasets, inference, models
from ppgen.inference.engine.specification import Inference
from ppgen.inference.engine.stratified import stratify
from ppgen.inference.particles.row_weights import Strata
from ppgen.training.data.labelled_rows import stratified_order

LABELS = torch.tensor([1, -1, -1, 0, -1, -1, -1])


@pytest.mark.parametrize(("size", "count", "first"), [(5, 5, 2), (4, 4, 3), (3, 4, 3)])
def test_weighted_mean_over_every_batch_is_the_mean_over_the_data(size: int, count: int, first: int):
    """Catches weights that are not N_s / N over B_s / B, and those of a smaller last batch taken from a whole one."""
    values = torch.randn(7).double()
    strata = Strata(num_first=2, num_rows=7, batch_size=count, first_in_batch=first)
    told, rest = (LABELS >= 0).nonzero().squeeze(1).tolist(), (LABELS < 0).nonzero().squeeze(1).tolist()
    inside = strata.in_batch(size)
    assert 0 < inside < size
    firsts = list(itertools.product(told, repeat=inside))
    others = list(itertools.product(rest, repeat=size - inside))
    weights = strata.weights(values, size)
    assert float(weights.mean()) == pytest.approx(1)
    means = [(weights * values[[*one, *two]]).mean() for one in firsts for two in others]
    assert float(torch.stack(means).mean()) == pytest.approx(float(values.mean()), abs=1e-12)


def test_every_place_of_an_order_holds_every_row_of_its_kind_alike():
    """Catches an order that starts the labelled rows at the same one each epoch, or skips the last of a kind."""
    strata = Strata(num_first=2, num_rows=7, batch_size=4, first_in_batch=2)
    orders = torch.stack([stratified_order(strata, LABELS, torch.Generator().manual_seed(n)) for n in range(1500)])
    kinds = LABELS[orders] >= 0
    assert kinds.eq(torch.tensor([True, True, False, False, True, True, False])).all()
    for place in range(7):
        rows = (LABELS >= 0 if kinds[0, place] else LABELS < 0).nonzero().squeeze(1)
        shares = torch.stack([(orders[:, place] == row).double().mean() for row in rows])
        error = (1 / len(rows) * (1 - 1 / len(rows)) / len(orders)) ** 0.5
        assert float((shares - 1 / len(rows)).abs().max()) < 4.5 * error


@dataclass
class Fixed:
    """Weights of rows as they are given."""

    given: Tensor

    def weights(self, like: Tensor, num_rows: int) -> Tensor:
        return self.given.to(like)


CASES = {
    "elbo": Inference(inference.ELBO(2)),
    "iwelbo": Inference(inference.IWELBO(3)),
    "labels": Inference(inference.ELBO(2), label_weight=0.7),
    "renyi": Inference(inference.Renyi(3, alpha=0.5)),
    "loo": Inference(inference.IWELBO(3), {"y": inference.LeaveOneOut(), "z": inference.Pathwise()}),
    "dreg": inference.DReG(3),
    "hybrid": Inference(inference.ELBO(2, prior_weight=0.4)),
    "stl": Inference(inference.ELBO(2), {"y": inference.Enumerate(), "z": inference.StickTheLanding()}),
}

CONTINUOUS = ("dreg", "hybrid")  # their latents need a path: no class among them


@pytest.mark.parametrize("name", CASES)
def test_weights_of_rows_stand_outside_of_logarithms_and_squares(name: str):
    """Catches weights inside of an average over particles or of DReG's squares, and score terms without them.

    From one random state value and gradient are linear in the weights, and those of weights 1 are the usual ones.
    """
    torch.manual_seed(0)
    pair, batch = (models.VAE if name in CONTINUOUS else models.SemiSupervisedVAE).example()
    x, *labels = batch if isinstance(batch, tuple) else (batch,)
    batch = (x[:3].double(), *(each[:3] for each in labels))
    bound = CASES[name].bind(pair.double(), batch, 3)
    bound.label_scale = 1.5  # of two labelled rows among three

    def step(weights: Tensor | None) -> Tensor:
        bound.strata = None if weights is None else Fixed(weights)
        torch.manual_seed(1)
        found = bound.step(batch)
        return torch.cat([found.value.reshape(1), *(each.flatten() for each in found.gradients.values())])

    usual = step(None)
    rows = torch.stack([step(3 * each) for each in torch.eye(3).double()])
    assert torch.allclose(step(torch.ones(3).double()), usual)
    assert torch.allclose(rows.mean(0), usual)
    given = torch.tensor([0.2, 1.9, 0.9]).double()
    assert torch.allclose(step(given), given @ rows / 3)
    assert torch.allclose(step(torch.zeros(3).double()), torch.zeros_like(usual))
    assert not torch.allclose(rows[0], rows[1])


def test_a_row_of_weight_alone_is_that_row_alone():
    """Catches weights that are given to other rows than their own."""
    torch.manual_seed(0)
    rbm = models.RBM(4, 2)
    x = torch.rand(3, 4).lt(0.5).float()
    bound = Inference(inference.MaximumLikelihood(), negative_phase=inference.ExactPartition()).bind(rbm, x, 3)
    bound.strata = Fixed(torch.tensor([0.0, 3.0, 0.0]))
    alone = Inference(inference.MaximumLikelihood(), negative_phase=inference.ExactPartition()).bind(rbm, x[1:2], 1)
    found, wanted = bound.step(x), alone.step(x[1:2])
    assert torch.allclose(found.value, wanted.value)
    for name, each in wanted.gradients.items():
        assert torch.allclose(found.gradients[name], each, atol=1e-6), name


def small(**options: int) -> datasets.PairedDataset:
    torch.manual_seed(0)
    x, y = torch.rand(40, 5).lt(0.4).float(), torch.arange(40) % 2
    data = datasets.load({"train": x, "train_labels": y}, valid_size=4, test_size=4)
    return data.with_labels(keep=6).stratified(**options)


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    """Catches an order that a resumed run does not go on with, and a run that forgets how its batches are made."""
    data = small(labelled=2)

    def train(folder: str, epochs: int) -> models.SemiSupervisedVAE:
        torch.manual_seed(2)
        ssvae = models.SemiSupervisedVAE(5, classes=2, latent=2, hidden=(4,))
        options = {"batch_size": 8, "progress": False, "compile": False, "resume": "auto", "folder": tmp_path / folder}
        ppgen.fit(ssvae, data, epochs=epochs, **options)
        return ssvae

    whole = train("whole", 3)
    train("parts", 1)
    parts = train("parts", 3)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parts.state_dict()[name]), name
    with pytest.raises(ValueError, match="data"):
        data = small(labelled=3)
        train("parts", 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inference": "rws"}, "has a gradient of its own"),
        ({"inference": inference.ELBO(sparsity_target=0.1)}, "sparsity_target"),
        ({"batch_size": 2}, "puts 2 labelled rows into a batch of batch_size=2"),
        ({"batch_size": 31}, "one row"),
    ],
)
def test_what_cannot_weigh_rows_is_refused(options: dict, message: str):
    """Catches objectives and batches in which the weights would be dropped, or be infinite."""
    ssvae = models.SemiSupervisedVAE(5, classes=2, latent=2, hidden=(4,))
    with pytest.raises(ValueError, match=message):
        ppgen.fit(ssvae, small(labelled=2), epochs=1, progress=False, **options)


def test_pairs_that_have_one_kind_of_rows_are_refused():
    """Catches strata without rows, and split features taken for labels."""
    digits = datasets.load("digits")
    with pytest.raises(ValueError, match="1297 of 1297 training rows"):
        digits.with_labels().stratified(3)
    with pytest.raises(ValueError, match="are others"):
        digits.split_features(32).stratified(3)
    with pytest.raises(ValueError, match="labelled must be"):
        digits.with_labels(keep=20).stratified(0)


def test_processes_do_not_share_stratified_batches():
    """Catches a batch whose labelled rows, the first ones, all go to one process."""
    ssvae, batch = models.SemiSupervisedVAE.example()
    bound = Inference(inference.ELBO()).bind(ssvae, batch, 6)
    with pytest.raises(ValueError, match="2 processes share"):
        stratify(bound, Strata(4, 6, 3, 1), processes=2)


def test_the_command_line_trains_and_judges(tmp_path, capsys):
    """Catches options that the command line does not know or a folder forgets, and labels taken for covariates."""
    folder = str(tmp_path / "run")
    options = ["--data", "digits", "--binarize", "threshold", "--with-labels", "20", "--labelled-in-batch", "10"]
    sizes = ["--classes", "10", "--latent", "2", "--hidden", "4"]
    assert cli.main(["fit", "SemiSupervisedVAE", *options, *sizes, "--epochs", "1", "--folder", folder]) in (0, None)
    drawn = {path.name for path in (tmp_path / "run/figures").iterdir()}
    assert {"curve.png", "samples.png", "reconstructions.png", "filters.png"} <= drawn
    assert cli.main(["evaluate", folder, "--num-particles", "2"]) in (0, None)
    assert "10 in each batch" in capsys.readouterr().out
