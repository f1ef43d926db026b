"""Greedy training of stacks of layers: bounds that rise, doubled machines, activities, runs that go on."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import ppgen
from ppgen import datasets, evaluation, inference, models, testing, training
from ppgen.inference.structure.machine_sites import base_mean
from ppgen.models.boltzmann.doubled_rbm import DoubledRBM
from ppgen.testing.examples import bit_vectors
from ppgen.training.stages import layer_bounds
from ppgen.training.stages.layer_data import LayerData

EXACT = inference.ExactPartition()
QUIET = {"compile": False, "progress": False}


def structured(rows: int = 400, seed: int = 7) -> Tensor:
    """Bits of which each pair agrees and whose pairs hang together: more than one layer of four units knows."""
    generator = torch.Generator().manual_seed(seed)
    first = (torch.rand(rows, 1, generator=generator) < 0.4).float()
    others = (torch.rand(rows, 2, generator=generator) < 0.25 + 0.5 * first).float()
    noise = (torch.rand(rows, 6, generator=generator) < 0.05).float()
    return (torch.cat([first, others, first, others], -1) + noise) % 2


def prototypes(rows: int = 400, seed: int = 7) -> Tensor:
    """Six patterns with noise, which three units cannot tell apart."""
    generator = torch.Generator().manual_seed(seed)
    patterns = (torch.rand(6, 6, generator=generator) < 0.5).float()
    x = patterns[torch.randint(6, (rows,), generator=generator)]
    return (x + (torch.rand(rows, 6, generator=generator) < 0.05).float()) % 2


def random_rbm(rbm: models.RBM) -> models.RBM:
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.copy_(torch.randn(parameter.shape) - 0.2)
    return rbm.double()


@torch.no_grad()
def enumerated_bound(dbn: models.DBN, x: Tensor) -> Tensor:
    """E_q[log p(x, z1) - log q(z1 | x)] of a network with one directed layer, over every z1: (rows,)."""
    z = bit_vectors(dbn.sizes[1])
    minus_free = z @ dbn.top_bias + torch.nn.functional.softplus(z @ dbn.top_weight + dbn.top_hidden_bias).sum(-1)
    down, up = dbn.decoders[0].logits.output, dbn.encoders[0].logits.output

    def log_bits(logits: Tensor, value: Tensor) -> Tensor:
        return logsigmoid(torch.where(value == 1, logits, -logits)).sum(-1)

    log_x = log_bits((z @ down.weight.T + down.bias).unsqueeze(1), x)
    log_q = log_bits(x @ up.weight.T + up.bias, z.unsqueeze(1))
    return (log_q.exp() * (log_x + (minus_free - minus_free.logsumexp(0)).unsqueeze(1) - log_q)).sum(0)


def test_an_added_layer_never_lowers_the_bound() -> None:
    """Catches a layer that starts elsewhere than at the transposed weights, or learns from other bits than q's."""
    torch.manual_seed(0)
    x = prototypes()
    dbn = models.DBN(6, (3, 6)).double()
    found = training.pretrain(dbn, x, EXACT, epochs=100, lr=0.1, num_particles=400, **QUIET)
    below = found.runs[0].pair
    first = float(evaluation.log_likelihood(below, x, method="exact").value)
    # The machine as it was added: the bound is log p(x) of the layer below, for every datum and every draw.
    added = dbn.stacked([below, dbn.layer_rbm(2, below)])
    started = enumerated_bound(added, x.double())
    testing.check_close(
        started, torch.from_numpy(evaluation.log_likelihood(below, x, method="exact").per_datum["log_likelihood"]),
        "bound at the start", atol=1e-9,
    )  # fmt: skip
    ended = float(enumerated_bound(dbn, x.double()).mean())
    assert ended > first + 0.002  # exact values: nothing but the noise of training can hide a fall
    for bound, expected in zip(found.bounds, (first, ended), strict=True):
        assert abs(bound.train - expected) <= 4 * bound.se + 1e-6 and bound.method == "enumerated"
        assert bound.valid is None
    exact_z = evaluation.log_partition(dbn, method="exact").value
    assert found.bounds[1].log_partition == pytest.approx(exact_z) and "layer by layer" in repr(found)


def test_bounds_by_annealing(monkeypatch) -> None:
    """Catches a log Z of another machine than that at the top, or with the wrong sign."""
    torch.manual_seed(1)
    x = structured()
    dbn = models.DBN(6, (4, 5)).double()
    dbn.compose([random_rbm(models.RBM(6, 4)), random_rbm(models.RBM(4, 5))])
    budget = {"num_particles": 200, "num_chains": 300, "betas": 200, "seed": 3}
    dataset = datasets.as_dataset(x)
    exact = layer_bounds.layer_bound(dbn, dataset, 2, **budget)
    monkeypatch.setattr(layer_bounds, "EXACT_STATES", 1)
    annealed = layer_bounds.layer_bound(dbn, dataset, 2, **budget)
    assert "AIS (300 chains x 200 betas)" in annealed.method and annealed.se > exact.se
    assert abs(annealed.log_partition - exact.log_partition) < 4 * annealed.se
    assert abs(annealed.train - exact.train) < 4 * annealed.se


