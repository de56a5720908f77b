"""Images `(batch, height, width, channels)`, or one without the batch; `data_format="channels_first"` for channels before the sizes."""

# ruff: noqa: F401 - what moves pixels about has a file of its own, and is found here

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn.arguments import one_of
from torchkeras_fn.engine.lowered.layout import per_axis
from torchkeras_fn.ops.conversion import as_floats, as_tensor
from torchkeras_fn.ops.sampling import affine_transform, map_coordinates, perspective_transform
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
    images: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """Return images of another `(height, width)`; integers are rounded. `antialias` smooths what becomes smaller, but for `'nearest'`.

    So that nothing is stretched, `crop_to_aspect_ratio` cuts off, and `pad_to_aspect_ratio` adds `fill_value`s, at two sides alike.

    >>> resize(torch.ones(2, 12, 12, 3), (4, 6)).shape
    torch.Size([2, 4, 6, 3])
    """
    images, mode = as_tensor(images), _MODES[one_of(interpolation, "interpolation", *_MODES)]
    x = channels_next(as_floats(images if images.ndim == 4 else images[None]), data_format)
    if crop_to_aspect_ratio or pad_to_aspect_ratio:
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError("Only one of 'crop_to_aspect_ratio' and 'pad_to_aspect_ratio' can be True.")
        one_of(fill_mode, "fill_mode", "constant")
        x = _in_proportion(x, per_axis(size, "size", 2), crop_to_aspect_ratio, fill_value)
    options = {} if interpolation == "nearest" else {"align_corners": False, "antialias": bool(antialias)}
    resized = channels_back(F.interpolate(x, per_axis(size, "size", 2), mode=mode, **options), data_format)
    if not images.dtype.is_floating_point:
        limits = torch.iinfo(images.dtype)
        resized = resized.round().clamp(limits.min, limits.max).to(images.dtype)
    return resized if images.ndim == 4 else resized[0]


def _in_proportion(x: Any, size: Sequence[int], is_cropped: bool, fill_value: float) -> Any:
    """Images, with the channels next to the batch, whose sides are in proportion as a size's: the middle of them, or more around them."""
    height, width = x.shape[2:]
    if height is None or width is None:
        raise ValueError(f"Images must be of known sizes to be brought in proportion, got the shape {tuple(x.shape)}.")
    rows, columns = width * size[0] // size[1], height * size[1] // size[0]
    if is_cropped:
        rows, columns = max(min(height, rows), 1), max(min(width, columns), 1)
        return x[:, :, (height - rows) // 2 :, (width - columns) // 2 :][:, :, :rows, :columns]
    above, left = (max(height, rows) - height) // 2, (max(width, columns) - width) // 2
    return F.pad(x, [left, left, above, above], value=fill_value)


def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Return images with zeros around them. Along each axis two are given: what is added at the two ends, and the size that is made.

    Raises `ValueError` where they are not two, or where images are larger than what is to be made of them.

    >>> pad_images(torch.ones(2, 4, 4, 3), 1, 2, target_height=6, target_width=8).shape
    torch.Size([2, 6, 8, 3])
    """
    images = as_tensor(images)
    x = channels_next(images if images.ndim == 4 else images[None], data_format)
    vertical, horizontal = "top_padding, bottom_padding and target_height", "left_padding, right_padding and target_width"
    above, below = _two_ends(top_padding, bottom_padding, x.shape[2], target_height, 1, vertical)
    left, right = _two_ends(left_padding, right_padding, x.shape[3], target_width, 1, horizontal)
    more = channels_back(F.pad(x, [left, right, above, below]), data_format)
    return more if images.ndim == 4 else more[0]


def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Return a part of images. Along each axis two are given: what is cut off at the two ends, and the size that is left.

    Raises `ValueError` where they are not two, or where images are smaller than what is to be left of them.

    >>> crop_images(torch.ones(2, 6, 8, 3), 1, 2, target_height=4, target_width=4).shape
    torch.Size([2, 4, 4, 3])
    """
    images = as_tensor(images)
    x = channels_next(images if images.ndim == 4 else images[None], data_format)
    vertical, horizontal = "top_cropping, bottom_cropping and target_height", "left_cropping, right_cropping and target_width"
    above, below = _two_ends(top_cropping, bottom_cropping, x.shape[2], target_height, -1, vertical)
    left, right = _two_ends(left_cropping, right_cropping, x.shape[3], target_width, -1, horizontal)
    less = channels_back(x[:, :, above : -below or None, left : -right or None], data_format)
    return less if images.ndim == 4 else less[0]


def _two_ends(front: int | None, end: int | None, size: int | None, target: int | None, sign: int, names: str) -> tuple[int, int]:
    """What is added to, or with a `sign` of -1 cut off, the two ends of an axis, of which two are given: these, and the size it gets."""
    if [front, end, target].count(None) != 1 or size is None and target is not None:
        raise ValueError(f"Exactly two of {names} must be given, and none of them the size where that of the images is unknown.")
    change = sign * ((target or 0) - (size or 0))
    front = change - (end or 0) if front is None else front
    end = change - front if end is None else end
    if front < 0 or end < 0:
        raise ValueError(f"An axis of size {size} cannot be changed so, by {front} and {end} at its ends: see {names}.")
    return front, end


def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Any:
    """Return the brightness of images of 3 channels, in one channel; integers are cut off.

    >>> rgb_to_grayscale(torch.ones(2, 4, 4, 3)).shape
    torch.Size([2, 4, 4, 1])
    """
    axis = -1 if is_channels_last(data_format) else -3
    images = as_tensor(images)
    red, green, blue = torch.chunk(as_floats(images), 3, axis)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).to(images.dtype)


