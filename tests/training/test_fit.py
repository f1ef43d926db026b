"""Training: what a step, an epoch and a run do."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import datasets, inference, models
from ppgen.training import DivergenceError

_ROWS = (torch.arange(60 * 6).reshape(60, 6) % 5 < 2).float()
_DIGITS = datasets.load("digits", binarize="threshold")


def _vae(**options):
    torch.manual_seed(0)
    return models.VAE(**{"features": 6, "latent": 2, "hidden": (4,)} | options)


def _fit(pair, data=_ROWS, how="elbo", **options):
    return ppgen.fit(pair, data, how, **{"epochs": 2, "batch_size": 20, "progress": False} | options)


def _weights(pair):
    return {name: value.clone() for name, value in pair.state_dict().items()}


def _same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def _location(x):
    loc = pyro.param("loc", torch.zeros(()))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc, 1.0), obs=x)


def _nothing(x):
    pass


def test_the_pair_is_trained_in_place_and_every_parameter_moves():
    """Catches a copy that is trained instead, and parameters left out of the optimiser."""
    pair = _vae()
    before = _weights(pair)
    run = _fit(pair)
    assert run.pair is pair
    assert all(not torch.equal(value, before[name]) for name, value in pair.state_dict().items())
    assert pair.training
    assert all(parameter.grad is None for parameter in pair.parameters())


def test_training_raises_the_bound_and_beats_independent_pixels():
    """Catches a sign error, gradients of the wrong batch, and a loss per batch instead of per datum."""
    p = _DIGITS.mean.clamp(1e-3, 1 - 1e-3)
    independent = (_DIGITS.valid * p.log() + (1 - _DIGITS.valid) * (1 - p).log()).sum(1).mean()
    vae = _vae(features=64, latent=8, hidden=(64,))
    run = _fit(vae, _DIGITS, epochs=40, batch_size=64, lr=5e-3)
    assert run.curve("valid_value")[-1] > independent + 3
    assert abs(run.curve("train_value")[-1] - run.curve("valid_value")[-1]) < 2


def test_a_second_fit_goes_on_from_the_first():
    """Catches a second call that initialises the pair again or throws its chains away."""
    pair = models.RBM(6, 3)
    run = _fit(pair, how=inference.PCD(num_chains=5))
    with torch.no_grad():
        pair.weight.fill_(0.0)
        pair.visible_bias.fill_(40.0)
        pair.inference_state["hidden.even_offset"].fill_(0.25)
    _fit(pair, how=inference.PCD(num_chains=5, offset_rate=1e-9), steps=1, epochs=None, lr=1e-9)
    assert pair.visible_bias.min() > 39
    assert torch.allclose(run.inference_state["hidden.even_offset"], torch.tensor(0.25))


def test_a_ragged_last_batch_counts_by_its_rows():
    """Catches a dropped last batch, and epoch means that weigh batches instead of rows."""
    data = torch.tensor([1.0, 2.0, 3.0, 4.0, 50.0])
    run = _fit(ppgen.Pair(_location, _nothing), (data,), batch_size=4, epochs=1, lr=1e-12)
    expected = dist.Normal(0.0, 1.0).log_prob(data).mean().item()
    assert run.state["step"] == 2
    assert run.curve("train_value")[0] == pytest.approx(expected, rel=1e-5)


def test_every_row_is_seen_once_an_epoch_in_a_new_order():
    """Catches an order that repeats, or is the same for every seed."""
    seen = []

    def model(x):
        loc = pyro.param("loc", torch.zeros(()))
        seen.append(x.tolist())
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    orders = []
    for seed in (0, 0, 1):
        seen.clear()
        _fit(ppgen.Pair(model, _nothing), (torch.arange(10.0),), batch_size=3, epochs=2, seed=seed)
        steps = seen[-8:]
        orders.append([row for batch in steps for row in batch])
    first, second = orders[0][:10], orders[0][10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert orders[0] == orders[1] != orders[2]


def test_validation_does_not_disturb_training():
    """Catches validation draws from the training stream: other validation rows would give other weights."""
    half = {"train": _ROWS, "valid": _ROWS[:30]}
    first, second, third = _vae(), _vae(), _vae()
    _fit(first, half)
    _fit(second, half | {"valid": 1 - _ROWS[:7]})
    _fit(third, {"train": _ROWS})
    assert _same(_weights(first), _weights(second))
    assert _same(_weights(first), _weights(third))


def test_validation_looks_at_no_more_than_a_tenth_and_always_the_same():
    """Catches a validation that costs more than it may, or whose draws differ from epoch to epoch."""
    rows = []

    def model(x):
        loc = pyro.param("loc", torch.zeros(()))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(loc, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, 0])
        rows.append((torch.is_grad_enabled(), len(x), z.detach().clone()))

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, 0], 1.0))

    data = datasets.as_dataset({"train": torch.randn(200, 1), "valid": torch.randn(150, 1)})
    run = _fit(ppgen.Pair(model, guide), data, epochs=3, batch_size=50, lr=1e-12)
    checked = [z for grad, count, z in rows if count == 20]
    assert len(checked) >= 3
    assert all(torch.equal(z, checked[0]) for z in checked)
    assert len({round(value, 5) for value in run.curve("valid_value")}) == 1


def test_clipping_bounds_the_norm_of_all_parameters_together():
    """Catches clipping parameter by parameter, or after the step."""
    before, pair = _weights(_vae()), _vae()
    pair.initialised = True
    _fit(pair, steps=1, epochs=None, optimizer="sgd", lr=1.0, clip_norm=0.01)
    moved = torch.cat([(value - before[name]).flatten() for name, value in pair.state_dict().items()])
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_step_sizes_follow_the_schedule():
    """Catches a schedule by epochs instead of steps, and one that is off by a step."""
    run = _fit(_vae(), epochs=4, batch_size=60, lr=0.4, lr_schedule="linear")
    assert run.curve("lr") == pytest.approx([0.4, 0.3, 0.2, 0.1])
    run = _fit(_vae(), epochs=2, batch_size=60, lr=0.4, lr_schedule=lambda progress: 1 - progress**2)
    assert run.curve("lr") == pytest.approx([0.4, 0.3])
    for steps, moved in ((1, 0.0), (2, 0.5)):  # the gradient at 0 is -1
        pair = ppgen.Pair(_location, _nothing)
        schedule = {"lr": 0.5, "lr_schedule": lambda progress: float(progress > 0)}
        _fit(pair, (torch.ones(8),), steps=steps, epochs=None, batch_size=8, optimizer="sgd", **schedule)
        assert next(pair.parameters()).item() == pytest.approx(moved)


def test_optimisers_by_name_mapping_and_function_agree():
    """Catches options that are dropped, and a user's optimiser that is not the one used."""
    results = []
    for optimizer, lr in (
        ({"name": "sgd", "momentum": 0.9}, 0.1),
        (lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9), None),
        ("sgd", 0.1),
    ):
        pair = _vae()
        _fit(pair, optimizer=optimizer, lr=lr)
        results.append(torch.cat([value.flatten() for value in pair.parameters()]).detach())
    torch.testing.assert_close(results[0], results[1])
    assert not torch.allclose(results[0], results[2])


