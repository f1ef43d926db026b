"""Random numbers as a function of a key and a counter, made of operations that a compiler can fuse and vectorise."""

import math

import torch
from torch import Size, Tensor

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA


def threefry(key: tuple[Tensor, Tensor], counter: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two words of 32 random bits from each counter: Threefry-2x32 with its 20 rounds.

    Args:
        key: Two words, int32, which broadcast against the counters.
        counter: Two words, int32.

    Returns:
        Two words, int32, whose bits are random.

    References:
        | Parallel Random Numbers: As Easy as 1, 2, 3 (Salmon, Moraes, Dror and Shaw, 2011)

    Example:
        >>> zero = torch.zeros((), dtype=torch.int32)
        >>> [f"{int(word) & 0xFFFFFFFF:x}" for word in threefry((zero, zero), (zero, zero))]
        ['6b200159', '99ba4efe']
    """
    keys = (*key, key[0] ^ key[1] ^ _PARITY)
    first, second = counter[0] + keys[0], counter[1] + keys[1]
    for index in range(20):
        turn = _ROTATIONS[index % 8]
        first = first + second
        second = ((second << turn) | _bits(second, turn)) ^ first
        if index % 4 == 3:
            number = index // 4 + 1
            first = first + keys[number % 3]
            second = second + keys[(number + 1) % 3] + number
    return first, second


def make_key(device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """A key from a generator, torch's own by default: (2,) int32."""
    return torch.randint(-(2**31), 2**31, (2,), dtype=torch.int32, device=device, generator=generator)


def uniforms(key: Tensor, stream: int, shape: Size, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform numbers in [0, 1): of 24 random bits in float32 and 53 in float64, as those of torch.

    Args:
        key: (2,) int32.
        stream: Number of the draw; draws of one key under different numbers are independent.
        shape: Shape of the result.
        dtype: Type of the result.

    Example:
        >>> numbers = uniforms(torch.tensor([1, 2], dtype=torch.int32), 0, Size((1000, 3)))
        >>> numbers.shape, bool((numbers >= 0).all() and (numbers < 1).all())
        (torch.Size([1000, 3]), True)
    """
    if dtype == torch.float64:
        words = _words(key, stream, 2 * shape.numel())
        high, low = (_bits(word, number).double() for word, number in zip(words, (27, 26), strict=True))
        return ((high * 2**26 + low) * 2**-53).reshape(shape)
    first, second = _words(key, stream, shape.numel())
    return _reshaped(_fraction(first), _fraction(second), shape)


def normals(key: Tensor, stream: int, shape: Size) -> Tensor:
    """Standard normal float32 numbers, by the transform of Box and Muller; arguments as for `uniforms`.

    References:
        | A Note on the Generation of Random Normal Deviates (Box and Muller, 1958)

    Example:
        >>> normals(torch.tensor([1, 2], dtype=torch.int32), 0, Size((5,))).shape
        torch.Size([5])
    """
    first, second = _words(key, stream, shape.numel())
    radius = torch.sqrt(-2 * torch.log(1 - _fraction(first)))
    angle = 2 * math.pi * _fraction(second)
    return _reshaped(radius * torch.cos(angle), radius * torch.sin(angle), shape)


def _words(key: Tensor, stream: int, numel: int) -> tuple[Tensor, Tensor]:
    index = torch.arange((numel + 1) // 2, dtype=torch.int32, device=key.device)
    return threefry((key[0], key[1]), (index, torch.full_like(index, stream)))


def _bits(word: Tensor, number: int) -> Tensor:
    """The leading bits of a word as a number."""
    # A shift to the right copies the sign, which the mask takes off again.
    return (word >> (32 - number)) & ((1 << number) - 1)


def _fraction(word: Tensor) -> Tensor:
    return _bits(word, 24).to(torch.float32) * 2**-24


def _reshaped(first: Tensor, second: Tensor, shape: Size) -> Tensor:
    return torch.cat([first, second])[: shape.numel()].reshape(shape)
