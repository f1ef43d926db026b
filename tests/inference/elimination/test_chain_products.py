"""Products of the matrices of a chain, and what a traced step holds of a chain."""

from collections import Counter

import pytest
import torch
from chains import rows
from test_elimination import Chain, Structured
from torch import Tensor
from torch.autograd import grad, gradcheck, gradgradcheck

from ppgen import inference
from ppgen.graphs.passes import functional, simplify
from ppgen.graphs.stacks import sliced_stacks
from ppgen.inference.elimination.chain_products import chain_product
from ppgen.inference.elimination.chains import _taken
from ppgen.training.steps.traced_step import TracedStep


def matrices(steps: int, states: int = 3) -> Tensor:
    """Matrices of two plates; some of their entries cannot happen, and one step allows nothing from state 0."""
    generator = torch.Generator().manual_seed(steps)
    found = torch.randn(steps, 2, 1, states, states, generator=generator, dtype=torch.float64)
    found[0, 0, 0, 0, 1] = found[-1, 1, 0, :, 2] = found[0, 1, 0, 0] = -torch.inf
    return found


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 11])
def test_a_product_and_its_gradient_are_those_of_one_matrix_after_another(steps: int) -> None:
    """Catches steps in another order, an odd one left out, a transposed gradient, NaN where nothing is possible."""
    given = matrices(steps).requires_grad_()
    expected = given[0].exp()  # in probabilities, where what cannot happen is 0
    for each in given[1:]:
        expected = expected @ each.exp()
    found = chain_product(given)
    torch.testing.assert_close(found, expected.log())
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mine, theirs = (grad((each * weight).sum(), given)[0] for each in (found.exp(), expected))
    assert bool(mine.isfinite().all())
    torch.testing.assert_close(mine, theirs)


def test_a_product_has_derivatives_of_every_order() -> None:
    """Catches a gradient without one of its own, on which expectations under a guide's chain rest."""
    given = torch.randn(5, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(chain_product, given) and gradgradcheck(chain_product, given)

    def slope(given: Tensor) -> Tensor:
        return grad(chain_product(given).square().sum(), given, create_graph=True)[0]

    assert gradgradcheck(slope, given)


def test_the_operators_are_what_the_compiler_takes_them_for() -> None:
    """Catches shapes or strides that are promised to the compiler and not kept."""
    for steps in (2, 7):
        given = torch.randn(steps, 4, 3, 3).transpose(-1, -2)
        product, joined = torch.ops.ppgen.log_chain_product(given)
        torch.library.opcheck(torch.ops.ppgen.log_chain_product.default, (given,))
        torch.library.opcheck(torch.ops.ppgen.log_chain_gradient.default, (given, joined, torch.randn_like(product)))


@pytest.mark.parametrize("order", [[2, 3, 4], [0, 4, 1, 5, 2], [5, 0, 6, 1], [7], [3, 0, 6, 4, 1, 7, 5], [4, 0, 5, 3]])
def test_rows_are_taken_in_their_order(order: list[int]) -> None:
    """Catches steps that alternate put into another order, or the last ones left out."""
    given = torch.arange(24.0).reshape(8, 3).requires_grad_()
    found, expected = _taken(given, order), given[torch.tensor(order)]
    assert torch.equal(found, expected)
    weight = torch.arange(1.0, 1 + found.numel()).reshape(found.shape)
    assert torch.equal(grad((found * weight).sum(), given)[0], grad((expected * weight).sum(), given)[0])


def _step(pair: Chain, steps: int) -> tuple[TracedStep, inference.StepResult, Tensor]:
    y = rows(steps)
    objective = inference.ELBO() if isinstance(pair, Structured) else inference.MaximumLikelihood()
    bound = inference.Inference(objective).bind(pair, y, num_data=2)
    eager = bound.step(y)
    return TracedStep(bound, dict(pair.named_parameters())), eager, y


def _counts(steps: int) -> Counter[str]:
    traced, _, y = _step(Chain(), steps)
    module = functional(traced.graph(y).module, [list(traced.parameters.values()), [], [y]])
    return Counter(str(node.target) for node in sliced_stacks(simplify(module)).graph.nodes)


def test_a_graph_does_not_grow_with_the_steps_of_a_chain() -> None:
    """Catches steps that share their laws in the program but not in its trace, and eliminations of one level each:
    forty steps had 3,300 operations and took half a minute to compile."""
    short, long = _counts(20), _counts(40)
    assert short == long
    assert long["ppgen.log_chain_product.default"] == long["ppgen.log_chain_gradient.default"] == 1
    assert long.total() < 350


@pytest.mark.parametrize("pair", [Chain(), Structured(chained=True)], ids=["model", "guide"])
def test_a_traced_step_of_a_chain_is_the_program(pair: Chain) -> None:
    """Catches a value or gradient that changes when the step is traced, also where the guide's chain is summed over."""
    traced, eager, y = _step(pair, 9)
    found = traced(y)
    torch.testing.assert_close(found.value, eager.value)
    for name, gradient in eager.gradients.items():
        torch.testing.assert_close(found.gradients[name], gradient)
