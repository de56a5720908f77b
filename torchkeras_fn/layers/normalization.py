"""Layers that keep activations at a common scale."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn.arguments import number, positive_integer
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.layer_parts.named_weight import Weight
from torchkeras_fn.engine.lowered.layout import channels_back, channels_to_front
from torchkeras_fn.layers.core import axes_of


class LayerNormalization(Layer):
    """Brings each sample to mean 0 and deviation 1 along `axis` (or several), then scales by `gamma` and shifts by `beta`.

    Weights: `gamma`, `beta`, each of the sizes of those axes. The torch module is `nn.LayerNorm`. `rms_scaling=True`
    divides by the deviation without taking the mean out, and has no `beta`, as in Keras.
    Source: Ba et al., 2016, https://arxiv.org/abs/1607.06450

    >>> LayerNormalization()(torch.tensor([[1.0, 3.0]])).round(decimals=2).tolist()
    [[-1.0, 1.0]]
    """

    weight_map = {"gamma": Weight("weight"), "beta": Weight("bias")}
    needs_floats = True
    supports_masking = True

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        rms_scaling: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.axis = axes_of(axis, "axis")
        self.epsilon = number(epsilon, "epsilon", minimum=0)
        self.center = center and not rms_scaling
        self.scale = scale or rms_scaling
        self.rms_scaling = rms_scaling
        self.describe_weights(
            gamma=(gamma_initializer, gamma_regularizer, gamma_constraint),
            beta=(beta_initializer, beta_regularizer, beta_constraint),
        )

    def build(self, input_shape: Any) -> nn.Module:
        """Return the torch module for the sizes of the axes."""
        self._positions, sizes = positions_of(self.axis, input_shape)
        self._last = tuple(range(len(input_shape) - len(sizes), len(input_shape)))
        kind = VarianceScaling if self.rms_scaling else nn.LayerNorm
        module = kind(sizes, eps=self.epsilon, elementwise_affine=self.center or self.scale, bias=self.center)
        if not self.scale:
            module.weight = None  # type: ignore[assignment]
        return module

    def prepare(self, inputs: Any) -> Any:
        """Put the axes last, where torch has them."""
        return inputs if self._positions == self._last else inputs.movedim(self._positions, self._last)

    def finish(self, outputs: Any) -> Any:
        """Put the axes back."""
        return outputs if self._positions == self._last else outputs.movedim(self._last, self._positions)


class VarianceScaling(nn.LayerNorm):
    """Divides by the deviation over the last axes, and scales: what Keras calls `rms_scaling`.

    >>> VarianceScaling((2,))(torch.tensor([[1.0, 3.0]])).round(decimals=2).tolist()
    [[1.0, 3.0]]
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Scale."""
        axes = tuple(range(-len(self.normalized_shape), 0))
        return input * torch.rsqrt(input.var(axes, correction=0, keepdim=True) + self.eps) * self.weight


class GroupNormalization(Layer):
    """Brings each of `groups` groups of channels of a sample to mean 0 and deviation 1, then scales and shifts each channel.

    `groups=-1` makes every channel a group of its own (instance normalization). `axis` is where the channels are.
    Weights: `gamma`, `beta`, each `(channels,)`. The torch module is `nn.GroupNorm`.
    Source: Wu and He, 2018, https://arxiv.org/abs/1803.08494

    >>> GroupNormalization(groups=2)(torch.ones(1, 5, 4)).shape
    torch.Size([1, 5, 4])
    """

    weight_map = {"gamma": Weight("weight"), "beta": Weight("bias")}
    needs_floats = True
    supports_masking = True

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.groups = groups if groups == -1 else positive_integer(groups, "groups")
        self.axis = axes_of(axis, "axis")
        if len(self.axis) != 1:
            raise ValueError(f"'axis' must be one axis, got {axis!r}.")
        self.epsilon = number(epsilon, "epsilon", minimum=0)
        self.center = center
        self.scale = scale
        self.describe_weights(
            gamma=(gamma_initializer, gamma_regularizer, gamma_constraint),
            beta=(beta_initializer, beta_regularizer, beta_constraint),
        )

    def build(self, input_shape: Any) -> nn.Module:
        """Return the torch module for this many channels."""
        (self._position,), (channels,) = positions_of(self.axis, input_shape)
        self._rank = len(input_shape)
        groups = channels if self.groups == -1 else self.groups
        if not channels or channels % groups:
            raise ValueError(f"the number of channels must be a multiple of 'groups', got {channels} channels and {groups} groups")
        module = GroupNorm(groups, channels, eps=self.epsilon, affine=self.center or self.scale)
        if not self.scale:
            module.weight = None  # type: ignore[assignment]
        if not self.center:
            module.bias = None  # type: ignore[assignment]
        return module

    def prepare(self, inputs: Any) -> Any:
        """Put the channels on axis 1, where torch has them."""
        return channels_to_front(inputs, self._position, self._rank)

    def finish(self, outputs: Any) -> Any:
        """Put the channels back."""
        return channels_back(outputs, self._position, self._rank)


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm`, past two faults of torch 2.13 on CPU; and, as in Keras, a group may be a single number, which becomes 0.

    In its backward pass torch crashes for a `channels_last` input that needs no gradient, and fails for a bias without a weight.

    >>> GroupNorm(2, 4)(torch.ones(1, 4, 3)).shape
    torch.Size([1, 4, 3])
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalize."""
        if torch.is_grad_enabled() and not input.requires_grad:
            input = input.clone(memory_format=torch.contiguous_format)  # `contiguous()` leaves images of one channel as they are
        if self.weight is None and self.bias is not None:
            return self._normalize(input, None, None) + self.bias.view(-1, *[1] * (input.ndim - 2))
        return self._normalize(input, self.weight, self.bias)

    def _normalize(self, inputs: torch.Tensor, weight: Any, bias: Any) -> torch.Tensor:
        # not `F.group_norm`, which refuses the last batch where one sample is left of it and a group is one number
        return torch.group_norm(inputs, self.num_groups, weight, bias, self.eps, torch.backends.cudnn.enabled)


class UnitNormalization(Layer):
    """Makes the vectors along `axis` (or several) of length one; vectors of zeros stay.

    >>> UnitNormalization()(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """

    inline = True
    needs_floats = True
    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axes_of(axis, "axis")

    def build(self, input_shape: Any) -> nn.Module | None:
        """Check the axes."""
        rank = len(input_shape)
        if not all(-rank <= axis < rank for axis in self.axis):
            raise ValueError(f"'axis' must be an axis of the input, got {list(self.axis)}")
        return None

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Divide by the lengths; by Keras' least length where they are less, which float16 can hold too."""
        return F.normalize(inputs, dim=self.axis, eps=1e-6)  # type: ignore[arg-type]


def positions_of(axes: Sequence[int], input_shape: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return axes counted from the front, in order, and their sizes.

    Raises `ValueError` for one that is the batch or not there, that comes twice, or whose size is unknown.

    >>> positions_of([-1, 1], (None, 3, None, 5))
    ((1, 3), (3, 5))
    """
    rank = len(input_shape)
    positions = tuple(sorted(axis % rank for axis in axes))
    if not all(-rank <= axis < rank for axis in axes) or 0 in positions or len(set(positions)) < len(positions):
        raise ValueError(f"'axis' must be different axes of the input other than the batch, got {list(axes)}")
    sizes = tuple(input_shape[position] for position in positions)
    if None in sizes:
        raise ValueError(f"the size of axis {positions[sizes.index(None)]} must be known, got None")
    return positions, sizes
