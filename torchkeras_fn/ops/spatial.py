"""Windows that move over images, sequences and volumes: convolutions and pooling, over kernels in Keras' layout.

Inputs are `(batch, *sizes, channels)` with `channels_last`, which `data_format=None` means unless the user set another
one, or `(batch, channels, *sizes)`. `padding` is `'valid'` or `'same'`: zeros such that `ceil(size / stride)` windows fit.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn import config
from torchkeras_fn.arguments import one_of
from torchkeras_fn.engine.lowered.layout import per_axis, same_padding
from torchkeras_fn.ops.conversion import as_floats, as_tensor, is_size

_CONVOLUTIONS: Sequence[Callable[..., Any]] = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED: Sequence[Callable[..., Any]] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
_MAXIMA: Sequence[Callable[..., Any]] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_MEANS: Sequence[Callable[..., Any]] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def is_channels_last(data_format: str | None) -> bool:
    """Return whether the channels are the last axis. Raises `ValueError` for a word that is no layout.

    >>> is_channels_last("channels_first")
    False
    """
    return one_of(data_format or config.image_data_format(), "data_format", "channels_last", "channels_first") == "channels_last"


def channels_next(x: Any, data_format: str | None) -> Any:
    """Return a view of images that has the channels next to the batch, as torch has them.

    >>> channels_next(torch.ones(1, 4, 5, 3), "channels_last").shape
    torch.Size([1, 3, 4, 5])
    """
    return x.permute(0, x.ndim - 1, *range(1, x.ndim - 1)) if is_channels_last(data_format) else x


def channels_back(x: Any, data_format: str | None) -> Any:
    """Return a view of what `channels_next` returned with the channels in their place.

    >>> channels_back(torch.ones(1, 3, 4, 5), "channels_last").shape
    torch.Size([1, 4, 5, 3])
    """
    return x.permute(0, *range(2, x.ndim), 1) if is_channels_last(data_format) else x


def padded(x: Any, windows: Sequence[int], strides: Sequence[int], padding: str, value: float = 0.0) -> Any:
    """Return images, with the channels next to the batch, with the border that `padding` asks for.

    >>> padded(torch.ones(1, 1, 5), [3], [2], "same").shape
    torch.Size([1, 1, 7])
    """
    if one_of(padding.lower() if isinstance(padding, str) else padding, "padding", "valid", "same", "causal") == "valid":
        return x
    borders: list[Any] = []
    for axis, (window, stride) in enumerate(zip(windows, strides, strict=True), start=2):
        size = x.shape[axis] if x.shape[axis] is not None else x.size(axis)
        borders = [*((window - 1, 0) if padding == "causal" else same_borders(size, window, stride)), *borders]
    return F.pad(x, borders, value=value)


def same_borders(size: Any, window: int, stride: int) -> tuple[Any, Any]:
    """Return the zeros before and after an axis with which `ceil(size / stride)` windows fit, also of a symbolic size.

    >>> same_borders(8, window=3, stride=2)
    (0, 1)
    """
    if not is_size(size):
        return same_padding(size, window, stride)
    total = (-(-size // stride) - 1) * stride + window - size
    total = (total + abs(total)) // 2  # the maximum of it and 0, of nothing but operators
    return total // 2, total - total // 2


def conv(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: str | None = None, dilation_rate: Any = 1
) -> Any:
    """Return the convolution with a kernel `(*sizes, channels / groups, filters)`; `'causal'` pads the front alone.

    >>> conv(torch.ones(1, 5, 2), torch.ones(3, 2, 4), padding="same").shape
    torch.Size([1, 5, 4])
    """
    x, kernel = channels_next(as_floats(inputs), data_format), as_tensor(kernel)
    rank = x.ndim - 2
    strides, rates = per_axis(strides, "strides", rank), per_axis(dilation_rate, "dilation_rate", rank)
    windows = [(kernel.shape[axis] - 1) * rates[axis] + 1 for axis in range(rank)]
    weight = torch.permute(kernel, (rank + 1, rank, *range(rank)))
    groups = x.shape[1] // kernel.shape[rank]
    outputs = _CONVOLUTIONS[rank - 1](padded(x, windows, strides, padding), weight, stride=strides, dilation=rates, groups=groups)
    return channels_back(outputs, data_format)


def depthwise_conv(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: str | None = None, dilation_rate: Any = 1
) -> Any:
    """Return the convolution of every channel with its own filters, from a kernel `(*sizes, channels, multiplier)`.

    >>> depthwise_conv(torch.ones(1, 5, 2), torch.ones(3, 2, 4)).shape
    torch.Size([1, 3, 8])
    """
    kernel = as_tensor(kernel)
    rank = kernel.ndim - 2
    grouped = torch.reshape(kernel, (*kernel.shape[:rank], 1, kernel.shape[rank] * kernel.shape[rank + 1]))
    return conv(inputs, grouped, strides, padding, data_format, dilation_rate)


def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Return `depthwise_conv`, and its channels mixed by a kernel `(1, ..., channels * multiplier, filters)`.

    >>> separable_conv(torch.ones(1, 5, 2), torch.ones(3, 2, 4), torch.ones(1, 8, 6)).shape
    torch.Size([1, 3, 6])
    """
    outputs = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(outputs, pointwise_kernel, 1, "valid", data_format)


