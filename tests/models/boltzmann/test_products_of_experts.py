"""Restricted machines as products of experts: every hidden unit multiplies in a factor of its own."""

import math

import numpy as np
import pytest
import torch

from ppgen import evaluation, models
from ppgen.diagnostics import figures
from ppgen.testing.examples import bit_vectors

WEIGHT = np.array([[1.3, -0.7, 0.2], [-2.1, 0.4, 1.1], [0.6, 0.9, -1.6], [0.3, -1.2, 0.8]])
BIAS = np.array([0.5, -0.4, 0.1, -0.9])
HIDDEN = np.array([-0.6, 0.3, 0.8])
WORDS = ["sea", "ship", "oyster", "salt", "oven"]


def machine(units: list[int]) -> models.RBM:
    return models.RBM.from_arrays(WEIGHT[:, units], BIAS, HIDDEN[units])


def factor(x: np.ndarray, unit: int) -> float:
    """1 + exp(c_j + x . W_j): unit off, and unit on."""
    return 1 + math.exp(HIDDEN[unit] + sum(x[i] * WEIGHT[i, unit] for i in range(4)))


def test_the_law_is_a_product_of_one_factor_a_unit() -> None:
    """Catches units that meet in the density other than by multiplying, and a factor without its bias."""
    states = bit_vectors(4)
    product = [math.exp(BIAS @ x) * math.prod(factor(x, unit) for unit in range(3)) for x in states.numpy()]
    law = evaluation.log_likelihood(machine([0, 1, 2]), states).per_datum["log_likelihood"]
    np.testing.assert_allclose(np.exp(law), np.array(product) / sum(product), rtol=1e-12)
    assert evaluation.log_partition(machine([0, 1, 2])).value == pytest.approx(math.log(sum(product)), abs=1e-12)


@pytest.mark.parametrize("unit", [0, 1, 2])
def test_a_unit_multiplies_in_the_same_factor_beside_any_others(unit: int) -> None:
    """Catches a factor that depends on which other units there are, so that a unit could not be judged by itself."""
    states = bit_vectors(4)
    expected = np.array([math.log(factor(x, unit)) for x in states.numpy()])
    others = [each for each in range(3) if each != unit]
    for beside in (others[:1], others[1:], others):
        before = machine(beside).machine().free_energy(states)
        after = machine([*beside, unit]).machine().free_energy(states)
        np.testing.assert_allclose((before - after).detach().numpy(), expected, atol=1e-12)


def topics() -> models.ReplicatedSoftmax:
    """Two topics and a third that is not shown; the word in the middle is favoured by both."""
    model = models.ReplicatedSoftmax(vocabulary=5, hidden=3)
    with torch.no_grad():
        model.weight.copy_(
            torch.tensor([[2.0, -1.0, 0.3], [1.5, -1.0, 0.0], [1.8, 1.9, 9.0], [-1.0, 1.6, 0.0], [-1.0, 2.0, 0.1]])
        )
        model.visible_bias.copy_(torch.tensor([0.1, 0.4, -0.5, 0.2, 0.0]))
        model.hidden_bias.copy_(torch.tensor([0.3, -0.2, 4.0]))
    return model


def test_experts_are_shown_alone_and_together() -> None:
    """Catches the wrong units, other units left on, a mixture in the place of the product, words beside other bars."""
    model = topics()
    first, second, both = figures.experts(model, WORDS, (1, 0), k=4).axes
    bias, weight = model.visible_bias.detach().double(), model.weight.detach().double()
    laws = [(bias + weight[:, 1]).softmax(0), (bias + weight[:, 0]).softmax(0)]
    product = laws[0] * laws[1] / bias.softmax(0)  # each factor once
    laws.append(product / product.sum())
    for axes, law, title in zip((first, second, both), laws, ("unit 1 alone", "unit 0 alone", "both"), strict=True):
        names = [label.get_text() for label in axes.get_yticklabels()]
        order = law.argsort(descending=True)[:4]
        assert names == [WORDS[index] for index in order]
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], law[order], rtol=1e-6)
        assert axes.get_title().startswith(title)
        assert f"{-(law * law.log()).sum():.2f} nats" in axes.get_title()
    assert first.yaxis_inverted()  # the most probable word stands on top
    order = laws[2].argsort(descending=True)[:4]
    assert WORDS[order[0]] == "oyster" and laws[2][order[0]] > max(laws[0][order[0]], laws[1][order[0]])
    for line, law, unit in zip(both.get_lines(), laws, (1, 0), strict=False):
        np.testing.assert_allclose(line.get_xdata(), law[order], rtol=1e-6)
        assert line.get_label() == f"under unit {unit} alone"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((models.RBM(5, 3), WORDS), TypeError, "experts shows words, of a models.ReplicatedSoftmax; got RBM"),
        ((models.VAE(5, 2, (3,)), WORDS), TypeError, "got VAE"),
        ((topics(), WORDS[:4]), ValueError, "words must name the 5 words of the vocabulary, got 4"),
        ((topics(), WORDS, (0, 3)), ValueError, r"two different hidden units from 0 to 2, got \(0, 3\)"),
        ((topics(), WORDS, (1, 1)), ValueError, "two different hidden units"),
        ((topics(), WORDS, (0, 1, 2)), ValueError, "two different hidden units"),
    ],
)
def test_experts_of_what_has_none(arguments, error, message) -> None:
    """Catches a figure of pixels called words, a unit counted from the end, and words that stand beside other bars."""
    with pytest.raises(error, match=message):
        figures.experts(*arguments, k=3)


@pytest.mark.parametrize("k", [0, 6, True, 2.0])
def test_experts_show_a_number_of_words(k) -> None:
    """Catches an empty figure, and a number beyond the vocabulary."""
    with pytest.raises(ValueError, match="k must be a number of words from 1 to 5"):
        figures.experts(topics(), WORDS, k=k)
