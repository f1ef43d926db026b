"""The commands from end to end, in this process, on data of a few rows."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from examples import own_examples

import ppgen
from ppgen import features, registry
from ppgen.cli import main
from ppgen.commands import demo
from ppgen.commands.models import model_options, takes_inputs
from ppgen.commands.options import REQUIRED
from ppgen.models.autoregressive.autoregressive_model import AutoregressiveModel

EXAMPLES = own_examples("model")
TINY = ["--epochs", "1", "--batch-size", "16", "--compile", "false", "--quiet"]


@pytest.fixture
def bits(tmp_path: Path) -> str:
    """File of 60 rows x 9 bits whose columns have different means."""
    rng = np.random.default_rng(0)
    path = tmp_path / "bits.npy"
    np.save(path, (rng.random((60, 9)) < np.linspace(0.1, 0.8, 9)).astype(np.float32))
    return str(path)


@pytest.fixture
def rbm(bits: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> str:
    """Folder of a trained RBM, without its report."""
    folder = str(tmp_path / "rbm")
    assert main(["fit", "rbm", "--data", bits, "--hidden", "3", "--folder", folder, "--report", "false", *TINY]) == 0
    capsys.readouterr()
    return folder


def test_a_flat_prior_leaves_what_is_defined(bits: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Catches an evaluation that refuses without a number where only the likelihood is not defined."""
    folder = str(tmp_path / "coder")
    line = ["fit", "autoencoder", "--data", bits, "--hidden", "3", "--folder", folder, "--report", "false", *TINY]
    assert main(line) == 0
    capsys.readouterr()
    assert main(["evaluate", folder, "--quiet"]) == 0
    told = capsys.readouterr().out
    pair = ppgen.load(folder).pair
    rows = torch.from_numpy(np.load(bits))
    written = json.loads((Path(folder) / "evaluation.json").read_text())
    findings = {each["name"]: each for each in written["check"]["findings"]}
    assert "not defined: site 'code' has a flat prior" in told and written["estimates"] == {}
    split = {"train": rows} if written["split"] == "train" else None
    error = findings["reconstruction"]["values"]["error"]
    assert f"squared error {error:.4g} per datum" in " ".join(told.split())
    if split is not None:
        assert error == pytest.approx(features.reconstruction_error(pair, rows), rel=1e-5)


def needed(model: str) -> list[str]:
    """Values for the arguments of a model that have no default: those of its example, if it has one."""
    options = model_options(registry.lookup("model", model))
    if model in EXAMPLES:
        given = EXAMPLES[model]()[0].config()
        words = {
            each.name: given[each.name]
            for each in options
            if given[each.name] is not None and (each.default is REQUIRED or each.name == "shape")
        }
        return [
            word
            for name, value in words.items()
            for word in (f"--{name}", ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))
        ]
    if model == "ConvolutionalDBN":
        return ["--filters", "2,2", "--filter-sizes", "2,1", "--pools", "2,1"]
    if model == "ConvolutionalAutoencoder":
        return ["--shape", "3,3", "--pool", "3"]
    return [word for each in options if each.default is REQUIRED for word in (f"--{each.name}", "3")]


def rows_for(model: str, bits: str, tmp_path: Path) -> str:
    """File of rows that the model is one of: bits will do, but not as documents or ratings; or those of its example."""
    if model in EXAMPLES:
        batch = EXAMPLES[model]()[1]
        if isinstance(batch, tuple):  # rows and their labels
            x = batch[0].repeat_interleave(10, 0).numpy()
            np.savez(tmp_path / "rows.npz", train=x, train_labels=np.arange(len(x)) % 10)
            return str(tmp_path / "rows.npz")
        np.save(tmp_path / "rows.npy", batch.repeat(10, 1).numpy())
        return str(tmp_path / "rows.npy")
    if model not in ("ReplicatedSoftmax", "RatingsRBM"):
        return bits
    random = np.random.default_rng(0)
    given = random.integers(1, 4, (60, 3))
    rows = given if model == "ReplicatedSoftmax" else np.eye(3)[given - 1].reshape(60, 9)
    np.save(tmp_path / "rows.npy", rows.astype("float32"))
    return str(tmp_path / "rows.npy")


