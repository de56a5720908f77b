"""Layers that act in training only."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from torchkeras_fn import config, regularizers
from torchkeras_fn.arguments import number, one_of, seed_of, sizes
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.layers.randomized import Randomized


class Dropout(Layer):
    """Sets a share `rate` of the inputs to 0 while training, and scales the rest by `1 / (1 - rate)`.

    `noise_shape` gives the shape of the pattern of zeros, broadcast over the inputs (`None`: that axis in full).
    With a `seed` the patterns come from a generator of the layer's own.

    >>> Dropout(0.5).eval()(torch.ones(1, 2))
    tensor([[1., 1.]])
    """

    supports_masking = True
    takes_later = Layer.takes_later | {"rate"}

    def __init__(self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = number(rate, "rate", minimum=0)
        if self.rate > 1:
            raise ValueError(f"'rate' must be between 0 and 1, got {rate!r}.")
        self.noise_shape = None if noise_shape is None else sizes(noise_shape, "noise_shape")
        self.seed = seed_of(seed)

    def build(self, input_shape: Any) -> nn.Module:
        """Return `nn.Dropout`, or its like for a noise shape or a seed."""
        if self.noise_shape is None and self.seed is None:
            return nn.Dropout(self.rate)
        return PatternedDropout(self.rate, self.noise_shape, self.seed)

    def set_later(self, name: str, value: Any) -> None:
        """Tell the torch module another rate."""
        super().set_later(name, value)
        if name == "rate":
            _set_rate(self.module, value)


class PatternedDropout(Randomized):
    """Dropout with a noise shape and a generator of its own, which torch's has not.

    >>> PatternedDropout(0.5, (None, 1), seed=1)(torch.ones(1, 3)).unique().numel()
    1
    """

    def __init__(self, rate: float, noise_shape: Sequence[int | None] | None, seed: int | None):
        super().__init__(seed)
        self.rate = rate
        self.noise_shape = noise_shape

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Drop, in training mode."""
        if not self.training or self.rate == 0:
            return inputs
        pattern = self.noise_shape or [None] * inputs.ndim
        shape = [full if size is None else size for size, full in zip(pattern, inputs.shape, strict=True)]
        kept = torch.rand(shape, generator=self.generator(inputs.device), device=inputs.device) >= self.rate
        return inputs * (kept / max(1 - self.rate, 1e-12)).to(inputs.dtype)


class _SpatialDropout(Dropout):
    """Drops whole channels: the pattern of zeros is of size 1 along the spatial axes."""

    rank: ClassVar[int]

    def __init__(self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, seed=seed, **kwargs)
        self.data_format = one_of(data_format or config.image_data_format(), "data_format", "channels_last", "channels_first")

    def build(self, input_shape: Any) -> nn.Module:
        """Return the dropout with its noise shape."""
        if len(input_shape) != self.rank + 2:
            raise ValueError(f"expected {self.rank + 2} dimensions, the batch included, got {len(input_shape)}")
        spatial = (1,) * self.rank
        self.noise_shape = (None, *spatial, None) if self.data_format == "channels_last" else (None, None, *spatial)
        return PatternedDropout(self.rate, self.noise_shape, self.seed)


class SpatialDropout1D(_SpatialDropout):
    """Sets a share `rate` of the features to 0 at all steps while training, and scales the rest: `(batch, steps, features)`.

    Source: Tompson et al., 2014, https://arxiv.org/abs/1411.4280

    >>> SpatialDropout1D(0.5, seed=1)(torch.ones(1, 3, 4)).unique(dim=1).shape
    torch.Size([1, 1, 4])
    """

    rank = 1

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, data_format="channels_last", seed=seed, **kwargs)


class SpatialDropout2D(_SpatialDropout):
    """Sets a share `rate` of the channels of an image to 0 while training, and scales the rest.

    >>> SpatialDropout2D(0.5, seed=1)(torch.ones(1, 3, 3, 4)).flatten(1, 2).unique(dim=1).shape
    torch.Size([1, 1, 4])
    """

    rank = 2


class SpatialDropout3D(_SpatialDropout):
    """Sets a share `rate` of the channels of a volume to 0 while training, and scales the rest.

    >>> SpatialDropout3D(0.5, seed=1)(torch.ones(1, 2, 3, 3, 4)).flatten(1, 3).unique(dim=1).shape
    torch.Size([1, 1, 4])
    """

    rank = 3


class GaussianNoise(Layer):
    """Adds normal noise of deviation `stddev` while training. With a `seed` it comes from a generator of the layer's own.

    >>> GaussianNoise(0.5).eval()(torch.ones(1, 2))
    tensor([[1., 1.]])
    """

    needs_floats = True
    supports_masking = True
    takes_later = Layer.takes_later | {"stddev"}

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.stddev = number(stddev, "stddev", minimum=0)
        self.seed = seed_of(seed)

    def build(self, input_shape: Any) -> nn.Module:
        """Return the source of noise."""
        return Noise(self.stddev, self.seed)

    def set_later(self, name: str, value: Any) -> None:
        """Tell the source of noise another deviation."""
        super().set_later(name, value)
        if name == "stddev" and isinstance(self.module, Noise):
            self.module.deviation = value


