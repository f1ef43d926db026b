"""The report on a fit: what is right passes, and each known fault is named with what to do."""

import importlib
import json
import math

import linear_gaussian
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import datasets, diagnostics, evaluation, inference, models
from ppgen.cli import main
from ppgen.diagnostics import check as check_function

SIGMAS = 4  # standard errors


def exact_guide(x):
    """The posterior of probabilistic PCA."""
    with pyro.plate("data", len(x)):
        mean = linear_gaussian.posterior_mean(x)
        pyro.sample("z", dist.MultivariateNormal(mean, precision_matrix=linear_gaussian.PRECISION))


def narrow_guide(x):
    """Normals of a fifth of the posterior's width."""
    with pyro.plate("data", len(x)):
        scale = 0.2 * linear_gaussian.PRECISION.diagonal().rsqrt()
        pyro.sample("z", dist.Normal(linear_gaussian.posterior_mean(x), scale).to_event(1))


def idle_guide(x):
    """The prior, whatever the data are."""
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))


def test_exact_guide_has_no_warning() -> None:
    """Catches a report that cries wolf, and figures that are not those of the closed form."""
    x = linear_gaussian.data(100)
    found = diagnostics.check(ppgen.Pair(linear_gaussian.model, exact_guide), x)
    assert found.ok, found
    assert found["log-likelihood"].values["value"] == pytest.approx(float(linear_gaussian.log_evidence(x).mean()))
    assert abs(found["gap of the guide"].values["gap"]) < 1e-6
    assert found["Pareto k"].values["share"] == 0
    assert found["latent units"].values["inactive"] == 0
    assert repr(found).endswith("No warning.")


def test_gap_is_the_divergence_of_the_guide() -> None:
    """Catches a gap of the wrong sign or scale, or an error that does not hold it."""
    gap = float(linear_gaussian.mean_field_gap(linear_gaussian.GUIDE_SHIFT, linear_gaussian.GUIDE_WIDTH))
    found = diagnostics.check(linear_gaussian.pair(), linear_gaussian.data(300), num_particles=3000)
    values = found["gap of the guide"].values
    assert abs(values["gap"] - gap) < SIGMAS * values["se"] < 0.2


def test_narrow_guide_is_named() -> None:
    """Catches Pareto k that is averaged away, and a large gap that is passed over."""
    found = diagnostics.check(ppgen.Pair(linear_gaussian.model, narrow_guide), linear_gaussian.data(100))
    assert {each.name for each in found.warnings} == {"gap of the guide", "Pareto k"}
    assert found["Pareto k"].values["share"] > 0.5
    assert "misses mass of the posterior" in repr(found).replace("\n", " ").replace("           ", "")
    assert all(each.advice for each in found.warnings)


def test_advice_on_discrete_latents_can_be_followed() -> None:
    """Catches a remedy that raises: annealing, a split of the gap and pathwise IWAE are for continuous latents."""
    torch.manual_seed(0)
    net = models.SigmoidBeliefNet(sizes=(12, 5))
    for parameter in (*net.decoders.parameters(), *net.encoders.parameters()):
        torch.nn.init.normal_(parameter, std=3.0)
    x = (torch.rand(60, 12) < 0.4).float()
    found = diagnostics.check(net, x, num_particles=200)
    assert {"gap of the guide", "Pareto k"} <= {each.name for each in found.warnings}
    told = " ".join(str(each.advice) for each in found.warnings) + diagnostics.importance_weights(net, x).advice
    for impossible in ("'ais'", "IWAE()", "approximation_gap"):
        assert impossible not in told
    for wanted in (inference.VIMCO(), inference.RWS()):
        assert type(wanted).__name__ == "Inference" and ppgen.fit(net, x, wanted, steps=1, progress=False)
    assert "inference.VIMCO()" in told and "inference.RWS()" in told
    continuous = diagnostics.check(ppgen.Pair(linear_gaussian.model, narrow_guide), linear_gaussian.data(100))
    assert "'ais'" in str(continuous["Pareto k"].advice) and "approximation_gap" in str(continuous["Pareto k"].advice)
    idle = models.DBM(visible=12, hidden=(4, 3))
    for weight in idle.weights:
        torch.nn.init.zeros_(weight)
    guide = diagnostics.check(idle, x)["latent units"]
    assert guide.warning and "free_bits" not in str(guide.advice), "a mean field has no bits to free"


def test_one_row_has_no_spread() -> None:
    """Catches a standard error of a single number: a warning of numpy's, and NaN that passes for a figure."""
    found = diagnostics.check(models.RBM(visible=6, hidden=3), torch.eye(6)[:1], num_samples=100)
    assert found["chains and data"].warning is None and "nan" not in repr(found)
    assert "1 rows" not in repr(found)


