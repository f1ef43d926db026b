"""The skeletons of CONTRIBUTING.md, in a package outside of ppgen, hold the contracts of their kinds."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import torch
from layout import ROOT

import ppgen
from ppgen import extension

KINDS = (
    "objective",
    "estimator",
    "unit",
    "kernel",
    "negative_phase",
    "directed_model",
    "conditional_model",
    "undirected_model",
)


def skeletons() -> dict[str, str]:
    """File of the trial package -> its text."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^```python\n# (trial/\w+\.py)\n(.*?)^```", text, re.M | re.S))


@contextmanager
def outside(folder: Path, texts: dict[str, str]) -> Iterator[ModuleType]:
    """The module of contracts of a package that holds these files, as its author would have written it."""
    (folder / "trial").mkdir()
    (folder / "trial" / "__init__.py").write_text('"""Parts of somebody else."""\n')
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "trial"}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield importlib.import_module("trial.test_trial")
    for name in [name for name in sys.modules if name.partition(".")[0] == "trial"]:
        del sys.modules[name]
    sys.modules.update(kept)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The skeletons as they stand on the page."""
    with outside(tmp_path_factory.mktemp("outside"), skeletons()) as module:
        yield module


@pytest.mark.parametrize("kind", KINDS)
def test_a_skeleton_holds_its_contract(trial: ModuleType, kind: str) -> None:
    """Catches a page that no longer says how a part is made, and a contract that holds inside of ppgen only."""
    assert trial.__file__ is not None and not Path(trial.__file__).is_relative_to(ROOT)
    getattr(trial, f"test_{kind}")()


WRONG = {
    "objective": ("objectives", "- torch.tensor(len", "+ torch.tensor(len", "above log p"),
    "estimator": (
        "estimators",
        "scores: ClassVar[bool] = True",
        "scores: ClassVar[bool] = False",
        "standard errors away",
    ),
    "unit": ("units", "return above - below", "return below - above", "gradient of Ternary.log_partition|Ternary.mean"),
    "kernel": (
        "kernels",
        "even = self.energy.sample_opposite(odd, ODD, generator)\n",
        "even = 1 - even\n",
        "PlainGibbs on",
    ),
    "negative_phase": ("negative_phases", "mean = -energy", "mean = energy", "gradient of log Z from exact draws"),
    "directed_model": ("directed", "encoder(x)", "encoder(x - x.mean(0))", "when another row changed"),
    "conditional_model": (
        "conditional",
        "torch.cat([x, y]",
        "torch.cat([x - x.mean(0), y]",
        "when another row changed",
    ),
    "undirected_model": ("undirected", "Dense(self.weight)", "Dense(self.weight.detach())", "without a gradient"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_skeleton_is_caught(kind: str, tmp_path: Path) -> None:
    """Catches a contract that anything holds: a sign turned, a term left out, rows that feel each other."""
    name, right, wrong, message = WRONG[kind]
    texts = skeletons()
    assert texts[f"trial/{name}.py"].count(right) == 1
    texts[f"trial/{name}.py"] = texts[f"trial/{name}.py"].replace(right, wrong)
    with outside(tmp_path, texts) as module, pytest.raises(AssertionError, match=message):
        getattr(module, f"test_{kind}")()


def test_every_skeleton_is_called(trial: ModuleType) -> None:
    """Catches a skeleton that nobody runs."""
    assert {name for name in vars(trial) if name.startswith("test_")} == {f"test_{kind}" for kind in KINDS}
    assert len(skeletons()) == len(KINDS) + 1


def test_skeletons_train_and_are_saved_by_their_names(
    trial: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches parts that hold their contracts and cannot be used together by `fit`, or not be loaded again."""
    monkeypatch.setattr(extension, "_REGISTERED", {kind: {} for kind in extension.GROUPS})
    for kind, part in (
        ("model", trial.TernaryRBM),
        ("model", trial.Line),
        ("model", trial.Bent),
        ("objective", trial.Mixture),
        ("estimator", trial.PlainScore),
        ("negative phase", trial.PlainCD),
        ("kernel", trial.PlainGibbs),
        ("unit", trial.Ternary),
    ):
        ppgen.register(kind, part.__name__, part)
    levels, reals = torch.randint(-1, 2, (20, 4)).float(), torch.randn(20, 3)
    for pair, data, chosen in (
        (trial.TernaryRBM(visible=4, hidden=2), levels, "plain-cd"),
        (trial.Line(features=3), reals, "mixture"),
        (trial.Bent(inputs=2, outputs=3), (reals[:, :2], reals), "elbo"),
        (trial.Line(features=3), reals, "plain-score"),
    ):
        folder = tmp_path / chosen
        ppgen.fit(pair, data, chosen, steps=2, folder=folder, progress=False)
        again = ppgen.load(folder)
        assert type(again.pair) is type(pair)
        assert all(map(torch.equal, again.pair.parameters(), pair.parameters()))
