"""Layers that move numbers about without changing them."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import nn

from torchkeras_fn import config
from torchkeras_fn.arguments import one_of, positive_integer
from torchkeras_fn.engine.drawing.inferring import is_inferring
from torchkeras_fn.engine.layer import Layer


class Flatten(Layer):
    """Joins all axes but the batch: `(batch, a, b, ...)` to `(batch, a * b * ...)`.

    With `data_format='channels_first'` the channels are moved last before, so that both formats give one order.

    >>> import torch
    >>> Flatten()(torch.ones(2, 3, 4)).shape
    torch.Size([2, 12])
    """

    inline = True

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = one_of(data_format or config.image_data_format(), "data_format", "channels_last", "channels_first")

    def build(self, input_shape: Any) -> nn.Module | None:
        """Note the rank."""
        self._rank = len(input_shape)
        return None

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Flatten."""
        if self._rank == 1:
            return inputs.unsqueeze(1)
        if self.data_format == "channels_first" and self._rank > 2:
            inputs = inputs.movedim(1, -1)
        return inputs.flatten(1)


class Reshape(Layer):
    """Gives each sample the shape `target_shape`, in which one size may be `-1`.

    >>> import torch
    >>> Reshape((2, -1))(torch.ones(5, 6)).shape
    torch.Size([5, 2, 3])
    """

    inline = True

    def __init__(self, target_shape: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.target_shape = tuple(int(size) for size in ((target_shape,) if isinstance(target_shape, int) else target_shape))
        if self.target_shape.count(-1) > 1:
            raise ValueError(f"At most one size of target_shape may be -1, got {self.target_shape}.")

    def build(self, input_shape: Any) -> nn.Module | None:
        """Check that the numbers of elements agree, where the input's sizes are known."""
        known = None if None in input_shape[1:] else prod(input_shape[1:])
        given = prod(size for size in self.target_shape if size != -1)
        free = -1 in self.target_shape
        if known is not None and (known % given if free and given else known != given):
            raise ValueError(f"{known} elements per sample cannot take the shape {self.target_shape}")
        self._is_checked = known is not None
        return None

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Reshape."""
        if -1 in self.target_shape:  # one -1 is all that torch can work out, and the batch needs it too
            return inputs.unsqueeze(1).flatten(1).unflatten(1, self.target_shape)
        if self._is_checked:
            return inputs.reshape((-1, *self.target_shape))
        shape = inputs.size(0), *self.target_shape
        if isinstance(inputs, torch.Tensor) and is_inferring() and inputs.numel() != prod(shape):  # what stands for an unknown size
            return inputs.new_empty(shape)
        return inputs.reshape(shape)


class Permute(Layer):
    """Reorders the axes of each sample; `dims` counts them from 1.

    >>> import torch
    >>> Permute((2, 1))(torch.ones(5, 3, 4)).shape
    torch.Size([5, 4, 3])
    """

    inline = True

    def __init__(self, dims: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.dims = tuple(int(axis) for axis in dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"dims must hold each number from 1 to {len(self.dims)} once, got {self.dims}.")

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Permute."""
        return inputs.permute(0, *self.dims)


class RepeatVector(Layer):
    """Repeats each vector `n` times: `(batch, features)` to `(batch, n, features)`.

    >>> import torch
    >>> RepeatVector(3)(torch.ones(2, 4)).shape
    torch.Size([2, 3, 4])
    """

    inline = True

    def __init__(self, n: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.n = positive_integer(n, "n")

    def build(self, input_shape: Any) -> nn.Module | None:
        """Check the rank."""
        if len(input_shape) != 2:
            raise ValueError(f"expected 2 dimensions, the batch included, got {len(input_shape)}")
        return None

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Repeat, as a view."""
        return inputs.unsqueeze(1).expand(-1, self.n, -1)
