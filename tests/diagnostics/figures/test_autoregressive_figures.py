"""Figures of autoregressive models: exact completions, images on their way, entries that are seen, their costs."""

import numpy as np
import pytest
import torch
from torch import nn

import ppgen
from ppgen import distributions, evaluation, models
from ppgen.diagnostics import figures
from ppgen.diagnostics.figures.draw_stages import stages
from ppgen.diagnostics.figures.image_grid import image_grid
from ppgen.diagnostics.figures.seen_entries import entry_derivatives
from ppgen.nn import CausalLinear

NAN = float("nan")
ORDER = torch.tensor([2, 0, 3, 1])


class Ordered(models.FullyVisibleBeliefNet):
    """A belief net that reads its entries in another order."""

    def law(self) -> distributions.Autoregressive:
        return distributions.Autoregressive(self.network, distributions.BernoulliOutput(), ORDER)


class Leaky(CausalLinear):
    """A network whose every position sees all entries."""

    def forward(self, x: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
        return torch.einsum("pij,...j->...ip", self.weight, x) + self.bias


@pytest.fixture
def ordered() -> Ordered:
    torch.manual_seed(0)
    pair = Ordered(4)
    nn.init.normal_(pair.network.weight)
    return pair


def first_of_mosaic(figure: object, columns: int, lines: int) -> np.ndarray:
    """Middle values of the 2 by 2 images of a grid: (lines, columns, 4)."""
    array = np.ma.filled(figure.axes[0].images[0].get_array().astype(float), np.nan)  # type: ignore[attr-defined]
    cells = array[1:, 1:].reshape(lines, 25, columns, 25).transpose(0, 2, 1, 3)
    return cells[:, :, [6, 6, 18, 18], [6, 18, 6, 18]]


def test_exact_completions_are_named_and_their_mean_is_of_draws(ordered: Ordered) -> None:
    """Catches chains told of where there are none, and a mean of entries given those of the draw before them."""
    given = torch.tensor([[1.0, NAN, 0.0, NAN], [NAN, NAN, 1.0, NAN]])
    figure = figures.completions(ordered, given, (2, 2), num_samples=2, num_chains=50, seed=3)
    drawn = ppgen.sample(ordered, 50, given=given, seed=3).samples
    shown = first_of_mosaic(figure, columns=2, lines=4)
    np.testing.assert_array_equal(shown[0], given)
    np.testing.assert_array_equal(shown[1:3], drawn[:2])
    np.testing.assert_allclose(shown[3], drawn.mean(0), atol=1e-6)
    assert figure.get_suptitle() == "Ordered: 50 independent draws a row,\nexact given a part"
    with pytest.raises(ValueError, match="given must be known in the first entries of the order"):
        figures.completions(ordered, torch.tensor([[1.0, NAN, NAN, NAN]]), (2, 2))


def test_images_grow_in_the_order_of_the_law(ordered: Ordered) -> None:
    """Catches stages in the order of entries, entries that change once they are drawn, means of another law."""
    before = torch.get_rng_state()
    counts, found = stages(ordered, 1, num_stages=4, num_completions=4000, seed=1)
    assert counts == [0, 1, 2, 3, 4] and torch.equal(before, torch.get_rng_state())
    for count, row in zip(counts, found["drawn"], strict=True):
        assert set(np.flatnonzero(~np.isnan(row))) == set(ORDER[:count].tolist())
    whole = found["drawn"][-1]
    np.testing.assert_array_equal(found["expected"][-1], whole)
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
    chances = ordered.law().log_prob(states).exp().detach().double()
    for count, row in zip(counts, found["expected"], strict=True):
        fits = (states[:, ORDER[:count]] == torch.as_tensor(whole, dtype=torch.float32)[ORDER[:count]]).all(1)
        exact = (chances[fits] @ states[fits].double() / chances[fits].sum()).numpy()
        assert (abs(row - exact) <= 4 * np.sqrt(exact * (1 - exact) / 4000) + 1e-6).all()
    figure = figures.generation(ordered, (2, 2), num_samples=2, num_stages=4, seed=1)
    shown = first_of_mosaic(figure, columns=5, lines=2)
    np.testing.assert_array_equal(shown[0, :, ORDER[0]][1:], np.full(4, shown[0, 4, ORDER[0]]))
    assert [text.get_text() for text in figure.axes[0].texts] == ["draw 1", "draw 2", "0", "1", "2", "3", "4"]


def test_what_is_seen_is_what_the_network_sees(ordered: Ordered) -> None:
    """Catches entries taken for positions, the blind spot of the plain network filled, and one in the gated network."""
    found = entry_derivatives(ordered, entry=3)  # third in the order, after entries 2 and 0
    weights = ordered.network.weight[0, 2, :2].abs().detach()
    np.testing.assert_allclose(found[[2, 0]], weights, rtol=1e-6)
    assert np.isnan(found[[1, 3]]).all() and ordered.network.weight.dtype == torch.float32
    torch.manual_seed(0)
    size = {"channels": 2, "layers": 6, "first_size": 3}
    pairs = {"plain": models.PixelCNN((6, 6), **size), "gated": models.GatedPixelCNN((6, 6), **size)}
    entry = 4 * 6 + 1
    for pair in pairs.values():
        seen = np.nan_to_num(entry_derivatives(pair, entry=entry)) > 0
        np.testing.assert_array_equal(seen, pair.network.field[entry].numpy())
    figure = figures.receptive_fields(pairs, (6, 6), entry=entry)
    assert [axes.get_title() for axes in figure.axes[:2]] == [
        "plain\n19 of 25 entries before are seen",
        "gated\n25 of 25 entries before are seen",
    ]
    again = figures.receptive_fields({"kept": entry_derivatives(pairs["plain"], entry=entry)}, (6, 6), entry=entry)
    assert again.axes[0].get_title() == "kept\n19 of 25 entries before are seen"


def test_surprisal_sums_to_the_likelihood(ordered: Ordered) -> None:
    """Catches maps of another sign or another row, and colours that are not summed."""
    rows = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    figure = figures.surprisal(ordered, rows, (2, 2))
    terms = -ordered.law().conditional_log_prob(rows).detach()
    array = np.ma.filled(figure.axes[1].images[0].get_array().astype(float), np.nan)
    cells = array[1:, 1:].reshape(25, 2, 25).transpose(1, 0, 2)[:, [6, 6, 18, 18], [6, 18, 6, 18]]
    np.testing.assert_allclose(cells, terms, rtol=1e-5)
    told = [text.get_text() for text in figure.axes[1].texts]
    exact = -np.asarray(evaluation.log_likelihood(ordered, rows, method="exact").pointwise)
    assert told == [f"{value:.1f} nats" for value in exact]
    colours = figures.surprisal(None, torch.ones(1, 12), (3, 2, 2), terms=-torch.arange(12.0)[None])
    array = np.ma.filled(colours.axes[1].images[0].get_array().astype(float), np.nan)
    np.testing.assert_allclose(array[[6, 6, 18, 18], [6, 18, 6, 18]], [12, 15, 18, 21])
    assert len(figures.surprisal(ordered, rows).axes) == 3


def test_errors(ordered: Ordered) -> None:
    """Catches figures of models that have no order, of rows that are no images, and of networks that are not causal."""
    mixture = models.MADE(4, hidden=(3,), orders=2)
    for draw in (
        lambda pair: figures.generation(pair, (2, 2)),
        lambda pair: figures.receptive_fields(pair, (2, 2), entry=0),
    ):
        with pytest.raises(ValueError, match=r"must be an autoregressive model of rows.*VAE is none"):
            draw(models.VAE(4, 2, (3,)))
        with pytest.raises(ValueError, match=r"MADE is a mixture of 2: train it with orders=1"):
            draw(mixture)
    with pytest.raises(ValueError, match="image_shape must be the shape of a row of 4 features"):
        figures.generation(ordered, (3, 3))
    with pytest.raises(ValueError, match="entry must be an index from 0 to 3"):
        figures.receptive_fields(ordered, (2, 2), entry=4)
    with pytest.raises(ValueError, match="terms must have the shape of rows"):
        figures.surprisal(None, torch.ones(2, 4), terms=torch.ones(2, 3))
    with pytest.raises(ValueError, match="image_shape must be the shape"):
        image_grid({"rows": np.ones((2, 4))}, (5, 5))
    leaky = Ordered(4)
    leaky.network = Leaky(4)
    nn.init.normal_(leaky.network.weight)
    with pytest.raises(ValueError, match="entry 3 depends on itself or on later entries"):
        figures.receptive_fields(leaky, (2, 2), entry=3)
