"""One density a class: Bayes' rule by hand, errors carried through, outliers that the likelihood alone misses."""

from typing import Any

import numpy as np
import pytest
import torch

import ppgen
from ppgen import datasets, evaluation, models, training
from ppgen.training import ClassEvidence

FIT: dict[str, Any] = {"epochs": 8, "progress": False}


def striped(rows: int = 400, features: int = 24) -> datasets.Dataset:
    """Busy bits of two classes: a half of the features is a fair coin, and which, the class says."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(rows) % 2
    rate = torch.full((2, features), 0.08)
    rate[0, : features // 2] = 0.5
    rate[1, features // 2 :] = 0.5
    x = (torch.rand(rows, features, generator=generator) < rate[labels]).float()
    cut = rows // 2
    held = {"train": x[:cut], "valid": x[cut:], "train_labels": labels[:cut], "valid_labels": labels[cut:]}
    return datasets.load(held, test_size=0)


def fitted(data: Any, components: int = 2, **options: Any) -> training.ClassParts:
    return training.fit_classes(lambda: models.BernoulliMixture(24, components), data, **{**FIT, **options})


def test_posteriors_are_bayes_rule_of_the_parts() -> None:
    """Catches a prior that is left out, classes in another order, a part that was trained on another's rows."""
    data = striped()
    keep = torch.arange(200) % 4 != 1  # more of class 0
    labels = torch.where(keep, data.labels["train"], -1)
    parts = fitted(data, labels=labels)
    x = data.valid[:30]
    each = [evaluation.log_likelihood(pair, x, method="exact").per_datum["log_likelihood"] for pair in parts.parts]
    joint = np.stack(each, -1) + np.log([2 / 3, 1 / 3])
    wanted = np.exp(joint - np.logaddexp.reduce(joint, -1, keepdims=True))
    np.testing.assert_allclose(parts.probabilities(x), wanted, atol=1e-6)
    assert parts.predict(x).tolist() == wanted.argmax(-1).tolist()
    truth = data.labels["valid"][:30]
    assert parts.score(x, truth) == pytest.approx(float((wanted.argmax(-1) == truth.numpy()).mean()))
    found = parts.log_score(x, truth)
    assert found.kind == "exact" and found.se == 0
    assert float(found) == pytest.approx(np.log(wanted[np.arange(30), truth]).mean(), abs=1e-5)
    uniform = fitted(data, labels=labels, prior="uniform", background=False)
    np.testing.assert_allclose(uniform.log_prior, np.log([0.5, 0.5]))


def test_errors_of_the_parts_are_carried_through() -> None:
    """Catches errors that add where Bayes' rule divides, and errors of log Z that average out over rows."""
    generator = torch.Generator().manual_seed(0)
    values = -20 + torch.randn(50, 3, generator=generator).double()
    se, common = torch.full((50, 3), 0.05).double(), torch.tensor([0.1, 0.0, 0.02]).double()
    prior, place = torch.tensor([0.5, 0.2, 0.3]).double().log(), torch.arange(50) % 3
    evidence = ClassEvidence(values, se, common, prior)
    _, error = evidence.of(place)
    means, single = [], []
    for _ in range(4000):
        own, shared = torch.randn(50, 3, generator=generator), torch.randn(3, generator=generator)
        moved = ClassEvidence(values + se * own + common * shared, se, common, prior)
        means.append(moved.of(place)[0])
        single.append(float(moved.log_posterior[0, 1]))
    assert float(np.std(means)) == pytest.approx(error, rel=4 / 8000**0.5 + 0.02)
    assert float(np.std(single)) == pytest.approx(float(evidence.posterior_se[0, 1]), rel=4 / 8000**0.5 + 0.02)


