"""Random numbers under Keras 2's names. With an integer `seed` every call continues the sequence that the seed began."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from torchkeras_fn import random
from torchkeras_fn.backend.state import variable

_sequences: dict[int, random.SeedGenerator] = {}


def sequence(seed: int | None) -> random.SeedGenerator | None:
    """Return the one source of random numbers that a seed stands for; `None` for torch's generator.

    >>> sequence(1) is sequence(1)
    True
    """
    return None if seed is None else _sequences.setdefault(seed, random.SeedGenerator(seed))


def forget_sequences() -> None:
    """Let every seed begin anew.

    >>> forget_sequences()
    """
    _sequences.clear()


def random_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: int | None = None) -> Any:
    """Return normally distributed numbers; in the shape of a symbolic tensor (`K.shape(x)`) anew in every run.

    >>> random_normal((2, 3)).shape
    torch.Size([2, 3])
    """
    return random.normal(shape, mean, stddev, dtype, sequence(seed))


def truncated_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: int | None = None) -> Any:
    """Return normally distributed numbers, none further than two `stddev` from the mean.

    >>> truncated_normal((2, 3)).shape
    torch.Size([2, 3])
    """
    return random.truncated_normal(shape, mean, stddev, dtype, sequence(seed))


def random_uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: int | None = None) -> Any:
    """Return evenly distributed numbers from `minval` to below `maxval`.

    >>> random_uniform((2, 3)).shape
    torch.Size([2, 3])
    """
    return random.uniform(shape, minval, maxval, dtype, sequence(seed))


def random_binomial(shape: Any, p: float = 0.0, dtype: Any = None, seed: int | None = None) -> Any:
    """Return ones with probability `p`, and zeros.

    >>> random_binomial((3,), p=1.0)
    tensor([1., 1., 1.])
    """
    return random.bernoulli(shape, p, dtype, sequence(seed))


random_bernoulli = random_binomial


def random_normal_variable(
    shape: Any, mean: float, scale: float, dtype: Any = None, name: str | None = None, seed: int | None = None
) -> nn.Parameter:
    """Return a variable of normally distributed numbers with standard deviation `scale`.

    >>> random_normal_variable((2, 3), 0.0, 1.0).shape
    torch.Size([2, 3])
    """
    return variable(random_normal(shape, mean, scale, dtype, seed), dtype, name)


def random_uniform_variable(
    shape: Any, low: float, high: float, dtype: Any = None, name: str | None = None, seed: int | None = None
) -> nn.Parameter:
    """Return a variable of evenly distributed numbers from `low` to below `high`.

    >>> random_uniform_variable((2, 3), 0.0, 1.0).shape
    torch.Size([2, 3])
    """
    return variable(random_uniform(shape, low, high, dtype, seed), dtype, name)


def dropout(x: Any, level: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None) -> Any:
    """Return `x` with the share `level` set to 0 and the rest enlarged to keep the sum, in training and inference alike.

    >>> dropout([1.0, 1.0], 0.0)
    tensor([1., 1.])
    """
    return random.dropout(x, level, noise_shape, sequence(seed))