@pytest.mark.parametrize(("scale", "betas", "words"), [(8.0, 2, "a few carry the estimate"), (0.0, 1, "")])
def test_few_annealing_runs_are_told_in_a_bound(monkeypatch, scale, betas, words) -> None:
    """Catches a small error of a bound whose log Z one run of a thousand carries, and a doubt where all is exact."""
    torch.manual_seed(1)
    dbn = models.DBN(6, (4, 5)).double()
    dbn.compose([random_rbm(models.RBM(6, 4)), random_rbm(models.RBM(4, 5))])
    with torch.no_grad():
        dbn.top_weight.mul_(scale)
    monkeypatch.setattr(layer_bounds, "EXACT_STATES", 1)
    budget = {"num_particles": 5, "num_chains": 40, "betas": betas, "seed": 3}
    bound = layer_bounds.layer_bound(dbn, datasets.as_dataset(structured()), 2, **budget)
    assert (words in bound.method) and ("carry" in bound.method) == bool(words), bound


def test_weights_and_activities_are_handed_on() -> None:
    """Catches bits of the wrong layer, means where draws were asked for, and encoders that were not copied."""
    torch.manual_seed(2)
    x = structured()
    for activities in ("sample", "mean"):
        dbn = models.DBN(6, (4, 3, 3))
        found = training.pretrain(dbn, x, EXACT, epochs=2, activities=activities, **QUIET)
        rbms = [run.pair for run in found.runs]
        first, second = (rbm.hidden_means for rbm in rbms[:2])
        layers = LayerData(datasets.as_dataset(x)).above(rbms[0], 1, activities, seed=0)
        assert torch.equal(layers.dataset.train_probabilities, first(x))
        bits = layers.dataset.train
        assert set(bits.unique().tolist()) == {0.0, 1.0}
        testing.check_close(bits.mean(0), first(x).mean(0), "mean of the bits", atol=4 * 0.5 / 20)
        sent = layers.below["train"]
        assert torch.equal(sent, bits if activities == "sample" else first(x))
        again = layers.above(rbms[1], 2, activities, seed=0)
        assert torch.equal(again.dataset.train_probabilities, second(sent))
        assert found.runs[2].config["data"]["checksum"] == again.dataset.checksum
        assert len(found.bounds) == 3
        for rbm, down, up in zip(rbms, dbn.decoders, dbn.encoders, strict=False):
            assert torch.equal(down.logits.output.weight, rbm.weight)
            assert torch.equal(down.logits.output.bias, rbm.visible_bias)
            assert torch.equal(up.logits.output.weight, rbm.weight.T)
            assert torch.equal(up.logits.output.bias, rbm.hidden_bias)
        assert torch.equal(dbn.top_weight, rbms[2].weight) and torch.equal(dbn.data_mean, rbms[2].data_mean)


@pytest.mark.parametrize("copies", [(2, 1), (1, 2), (2, 3)])
def test_a_doubled_machine_hears_a_layer_twice(copies) -> None:
    """Catches copies with weights of their own, and biases that are not doubled with the weights."""
    torch.manual_seed(3)
    below, above = copies
    rbm = random_rbm(DoubledRBM(3, 2, below, above))
    v, h = bit_vectors(3), bit_vectors(2)
    machine = rbm.machine()
    with torch.no_grad():
        up = machine.conditional("hidden", given=v.repeat(1, below)).mean
        down = machine.conditional("visible", given=h.repeat(1, above)).mean
        expected_up = torch.sigmoid(below * (v @ rbm.weight + rbm.hidden_bias))
        expected_down = torch.sigmoid(above * (h @ rbm.weight.T + rbm.visible_bias))
    testing.check_close(up, expected_up.repeat(1, above), "p(h | v)")
    testing.check_close(down, expected_down.repeat(1, below), "p(v | h)")
    testing.check_close(rbm.hidden_means(v), expected_up, "hidden means")
    testing.check_pair(rbm, v)


def test_a_deep_machine_agrees_with_its_first_one_where_it_hears_the_same() -> None:
    """Catches a bias taken from one machine only, halves where there should be wholes, and machines out of order."""
    torch.manual_seed(4)
    dbm = models.DBM(5, (4, 3, 2, 2)).double()
    rbms = [random_rbm(dbm.layer_rbm(layer)) for layer in range(1, 5)]
    assert [getattr(rbm, "copies", None) for rbm in rbms] == [(2, 1), None, None, (1, 2)]
    v, h2 = bit_vectors(5)[13], torch.tensor([0.2, 0.9, 0.4], dtype=torch.float64)
    first, second, third, top = rbms
    with torch.no_grad():  # what h1 hears from above is made to equal what it hears from below
        heard = v @ first.weight + first.hidden_bias
        second.visible_bias.copy_(2 * heard - second.weight @ h2)
    dbm.compose(rbms)
    machine = dbm.machine()

    def mean(name: str, **given: Tensor) -> Tensor:
        with torch.no_grad():
            return machine.conditional(name, given=given).mean

    testing.check_close(mean("hidden1", visible=v, hidden2=h2), first.hidden_means(v), "h1 at that point")
    # Each layer hears half of what both its machines, doubled, would tell it.
    h1, h3, h4 = torch.rand(4).double(), torch.rand(2).double(), torch.rand(2).double()
    with torch.no_grad():
        logits = h1 @ second.weight + second.hidden_bias + third.weight @ h3 + third.visible_bias
        testing.check_close(mean("hidden2", hidden1=h1, hidden3=h3), torch.sigmoid(logits / 2), "h2")
        logits = (h2 @ third.weight + third.hidden_bias) / 2 + top.weight @ h4 + top.visible_bias
        testing.check_close(mean("hidden3", hidden2=h2, hidden4=h4), torch.sigmoid(logits), "h3")
        testing.check_close(mean("hidden4", hidden3=h3), top.hidden_means(h3), "h4")
        logits = first.weight @ h1 + first.visible_bias
        testing.check_close(mean("visible", hidden1=h1), torch.sigmoid(logits), "v")


