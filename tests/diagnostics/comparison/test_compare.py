"""Inferences side by side: `ppgen.compare_inferences` and `ppgen compare` on models and data of a few numbers."""

from pathlib import Path
from typing import Any

import hierarchies
import numpy as np
import pytest
import torch
import xarray as xr

import ppgen
from ppgen import datasets, diagnostics, inference, models
from ppgen.cli import main
from ppgen.diagnostics.comparison.differences import difference

QUICK: dict[str, Any] = {
    "processes": 0, "steps": 4, "batch_size": 16, "num_particles": 100, "gradient_draws": 20, "progress": False,
    "compile": False,
}  # fmt: skip


def bits(rows: int = 60) -> np.ndarray:
    """Rows x 9 bits whose columns have different means."""
    random = np.random.default_rng(0)
    return (random.random((rows, 9)) < np.linspace(0.1, 0.8, 9)).astype(np.float32)


@pytest.fixture(scope="module")
def data() -> datasets.Dataset:
    return datasets.as_dataset({"train": bits(40), "test": bits(60)[40:]})


def vae() -> models.VAE:
    return models.VAE(features=9, latent=2, hidden=(4,))


ONE = vae()


def sbn() -> models.SigmoidBeliefNet:
    return models.SigmoidBeliefNet(sizes=(9, 4))


def rbm() -> models.RBM:
    return models.RBM(visible=9, hidden=3)


def synthetic(values: dict[str, list[float]], kind: str = "exact") -> Any:
    """A comparison of one model with these log-likelihoods by inference and seed."""
    from ppgen.diagnostics.comparison.table import assemble

    cells = [
        (
            ("M", name, seed),
            {"numbers": {"log_likelihood": value, "log_likelihood_mcse": 0.0}, "kind": kind, "status": "finished"},
        )
        for name, found in values.items()
        for seed, value in enumerate(found)
    ]
    return assemble(cells, {"data": "nothing"})


