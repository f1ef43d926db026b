"""Parts of a user's own package: usable as values, and by name once they are registered or announced."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn.module import pyro_method

import ppgen
from ppgen import extension, inference, models, registry, testing


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts without names of its own, and leaves none."""
    monkeypatch.setattr(extension, "_REGISTERED", {kind: {} for kind in extension.GROUPS})


@dataclass(frozen=True)
class Halved(inference.ELBO):
    """Lower bound of the user's own."""


class Line(ppgen.GenerativeModel):
    """Normal latents on a line.

    Args:
        slope: Slope of the line.
    """

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__()
        self.slope = slope
        self.loc = torch.nn.Parameter(torch.zeros(()))

    @pyro_method
    def model(self, x: torch.Tensor) -> None:
        with pyro.plate(self.plate, len(x)):
            z = pyro.sample("z", dist.Normal(self.loc, 1.0))
            pyro.sample("x", dist.Normal((self.slope * z).unsqueeze(-1), 1.0).to_event(1), obs=x)

    @pyro_method
    def guide(self, x: torch.Tensor) -> None:
        with pyro.plate(self.plate, len(x)):
            pyro.sample("z", dist.Normal(x.mean(-1) / 2, 0.7))


def test_a_registered_part_is_known_everywhere_by_its_name(tmp_path: Path) -> None:
    """Catches a name that `fit` takes and a checkpoint, a configuration or `ppgen load` does not know."""
    assert ppgen.register("objective", "Halved", Halved) is Halved
    assert ppgen.register("model", "Line", Line) is Line
    assert registry.name_of("objective", Halved) == "Halved" and registry.canonical("model", "line") == "Line"
    run = ppgen.fit(Line(slope=2.0), torch.randn(20, 3), "halved", steps=3, folder=tmp_path / "run", progress=False)
    assert type(run.inference.objective) is Halved
    back = ppgen.load(tmp_path / "run")
    assert type(back.pair) is Line and back.pair.config() == {"slope": 2.0}
    assert type(back.inference.objective) is Halved
    text = (tmp_path / "run" / "config.json").read_text()
    assert __name__ not in text  # no import path is written, and none read


def test_without_a_name_it_is_a_value_like_others(tmp_path: Path) -> None:
    """Catches a check of names on the way of a part that is not to be written anywhere."""
    run = ppgen.fit(Line(), torch.randn(20, 3), Halved(), steps=2, progress=False)
    assert torch.isfinite(torch.tensor(run.curve("train_value"))).all()
    with pytest.raises(ValueError, match=r"ppgen.register\('objective', 'Halved', Halved\)"):
        ppgen.fit(Line(), torch.randn(20, 3), Halved(), steps=2, folder=tmp_path / "run", progress=False)


def test_names_that_are_taken_or_of_another_kind_are_refused() -> None:
    """Catches a registration that quietly takes the place of one of ours, or fails only when it is used."""
    with pytest.raises(ValueError, match="kind must be one of 'model'"):
        ppgen.register("layer", "Halved", Halved)
    with pytest.raises(ValueError, match="'ELBO' is one of ppgen's own"):
        ppgen.register("objective", "elbo", Halved)
    with pytest.raises(ValueError, match="letters, digits and underscores, got 'my part'"):
        ppgen.register("objective", "my part", Halved)
    with pytest.raises(TypeError, match="subclass of ppgen.pair.GenerativeModel, got the class Halved"):
        ppgen.register("model", "Halved", Halved)
    with pytest.raises(TypeError, match="got an object of Halved"):
        ppgen.register("objective", "Halved", Halved())
    with pytest.raises(TypeError, match="methods init and step"):
        ppgen.register("kernel", "Halved", Halved)
    with pytest.raises(TypeError, match="must be a function, got int"):
        ppgen.register("data set", "numbers", 3)
    ppgen.register("objective", "Halved", Halved)
    with pytest.raises(ValueError, match="stands for .*Halved already"):
        ppgen.register("objective", "halved", inference.IWELBO)
    again = type("Halved", (Halved,), {"__module__": Halved.__module__, "__qualname__": "Halved"})
    ppgen.register("objective", "Halved", again)  # a cell of a notebook, run again
    assert registry.lookup("objective", "Halved") is again


def test_unknown_names_are_told_with_those_that_are_registered() -> None:
    """Catches a list of known names from before the registration."""
    ppgen.register("objective", "Halved", Halved)
    with pytest.raises(ValueError, match=r"Known: .*Halved.*Did you mean 'Halved'"):
        registry.lookup_inference("halve")


def package(folder: Path, code: str, points: str) -> None:
    """An installed package `elsewhere` with entry points."""
    (folder / "elsewhere.py").write_text(code)
    info = folder / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


