"""Random numbers of compiled graphs: published vectors, their laws, and that no two draws are one."""

import math
from collections import Counter

import pytest
import torch
from torch import Size, Tensor

from ppgen.graphs.compiler import compiled
from ppgen.graphs.draws import vectorised_draws
from ppgen.graphs.passes import functional
from ppgen.graphs.products import joined_products
from ppgen.graphs.threefry import make_key, normals, threefry, uniforms

KEY = torch.tensor([123456789, -987654321], dtype=torch.int32)


def _word(value: int) -> Tensor:
    return torch.tensor(value - 2**32 if value >= 2**31 else value, dtype=torch.int32)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_published_words(counter, key, expected) -> None:
    """Catches a wrong rotation, parity or injection of the key, by the vectors that its authors publish."""
    words = threefry((_word(key[0]), _word(key[1])), (_word(counter[0]), _word(counter[1])))
    assert tuple(int(word) & 0xFFFFFFFF for word in words) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniforms_are_uniform_and_independent(dtype) -> None:
    """Catches a half of the range that is missing, numbers that depend on their neighbours, streams that are one."""
    count = 400_000
    first, second = (uniforms(KEY, stream, Size((count,)), dtype).double() for stream in (1, 2))
    other = uniforms(KEY + 1, 1, Size((count,)), dtype).double()
    assert first.min() >= 0 and first.max() < 1 and first.dtype == torch.float64
    bins = torch.bincount((first * 100).long(), minlength=100)
    chi2 = float(((bins - count / 100) ** 2 / (count / 100)).sum())
    assert abs(chi2 - 99) < 4 * math.sqrt(2 * 99)
    half = count // 2
    pairs = [(first[1:], first[:-1]), (first[:half], first[half:]), (first, second), (first, other)]
    for one, two in pairs:
        correlation = float(torch.corrcoef(torch.stack([one, two]))[0, 1])
        assert abs(correlation) < 4 / math.sqrt(len(one))
    assert len(first.unique()) > (count * 0.97 if dtype == torch.float32 else count - 1)


def test_normals_are_normal() -> None:
    """Catches a lost factor, one sign only, and a pair of Box and Muller whose members depend on each other."""
    count = 400_001
    draws = normals(KEY, 1, Size((count,))).double()
    assert draws.isfinite().all()
    for power, (mean, variance) in {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}.items():
        assert abs(float((draws**power).mean()) - mean) < 4 * math.sqrt(variance / count)
    half = (count + 1) // 2
    for one, two in ((draws[: count - half], draws[half:]), (draws[: count - half] ** 2, draws[half:] ** 2)):
        assert abs(float(torch.corrcoef(torch.stack([one, two]))[0, 1])) < 4 / math.sqrt(count - half)


def _program(x: Tensor) -> tuple[Tensor, ...]:
    bits = (torch.rand(40, 101) < x).float()
    return (
        bits,
        torch.bernoulli(x.expand(40, 101)),
        torch.randn(5000),
        torch.rand_like(x.expand(3, 1111)),
        torch.rand(3),
    )


def test_draws_of_a_graph_are_replaced_by_independent_ones() -> None:
    """Catches a stream used twice, a law that changes, a seed that no longer tells, and small draws made dear."""
    x = torch.tensor(0.3)
    module = vectorised_draws(functional(_program, [x]), [x])
    counts = Counter(str(node.target).split(".")[1] for node in module.graph.nodes if node.op == "call_function")
    assert counts["rand"] == 1 and counts["bernoulli"] == 0 and counts["randn"] == 0 and counts["randint"] == 1
    torch.manual_seed(1)
    first, again = module(x), module(x)
    torch.manual_seed(1)
    for one, same, other in zip(first, module(x), again, strict=True):
        assert torch.equal(one, same) and not torch.equal(one, other)
    for bits in first[:2]:
        assert set(bits.unique().tolist()) == {0.0, 1.0}
        assert abs(float(bits.mean()) - 0.3) < 4 * math.sqrt(0.21 / bits.numel())
    assert abs(float(torch.corrcoef(torch.stack([first[0].flatten(), first[1].flatten()]))[0, 1])) < 4 / math.sqrt(4040)
    assert abs(float(first[2].std()) - 1) < 4 / math.sqrt(10_000)
    assert abs(float(first[3].mean()) - 0.5) < 4 / math.sqrt(12 * 3333)


def test_machine_code_draws_what_the_graph_draws() -> None:
    """Catches overflow or shifts that the compiler treats otherwise, at the ragged end of a vector too."""
    x = torch.tensor(0.3)
    module = vectorised_draws(functional(_program, [x]), [x])
    run = compiled(_program, [x])
    torch.manual_seed(1)
    expected = module(x)
    torch.manual_seed(1)
    for one, other in zip(run(x), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_keys_differ_and_follow_the_seed() -> None:
    """Catches a key that is drawn once while tracing and frozen."""
    torch.manual_seed(0)
    keys = [make_key(torch.device("cpu")) for _ in range(3)]
    torch.manual_seed(0)
    assert torch.equal(make_key(torch.device("cpu")), keys[0])
    assert not torch.equal(keys[0], keys[1]) and not torch.equal(keys[1], keys[2])


def test_sums_of_products_are_one_product() -> None:
    """Catches factors joined along the wrong dimension, a lost bias, and a product that something else reads."""

    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 5), (5, 7), (6, 4), (7, 4), (7,)]
    a, b, c, d, bias = (torch.randn(shape, generator=generator) for shape in shapes)
    c2, d2 = torch.randn(6, 4, generator=generator), torch.randn(4, 7, generator=generator)

    def both(*inputs: Tensor) -> tuple[Tensor, ...]:
        a, b, c, d, bias, c2, d2 = inputs
        shared = a @ b
        return a.T @ c + b @ d, torch.addmm(bias, a, b) * 2, shared + c2 @ d2, shared, a.T @ c + a.T @ c2

    inputs = [a, b, c, d, bias, c2, d2]
    module = joined_products(functional(both, inputs))
    module.graph.eliminate_dead_code()
    counts = Counter(str(node.target) for node in module.graph.nodes)
    assert counts["aten.mm.default"] == 5 and counts["aten.addmm.default"] == 0 and counts["aten.cat.default"] == 4
    for found, expected in zip(module(*inputs), both(*inputs), strict=True):
        torch.testing.assert_close(found, expected)
