"""PixelRNN."""

from pathlib import Path

import pytest
import torch

import ppgen
from ppgen import datasets, evaluation, models


@pytest.mark.parametrize("kind", ["row", "diagonal"])
def test_it_learns_levels_and_comes_back(kind: str, tmp_path: Path) -> None:
    """Catches levels that the network sees uncoded, a run folder that loads another network, completions that move."""
    torch.manual_seed(0)
    rows = torch.randint(3, (60, 1)).float() * torch.ones(9)  # images of one level
    model = models.PixelRNN((3, 3), kind=kind, channels=4, layers=1, levels=3)  # type: ignore[arg-type]
    run = ppgen.fit(model, rows, epochs=20, batch_size=20, lr=0.03, folder=tmp_path, compile=False, progress=False)
    found = evaluation.log_likelihood(run.pair, rows[:6], method="exact")
    assert found.value > -2.5  # log 3 = 1.1 for the first pixel
    again = ppgen.load(tmp_path)
    assert (evaluation.log_likelihood(again.pair, rows[:6], method="exact").pointwise == found.pointwise).all()
    half = rows[:2].clone()
    half[:, 5:] = float("nan")
    drawn = ppgen.sample(run.pair, num_samples=3, given=half).samples
    assert torch.equal(drawn[..., :5], half[:, :5].expand(3, 2, 5))


def test_arguments_that_do_not_fit_are_refused() -> None:
    """Catches a kind, a shape or a law that is taken for another."""
    with pytest.raises(ValueError, match='kind must be "row" or "diagonal", got "column"'):
        models.PixelRNN((3, 3), kind="column")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shape must be"):
        models.PixelRNN((3, 3, 3))
    digits = datasets.load("digits", binarize="threshold")
    with pytest.raises(ValueError, match="images of the data have shape"):
        ppgen.fit(models.PixelRNN((4, 16), channels=2, layers=1), digits, epochs=1, progress=False)