def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Return the transposed convolution with a kernel `(*sizes, filters, channels)`.

    Each side becomes `size * stride` long, with `'valid'` longer by what the window exceeds the stride; or as
    `output_padding` says.

    >>> conv_transpose(torch.ones(1, 5, 2), torch.ones(3, 4, 2), strides=2, padding="same").shape
    torch.Size([1, 10, 4])
    """
    x, kernel = channels_next(as_floats(inputs), data_format), as_tensor(kernel)
    rank = x.ndim - 2
    strides, rates = per_axis(strides, "strides", rank), per_axis(dilation_rate, "dilation_rate", rank)
    extras = (None,) * rank if output_padding is None else per_axis(output_padding, "output_padding", rank, minimum=0)
    is_same = one_of(padding.lower() if isinstance(padding, str) else padding, "padding", "valid", "same") == "same"
    outputs = transposed(x, kernel, strides, rates)
    for axis in range(rank):
        window, extra = (kernel.shape[axis] - 1) * rates[axis] + 1, extras[axis]
        if is_same:
            surplus = window - strides[axis] if extra is None else window - window % 2 - extra
        else:
            surplus = min(window - strides[axis], 0) if extra is None else -extra
        front = max(surplus // 2, 0)
        outputs = cropped(outputs, axis + 2, front, surplus - front)
    return channels_back(outputs, data_format)


def transposed(x: Any, kernel: Any, strides: Any, rates: Any) -> Any:
    """Return the whole transposed convolution of images with the channels next to the batch.

    >>> transposed(torch.ones(1, 2, 5), torch.ones(3, 4, 2), (2,), (1,)).shape
    torch.Size([1, 4, 11])
    """
    rank = x.ndim - 2
    weight = torch.permute(kernel, (rank + 1, rank, *range(rank)))
    return _TRANSPOSED[rank - 1](x, weight, stride=strides, dilation=rates)


def cropped(x: Any, axis: int, front: int, end: Any) -> Any:
    """Return `x` without its first and last places along an axis; less than none at the end are added, as zeros.

    >>> cropped(torch.ones(1, 3), 1, 1, -1)
    tensor([[1., 1., 0.]])
    """
    return F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [-front, -end]) if is_size(end) or front or end else x


def max_pool(inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None) -> Any:
    """Return the largest number of each window.

    >>> max_pool(torch.ones(1, 8, 8, 3), 2).shape
    torch.Size([1, 4, 4, 3])
    """
    x = channels_next(as_tensor(inputs), data_format)
    sizes, steps = _windows(x, pool_size, strides)
    return channels_back(_MAXIMA[x.ndim - 3](padded(x, sizes, steps, padding, -math.inf), sizes, steps), data_format)


def average_pool(inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None) -> Any:
    """Return the mean of each window; of one that hangs over, of what is inside.

    >>> average_pool(torch.ones(1, 8, 8, 3), 2).shape
    torch.Size([1, 4, 4, 3])
    """
    x = channels_next(as_floats(inputs), data_format)
    sizes, steps = _windows(x, pool_size, strides)
    pool = _MEANS[x.ndim - 3]
    means = pool(padded(x, sizes, steps, padding), sizes, steps)
    if padding.lower() != "valid":
        means = means / pool(padded(torch.ones_like(x), sizes, steps, padding), sizes, steps)
    return channels_back(means, data_format)


def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Return the windows of images `(batch, channels, height, width)` as columns: `(batch, channels * window, windows)`.

    >>> unfold(torch.ones(1, 3, 5, 5), 2).shape
    torch.Size([1, 12, 16])
    """
    return F.unfold(as_floats(x), kernel_size, dilation, padding, stride)


def fold(x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Return images `(batch, channels, *output_size)` of such columns: where windows overlap, they are added up.

    >>> fold(torch.ones(1, 12, 16), (5, 5), 2).shape
    torch.Size([1, 3, 5, 5])
    """
    return F.fold(as_floats(x), output_size, kernel_size, dilation, padding, stride)


def _windows(x: Any, pool_size: Any, strides: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    sizes = per_axis(pool_size, "pool_size", x.ndim - 2)
    return sizes, sizes if strides is None else per_axis(strides, "strides", x.ndim - 2)
