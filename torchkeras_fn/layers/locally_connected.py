"""Convolutions that share no weights: each place of the input has a kernel of its own."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn.arguments import one_of, positive_integer
from torchkeras_fn.engine.layer_parts.named_weight import Weight
from torchkeras_fn.engine.lowered.layout import Spatial, per_axis


class _LocallyConnected(Spatial):
    weight_map = {"kernel": Weight("weight"), "bias": Weight("bias")}

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        implementation: int = 1,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = positive_integer(filters, "filters")
        self.kernel_size = per_axis(kernel_size, "kernel_size", self.rank)
        self.strides = per_axis(strides, "strides", self.rank)
        self.padding = one_of(padding.lower() if isinstance(padding, str) else padding, "padding", "valid")
        self.set_data_format(data_format)
        if implementation not in (1, 2, 3):
            raise ValueError(f"'implementation' must be 1, 2 or 3, got {implementation!r}.")
        self.implementation = implementation
        self.use_bias = use_bias
        self.set_activation(activation)
        self.describe_weights(
            kernel=(kernel_initializer, kernel_regularizer, kernel_constraint), bias=(bias_initializer, bias_regularizer, bias_constraint)
        )

    def build(self, input_shape: Any) -> nn.Module:
        """Return the torch module for inputs of this size."""
        channels, sizes = self.channels(input_shape), self.spatial_sizes(input_shape)
        if None in sizes:
            raise ValueError(f"all sizes must be known, since every place has a kernel of its own; got {sizes}")
        if any(size < window for size, window in zip(sizes, self.kernel_size, strict=True) if size is not None):
            raise ValueError(f"the kernel covers {self.kernel_size}, which is larger than the input's {sizes}")
        return LocalConvolution(channels, sizes, self.filters, self.kernel_size, self.strides, self.channels_last, self.use_bias)  # type: ignore[arg-type]

    def prepare(self, inputs: Any) -> Any:
        """Leave the axes where they are: both data formats have windows of their own."""
        return inputs

    def restore(self, outputs: Any) -> Any:
        """Leave the axes where they are."""
        return outputs


class LocallyConnected1D(_LocallyConnected):
    """A convolution over steps in which every place has a kernel of its own: `(batch, steps, channels)` to `(batch, places, filters)`.

    `padding` is `'valid'`; the number of steps must be known. `implementation`, a choice of Keras 2 between ways to compute
    the same, changes nothing. Weights: `kernel` `(places, kernel_size * channels, filters)`, `bias` `(places, filters)`.

    >>> LocallyConnected1D(8, 3)(torch.ones(2, 10, 4)).shape
    torch.Size([2, 8, 8])
    """

    rank = 1


class LocallyConnected2D(_LocallyConnected):
    """A convolution over images in which every place has a kernel of its own.

    `(batch, height, width, channels)` becomes `(batch, rows, columns, filters)`. `padding` is `'valid'`; the sizes must be known.
    `implementation`, a choice of Keras 2 between ways to compute the same, changes nothing. Weights: `kernel`
    `(rows * columns, height * width * channels, filters)` (with the channels before height and width where they are so in
    the input), `bias` `(rows, columns, filters)`.

    >>> LocallyConnected2D(8, 3)(torch.ones(2, 6, 6, 4)).shape
    torch.Size([2, 4, 4, 8])
    """

    rank = 2


class LocalConvolution(nn.Module):
    """One matrix product for each place, all in one call: patches `(places, batch, window)` times `(places, window, filters)`.

    >>> LocalConvolution(4, (10,), 8, (3,), (1,), channels_last=True, bias=True)(torch.ones(2, 10, 4)).shape
    torch.Size([2, 8, 8])
    """

    def __init__(
        self,
        channels: int,
        sizes: Sequence[int],
        filters: int,
        kernel_size: Sequence[int],
        strides: Sequence[int],
        channels_last: bool,
        bias: bool,
    ):
        super().__init__()
        self.kernel_size = tuple(kernel_size)
        self.strides = tuple(strides)
        self.places = tuple((size - window) // stride + 1 for size, window, stride in zip(sizes, kernel_size, strides, strict=True))
        self.channels_last = channels_last
        self.weight = nn.Parameter(torch.zeros(math.prod(self.places), math.prod(kernel_size) * channels, filters))
        self.bias = nn.Parameter(torch.zeros(*self.places, filters)) if bias else None

    def extra_repr(self) -> str:
        """Return the sizes, for printing."""
        return f"places={self.places}, kernel_size={self.kernel_size}, strides={self.strides}, channels_last={self.channels_last}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Convolve."""
        rank = len(self.places)
        first = 1 if self.channels_last else 2
        for axis, (window, stride) in enumerate(zip(self.kernel_size, self.strides, strict=True), start=first):
            inputs = inputs.unfold(axis, window, stride)
        places, windows = range(first, first + rank), range(rank + 2, 2 * rank + 2)
        channels = rank + 1 if self.channels_last else 1
        window_axes = (*windows, channels) if self.channels_last else (channels, *windows)
        patches = inputs.permute(*places, 0, *window_axes).flatten(rank + 1).flatten(0, rank - 1)
        if self.bias is None:
            outputs = torch.bmm(patches, self.weight)
        else:
            outputs = torch.baddbmm(self.bias.flatten(0, -2).unsqueeze(1), patches, self.weight)
        outputs = outputs.reshape(*self.places, *outputs.shape[1:])
        return outputs.movedim(rank, 0) if self.channels_last else outputs.permute(rank, rank + 1, *range(rank))