@pytest.mark.parametrize(
    "model", [name for name in registry.MODELS if not takes_inputs(registry.lookup("model", name))]
)
def test_every_model_fits_and_leaves_a_whole_folder(
    model: str, bits: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Catches a registered model whose arguments are no options, and a file of the run folder that is missing."""
    folder = tmp_path / "run"
    data = rows_for(model, bits, tmp_path)
    line = ["fit", model.lower(), *needed(model), "--data", data, "--folder", str(folder), "--num-particles", "30"]
    line += ["--with-labels", "all"] if data.endswith(".npz") else []
    assert main([*line, *TINY]) == 0
    printed = capsys.readouterr()
    coded = "reconstruction  squared error" in printed.out  # autoencoders have no density of the data
    assert "log-likelihood" in printed.out
    if not registry.lookup("model", model).has_likelihood:
        assert "no log-likelihood is estimated" in printed.out and "no praise" in printed.out
        written = json.loads((folder / "evaluation.json").read_text())
        assert written["estimates"] == {} and set(written["parzen"]) >= {"model", "real", "centroids"}
        assert {"curve.png", "samples.png"} <= {path.name for path in (folder / "figures").glob("*.png")}
        assert main(["evaluate", str(folder)]) == 2 and "is implicit" in capsys.readouterr().err
        return
    assert ("nats per datum" in printed.out) != coded and coded == model.endswith("utoencoder")
    assert str(folder / "figures") in printed.out and "\x1b" not in printed.out
    for name in ("config.json", "model.safetensors", "checkpoint/last.safetensors", "metrics.csv", "command.yaml"):
        assert (folder / name).is_file(), name
    assert {"curve.png", "reconstructions.png" if coded else "samples.png"} <= {
        path.name for path in (folder / "figures").glob("*.png")
    }
    with (folder / "metrics.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1
    with xr.open_datatree(folder / "posterior.nc", engine="h5netcdf") as tree:
        # Fully observed models have no latents to draw.
        assert ("posterior" in tree.children) != issubclass(registry.lookup("model", model), AutoregressiveModel)
    estimates = json.loads((folder / "evaluation.json").read_text())["estimates"]
    assert estimates == {} if coded else f"{int(estimates['log-likelihood']['value'])}." in printed.out
    assert ppgen.load(folder).pair.config() == ppgen.load(folder).config["model"]["arguments"]


def test_default_folder_says_what_was_run(
    bits: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Catches two different runs that share one folder by default."""
    monkeypatch.chdir(tmp_path)
    line = ["fit", "VAE", "--data", "bits.npy", "--latent", "2", "--hidden", "4,3", "--report", "false", *TINY]
    assert main([*line, "--inference", "iwae", "--inference.num_particles", "3"]) == 0
    run = ppgen.load(tmp_path / "runs" / "vae-bits-iwae")
    assert run.inference.objective.num_particles == 3
    assert run.pair.config()["hidden"] == [4, 3] and run.pair.config()["features"] == 9


def test_parts_of_the_inference_are_composed(bits: str, tmp_path: Path) -> None:
    """Catches --negative-phase or --estimator that is read and then forgotten."""
    folder = str(tmp_path / "run")
    parts = ["--inference", "iwelbo", "--inference.num-particles", "4", "--negative-phase", "cd"]
    parts += ["--negative-phase.k", "2", "--estimator", "pathwise"]
    line = ["fit", "rbm", "--hidden", "3", "--data", bits, "--folder", folder, "--report", "false"]
    assert main([*line, *parts, *TINY]) == 0
    inference = ppgen.load(folder).inference
    assert (inference.objective.num_particles, inference.negative_phase.k) == (4, 2)
    assert type(inference.estimator).__name__ == "Pathwise"


def test_the_same_command_goes_on_and_then_finds_it_finished(
    bits: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Catches a second call that starts again, fails, or does not say what it does."""
    line = ["fit", "VAE", "--latent", "2", "--hidden", "4", "--data", bits, "--folder", str(tmp_path / "run")]
    line += ["--report", "false", "--quiet", "--compile", "false"]
    assert main([*line, "--epochs", "1"]) == 0
    assert main([*line, "--epochs", "2"]) == 0
    assert "going on with the run" in capsys.readouterr().out
    assert main([*line, "--epochs", "2"]) == 0
    assert "nothing to train" in capsys.readouterr().out
    assert len(ppgen.load(tmp_path / "run").metrics) == 2
    assert main([*line, "--epochs", "1", "--overwrite"]) == 0
    assert len(ppgen.load(tmp_path / "run").metrics) == 1


def test_seed_sets_the_weights_and_leaves_the_random_state(bits: str, tmp_path: Path) -> None:
    """Catches weights that are drawn before the seed is set, so that two runs of one seed differ."""
    weights = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        torch.manual_seed(hash(name) % 1000)
        before = torch.random.get_rng_state()
        line = ["fit", "rbm", "--hidden", "3", "--data", bits, "--folder", str(tmp_path / name), "--seed", seed]
        assert main([*line, "--report", "false", *TINY]) == 0
        assert torch.equal(before, torch.random.get_rng_state())
        weights.append(ppgen.load(tmp_path / name).pair.weight)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_evaluate_gives_log_z_and_the_likelihood(rbm: str, capsys: pytest.CaptureFixture) -> None:
    """Catches an evaluation of other rows or another estimate than the library's own."""
    assert main(["evaluate", rbm]) == 0
    printed = capsys.readouterr().out
    run = ppgen.load(rbm)
    exact = ppgen.evaluation.log_partition(run.pair)
    assert f"{exact.value:.4f} nats, exact" in printed and "bits (binary as given), test rows" in printed
    written = json.loads((Path(rbm) / "evaluation.json").read_text())
    assert written["split"] == "test" and written["step"] == run.state["step"]
    assert written["estimates"]["log Z"]["value"] == pytest.approx(exact.value)


def test_evaluate_anneals_on_request(rbm: str, capsys: pytest.CaptureFixture) -> None:
    """Catches --betas as a number read as a ladder, and annealing options that do not reach log Z."""
    assert main(["evaluate", rbm, "--method", "ais", "--betas", "50", "--num-chains", "20", "--split", "train"]) == 0
    assert capsys.readouterr().out.count("AIS (20 chains x 50 betas)") == 2
    assert main(["evaluate", rbm, "--method", "ais", "--betas", "0,0.5,1", "--num-chains", "20"]) == 0
    assert "AIS (20 chains x 2 betas)" in capsys.readouterr().out


def test_evaluate_finds_that_the_data_changed(rbm: str, bits: str, capsys: pytest.CaptureFixture) -> None:
    """Catches a likelihood of changed data that is reported as that of the run's own."""
    np.save(bits, 1 - np.load(bits))
    assert main(["evaluate", rbm]) == 2
    assert "checksum differs" in capsys.readouterr().err
    assert main(["evaluate", rbm, "--data", bits]) == 0


def test_evaluate_finds_the_data_of_a_run_made_in_python(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Catches a command that can only read folders which the command line made."""
    rbm = ppgen.models.RBM(visible=64, hidden=2)
    data = ppgen.datasets.load("digits", binarize="fixed", seed=3)
    ppgen.fit(rbm, data, steps=2, folder=tmp_path / "run", progress=False, compile=False)
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert "digits (fixed binarisation, seed 3), test rows" in capsys.readouterr().out


def test_sample_writes_rows_and_pictures(rbm: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Catches an output of another size, type or place than asked for."""
    out = tmp_path / "draws.npy"
    assert main(["sample", rbm, "--num-samples", "7", "--sweeps", "2", "--output", str(out)]) == 0
    draws = np.load(out)
    assert draws.shape == (7, 9) and draws.dtype == np.float32 and set(np.unique(draws)) <= {0.0, 1.0}
    capsys.readouterr()
    assert main(["sample", rbm, "--sweeps", "2"]) == 0
    assert np.load(Path(rbm) / "samples.npy").shape == (100, 9)
    picture = tmp_path / "draws.png"
    assert main(["sample", rbm, "--num_samples", "9", "--sweeps", "2", "--output", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_sample_says_in_one_sentence_how_it_drew(rbm: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Catches a repr in place of a sentence, and a picture whose line leaves out R-hat or tells another one."""
    drawn = ppgen.sample(ppgen.load(rbm), 8, num_chains=4, sweeps=3)
    for name in ("draws.npy", "draws.png"):
        out = str(tmp_path / name)
        assert main(["sample", rbm, "--num-samples", "8", "--num-chains", "4", "--sweeps", "3", "--output", out]) == 0
        note = f"block Gibbs, 4 chains, R-hat of their free energies and units {drawn.rhat:.3f}"
        assert capsys.readouterr().out == f"8 samples of RBM ({note}) written to {out}\n"


def test_sample_leaves_the_same_margin_on_all_sides(rbm: str, tmp_path: Path) -> None:
    """Catches a title that touches the edge of the picture above an empty band."""
    from matplotlib import image

    picture = tmp_path / "draws.png"
    line = ["sample", rbm, "--num-samples", "16", "--sweeps", "2", "--image-shape", "1,9", "--output", str(picture)]
    assert main(line) == 0
    inked = (image.imread(picture)[..., :3] < 0.99).any(-1)
    for axis in (0, 1):
        lines = np.flatnonzero(inked.any(1 - axis))
        margins = lines[0], inked.shape[axis] - 1 - lines[-1]
        assert min(margins) >= 15 and max(margins) <= 30, margins


@pytest.mark.parametrize("shape", ["3,3", "[3, 3]", "1,9", "1,3,3"])
def test_sample_takes_an_image_shape(shape: str, rbm: str, tmp_path: Path) -> None:
    """Catches --image-shape 3,3, the form that its help shows, refused as no list."""
    picture = tmp_path / "draws.png"
    line = ["sample", rbm, "--num-samples", "4", "--sweeps", "2", "--output", str(picture), "--image-shape", shape]
    assert main(line) == 0
    assert picture.is_file()


@pytest.mark.parametrize("shape", ["8,8", "9", "-3,-3", "[]"])
def test_sample_refuses_an_image_shape_of_another_size(
    shape: str, rbm: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Catches a shape with another number of pixels than features, drawn as strips without a word."""
    picture = tmp_path / "draws.png"
    assert main(["sample", rbm, "--sweeps", "2", "--output", str(picture), "--image-shape", shape]) == 2
    message = capsys.readouterr().err
    assert "--image-shape" in message and "9 features" in message and message.count("\n") == 1
    assert not picture.exists()


def test_list_names_everything_registered(capsys: pytest.CaptureFixture) -> None:
    """Catches a registered part that the user cannot find, or that has no line on what it is."""
    assert main(["list"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    for table in registry.TABLES.values():
        for name in table:
            assert len(lines[name]) > 2, name
    assert main(["list", "inference"]) == 0
    printed = capsys.readouterr().out
    rules = ppgen.inference.legality()
    assert printed.count(" yes\n") == sum(rule.legal for rule in rules)
    assert all(rule.instead in printed for rule in rules)


def test_demo_runs_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Catches a demo that cannot be repeated, or that ends without its table or its figures."""
    monkeypatch.setattr(demo, "PARTICLES", 30)
    line = ["demo", "--folder", str(tmp_path), "--epochs", "1", "--seeds", "1", "--processes", "0"]
    assert main(line) == 0
    printed = capsys.readouterr().out
    assert printed.count("nats per datum") >= 8 and "failed" not in printed
    for label in ("wake-sleep", "NVIL", "VIMCO", "RWS", "ELBO", "IWAE", "CD-1", "PCD"):
        assert f"  {label}" in printed.split("log p(x) ± se")[1]
    pictures = [Path(words) for words in printed.split() if words.endswith(".png")]
    assert len(pictures) >= 10 and all(path.is_file() for path in pictures)
    assert main(line) == 0
    assert "8 of them finished before" in capsys.readouterr().out