def rgb_to_hsv(images: Any, data_format: str | None = None) -> Any:
    """Return the hue, the saturation and the value of colors, all from 0 to 1, in the place of red, green and blue.

    Source: Smith, 1978, "Color gamut transform pairs".

    >>> rgb_to_hsv(torch.tensor([[[0.0, 0.5, 0.0]]]))
    tensor([[[0.3333, 1.0000, 0.5000]]])
    """
    axis = -1 if is_channels_last(data_format) else -3
    red, green, blue = torch.unbind(as_floats(images), axis)
    value = torch.maximum(torch.maximum(red, green), blue)
    spread = value - torch.minimum(torch.minimum(red, green), blue)
    divisor = torch.where(spread == 0, 1.0, spread)
    after_green = torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    hue = torch.where(value == red, (green - blue) / divisor, after_green) / 6
    hue = torch.where(spread == 0, 0.0, torch.where(hue < 0, hue + 1, hue))
    saturation = torch.where(value > 0, spread / torch.where(value > 0, value, 1.0), 0.0)
    return torch.stack([hue, saturation, value], axis)


def hsv_to_rgb(images: Any, data_format: str | None = None) -> Any:
    """Return red, green and blue in the place of hue, saturation and value, all from 0 to 1: the inverse of `rgb_to_hsv`.

    >>> hsv_to_rgb(torch.tensor([[[0.5, 1.0, 0.5]]]))
    tensor([[[0.0000, 0.5000, 0.5000]]])
    """
    axis = -1 if is_channels_last(data_format) else -3
    hue, saturation, value = torch.unbind(as_floats(images), axis)
    # A channel is full within a sixth of its own place on the circle of hues, and has gone at two sixths.
    distances = [torch.abs(torch.remainder(hue - place / 3 + 0.5, 1.0) - 0.5) * 6 for place in range(3)]
    return torch.stack([value * (1 - saturation * torch.clamp(distance - 1, 0.0, 1.0)) for distance in distances], axis)


def gaussian_blur(images: Any, kernel_size: Any = (3, 3), sigma: Any = (1.0, 1.0), data_format: str | None = None) -> Any:
    """Return images in which each pixel is a mean of its neighbours, weighted by a bell curve; beyond the border there are zeros.

    >>> gaussian_blur(torch.ones(1, 5, 5, 1))[0, 2, 2]
    tensor([1.])
    """
    images = as_tensor(images)
    x = channels_next(as_floats(images if images.ndim == 4 else images[None]), data_format)
    for axis, (size, width) in enumerate(zip(per_axis(kernel_size, "kernel_size", 2), sigma, strict=True)):
        places = torch.arange(size, dtype=x.dtype, device=x.device if isinstance(x, torch.Tensor) else None) - (size - 1) / 2
        weights = torch.softmax(-torch.square(places / width) / 2, 0)
        kernel = torch.reshape(weights, (1, 1, -1, 1) if axis == 0 else (1, 1, 1, -1)).expand(x.shape[1], -1, -1, -1)
        x = F.conv2d(x, kernel, padding="same", groups=x.shape[1])
    blurred = channels_back(x, data_format).to(images.dtype)
    return blurred if images.ndim == 4 else blurred[0]
