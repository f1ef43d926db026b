"""Undirected models beside their rivals: comparable figures, and a page that is what the record says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import record
from benchmarks.undirected import measure as undirected
from benchmarks.undirected import page, patches, ratings, words


def test_the_page_is_what_the_record_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Sees a figure of the page changed by hand, or a record not rendered."""
    assert undirected.main(["--check"]) == 0, capsys.readouterr().err


def test_evidence_of_a_document_is_the_integral_over_its_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sees a ratio of Dirichlets without its constants, topics not normalised, a proposal that is not undone."""
    monkeypatch.setattr(words, "SAMPLES", 200_000)
    topics, counts, prior = np.array([[6.0, 3.0, 1.0], [1.0, 1.0, 2.0]]), np.array([[3, 0, 2], [1, 1, 0]]), 0.7
    values = words.evidence(counts, topics, prior, np.array([[1.1, 0.8], [0.9, 0.8]]))
    share = (np.arange(200_000) + 0.5) / 200_000
    beta = torch.distributions.Beta(prior, prior).log_prob(torch.as_tensor(share)).exp().numpy()
    law = topics / topics.sum(1, keepdims=True)
    mixed = share[:, None] * law[0] + (1 - share[:, None]) * law[1]
    expected = [np.log(np.mean(beta * np.prod(mixed**n, axis=1))) for n in counts]
    np.testing.assert_allclose(
        values, expected, atol=0.01
    )  # four errors of 200,000 weights, whose deviation is below 1


def test_documents_are_held_out_whole() -> None:
    """Sees passages of one article in training and test, test words in the vocabulary, passages of another length."""
    articles = [[f"only{i}", "shared"] * 120 for i in range(25)]
    vocabulary, splits = words.counted(articles)
    assert len(vocabulary) == 18  # 17 articles for training, and the word that all share
    for split in splits.values():
        seen = split.train.sum(0) > 0
        assert seen.all() and not (split.test[:, np.array([word != "shared" for word in vocabulary])] > 0).any()
    assert (splits["passages"].train.sum(1) == words.PASSAGE).all()


def test_rivals_of_ratings_learn_what_is_there() -> None:
    """Sees offsets of the wrong side, and a factorisation whose embeddings are not trained."""
    generator = torch.Generator().manual_seed(0)
    shape = ratings.Shape(40, 30)
    user, item = torch.arange(40).repeat_interleave(30), torch.arange(30).repeat(40)
    offsets = torch.rand(40, generator=generator)[user] + torch.rand(30, generator=generator)[item] + 2
    additive = ratings.Ratings(user, item, offsets)
    assert ratings.rmse(ratings.biases(additive, shape, 0.0, 0.0), additive) < 1e-3
    sign = torch.where(torch.rand(70, generator=generator) < 0.5, -1.0, 1.0)
    product = ratings.Ratings(user, item, 3 + sign[user] * sign[40 + item])
    assert ratings.rmse(ratings.biases(product, shape, 0.0, 0.0), product) > 0.7
    assert ratings.rmse(ratings.factorised(product, shape, 4, 0.0, 200), product) < 0.3


def test_patches_are_white_and_rivals_no_smaller() -> None:
    """Sees a direction without variance kept, test faces among the training ones, and a mixture of fewer parameters."""
    images = np.random.default_rng(0).random((100, 25, 25))
    train, valid, test = patches.patches(images, (3000, 50, 60))
    assert train.shape == (3000, 63) and (len(valid), len(test)) == (50, 60)
    np.testing.assert_allclose(np.cov(train.T), np.eye(63), atol=1e-3)
    size = patches.machine_size(63, patches.HIDDEN)
    for name, candidates in patches.models_of(train[:300], size, quick=True).items():
        for make in candidates.values():
            score, parameters = make()
            assert np.isfinite(score(test)).all()
            assert parameters >= size or name.startswith("GaussianRBM, unit"), name


def _little_data(folder: Path) -> None:
    generator = np.random.default_rng(0)
    words = [f"w{i}" for i in range(20)]
    lines = [" ".join(generator.choice(words, 130)) for _ in range(20)]
    (folder / "wiki250.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "ml-100k").mkdir()
    triples = [
        (u + 1, i + 1, generator.integers(1, 6)) for u in range(12) for i in range(9) if generator.random() < 0.8
    ]
    rows = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    rows += [f"{u}\t{i}\t{rating}\t0" for u, i, rating in triples]
    (folder / "ml-100k" / "ml-100k.inter").write_text("\n".join(rows) + "\n", encoding="utf-8")
    np.save(folder / "faces25.npy", generator.random((100, 25, 25)))


@pytest.mark.parametrize("part", ["articles", "passages", "ratings", "binary", "patches"])
def test_a_part_is_measured_and_rendered(part: str, tmp_path: Path) -> None:
    """Sees a part that cannot run or be written down, and a record taken for one of a trained model."""
    _little_data(tmp_path)
    where = ["--quick", "--data-dir", str(tmp_path), "--results", str(tmp_path / "results")]
    assert undirected.main([part, *where]) == 0
    found = json.loads((tmp_path / "results" / undirected.NAME).read_text(encoding="utf-8"))
    rows = found["parts"][part]["rows"]
    assert len(rows) > 1 and all(np.isfinite(each["mean"]) for each in rows)
    text = page.page(found)
    assert part == "binary" or all(f"| {each['model']} |" in text for each in rows)
    assert record.read_all(tmp_path / "results") == {}


def test_one_part_leaves_the_others(tmp_path: Path) -> None:
    """Sees a part measured again that wipes the rest of the record."""
    path = tmp_path / "undirected.json"
    path.write_text(json.dumps({"parts": {"patches": {"rows": [1]}}}), encoding="utf-8")
    found = undirected.updated(path, "articles", {"rows": []})
    assert list(found["parts"]) == ["articles", "patches"] and found["parts"]["patches"] == {"rows": [1]}


def test_an_unknown_part_and_missing_data_end_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sees a traceback where one line is enough."""
    with pytest.raises(SystemExit):
        undirected.main(["wrods"])
    assert "passages" in capsys.readouterr().err
    monkeypatch.setattr(undirected, "search_folders", lambda folder: [Path(folder)])
    with pytest.raises(SystemExit, match="--data-dir"):
        undirected.main(["patches", "--data-dir", str(tmp_path)])
