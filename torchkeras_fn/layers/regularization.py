"""Layers that act in training only."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn.arguments import number
from torchkeras_fn.engine.layer import Layer


class Dropout(Layer):
    """Sets a share `rate` of the inputs to 0 while training, and scales the rest by `1 / (1 - rate)`.

    `noise_shape` gives the shape of the pattern of zeros, broadcast over the inputs (`None`: that axis in full).
    With a `seed` the patterns come from a generator of the layer's own.

    >>> Dropout(0.5).eval()(torch.ones(1, 2))
    tensor([[1., 1.]])
    """

    supports_masking = True

    def __init__(self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = number(rate, "rate", minimum=0)
        if self.rate > 1:
            raise ValueError(f"'rate' must be between 0 and 1, got {rate!r}.")
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self.seed = seed

    def build(self, input_shape: Any) -> nn.Module:
        """Return `nn.Dropout`, or its like for a noise shape or a seed."""
        if self.noise_shape is None and self.seed is None:
            return nn.Dropout(self.rate)
        return PatternedDropout(self.rate, self.noise_shape, self.seed)


class PatternedDropout(nn.Module):
    """Dropout with a noise shape and a generator of its own, which torch's has not.

    >>> PatternedDropout(0.5, (None, 1), seed=1)(torch.ones(1, 3)).unique().numel()
    1
    """

    def __init__(self, rate: float, noise_shape: Sequence[int | None] | None, seed: int | None):
        super().__init__()
        self.rate = rate
        self.noise_shape = noise_shape
        self.seed = seed
        self._generator: torch.Generator | None = None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Drop, in training mode."""
        if not self.training or self.rate == 0:
            return inputs
        if self.seed is not None and (self._generator is None or self._generator.device != inputs.device):
            self._generator = torch.Generator(inputs.device).manual_seed(self.seed)
        pattern = self.noise_shape or [None] * inputs.ndim
        shape = [full if size is None else size for size, full in zip(pattern, inputs.shape, strict=True)]
        kept = torch.rand(shape, generator=self._generator, device=inputs.device) >= self.rate
        return inputs * (kept / max(1 - self.rate, 1e-12)).to(inputs.dtype)
