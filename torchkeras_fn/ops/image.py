"""Images `(batch, height, width, channels)`, or one without the batch; `data_format="channels_first"` for channels before the sizes."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn.arguments import one_of
from torchkeras_fn.engine.layout import per_axis
from torchkeras_fn.ops.conversion import as_floats, as_tensor
from torchkeras_fn.ops.spatial import channels_back, channels_next, is_channels_last, padded

_MODES = {"bilinear": "bilinear", "bicubic": "bicubic", "nearest": "nearest-exact"}


def extract_patches(
    images: Any, size: Any, strides: Any = None, dilation_rate: Any = 1, padding: str = "valid", data_format: str | None = None
) -> Any:
    """Return the windows of images, each as one vector `height * width * channels`, in the place of the channels.

    Windows lie beside each other unless `strides` says otherwise; `'same'` pads with zeros.

    >>> extract_patches(torch.ones(2, 12, 12, 3), 4).shape
    torch.Size([2, 3, 3, 48])
    """
    images = as_tensor(images)
    x = channels_next(images if images.ndim == 4 else images[None], data_format)
    sizes, rates = per_axis(size, "size", 2), per_axis(dilation_rate, "dilation_rate", 2)
    steps = sizes if strides is None else per_axis(strides, "strides", 2)
    windows = [(extent - 1) * rate + 1 for extent, rate in zip(sizes, rates, strict=True)]
    x = padded(x, windows, steps, padding)
    for axis, (window, step) in enumerate(zip(windows, steps, strict=True), start=2):
        x = x.unfold(axis, window, step)
    patches = x[..., :: rates[0], :: rates[1]].permute(0, 4, 5, 1, 2, 3).flatten(1, 3)  # the window's places, then its channels
    patches = channels_back(patches, data_format)
    return patches if images.ndim == 4 else patches[0]


def resize(
    images: Any, size: Sequence[int], interpolation: str = "bilinear", antialias: bool = False, *, data_format: str | None = None
) -> Any:
    """Return images of another `(height, width)`; integers are rounded. `antialias` smooths what becomes smaller, but for `'nearest'`.

    >>> resize(torch.ones(2, 12, 12, 3), (4, 6)).shape
    torch.Size([2, 4, 6, 3])
    """
    images, mode = as_tensor(images), _MODES[one_of(interpolation, "interpolation", *_MODES)]
    x = channels_next(as_floats(images if images.ndim == 4 else images[None]), data_format)
    options = {} if interpolation == "nearest" else {"align_corners": False, "antialias": bool(antialias)}
    resized = channels_back(F.interpolate(x, per_axis(size, "size", 2), mode=mode, **options), data_format)
    if not images.dtype.is_floating_point:
        limits = torch.iinfo(images.dtype)
        resized = resized.round().clamp(limits.min, limits.max).to(images.dtype)
    return resized if images.ndim == 4 else resized[0]


def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Any:
    """Return the brightness of images of 3 channels, in one channel.

    >>> rgb_to_grayscale(torch.ones(2, 4, 4, 3)).shape
    torch.Size([2, 4, 4, 1])
    """
    axis = -1 if is_channels_last(data_format) else -3
    red, green, blue = torch.chunk(as_floats(as_tensor(images)), 3, axis)
    return 0.2989 * red + 0.587 * green + 0.114 * blue
