"""`Randomized`: the base of torch modules that draw random numbers, with a seed from a generator of their own."""

import torch
from torch import nn


class Randomized(nn.Module):
    """Draws from torch's generator of the device, or with a `seed` from one that nobody else draws from.

    >>> twins = [Randomized(seed=1), Randomized(seed=1)]
    >>> first, second = (twin.draw(torch.ones(3)) for twin in twins)
    >>> torch.equal(first, second)
    True
    """

    def __init__(self, seed: int | None):
        super().__init__()
        self.seed = seed
        self._generator: torch.Generator | None = None

    def generator(self, device: torch.device) -> torch.Generator | None:
        """Return the generator to draw from on a device; `None` is torch's own."""
        if self.seed is not None and (self._generator is None or self._generator.device != device):
            self._generator = torch.Generator(device).manual_seed(self.seed)
        return self._generator

    def draw(self, inputs: torch.Tensor, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Return a number from `low` to `high` for each sample: as `float64` for such inputs, else as `float32`.

        Numbers of 16 bits are too few to say where a pixel lies.
        """
        dtype = torch.float64 if inputs.dtype is torch.float64 else torch.float32
        drawn = torch.rand(len(inputs), generator=self.generator(inputs.device), device=inputs.device, dtype=dtype)
        return drawn * (high - low) + low