class GaussianDropout(Layer):
    """Multiplies by normal noise of mean 1 and deviation `sqrt(rate / (1 - rate))` while training.

    Source: Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html

    >>> GaussianDropout(0.5).eval()(torch.ones(1, 2))
    tensor([[1., 1.]])
    """

    needs_floats = True
    supports_masking = True
    takes_later = Layer.takes_later | {"rate"}

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = _below_one(rate)
        self.seed = seed_of(seed)

    def build(self, input_shape: Any) -> nn.Module:
        """Return the source of noise."""
        return Noise(_deviation(self.rate), self.seed, multiply=True)

    def set_later(self, name: str, value: Any) -> None:
        """Tell the source of noise the deviation of another rate."""
        super().set_later(name, value)
        if name == "rate" and isinstance(self.module, Noise):
            self.module.deviation = _deviation(value)


class AlphaDropout(Layer):
    """Dropout after a `selu`: it keeps mean and deviation of inputs that have mean 0 and deviation 1.

    `noise_shape` and `seed` are those of `Dropout`. Without them the torch module is `nn.AlphaDropout`.
    Source: Klambauer et al., 2017, https://arxiv.org/abs/1706.02515

    >>> AlphaDropout(0.5).eval()(torch.ones(1, 2))
    tensor([[1., 1.]])
    """

    needs_floats = True
    supports_masking = True
    takes_later = Layer.takes_later | {"rate"}

    def __init__(self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = _below_one(rate)
        self.noise_shape = None if noise_shape is None else sizes(noise_shape, "noise_shape")
        self.seed = seed_of(seed)

    def build(self, input_shape: Any) -> nn.Module:
        """Return `nn.AlphaDropout`, or its like for a noise shape or a seed."""
        if self.noise_shape is None and self.seed is None:
            return nn.AlphaDropout(self.rate)
        return PatternedAlphaDropout(self.rate, self.noise_shape, self.seed)

    def set_later(self, name: str, value: Any) -> None:
        """Tell the torch module another rate."""
        super().set_later(name, value)
        if name == "rate":
            _set_rate(self.module, value)


class ActivityRegularization(Layer):
    """Passes its inputs on, and adds `l1` times the sum of their absolute values and `l2` times that of their squares to the loss.

    >>> layer = ActivityRegularization(l1=1.0)
    >>> _ = layer(torch.tensor([[1.0, -3.0]]))
    >>> layer.losses
    [tensor(4.)]
    """

    inline = True
    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any):
        super().__init__(activity_regularizer=regularizers.L1L2(l1, l2), **kwargs)
        self.l1 = l1
        self.l2 = l2


class Noise(Randomized):
    """Adds normal noise in training mode, or multiplies by 1 and noise; with a `seed` from a generator of its own.

    >>> Noise(0.0, seed=1)(torch.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, deviation: float, seed: int | None, multiply: bool = False):
        super().__init__(seed)
        self.deviation = deviation
        self.multiply = multiply

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Disturb, in training mode."""
        if not self.training or self.deviation == 0:
            return inputs
        generator = self.generator(inputs.device)
        noise = self.deviation * torch.randn(inputs.shape, generator=generator, device=inputs.device, dtype=inputs.dtype)
        return inputs * (1 + noise) if self.multiply else inputs + noise


_DROPPED = -1.7580993408473766  # where selu saturates: minus its scale times its alpha


class PatternedAlphaDropout(PatternedDropout):
    """Alpha dropout with a noise shape and a generator of its own, which torch's has not.

    >>> PatternedAlphaDropout(0.5, (None, 1), seed=1)(torch.ones(1, 3)).unique().numel()
    1
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Drop, in training mode."""
        if not self.training or self.rate == 0:
            return inputs
        dropped = super().forward(torch.ones_like(inputs)) == 0
        scale = ((1 - self.rate) * (1 + self.rate * _DROPPED**2)) ** -0.5
        outputs: torch.Tensor = scale * (inputs.masked_fill(dropped, _DROPPED) - _DROPPED * self.rate)
        return outputs


def _below_one(rate: Any) -> float:
    share = number(rate, "rate", minimum=0)
    if share >= 1:
        raise ValueError(f"'rate' must be at least 0 and below 1, got {rate!r}.")
    return share


def _deviation(rate: float) -> float:
    return math.sqrt(rate / (1 - rate))


def _set_rate(module: Any, rate: float) -> None:
    setattr(module, "p" if isinstance(module, (nn.Dropout, nn.AlphaDropout)) else "rate", rate)
