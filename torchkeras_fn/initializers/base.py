"""`Initializer`: makes the first values of a weight."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from torchkeras_fn import config
from torchkeras_fn.configurable import Configurable
from torchkeras_fn.random_seeds import Seed, SeedGenerator


class Initializer(Configurable):
    """Makes a tensor of a given shape. A subclass defines `fill`, or overrides `__call__(shape, dtype=None)` as in Keras.

    >>> class Halves(Initializer):
    ...     def fill(self, tensor, generator):
    ...         return tensor.fill_(0.5)
    >>> Halves()((2, 1))
    tensor([[0.5000],
            [0.5000]])
    """

    seed: Seed = None

    def __init__(self) -> None:
        """Take no arguments."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        """Return a new tensor of `shape`, and of `dtype` or else `config.floatx()`."""
        tensor = torch.empty(sizes(shape), dtype=config.dtype(dtype))
        generator = None
        # A tensor without storage has nothing to draw, and its device no generator.
        if self.seed is not None and not tensor.is_meta:
            seed, device = self.seed, tensor.device
            generator = seed.on(device) if isinstance(seed, SeedGenerator) else torch.Generator(device).manual_seed(seed)
        with torch.no_grad():
            return self.fill(tensor, generator)

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """Return `tensor` filled with values; `generator` is `None` for torch's global one."""
        raise NotImplementedError(f"{type(self).__name__} needs a fill(tensor, generator) or a __call__(shape, dtype=None).")


def sizes(shape: Any) -> tuple[int, ...]:
    """Return a shape as a tuple of integers. Raises `ValueError` for what is none.

    >>> sizes([2, 3]), sizes(4)
    ((2, 3), (4,))
    """
    found = shape if isinstance(shape, (tuple, list)) else (shape,)
    if not all(isinstance(size, (int, np.integer)) and size >= 0 for size in found):
        raise ValueError(f"The shape of a weight is a tuple of integers that are not negative, got {shape!r}.")
    return tuple(int(size) for size in found)