def test_the_pairs_own_defaults_are_used_unless_another_optimiser_is_named():
    """Catches an RBM trained by Adam, and Adam run at the step size of SGD."""
    by_default = _fit(models.RBM(6, 3)).config["training"]
    assert (by_default["optimizer"]["name"], by_default["lr_schedule"]) == ("sgd", "linear")
    named = _fit(models.RBM(6, 3), optimizer="adam").config["training"]
    assert (named["optimizer"]["name"], named["lr"], named["lr_schedule"]) == ("adam", 1e-3, "constant")


def test_early_stopping_restores_the_best_epoch():
    """Catches the last weights kept instead of the best, patience miscounted, and the wrong direction."""
    weights = []

    def keep(event):
        if event.kind == "epoch":
            weights.append(_weights(event.run.pair))

    pair = _vae(features=64, hidden=(64,))
    run = _fit(pair, _DIGITS, epochs=50, batch_size=64, lr=0.1, early_stopping=2, callbacks=[keep])
    curve = run.curve("valid_value")
    best = max(range(len(curve)), key=lambda epoch: curve[epoch])
    assert len(curve) < 50
    assert len(curve) == best + 1 + 2
    assert run.state["best_epoch"] == best + 1
    assert run.state["stopped_by"] == "early stopping"
    assert _same(weights[best], _weights(pair))
    assert "restored" in repr(run)