def test_estimates_of_any_pair_serve() -> None:
    """Catches a likelihood that must be exact; a log Z that is found anew for each call, or not at all."""
    data = striped()
    vae = training.fit_classes(
        lambda: models.VAE(24, 2, (8,)),
        data,
        epochs=2,
        background=False,
        progress=False,
        evaluate={"num_particles": 20},
    )
    found = vae.log_score(data.valid[:20], data.labels["valid"][:20])
    assert found.kind == "estimate" and found.se > 0
    assert vae.outlier_score(data.valid[:5], "typicality").shape == (5,)
    rbm = training.fit_classes(lambda: models.RBM(24, 4), data, epochs=2, background=False, progress=False)
    first, second = (rbm.evidence(data.valid[:4]).log_likelihood for _ in range(2))
    torch.testing.assert_close(first, second, atol=0, rtol=0)


def test_what_is_easy_is_probable_and_yet_an_outlier() -> None:
    """Catches the trap: a blank row is more probable than nearly all rows, so log p(x) finds no outlier in it."""
    data, blank = striped(1200), torch.zeros(1, 24)
    parts = fitted(data, components=1)
    x = data.valid[:]
    inside, easy = parts.evidence(x).log_marginal, parts.evidence(blank).log_marginal
    assert float((inside < easy).double().mean()) > 0.99
    for method in ("ratio", "typicality"):
        score = parts.outlier_score(x, method)
        assert float((score < parts.outlier_score(blank, method)).double().mean()) > 0.9, method
    labels = parts.predict(torch.cat([blank, x]), reject=0.05, outliers="typicality")
    assert labels[0] == -1 and abs(float((labels[1:] == -1).double().mean()) - 0.05) < 0.05
    assert set(labels.tolist()) == {-1, 0, 1}


def test_mutated_rows_keep_the_laws_of_features_and_nothing_else() -> None:
    """Catches a background that has learnt what goes with what, or whose features changed places."""
    from ppgen.training.stages.fit_classes import _moved

    x = torch.arange(400.0).reshape(200, 2)
    moved = _moved(x, 1.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(moved.sort(0).values, x)
    assert abs(float(torch.corrcoef(moved.mT)[0, 1])) < 4 / 200**0.5
    half = _moved(x, 0.5, torch.Generator().manual_seed(0))
    assert 0.3 < float((half == x).double().mean()) < 0.7


def test_bad_input_is_refused_before_work_starts() -> None:
    """Catches a class without rows, one with fewer rows than components, after others were trained; no labels."""
    data = striped()
    labels = data.labels["train"].clone()
    with pytest.raises(ValueError, match="Class 1 has no training row"):
        fitted(data, labels=torch.zeros_like(labels))
    few = torch.where(torch.arange(200) < 190, torch.zeros_like(labels), labels)
    with pytest.raises(ValueError, match="Class 1 has 5 training rows. components=9"):
        fitted(data, components=9, labels=few)
    with pytest.raises(ValueError, match="labels are needed"):
        fitted(torch.zeros(5, 24))
    with pytest.raises(ValueError, match="two classes or more"):
        fitted(torch.zeros(5, 24), labels=torch.zeros(5, dtype=torch.long))
    with pytest.raises(TypeError, match="make must be a function"):
        training.fit_classes(models.BernoulliMixture(24, 2), data)  # type: ignore[arg-type]
    parts = fitted(data, background=False, epochs=1)
    with pytest.raises(ValueError, match="needs a background model"):
        parts.outlier_score(data.valid, "ratio")
    with pytest.raises(ValueError, match="method must be one of"):
        parts.outlier_score(data.valid, "likelihood")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reject must be a share"):
        parts.predict(data.valid, reject=1.0)


def test_parts_keep_their_folders_and_go_on(tmp_path: Any) -> None:
    """Catches parts that write over one another."""
    data = striped()
    parts = fitted(data, folder=tmp_path)
    again = fitted(data, folder=tmp_path, resume=True)
    torch.testing.assert_close(again.probabilities(data.valid), parts.probabilities(data.valid), atol=0, rtol=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["background", "class-0", "class-1"]
    assert isinstance(ppgen.load(tmp_path / "class-0").pair, models.BernoulliMixture)