def test_entry_points_are_read_when_a_name_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a package that is imported without need, or whose names are unknown to the list and to `fit`."""
    code = (
        '"""Elsewhere."""\nfrom dataclasses import dataclass\nfrom ppgen.inference import ELBO\n\n'
        '@dataclass(frozen=True)\nclass Far(ELBO):\n    """A bound from far away."""\n'
    )
    points = "[ppgen.objectives]\nFar = elsewhere:Far\nGone = elsewhere:Gone\n[ppgen.models]\nNoModel = elsewhere:Far\n"
    package(tmp_path, code, points)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registry.lookup("objective", "elbo") is inference.ELBO and "Far" in registry.names("objective")
    assert "elsewhere" not in sys.modules
    kind, far = registry.lookup_inference("far")
    assert kind == "objective" and far is sys.modules["elsewhere"].Far
    assert inference.from_config(inference.to_config(inference.Inference(far()))).objective == far()
    with pytest.raises(ValueError, match="'Gone' of the package elsewhere cannot be used: AttributeError"):
        registry.lookup("objective", "Gone")
    with pytest.raises(ValueError, match="'NoModel' of the package elsewhere cannot be used: TypeError"):
        registry.lookup("model", "nomodel")
    del sys.modules["elsewhere"]


def test_the_command_line_lists_and_fits_what_a_package_announces(tmp_path: Path) -> None:
    """Catches names that work in Python and are unknown to `ppgen list` and `ppgen fit`."""
    code = (
        '"""Elsewhere."""\nfrom ppgen import models\n\nclass FarRBM(models.RBM):\n    """A machine from far away."""\n'
    )
    package(tmp_path, code, "[ppgen.models]\nFarRBM = elsewhere:FarRBM\n")
    command = [sys.executable, "-m", "ppgen"]
    environment = {"PYTHONPATH": f"{tmp_path}:{Path(ppgen.__file__).parents[1]}", "PATH": "", "OMP_NUM_THREADS": "1"}
    listed = subprocess.run([*command, "list", "models"], env=environment, capture_output=True, text=True, check=True)
    assert "FarRBM" in listed.stdout and "A machine from far away." in listed.stdout
    words = "fit FarRBM --data digits --binarize threshold --hidden 3 --steps 2 --report false --folder".split()
    done = subprocess.run([*command, *words, str(tmp_path / "run")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"FarRBM"' in (tmp_path / "run" / "config.json").read_text()


def test_a_name_given_in_main_holds_in_the_processes_of_a_comparison(tmp_path: Path) -> None:
    """Catches cells that cannot write a configuration, because their process never ran the registration."""
    script = tmp_path / "study.py"
    script.write_text(
        "from dataclasses import dataclass\nimport torch, ppgen\nfrom ppgen import inference, models\n\n"
        '@ppgen.register("objective", "Mine")\n@dataclass(frozen=True)\nclass Mine(inference.ELBO):\n    "Mine."\n\n'
        "x = (torch.rand(40, 6) < 0.4).float()\n"
        "table = ppgen.compare_inferences(lambda: models.VAE(6, 2, hidden=(4,)), x, [Mine()], epochs=1, seeds=1,\n"
        "    num_particles=5, gradient_rows=4, gradient_draws=20, compile=False, processes=1, progress=False,\n"
        f"    folder={str(tmp_path / 'cells')!r})\n"
        "print('errors:', [each for each in table.error.values.ravel() if each])\n"
    )
    environment = {"PYTHONPATH": str(Path(ppgen.__file__).parents[1]), "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "errors: []" in done.stdout, done.stdout
    assert '"Mine"' in "".join(path.read_text() for path in tmp_path.rglob("config.json"))


def test_models_of_the_zoo_stay_what_they_are() -> None:
    """Catches a registry whose own tables are touched by a registration."""
    before = {kind: dict(table) for kind, table in registry.TABLES.items()}
    ppgen.register("model", "Line", Line)
    assert before == registry.TABLES and registry.lookup("model", "VAE") is models.VAE


class _Stale(inference.BlockGibbs):
    """Draws the odd side from the even side of the step before."""

    def step(self, state, generator=None, *, adapt=False):
        moved, info = super().step(state, generator)
        odd = self.energy.sample_opposite(state.even, 0, generator)
        return moved._replace(odd=odd), info._replace(energy=self.energy.energy(moved.even, odd))


class _Writing(inference.BlockGibbs):
    """Writes into the state that it is given."""

    def step(self, state, generator=None, *, adapt=False):
        moved, info = super().step(state, generator)
        state.even.copy_(moved.even)
        return moved, info


def test_the_contract_of_kernels_sees_wrong_ones() -> None:
    """Catches a contract that passes whatever it is given."""
    with pytest.raises(AssertionError, match="60 steps.* from its own start"):
        testing.check_kernel(_Stale, num_chains=20_000)
    with pytest.raises(AssertionError, match="writes into the state"):
        testing.check_kernel(_Writing, num_chains=500, num_steps=10)