def test_metrics_under_a_negative_phase_are_never_an_unnormalised_number():
    """Catches a curve of minus energies that is taken for a log-likelihood."""
    run = _fit(models.RBM(64, 8), _DIGITS, inference.PCD(num_chains=20), epochs=6)
    assert set(run.metrics[-1]) == {
        "epoch",
        "step",
        "seconds",
        "lr",
        "pseudo_log_likelihood",
        "free_energy_gap",
        "rhat",
        "chain_ess",
    }
    assert run.state["monitor"] == "pseudo_log_likelihood"
    assert run.curve("rhat")[-1] > 0.9
    assert "train_value" in _fit(models.RBM(6, 3), how=inference.ExactPartition()).metrics[0]
    assert "rhat" not in _fit(models.RBM(6, 3), how=inference.CD()).metrics[-1]


def test_the_pseudo_log_likelihood_is_that_of_independent_units():
    """Catches a missing factor of the number of units, a sign, and flips of the wrong bit."""
    bias = torch.tensor([-0.5, -1.0, -3.0, 0.5, -1.5, -4.0])
    rbm = models.RBM.from_arrays(torch.zeros(6, 2), bias, torch.zeros(2))
    rbm.initialised = True
    data = {"train": _ROWS.repeat(200, 1), "valid": _ROWS.repeat(200, 1)}
    run = _fit(rbm, data, how=inference.CD(), steps=1, epochs=None, lr=1e-9)
    terms = dist.Bernoulli(logits=bias).log_prob(_ROWS)
    expected, count = terms.sum(1).mean().item(), 600
    deviation = (6 * terms).std().item()
    assert abs(run.curve("pseudo_log_likelihood")[0] - expected) < 4 * deviation / count**0.5
    assert abs(run.curve("free_energy_gap")[0]) < 4 * terms.sum(1).std().item() * (2 / count) ** 0.5


def test_nan_stops_training_and_names_the_parameter_and_the_step(tmp_path):
    """Catches training that goes on with NaN, a checkpoint of NaN weights, and weights lost with it."""

    def model(x):
        loc = pyro.param("loc", torch.ones(()))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(torch.sqrt(loc), 1.0), obs=x)

    pair = ppgen.Pair(model, _nothing)
    options = {"optimizer": "sgd", "lr": 0.05, "batch_size": 8, "epochs": 50}
    with pytest.raises(DivergenceError, match=r"step \d+ .*'x' of the model.*last checkpoint"):
        _fit(pair, (torch.full((8,), -3.0),), folder=tmp_path, checkpoint_minutes=0, **options)
    assert all(torch.isfinite(parameter) for parameter in pair.parameters())
    loaded = ppgen.load(tmp_path, pair=ppgen.Pair(model, _nothing))
    assert all(torch.isfinite(parameter) for parameter in loaded.pair.parameters())


def test_a_bad_gradient_is_named_where_the_value_is_fine():
    """Catches a NaN that comes in through the gradient of a finite value."""

    def model(x):
        scale = pyro.param("weak", torch.ones(()))
        zero = (scale - scale.detach()).abs().sqrt()  # value 0, gradient NaN
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(zero + scale, 1.0), obs=x)

    pair = ppgen.Pair(model, _nothing)
    with pytest.raises(DivergenceError, match=r"step 1 \(epoch 1\): the gradient of parameter '.*weak'"):
        _fit(pair, (torch.ones(8),), batch_size=8, steps=1, epochs=None)
    assert torch.equal(next(pair.parameters()), torch.ones(()))


