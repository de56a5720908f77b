"""First values drawn from a plain distribution, and random matrices that are orthogonal."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from torchkeras_fn import config
from torchkeras_fn.arguments import number
from torchkeras_fn.initializers.base import Initializer
from torchkeras_fn.random_seeds import Seed, seed_source


class RandomInitializer(Initializer):
    """Draws from a distribution. With a number for a `seed` every call gives the same values, with a `random.SeedGenerator`
    other ones, but the same in every program; without, torch's global generator is used.

    >>> RandomNormal(seed=1)((2, 2)).equal(RandomNormal(seed=1)((2, 2)))
    True
    """

    def __init__(self, seed: Seed = None):
        self.seed = seed_source(seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        """Return a new tensor of `shape`, and of the float type `dtype` or else `config.floatx()`."""
        if not config.dtype(dtype).is_floating_point:
            raise ValueError(f"{type(self).__name__} draws floats: expected a float dtype, got {dtype!r}.")
        return super().__call__(shape, dtype)


class RandomUniform(RandomInitializer):
    """Evenly distributed between `minval` and `maxval`.

    >>> bool(RandomUniform(0.0, 2.0)((1000,)).max() > 1)
    True
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None):
        super().__init__(seed)
        self.minval, self.maxval = number(minval, "minval"), number(maxval, "maxval")
        if self.minval > self.maxval:
            raise ValueError(f"'minval' must not exceed 'maxval', got minval={minval!r} and maxval={maxval!r}.")

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        return tensor.uniform_(self.minval, self.maxval, generator=generator)


class RandomNormal(RandomInitializer):
    """Normally distributed with the given mean and standard deviation.

    >>> RandomNormal(mean=3.0, stddev=0.0)((2,))
    tensor([3., 3.])
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None):
        super().__init__(seed)
        self.mean, self.stddev = number(mean, "mean"), number(stddev, "stddev", minimum=0)

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        return tensor.normal_(self.mean, self.stddev, generator=generator)


class TruncatedNormal(RandomNormal):
    """Normally distributed, without the values further than two `stddev` from the mean.

    >>> bool(TruncatedNormal(stddev=1.0)((1000,)).abs().max() <= 2)
    True
    """

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        # The inverse of the distribution function rather than redrawing: no look at the values, so no wait for a device.
        limit = math.erf(math.sqrt(2.0))
        tensor.uniform_(-limit, limit, generator=generator).erfinv_().mul_(math.sqrt(2.0)).clamp_(-2, 2)
        return tensor.mul_(self.stddev).add_(self.mean)


class Orthogonal(RandomInitializer):
    """A random matrix with orthonormal rows or columns (whichever are fewer), times `gain`.

    A shape of more than two dimensions is taken as the matrix `(all but the last, last)`.
    Source: Saxe et al., 2014, https://arxiv.org/abs/1312.6120

    >>> kernel = Orthogonal()((3, 2))
    >>> (kernel.T @ kernel).allclose(torch.eye(2), atol=1e-6)
    True
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None):
        super().__init__(seed)
        self.gain = number(gain, "gain")

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        if tensor.ndim < 2:
            raise ValueError(f"Orthogonal needs a shape of two or more dimensions, got {tuple(tensor.shape)}.")
        # There is no QR decomposition in half precision.
        matrix = tensor.reshape(-1, tensor.shape[-1]).to(torch.promote_types(tensor.dtype, torch.float32))
        return tensor.copy_(torch.nn.init.orthogonal_(matrix, self.gain, generator=generator).reshape(tensor.shape))
