"""Small tensors of made-up numbers, on which functions run that no shape can be told of without data, such as `x[x > 0]`."""

from collections.abc import Sequence

import torch

Pair = tuple[int, int]

KINDS = ("mixed", "padded", "negative", "zeros")
"""What the numbers are like: of what a function counts in them there are more in one kind than in another, and in zeros mostly nothing."""
_MEANS = {"mixed": 0.0, "padded": 1.0, "negative": -1.0}
COUNTED = (630, 1470)
"""What stands, in a small and a large run without data, for a size that depends on the data."""
_LEFT_OVER = 16.0
"""Where as much is left over, a size was made otherwise."""


def sizes(pair: Pair, bases: Sequence[tuple[Pair, Pair]]) -> Pair:
    """Return what stands for a dimension in a small and a large run on data; one that is the same in both is known, and stays.

    `bases` are unknown sizes, each as it is without data and on data. Others were made of one of them, by a factor and by what is
    left over, as behind a convolution, and are made likewise here; or else, as by a product of two, and are as long as the longest.

    >>> bases = [((240, 600), (2, 3)), ((480, 960), (32, 64))]
    >>> sizes((480, 960), bases), sizes((238, 478), bases), sizes((480 * 480, 960 * 960), bases), sizes((7, 7), bases)
    ((32, 64), (14, 30), (32, 64), (7, 7))
    """
    if pair[0] == pair[1]:
        return pair
    made = [(_LEFT_OVER, list(max(real for _, real in bases)))]
    for (small, large), real in bases:
        factor = (pair[1] - pair[0]) / (large - small)
        rest = pair[0] - factor * small
        made.append((abs(rest), [max(round(factor * size + rest), 1) for size in real]))
    first, second = min(made)[1]
    return first, second if second != first else first + 1


def tensor(size: tuple[int, ...], dtype: torch.dtype, device: torch.device | None, kind: str, generator: torch.Generator) -> torch.Tensor:
    """Return numbers of a kind: floats, or the integers 0 and 1, which are indices of whatever has any.

    What is padded has zeros for the latter half of the samples, and of the steps of each.

    >>> tensor((2, 4), torch.float32, None, "padded", torch.Generator().manual_seed(0)) != 0
    tensor([[ True,  True, False, False],
            [False, False, False, False]])
    """
    if kind == "zeros":
        return torch.zeros(size, dtype=dtype, device=device)
    if dtype.is_floating_point or dtype.is_complex:
        numbers = torch.randn(size, generator=generator, device="cpu") + _MEANS[kind]
    else:
        numbers = torch.randint(2, size, generator=generator, device="cpu")
    if kind == "padded":
        for axis in range(min(len(size), 2)):
            kept = (size[axis] + 1) // 2
            numbers.narrow(axis, kept, size[axis] - kept).zero_()
    return numbers.to(dtype=dtype, device=device)
