"""Convolutions and pooling under Keras 2's names: `ops`' own, with a default of their own for strides."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from torchkeras_fn import ops
from torchkeras_fn.arguments import one_of
from torchkeras_fn.engine.lowered.layout import per_axis
from torchkeras_fn.ops.conversion import as_floats, as_tensor
from torchkeras_fn.ops.spatial import channels_back, channels_next, cropped, is_channels_last, same_borders, transposed


def conv1d(
    x: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: str | None = None, dilation_rate: Any = 1
) -> Any:
    """Return the convolution of sequences with a kernel `(size, channels, filters)`; `padding` may be `'causal'`.

    >>> conv1d(torch.ones(1, 5, 2), torch.ones(3, 2, 4)).shape
    torch.Size([1, 3, 4])
    """
    return ops.conv(x, kernel, strides, padding, data_format, dilation_rate)


def conv2d(
    x: Any, kernel: Any, strides: Any = (1, 1), padding: str = "valid", data_format: str | None = None, dilation_rate: Any = (1, 1)
) -> Any:
    """Return the convolution of images with a kernel `(height, width, channels, filters)`.

    >>> conv2d(torch.ones(1, 5, 5, 2), torch.ones(3, 3, 2, 4)).shape
    torch.Size([1, 3, 3, 4])
    """
    return ops.conv(x, kernel, strides, padding, data_format, dilation_rate)


def conv3d(
    x: Any, kernel: Any, strides: Any = (1, 1, 1), padding: str = "valid", data_format: str | None = None, dilation_rate: Any = (1, 1, 1)
) -> Any:
    """Return the convolution of volumes with a kernel `(depth, height, width, channels, filters)`.

    >>> conv3d(torch.ones(1, 5, 5, 5, 2), torch.ones(3, 3, 3, 2, 4)).shape
    torch.Size([1, 3, 3, 3, 4])
    """
    return ops.conv(x, kernel, strides, padding, data_format, dilation_rate)


def conv2d_transpose(
    x: Any,
    kernel: Any,
    output_shape: Sequence[Any],
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """Return images of `output_shape`, of which a convolution with the kernel would make images like `x`.

    The kernel is `(height, width, filters, channels)`.

    >>> conv2d_transpose(torch.ones(1, 5, 5, 2), torch.ones(3, 3, 4, 2), (1, 10, 10, 4), (2, 2), "same").shape
    torch.Size([1, 10, 10, 4])
    """
    return _conv_transpose(x, kernel, output_shape, strides, padding, data_format, dilation_rate)


def conv3d_transpose(
    x: Any,
    kernel: Any,
    output_shape: Sequence[Any],
    strides: Any = (1, 1, 1),
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Return volumes of `output_shape`, of which a convolution with the kernel would make volumes like `x`.

    The kernel is `(depth, height, width, filters, channels)`.

    >>> conv3d_transpose(torch.ones(1, 5, 5, 5, 2), torch.ones(3, 3, 3, 4, 2), (1, 10, 10, 10, 4), (2, 2, 2), "same").shape
    torch.Size([1, 10, 10, 10, 4])
    """
    return _conv_transpose(x, kernel, output_shape, strides, padding, data_format, 1)


def _conv_transpose(
    x: Any, kernel: Any, output_shape: Sequence[Any], strides: Any, padding: str, data_format: str | None, dilation_rate: Any
) -> Any:
    one_of(padding, "padding", "valid", "same")
    x, kernel = channels_next(as_floats(x), data_format), as_tensor(kernel)
    rank = x.ndim - 2
    steps, rates = per_axis(strides, "strides", rank), per_axis(dilation_rate, "dilation_rate", rank)
    wanted = output_shape[1:-1] if is_channels_last(data_format) else output_shape[2:]
    outputs = transposed(x, kernel, steps, rates)
    for axis, size in enumerate(wanted):
        window = (kernel.shape[axis] - 1) * rates[axis] + 1
        front = same_borders(size, window, steps[axis])[0] if padding == "same" else 0
        outputs = cropped(outputs, axis + 2, front, outputs.size(axis + 2) - front - size)
    return channels_back(outputs, data_format)


def local_conv1d(inputs: Any, kernel: Any, kernel_size: Any, strides: Any, data_format: str | None = None) -> Any:
    """Return what a kernel of its own makes of each window of sequences; the kernel is `(windows, size * channels, filters)`.

    Raises `ValueError` where there are not as many windows as kernels.

    >>> local_conv1d(torch.ones(1, 5, 2), torch.ones(3, 6, 4), (3,), (1,)).shape
    torch.Size([1, 3, 4])
    """
    return _local_conv(inputs, kernel, kernel_size, strides, as_tensor(kernel).shape[:1], data_format)


def local_conv2d(
    inputs: Any, kernel: Any, kernel_size: Any, strides: Any, output_shape: Sequence[int], data_format: str | None = None
) -> Any:
    """Return what a kernel of its own makes of each window of images.

    The kernel is `(windows, height * width * channels, filters)`, with `channels_first` `(windows, channels * height * width,
    filters)`, and `output_shape` the numbers of windows below and beside each other. Raises `ValueError` where there are others.

    >>> local_conv2d(torch.ones(1, 5, 5, 2), torch.ones(9, 18, 4), (3, 3), (1, 1), (3, 3)).shape
    torch.Size([1, 3, 3, 4])
    """
    return _local_conv(inputs, kernel, kernel_size, strides, output_shape, data_format)