def test_callbacks_are_told_every_epoch_in_order():
    """Catches events out of order, and metrics that are not those of the run."""
    events = []
    run = _fit(_vae(), callbacks=[events.append])
    assert [event.kind for event in events] == ["start", "epoch", "epoch", "end"]
    assert [event.epoch for event in events] == [0, 1, 2, 2]
    assert events[1].metrics == run.metrics[0]


def test_tuples_and_mappings_are_arguments_of_the_programs():
    """Catches columns that come apart: x and y of different rows."""

    def model(x, y):
        slope = pyro.param("slope", torch.zeros(()))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)

    def guide(x, y):
        pass

    x = torch.linspace(-1, 1, 50)
    for data in ((x, 3 * x), {"y": 3 * x, "x": x}):
        pair = ppgen.Pair(model, guide)
        _fit(pair, data, epochs=100, lr=0.1)
        assert next(pair.parameters()).item() == pytest.approx(3.0, abs=0.05)


def test_double_precision_pairs_are_trained_in_double_precision():
    """Catches float32 data that meet float64 weights."""
    pair = _vae().double()
    _fit(pair)
    assert next(pair.parameters()).dtype == torch.float64


def test_the_callers_settings_are_put_back():
    """Catches a matrix precision or a training mode that stays as training left it."""
    before = torch.get_float32_matmul_precision()
    inside = []
    pair = _vae().eval()
    _fit(
        pair,
        matmul_precision="bf16",
        callbacks=[lambda event: inside.append((torch.get_float32_matmul_precision(), pair.training))],
    )
    assert set(inside) == {("medium", True)}
    assert torch.get_float32_matmul_precision() == before
    assert not pair.training


def test_every_device_trains_saves_and_resumes(device, tmp_path):
    """Catches tensors born on the wrong device, in training, in a checkpoint or in samples."""
    for name, make, how in (
        ("vae", _vae, inference.IWAE(num_particles=2)),
        ("rbm", lambda: models.RBM(6, 3), inference.PCD(num_chains=5)),
    ):
        options = {"device": device, "folder": tmp_path / name, "resume": "auto"}

        def stop(event):
            if event.kind == "checkpoint" and event.step == 4:
                event.stop()

        _fit(make(), how=how, checkpoint_minutes=0, callbacks=[stop], **options)
        run = _fit(make(), how=how, **options)
        assert run.state["finished"]
        assert {parameter.device.type for parameter in run.pair.parameters()} == {device.type}
        assert ppgen.sample(run, 3, sweeps=5).samples.device.type == device.type
        assert ppgen.load(tmp_path / name).pair.device.type == "cpu"


def test_progress_says_what_is_run(capsys):
    """Catches a silent default, and output where none was asked for."""
    _fit(_vae(), how=inference.IWAE(num_particles=3), progress=True)
    printed = capsys.readouterr().out
    assert "VAE on array" in printed
    assert "IWELBO(num_particles=3)" in printed
    assert "adam, lr 0.001" in printed
    assert printed.count("valid_value") + printed.count("train_value") >= 2
    _fit(_vae())
    assert capsys.readouterr().out == ""


def test_a_run_is_readable():
    """Catches a repr that is an address, and a curve of a name that does not exist."""
    run = _fit(_vae())
    text = repr(run)
    assert text.startswith("Run of VAE on array (binary as given): ELBO(num_particles=1)")
    assert "2 epochs, 6 steps" in text and "not saved" in text
    assert run.seconds > 0 and (run.peak_memory is None or run.peak_memory > 10)
    with pytest.raises(ValueError, match=r"Unknown metric 'loss'. Known: epoch, step"):
        run.curve("loss")


def test_a_bound_on_the_whole_data_set_has_no_validation_value():
    """Catches a multi-sample bound with a global latent that is reported for a part of the rows."""

    def model(x):
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x[:, 0])

    def guide(x):
        pyro.sample("loc", dist.Normal(pyro.param("at", torch.zeros(())), 0.3))

    data = {"train": torch.randn(40, 1), "valid": torch.randn(40, 1)}
    run = _fit(ppgen.Pair(model, guide), data, inference.IWAE(num_particles=3), batch_size=40)
    assert run.state["monitor"] == "train_value"
    assert "valid_value" not in run.metrics[0]