def test_advice_on_overfitting_can_be_followed() -> None:
    """Catches an argument that `fit` has not."""
    from ppgen.diagnostics.chains.free_energies import OVERFITTING

    assert "optimizer={'weight_decay': 1e-4}" in OVERFITTING and "early_stopping=" in OVERFITTING
    rbm, x = models.RBM(visible=6, hidden=3), (torch.rand(20, 6) < 0.4).float()
    decayed = ppgen.fit(rbm, x, steps=1, optimizer={"weight_decay": 1e-4}, early_stopping=2, progress=False)
    assert decayed.config["training"]["optimizer"]["weight_decay"] == 1e-4


def test_collapsed_guide_is_named() -> None:
    """Catches latents that tell nothing and are not reported."""
    found = diagnostics.check(ppgen.Pair(linear_gaussian.model, idle_guide), linear_gaussian.data(100))
    assert "collapse" in str(found["latent units"].warning)
    assert found["latent units"].values == {"inactive": 2, "units": 2}


def test_machine_that_sticks_is_named() -> None:
    """Catches chains in different modes that nobody compares."""
    weights = 6.0 * np.ones((4, 3))
    uneven = models.RBM.from_arrays(weights, -weights.sum(1) / 2 - 0.5, -weights.sum(0) / 2)
    uneven.inference_state = {"hidden.chains": torch.tensor([[0.0] * 4, [1.0] * 4]).repeat(20, 1)}
    found = diagnostics.check(uneven, torch.cat([torch.zeros(5, 4), torch.ones(5, 4)]))
    assert "do not mix" in str(found["R-hat of the chains"].warning)


def test_wide_sandwich_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches two estimates of log Z far apart of which one is quietly believed."""
    monkeypatch.setitem(check_function.__globals__["_LADDER"], "betas", 4)
    rng = np.random.default_rng(0)
    machine = models.RBM.from_arrays(1.5 * rng.normal(size=(40, 40)), np.zeros(40), np.zeros(40))
    x = torch.bernoulli(torch.full((20, 40), 0.5), generator=torch.Generator().manual_seed(0))
    found = diagnostics.check(machine, x, num_samples=100)
    assert "nats open" in str(found["log Z"].warning)
    assert found["log Z"].values["gap"] == found.details["log_partition"]["hidden"].gap


def test_overfitting_of_both_kinds_is_named() -> None:
    """Catches training data that are compared with themselves, or with the sign turned round."""
    x = torch.bernoulli(torch.full((80, 12), 0.5), generator=torch.Generator().manual_seed(0))
    rbm, vae = models.RBM(visible=12, hidden=40), models.VAE(features=12, latent=10, hidden=(60,))
    ppgen.fit(rbm, x[:40], inference.PCD(), epochs=60, batch_size=20, lr=0.3, progress=False, compile=False)
    ppgen.fit(vae, x[:40], epochs=100, batch_size=20, lr=1e-2, progress=False, compile=False)
    for pair in (rbm, vae):
        found = diagnostics.check(pair, x[40:], train=x[:40])
        assert "by heart" in str(found["overfitting"].warning)
        swapped = diagnostics.check(pair, x[:40], train=x[40:])
        assert swapped["overfitting"].warning is None


def test_documents_with_a_normaliser_each() -> None:
    """Catches a report that asks for one log Z where each row has its own."""
    x = torch.tensor([[1.0, 2, 0, 0, 1], [0, 0, 3, 1, 0], [2, 1, 0, 0, 0]])
    found = diagnostics.check(models.ReplicatedSoftmax(vocabulary=5, hidden=3), x)
    assert [each.name for each in found.findings] == ["log-likelihood", "latent units"]


def test_estimates_that_are_there_are_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an evaluation that runs twice, once for the report."""
    rbm = models.RBM(visible=6, hidden=4)
    x = torch.eye(6)
    log_z = evaluation.log_partition(rbm, method="exact")
    value = evaluation.log_likelihood(rbm, x, log_partition=log_z)

    def never(*_, **__):
        raise AssertionError("estimated again")

    for name in ("estimate_log_likelihood", "log_partition"):
        monkeypatch.setitem(check_function.__globals__, name, never)
    found = diagnostics.check(rbm, x, log_likelihood=value, partitions=log_z)
    assert found.log_likelihood is value


def test_a_part_of_many_rows() -> None:
    """Catches a report that takes an hour on a large set, or does not say that it saw a part."""
    x = torch.bernoulli(torch.full((300, 6), 0.5), generator=torch.Generator().manual_seed(0))
    found = diagnostics.check(models.VAE(features=6, latent=2, hidden=(4,)), x, max_rows=50, num_particles=100)
    assert found.log_likelihood.num_data == 50 and "50 rows (a part of 300)" in found.subject