def test_pretraining_helps_a_deep_machine() -> None:
    """Catches layers that do not fit together: the composed machine must beat independent bits by far."""
    x = structured(1000)
    torch.manual_seed(5)
    dbm = models.DBM(6, (5, 4))
    found = training.pretrain(dbm, x, inference.PCD(k=3), epochs=100, lr=0.1, **QUIET)
    assert found.bounds == () and len(found.runs) == 2
    assert found.runs[0].inference.negative_phase == inference.PCD(k=3, centred=False)
    mean = x.mean(0)
    independent = float((mean * mean.log() + (1 - mean) * (1 - mean).log()).sum())
    value = evaluation.log_likelihood(dbm, x, method="exact").value
    assert value > independent + 0.5
    ppgen.fit(dbm, x, inference.PCD(k=3), epochs=1, lr=0.01, **QUIET)
    assert evaluation.log_likelihood(dbm, x, method="exact").value > value - 0.05


def test_finished_layers_are_read_back(tmp_path, capsys) -> None:
    """Catches a second layer that learns from other draws than before, and a folder that is trained in twice."""
    x = structured(200)
    options = {"epochs": 2, "seed": 3, "compile": False}
    first, second, other = (models.DBN(6, (4, 3)) for _ in range(3))
    before = torch.get_rng_state()
    training.pretrain(first, x, folder=tmp_path / "stack", **options)
    assert torch.equal(before, torch.get_rng_state())
    assert "LayerBound(2 hidden layers" in capsys.readouterr().out
    training.pretrain(second, x, folder=tmp_path / "stack", resume="auto", **options)
    assert capsys.readouterr().out.count("Finished before") == 2
    training.pretrain(other, x, **options | {"seed": 4}, progress=False)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.top_weight, other.top_weight)
    assert isinstance(ppgen.load(tmp_path / "stack" / "layer1").pair, models.RBM)
    with pytest.raises(ValueError, match="epochs"):
        training.pretrain(second, x, folder=tmp_path / "stack", resume="auto", **options | {"epochs": (1, 2)})


def test_errors_before_any_layer_is_trained() -> None:
    """Catches a stack of another kind, and arguments that would be found wrong at the last layer."""
    x, dbn = structured(20), models.DBN(6, (4, 3))
    before = dbn.top_weight.clone()
    for pair, data, options, error, message in (
        (models.VAE(6, 2, (3,)), x, {}, ValueError, "models.ConvolutionalDBN or models.DBM, got VAE. Use ppgen.fit"),
        (models.RBM(6, 2), x, {}, ValueError, "got RBM"),
        (torch.nn.Linear(2, 2), x, {}, TypeError, "Linear"),
        (dbn, x, {"epochs": (1, 2, 3)}, ValueError, "one number, or 2"),
        (dbn, x, {"epochs": (1, 0)}, ValueError, "epochs must be whole numbers of at least 1"),
        (dbn, x, {"activities": "bits"}, ValueError, '\'sample|"sample"'),
        (dbn, x, {"num_particles": 1}, ValueError, "num_particles must be a whole number of at least 2"),
        (dbn, x, {"betas": 0}, ValueError, "betas"),
        (dbn, (x, x), {}, TypeError, "got a tuple"),
        (dbn, x[:, :5], {}, ValueError, "data must have 6 features.*got 5"),
        (dbn, x / 2, {}, ValueError, "visible"),
        (dbn, x, {"inference": "pdc"}, ValueError, "Unknown inference 'pdc'"),
    ):
        with pytest.raises(error, match=message):
            training.pretrain(pair, data, **options, **QUIET)
    assert torch.equal(before, dbn.top_weight)


def test_the_top_of_a_network_is_evaluated_from_its_activities() -> None:
    """Catches annealing that starts at biases alone although the layer's mean is known."""
    x = structured()
    dbn = models.DBN(6, (4, 3))
    training.pretrain(dbn, x, epochs=3, **QUIET)
    assert np.isfinite(dbn.data_mean.numpy()).all()
    base = base_mean(dbn, dbn.machine().base_energy)
    assert torch.equal(base, dbn.data_mean)