def _local_conv(inputs: Any, kernel: Any, kernel_size: Any, strides: Any, output_shape: Sequence[int], data_format: str | None) -> Any:
    x, kernel, output_shape = channels_next(as_floats(inputs), data_format), as_tensor(kernel), tuple(output_shape)
    rank = x.ndim - 2
    for axis, (size, step) in enumerate(zip(per_axis(kernel_size, "kernel_size", rank), per_axis(strides, "strides", rank), strict=True)):
        x = x.unfold(axis + 2, size, step)
    found = tuple(x.shape[2 : rank + 2])
    is_other = any(size not in (None, wanted) for size, wanted in zip(found, output_shape, strict=True))
    if is_other or kernel.shape[0] != math.prod(output_shape):
        raise ValueError(f"The inputs have {found} windows, the kernel is for {kernel.shape[0]}, and output_shape is {output_shape}.")
    window = range(rank + 2, 2 * rank + 2)
    x = x.permute(0, *range(2, rank + 2), *((*window, 1) if is_channels_last(data_format) else (1, *window)))
    outputs = torch.einsum("nwi,wio->nwo", torch.reshape(x, (-1, *kernel.shape[:2])), kernel)
    outputs = torch.reshape(outputs, (-1, *output_shape, kernel.shape[2]))
    return outputs if is_channels_last(data_format) else torch.movedim(outputs, -1, 1)


def depthwise_conv2d(
    x: Any,
    depthwise_kernel: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """Return the convolution of every channel with its own filters, from a kernel `(height, width, channels, multiplier)`.

    >>> depthwise_conv2d(torch.ones(1, 5, 5, 2), torch.ones(3, 3, 2, 4)).shape
    torch.Size([1, 3, 3, 8])
    """
    return ops.depthwise_conv(x, depthwise_kernel, strides, padding, data_format, dilation_rate)


def separable_conv1d(
    x: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Return the depthwise convolution of sequences, and its channels mixed by a kernel `(1, channels, filters)`.

    >>> separable_conv1d(torch.ones(1, 5, 2), torch.ones(3, 2, 4), torch.ones(1, 8, 6)).shape
    torch.Size([1, 3, 6])
    """
    return ops.separable_conv(x, depthwise_kernel, pointwise_kernel, strides, padding, data_format, dilation_rate)


def separable_conv2d(
    x: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """Return the depthwise convolution of images, and its channels mixed by a kernel `(1, 1, channels, filters)`.

    >>> separable_conv2d(torch.ones(1, 5, 5, 2), torch.ones(3, 3, 2, 4), torch.ones(1, 1, 8, 6)).shape
    torch.Size([1, 3, 3, 6])
    """
    return ops.separable_conv(x, depthwise_kernel, pointwise_kernel, strides, padding, data_format, dilation_rate)


def pool2d(
    x: Any, pool_size: Any, strides: Any = (1, 1), padding: str = "valid", data_format: str | None = None, pool_mode: str = "max"
) -> Any:
    """Return the largest number, or with `pool_mode='avg'` the mean, of each window of images.

    >>> pool2d(torch.ones(1, 5, 5, 2), (2, 2)).shape
    torch.Size([1, 4, 4, 2])
    """
    pool = ops.max_pool if one_of(pool_mode, "pool_mode", "max", "avg") == "max" else ops.average_pool
    return pool(x, pool_size, strides, padding, data_format)


def pool3d(
    x: Any, pool_size: Any, strides: Any = (1, 1, 1), padding: str = "valid", data_format: str | None = None, pool_mode: str = "max"
) -> Any:
    """Return the largest number, or with `pool_mode='avg'` the mean, of each window of volumes.

    >>> pool3d(torch.ones(1, 5, 5, 5, 2), (2, 2, 2)).shape
    torch.Size([1, 4, 4, 4, 2])
    """
    return pool2d(x, pool_size, strides, padding, data_format, pool_mode)


def bias_add(x: Any, bias: Any, data_format: str | None = None) -> Any:
    """Return `x` plus a number for each channel, or plus a bias of the shape of a sample with the channels last.

    With `channels_first`, Keras 2 does not turn such a bias but reads its numbers in their order, and so does this.

    Raises `ValueError` for a bias of another rank.

    >>> bias_add(torch.zeros(1, 2), [1.0, 2.0])
    tensor([[1., 2.]])
    """
    x = as_tensor(x)
    bias = as_tensor(bias, like=x)
    if bias.ndim not in (1, x.ndim - 1):
        raise ValueError(f"A bias has 1 or {x.ndim - 1} dimensions here, got one of shape {tuple(bias.shape)}.")
    if is_channels_last(data_format) or x.ndim < 3:
        return x + bias
    if bias.ndim == 1:
        return x + torch.reshape(bias, (-1, *[1] * (x.ndim - 2)))
    return x + torch.reshape(bias, (bias.shape[-1], *bias.shape[:-1]))