def test_random_state_modes_and_chains_are_left_alone() -> None:
    """Catches a report that changes what it looks at."""
    rbm = models.RBM(visible=6, hidden=4)
    ppgen.fit(rbm, torch.eye(6).repeat(4, 1), inference.PCD(num_chains=20), epochs=1, progress=False)
    rbm.train()
    before, chains = torch.get_rng_state(), rbm.inference_state["hidden.chains"].clone()
    first, second = (repr(diagnostics.check(rbm, torch.eye(6))) for _ in range(2))
    assert first == second and rbm.training
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(rbm.inference_state["hidden.chains"], chains)


def test_findings_by_name_and_as_json() -> None:
    """Catches values that JSON cannot hold, and a wrong name that fails without the right ones."""
    found = diagnostics.check(models.VAE(features=6, latent=2, hidden=(4,)), torch.eye(6), num_particles=100)
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [each["name"] for each in content["findings"]] == [each.name for each in found.findings]
    with pytest.raises(KeyError, match="gap of the guide"):
        found["nothing"]
    infinite = diagnostics.Check("a pair", (diagnostics.Finding("k", "infinite", values={"k": math.inf}),), None)
    assert infinite.to_dict()["findings"][0]["values"]["k"] is None


@pytest.mark.parametrize("name", ["num_particles", "num_samples", "max_rows"])
def test_senseless_numbers(name: str) -> None:
    """Catches numbers that fail after minutes of work."""
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 2"):
        diagnostics.check(models.VAE(features=6, latent=2, hidden=(4,)), torch.eye(6), **{name: 1})


def test_of_points_few_training_rows_are_annealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a thousand annealed rows nobody asked for, new ones annealed twice, and a part that is not told of."""
    module = importlib.import_module("ppgen.diagnostics.checks.check")
    monkeypatch.setattr(module, "_ANNEALED_ROWS", 7)
    monkeypatch.setattr(module, "_POINTS", {"num_chains": 2, "betas": 2})
    counted, estimate = [], module.estimate_log_likelihood

    def counting(pair, rows, **options):
        counted.append(len(rows))
        return estimate(pair, rows, **options)

    monkeypatch.setattr(module, "estimate_log_likelihood", counting)
    coder, x = models.SparseCoding(4, 5, penalty=0.5), torch.randn(20, 4)
    found = diagnostics.check(coder, x[:9], train=x)
    assert counted == [9, 7]
    assert "of 7 training rows, a part of them, " in str(found["overfitting"])
    new = estimate(coder, x[:9], seed=0, num_particles=1000, num_chains=2, betas=2)
    assert found.log_likelihood.value == new.value
    every = diagnostics.check(coder, x[:9], train=x, max_rows=None)
    assert counted[2:] == [9, 20] and "of training data " in str(every["overfitting"])
    seen = estimate(coder, x, seed=0, method="auto", num_chains=2, betas=2)
    assert every["overfitting"].values["gap"] == pytest.approx(seen.value - new.value)


def test_fit_ends_with_the_report(tmp_path, capsys: pytest.CaptureFixture) -> None:
    """Catches a command that trains and leaves the reader alone with a number."""
    line = "fit RBM --hidden 4 --data digits --binarize threshold --epochs 1 --quiet --compile false --folder"
    assert main([*line.split(), str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "Check of RBM on 300 rows" in printed and "R-hat of the chains" in printed
    written = json.loads((tmp_path / "evaluation.json").read_text())["check"]
    assert [each["name"] for each in written["findings"]][:2] == ["log-likelihood", "latent units"]


def test_a_large_machine_is_annealed_once_from_both_sides(tmp_path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    """Catches a report that anneals twice, for its likelihood and for its check, and may contradict itself."""
    runs = []
    log_partition = evaluation.log_partition
    monkeypatch.setattr(evaluation, "log_partition", lambda *a, **k: runs.append(k["method"]) or log_partition(*a, **k))
    monkeypatch.setattr(
        importlib.import_module("ppgen.diagnostics.checks.check"), "log_partition", evaluation.log_partition
    )
    line = "fit RBM --hidden 21 --data digits --binarize threshold --epochs 1 --quiet --compile false --folder"
    assert main([*line.split(), str(tmp_path)]) == 0
    assert runs == ["sandwich"] and " <= log Z <= " in capsys.readouterr().out
    written = json.loads((tmp_path / "evaluation.json").read_text())
    log_z = written["estimates"]["log Z"]
    assert log_z["lower"]["value"] == log_z["value"]
    (finding,) = [each for each in written["check"]["findings"] if each["name"] == "log Z"]
    assert finding["values"]["gap"] == pytest.approx(log_z["upper"]["value"] - log_z["lower"]["value"])


def test_run_checks_itself() -> None:
    """Catches a shorthand that checks other weights, or drops its options."""
    digits = datasets.load("digits", binarize="threshold")
    vae = models.VAE(features=64, latent=2, hidden=(8,))
    run = ppgen.fit(vae, digits, epochs=1, progress=False, compile=False)
    assert repr(run.check(digits.valid, seed=3)) == repr(diagnostics.check(vae, digits.valid, seed=3))