def test_several_models_in_one_table(data: datasets.Dataset, tmp_path: Path) -> None:
    """Catches a table that is not sorted, a cell that lands in another's place, a diagnostic that stays away."""
    wanted = {"vae": ["elbo", "iwae"], "rbm": {"pcd": inference.PCD(num_chains=10)}}
    before = torch.get_rng_state()
    found = ppgen.compare_inferences(
        {"vae": vae, "rbm": rbm}, data, wanted, seeds=2, folder=tmp_path, **QUICK, checkpoint_minutes=5
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert found.log_likelihood.dims == ("model", "inference", "seed")
    assert int(found.planned.sum()) == 6 and int(found.log_likelihood.notnull().sum()) == 6
    assert not bool(found.planned.sel(model="vae", inference="pcd").any())
    lines = repr(found).splitlines()
    values = [float(line.split()[2]) for line in lines[3:6]]
    assert values == sorted(values, reverse=True)
    for name in ("gradient_variance", "seconds"):
        assert (found[name].where(found.planned, 1.0) > 0).all(), name
    assert np.isfinite(found.bad_pareto_k.sel(model="vae", inference="elbo")).all()
    assert {str(kind) for kind in found.kind.sel(model="rbm", inference="pcd").values} == {"exact"}
    run = ppgen.load(tmp_path / "vae" / "elbo" / "seed-1")
    again = ppgen.evaluation.log_likelihood(run.pair, data.test, num_particles=100, seed=0)
    assert float(found.log_likelihood.sel(model="vae", inference="elbo", seed=1)) == pytest.approx(
        again.value, abs=1e-9
    )
    assert run.config["training"]["seed"] == 1
    assert (tmp_path / "comparison.png").stat().st_size > 1000


def test_netcdf_and_selections(data: datasets.Dataset, tmp_path: Path) -> None:
    """Catches a file that xarray cannot read, and a repr that fails on a part of a comparison."""
    found = ppgen.compare_inferences(vae, data, ["elbo"], seeds=1, folder=tmp_path, **QUICK)
    with xr.open_dataset(tmp_path / "comparison.nc", engine="h5netcdf") as read:
        np.testing.assert_array_equal(read.log_likelihood, found.log_likelihood)
    again = diagnostics.Comparison.read(tmp_path / "comparison.nc")
    assert repr(again) == repr(found) and "nothing can be said of the spread over seeds" in repr(found)
    assert (tmp_path / "comparison.txt").read_text() == f"{found!r}\n"
    assert "VAE" in again._repr_html_()
    for part in (found.sel(model="VAE"), found[["seconds"]], found.isel(seed=0)):
        assert "xarray" in repr(part) or "Dimensions" in repr(part)
    with pytest.raises(ValueError, match="select less"):
        found.isel(seed=0).table()


def test_a_finished_cell_is_not_repeated(data: datasets.Dataset, tmp_path: Path) -> None:
    """Catches a second call that trains again, or one that takes over a cell made with other settings."""
    first = ppgen.compare_inferences(vae, data, ["elbo"], seeds=1, folder=tmp_path, **QUICK)
    files = sorted(tmp_path.glob("vae/**/*.*"))
    times = {path: path.stat().st_mtime_ns for path in files}
    assert any(path.name == "result.json" for path in files)
    more = ppgen.compare_inferences(vae, data, ["elbo", "iwae"], seeds=2, folder=tmp_path, **QUICK)
    assert times == {path: path.stat().st_mtime_ns for path in files}
    assert int(more.log_likelihood.notnull().sum()) == 4
    same = {"model": "VAE", "inference": "elbo", "seed": 0}
    assert float(more.log_likelihood.sel(same)) == float(first.log_likelihood.sel(same))
    for changed, field in (
        ({"num_particles": 101}, "evaluation.num_particles: 100 there, 101"),
        ({"lr": 0.5}, "training.lr"),
        ({"test": bits(7)}, "test.rows"),
    ):
        with pytest.raises(ValueError, match=field):
            ppgen.compare_inferences(vae, data, ["elbo"], seeds=1, folder=tmp_path, **{**QUICK, **changed})
    with pytest.raises(ValueError, match=r"data\.checksum"):
        other = datasets.as_dataset({"train": bits(30), "test": data.test})
        ppgen.compare_inferences(vae, other, ["elbo"], seeds=1, folder=tmp_path, **QUICK)
    larger = lambda: models.VAE(features=9, latent=3, hidden=(4,))
    with pytest.raises(ValueError, match=r"model\.arguments\.latent: 2 there, 3"):
        ppgen.compare_inferences(larger, data, ["elbo"], seeds=1, folder=tmp_path, **QUICK)


def test_more_epochs_go_on(data: datasets.Dataset, tmp_path: Path) -> None:
    """Catches a longer comparison that starts again, or that keeps the values of the shorter one."""
    quick = {name: value for name, value in QUICK.items() if name != "steps"}
    short = ppgen.compare_inferences(vae, data, ["elbo"], seeds=1, epochs=1, folder=tmp_path, **quick)
    longer = ppgen.compare_inferences(vae, data, ["elbo"], seeds=1, epochs=3, folder=tmp_path, **quick)
    whole = ppgen.compare_inferences(vae, data, ["elbo"], seeds=1, epochs=3, **quick)
    assert longer.log_likelihood.item() == pytest.approx(whole.log_likelihood.item(), abs=1e-6)
    assert longer.log_likelihood.item() != short.log_likelihood.item()
    assert len(ppgen.load(tmp_path / "vae/elbo/seed-0").metrics) == 3


class Failing(models.VAE):
    """A VAE whose step fails when it is first trained from seed 1."""

    def __init__(self) -> None:
        super().__init__(features=9, latent=2, hidden=(4,))
        self.bad = torch.initial_seed() == 1
        self.calls = 0

    def guide(self, x: torch.Tensor) -> Any:
        self.calls += 1
        if self.bad and self.calls > 6:
            raise ArithmeticError("the guide gave up")
        return super().guide(x)


@pytest.mark.parametrize("processes", [0, 2])
def test_a_failing_cell_is_reported_and_the_others_go_on(data: datasets.Dataset, processes: int) -> None:
    """Catches a failure that stops the others, is silent, or counts as a value."""
    found = ppgen.compare_inferences(Failing, data, ["elbo"], seeds=3, **{**QUICK, "processes": processes})
    there = found.log_likelihood.notnull().values.ravel().tolist()
    assert there == [True, False, True]
    assert "ArithmeticError: the guide gave up" in str(found.error.sel(seed=1).values.item())
    assert "1 of 3 cells failed" in repr(found) and "2 of 3" in repr(found)
    if processes:  # of processes that have nothing else in them, and have imported torch
        assert (found.peak_memory.where(found.log_likelihood.notnull(), 100.0) > 50).all()


def test_the_same_twice_is_called_the_same(data: datasets.Dataset) -> None:
    """Catches noise that is sold as a difference: two labels of one inference, and one inference from other seeds."""
    found = ppgen.compare_inferences(vae, data, {"one": "elbo", "two": "elbo"}, seeds=3, **QUICK)
    assert "Within noise of it: " in repr(found) and "more than noise" not in repr(found)
    other = ppgen.compare_inferences(vae, data, {"one": "elbo"}, seeds=[3, 4, 5], **QUICK)
    values = [each.sel(inference="one", model="VAE") for each in (found, other)]
    gap = difference(
        *(each.log_likelihood.values for each in values), *(each.log_likelihood_mcse.values for each in values), None
    )
    assert gap is not None and gap.within_noise


def test_what_differs_is_called_different() -> None:
    """Catches intervals so wide that nothing ever differs: a model that was trained, and one with steps of 1e-9."""
    found = synthetic({"good": [-1.0, -1.01, -0.99], "near": [-1.02, -0.97, -1.03], "bad": [-2.0, -2.02, -1.97]})
    text = repr(found)
    assert "good is best" in text
    assert "Within noise of it: near" in text and "Below it by more than noise: bad (0.997" in text
    random = np.random.default_rng(0)
    halves = np.repeat(random.integers(0, 2, (60, 1)), 9, axis=1) ^ (random.random((60, 9)) < 0.05)  # all 0 or all 1
    two = datasets.as_dataset({"train": halves[:40].astype(np.float32), "test": halves[40:].astype(np.float32)})
    quick = {**QUICK, "steps": 60}
    runs = [
        ppgen.compare_inferences(rbm, two, ["pcd"], seeds=3, lr=lr, optimizer="adam", **quick).isel(
            model=0, inference=0
        )
        for lr in (0.05, 1e-9)
    ]
    pointwise = runs[0].log_likelihood_pointwise.values - runs[1].log_likelihood_pointwise.values
    zero = np.zeros(3)
    gap = difference(runs[0].log_likelihood.values, runs[1].log_likelihood.values, zero, zero, pointwise)
    assert gap is not None and not gap.within_noise and gap.value > 1


def test_intervals_cover_what_they_say() -> None:
    """Catches an interval without the t quantile (three seeds: 81 % instead of 95 %), or one that misses a part."""
    random = np.random.default_rng(0)
    count, hits = 600, 0
    for _ in range(count):
        rows = random.normal(size=(1, 50)) + random.normal(size=(3, 1))
        gap = difference(rows.mean(1), np.zeros(3), np.zeros(3), np.zeros(3), rows)
        hits += gap is not None and gap.within_noise
    assert 0.93 < hits / count  # 4 sigma below 0.95 + what adding the rows' part to the seeds' costs nothing
    only_rows = [random.normal(size=(1, 50)) for _ in range(count)]
    found = [difference(rows.mean(1), np.zeros(1), np.zeros(1), np.zeros(1), rows) for rows in only_rows]
    assert (
        abs(np.mean([gap is not None and gap.within_noise for gap in found]) - 0.95) < 4 * (0.05 * 0.95 / count) ** 0.5
    )
    errors = np.full(3, 0.3)
    drawn = 0.3 * random.normal(size=(count, 2, 3))
    known = [difference(one, two, errors, errors, None) for one, two in drawn]
    assert np.mean([gap is not None and gap.within_noise for gap in known]) > 0.93


def test_the_best_of_many_that_are_the_same_is_called_the_same() -> None:
    """Catches intervals of single pairs where the data choose the pair: of eight that are equal, 4 in 10 would fail."""
    random = np.random.default_rng(0)
    count, alarms = 25, 0
    for _ in range(count):
        found = synthetic({f"label {index}": list(random.normal(size=4)) for index in range(8)})
        alarms += "more than noise" in repr(found)
    assert alarms / count < 0.05 + 4 * (0.05 * 0.95 / count) ** 0.5


def test_kinds_and_doubts_are_said() -> None:
    """Catches a lower bound that is held against an exact value without a word."""
    from ppgen.diagnostics.comparison.table import assemble

    cells = [
        (("A", "iwae", 0), {"numbers": {"log_likelihood": -2.0, "bad_pareto_k": 0.4}, "kind": "lower bound"}),
        (("B", "pcd", 0), {"numbers": {"log_likelihood": -1.0, "rhat": 1.02}, "kind": "exact"}),
    ]
    text = repr(assemble(cells, {}))
    assert "a lower bound errs low" in text and "k-hat exceeds 0.7 in more than 10% of the rows of A, iwae" in text
    assert "R-hat" in text and "1.020" in text


def test_doubts_of_a_joint_weight_are_said_of_fits() -> None:
    """Catches a k-hat of all data told as a share of rows, and a pointer to what refuses such programs."""
    from ppgen.diagnostics.comparison.table import assemble

    method = "log-evidence, importance (K=1000)"
    cells = [
        (
            ("A", "elbo", seed),
            {"numbers": {"log_likelihood": -2.0, "log_likelihood_mcse": 0.01, "bad_pareto_k": bad}, "method": method},
        )
        for seed, bad in enumerate((1.0, 0.0, 1.0))
    ]
    text = repr(assemble(cells, {"data": "tensor of shape () as one datum", "rows": "1 training rows"}))
    assert "2 of 3 fits" in text and "k-hat of the joint weight of all data exceeds 0.7 in fits of A, elbo" in text
    assert "run.check(data)" in text and "nats of all data" in text
    assert not any(word in text for word in ("rows", "importance_weights", "per datum"))


def test_cells_without_a_finite_value_are_told() -> None:
    """Catches a seed that gave data a probability of 0, and is left out of the mean without a word."""
    text = repr(synthetic({"a": [-1.0, -1.1, -np.inf], "b": [-2.0, -2.1, -2.2]}))
    assert "1 of 6 cells gave data a probability of 0" in text and "2 of 3" in text


def test_rows_of_a_data_set_are_test_rows(data: datasets.Dataset) -> None:
    """Catches a split of a data set, or arrays in a mapping, that are taken for wrong rows."""
    found = ppgen.compare_inferences(vae, data, ["elbo"], seeds=1, test=data.test, **QUICK)
    assert found.attrs["rows"] == "20 rows given" and bool(found.log_likelihood.notnull().all())
    net = lambda: models.StochasticFeedforward(inputs=2, outputs=3, hidden=(4,), stochastic=(2,))
    pairs = {"x": np.ones((30, 2), np.float32), "y": np.zeros((30, 3), np.float32)}
    tensors = {name: torch.from_numpy(values) for name, values in pairs.items()}
    found = ppgen.compare_inferences(net, tensors, ["rws"], seeds=1, test=pairs, **QUICK)
    assert bool(found.log_likelihood.notnull().all())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inferences": []}, "at least one inference"),
        ({"inferences": "elbo"}, "inferences must be a sequence"),
        ({"inferences": ["elbo", "elbo"]}, "'elbo' twice"),
        ({"inferences": ["elbow"]}, "Did you mean"),
        ({"inferences": ["pcd"]}, "'pcd' cannot train 'VAE'"),
        ({"seeds": 0}, "seeds must be 1 or more"),
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [1, 1]}, "seeds must differ"),
        ({"seeds": "3"}, "seeds must be a number"),
        ({"seeds": b"3"}, "seeds must be a number"),
        ({"model_factory": vae()}, "must be a function"),
        ({"model_factory": {}}, "at least one model"),
        ({"model_factory": {"a": vae, "b": vae}, "inferences": {"a": ["elbo"]}}, "lacks 'b'"),
        ({"processes": -1}, "processes must be"),
        ({"num_particles": 0}, "num_particles must be"),
        ({"batch_sise": 3}, "Did you mean 'batch_size'"),
        ({"epochs": 2}, "exactly one of epochs and steps"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"method": "magic"}, "method must be one of"),
        ({"data": bits()[:, :8]}, "9 features"),
        ({"data": bits() / 2}, "support|binari"),
        ({"inferences": {"a b": "elbo", "a-b": "elbo"}}, "would share the folder"),
        ({"method": "exact"}, "not the exact posterior"),
        ({"method": "ais", "model_factory": sbn, "inferences": ["vimco"]}, "'z1' is discrete"),
        ({"num_chains": 0}, "num_chains must be"),
        ({"betas": [0.5, 0.2]}, "betas must increase"),
        ({"betas": "finer"}, "betas must be"),
        ({"device": "cuda:99"}, "device"),
        ({"test": bits(7)[:, :8]}, "test rows cannot be evaluated by 'VAE'"),
        ({"test": bits(7) / 2}, "support"),
        ({"test": bits(7)[:0]}, "at least one row"),
        ({"test": {"x": "no rows"}}, "test must hold rows of numbers"),
        ({"model_factory": lambda: ONE}, "new model whenever"),
    ],
)
def test_bad_input_raises_before_anything_is_written(
    data: datasets.Dataset, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    """Catches an argument that is found wrong only after hours, in one cell after another."""
    folder = tmp_path / "runs"
    arguments = {"model_factory": vae, "data": data, "inferences": ["elbo"], "folder": folder, **QUICK, **changed}
    with pytest.raises((ValueError, TypeError), match=message):
        ppgen.compare_inferences(**arguments)
    assert not folder.exists()


def test_what_cannot_be_sent_is_named(data: datasets.Dataset) -> None:
    """Catches a pickling error that does not say which argument helps."""
    lock = __import__("threading").Lock()
    factory = lambda: vae() if lock else None
    with pytest.raises(ValueError, match="processes=0"):
        ppgen.compare_inferences(factory, data, ["elbo"], seeds=1, **{**QUICK, "processes": 1})


def test_figure_has_a_dot_a_seed() -> None:
    """Catches a figure that leaves out a seed or an inference, or fails where one cell did."""
    found = synthetic({"a": [-1.0, -1.1, np.nan], "b": [-3.0, -2.0, -2.5]})
    (axes,) = diagnostics.figures.comparison(found).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert sorted(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o") == [2, 3]
    with pytest.raises(ValueError, match="nothing to draw"):
        diagnostics.figures.comparison(synthetic({"a": [np.nan]}))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches options that do not reach the model, the data or the comparison, and files that are not named."""
    np.save(tmp_path / "bits.npy", bits())
    folder = tmp_path / "runs"
    line = ["compare", "vae", "--data", str(tmp_path / "bits.npy"), "--inferences", "elbo,iwae", "--latent", "2"]
    line += ["--hidden", "4", "--seeds", "1", "--steps", "3", "--folder", str(folder), "--processes", "0"]
    line += ["--num-particles", "20", "--gradient-draws", "20", "--compile", "false", "--batch-size", "16"]
    assert main(line) == 0
    printed = capsys.readouterr().out
    assert "[2/2] VAE, iwae, seed 0" in printed and "nats per datum" in printed
    assert ppgen.load(folder / "vae/iwae/seed-0").pair.config()["latent"] == 2
    for name in ("comparison.txt", "comparison.nc", "comparison.png"):
        assert (folder / name).is_file() and str(folder / name) in printed
    assert main(line) == 0
    assert "2 of them finished before" in capsys.readouterr().out
    for wrong, said in (
        ([*line, "--lr", "0.3"], "training.lr"),
        ([*line[:5], ",", *line[6:]], "at least one inference"),
        (["compare", "--data", "digits"], "name a model"),
        ([*line, "--inferences", "pcd"], "cannot train"),
    ):
        assert main(wrong) == 2
        assert said in capsys.readouterr().err


def test_latents_common_to_all_data_are_compared_by_their_evidence():
    """Catches fits of one posterior refused, evidence of all rows called that of one, and a bad tail left untold."""
    make = lambda: ppgen.Pair(hierarchies.model, hierarchies.amortised_guide)
    options: Any = {"seeds": 1, "batch_size": 4, "processes": 0, "progress": False}
    found = ppgen.compare_inferences(
        make,
        hierarchies.DATA,
        {"one": "elbo", "two": inference.ELBO(num_particles=2)},
        steps=40,
        lr=0.02,
        num_particles=1000,
        gradient_draws=20,
        **options,
    )
    values, errors = found.log_likelihood.values.ravel(), found.log_likelihood_mcse.values.ravel()
    assert (abs(values - hierarchies.log_evidence(hierarchies.DATA) / 4) < 4 * errors).all() and errors.max() < 0.05
    assert set(found.bad_pareto_k.values.ravel()) <= {0.0, 1.0}
    assert all("log-evidence over 4 rows" in method for method in found.method.values.ravel())
    with pytest.raises(ValueError, match="method must be one of .*'ais' where latents are common"):
        ppgen.compare_inferences(make, hierarchies.DATA, ["elbo"], steps=1, method="elbo", **options)
