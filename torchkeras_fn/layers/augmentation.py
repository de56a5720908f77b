"""Layers that disturb images in training only: flipped, turned, zoomed, moved, in another contrast or brightness."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn.arguments import number, one_of, seed_of
from torchkeras_fn.layers.images import ImageLayer
from torchkeras_fn.layers.randomized import Randomized

Range = tuple[float, float]

_PADDINGS = {"constant": "zeros", "nearest": "border", "reflect": "reflection", "wrap": "zeros"}


class RandomFlip(ImageLayer):
    """Turns images left to right, or top to bottom, in training: each with a chance of one half.

    `mode` is `'horizontal'`, `'vertical'` or `'horizontal_and_vertical'`, where Keras turns an image both ways or neither, and
    this layer draws for each way. With a `seed` the numbers come from a generator of the layer's own.

    >>> RandomFlip(seed=1)(torch.ones(2, 4, 4, 3)).shape
    torch.Size([2, 4, 4, 3])
    """

    def __init__(self, mode: str = "horizontal_and_vertical", seed: int | None = None, data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.mode = one_of(mode, "mode", "horizontal", "vertical", "horizontal_and_vertical")
        self.seed = seed_of(seed)

    def build(self, input_shape: Any) -> nn.Module:
        """Return what flips."""
        self.spatial_sizes(input_shape)
        return Flip([axis for axis, way in ((3, "horizontal"), (2, "vertical")) if way in self.mode], self.seed)


class Flip(Randomized):
    """Flips images `(batch, channels, height, width)` along each of some axes with a chance of one half, in training mode.

    >>> Flip([3], seed=1).eval()(torch.ones(1, 1, 1, 2))
    tensor([[[[1., 1.]]]])
    """

    def __init__(self, axes: Sequence[int], seed: int | None):
        super().__init__(seed)
        self.axes = tuple(axes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Flip."""
        for axis in self.axes if self.training else ():
            images = torch.where(self.draw(images)[:, None, None, None] < 0.5, images.flip(axis), images)
        return images


class _Warping(ImageLayer):
    """Draws where each pixel comes from: at a place in the image, or outside, where `fill_mode` says what is there."""

    def set_options(self, fill_mode: str, interpolation: str, seed: int | None, fill_value: float) -> None:
        """Set and check what all such layers take."""
        self.fill_mode = one_of(fill_mode, "fill_mode", *_PADDINGS)
        self.interpolation = one_of(interpolation, "interpolation", "bilinear", "nearest")
        self.seed = seed_of(seed)
        self.fill_value = number(fill_value, "fill_value")

    def build(self, input_shape: Any) -> nn.Module:
        """Return what warps."""
        self.spatial_sizes(input_shape)
        return Warp(self.ranges(), self.fill_mode, self.interpolation, self.fill_value, self.seed)

    def ranges(self) -> dict[str, Range | None]:
        """Return the ranges that `Warp` draws from."""
        raise NotImplementedError


class RandomRotation(_Warping):
    """Turns images in training, by a share of a full turn from `-factor` to `factor`, or from one of two numbers to the other.

    A positive share turns against the clock. What comes into view is by `fill_mode` the image reflected (`'reflect'`), repeated
    (`'wrap'`), its edge (`'nearest'`) or `fill_value` (`'constant'`); `interpolation` is `'bilinear'` or `'nearest'`. With a `seed`
    the numbers come from a generator of the layer's own.

    >>> RandomRotation((0.25, 0.25))(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 2, 2, 1)).flatten().round()
    tensor([2., 4., 1., 3.])
    """

    def __init__(
        self,
        factor: float | Sequence[float],
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format, **kwargs)
        self.factor = range_of(factor, "factor", -1, 1)
        self.set_options(fill_mode, interpolation, seed, fill_value)

    def ranges(self) -> dict[str, Range | None]:
        """Return the range of angles."""
        return {"turn": self.factor}


class RandomZoom(_Warping):
    """Zooms images in training, up and down by `height_factor`, left and right by `width_factor`, or by the same where it is `None`.

    A factor is a number or two, the ends of a range: 0.2 lets the image shrink to as much as 1.2 times its height fits in, and
    -0.2 grow to 0.8 times. Other arguments are those of `RandomRotation`.

    >>> RandomZoom((-0.5, -0.5), interpolation="nearest")(torch.arange(4.0).view(1, 1, 4, 1)).flatten()
    tensor([1., 1., 2., 2.])
    """

    def __init__(
        self,
        height_factor: float | Sequence[float],
        width_factor: float | Sequence[float] | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format, **kwargs)
        self.height_factor = range_of(height_factor, "height_factor", -1, 1)
        self.width_factor = None if width_factor is None else range_of(width_factor, "width_factor", -1, 1)
        if -1 in (*self.height_factor, *(self.width_factor or ())):
            raise ValueError(f"a factor must be above -1, got {height_factor!r} and {width_factor!r}.")
        self.set_options(fill_mode, interpolation, seed, fill_value)

    def ranges(self) -> dict[str, Range | None]:
        """Return the ranges of the factors."""
        return {"zoom_height": self.height_factor, "zoom_width": self.width_factor}


class RandomTranslation(_Warping):
    """Moves images in training, down by a share `height_factor` of their height, and right by a share `width_factor` of their width.

    A factor is a number, for a range from its negative, or two. Other arguments are those of `RandomRotation`.

    >>> RandomTranslation(0, (0.25, 0.25), fill_mode="constant")(torch.arange(4.0).view(1, 1, 4, 1)).flatten()
    tensor([0., 0., 1., 2.])
    """

    def __init__(
        self,
        height_factor: float | Sequence[float],
        width_factor: float | Sequence[float],
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format, **kwargs)
        self.height_factor = range_of(height_factor, "height_factor", -1, 1)
        self.width_factor = range_of(width_factor, "width_factor", -1, 1)
        self.set_options(fill_mode, interpolation, seed, fill_value)

    def ranges(self) -> dict[str, Range | None]:
        """Return the ranges of the factors."""
        return {"move_height": self.height_factor, "move_width": self.width_factor}


class Warp(Randomized):
    """Turns, zooms or moves each image `(batch, channels, height, width)` by amounts of its own, in training mode.

    `ranges` holds those to draw from, of `turn`, `zoom_height`, `zoom_width`, `move_height` and `move_width`.

    >>> Warp({"turn": (0.5, 0.5)})(torch.tensor([[[[1.0, 2.0]]]])).round()
    tensor([[[[2., 1.]]]])
    """

    def __init__(
        self,
        ranges: dict[str, Range | None],
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        fill_value: float = 0.0,
        seed: int | None = None,
    ):
        super().__init__(seed)
        self.ranges = ranges
        self.fill_mode, self.interpolation, self.fill_value = fill_mode, interpolation, fill_value

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Warp."""
        if not self.training or not images.numel():
            return images
        across, down = self._places(images)
        if self.fill_mode == "wrap":  # the image is repeated by one pixel on all sides, between which the places stay
            (height, width), images = images.shape[2:], F.pad(images, (1, 1, 1, 1), mode="circular")
            across, down = _repeated(across, width), _repeated(down, height)
        fill = self.fill_value if self.fill_mode == "constant" else 0.0
        pixels, grid = images.to(across.dtype) - fill, torch.stack([across, down], -1)
        sampled = F.grid_sample(pixels, grid, self.interpolation, _PADDINGS[self.fill_mode], align_corners=False) + fill
        return sampled.to(images.dtype)

    def _places(self, images: torch.Tensor) -> list[torch.Tensor]:
        """How far across and how far down each pixel comes from, both `(batch, height, width)`; the image reaches from -1 to 1.

        `F.affine_grid` multiplies matrices: in 16 bits where autocast has it so, which is too coarse for places.
        """
        drawn = {name: self.draw(images, *ends)[:, None, None] for name, ends in self.ranges.items() if ends is not None}
        height, width = images.shape[2:]
        zero = torch.zeros((len(images), 1, 1), dtype=next(iter(drawn.values())).dtype, device=images.device)
        angle = drawn.get("turn", zero) * (2 * math.pi)
        rows = 1 + drawn.get("zoom_height", zero)
        columns = 1 + drawn.get("zoom_width", drawn.get("zoom_height", zero))
        x, y = ((torch.arange(size, dtype=zero.dtype, device=zero.device) * 2 + 1) / size - 1 for size in (width, height))
        y, slant = y[:, None], height / width  # each side is 2 long here, whichever is the longer
        across = columns * angle.cos() * x - angle.sin() * slant * y - 2 * drawn.get("move_width", zero)
        return [across, angle.sin() / slant * x + rows * angle.cos() * y - 2 * drawn.get("move_height", zero)]


def _repeated(places: torch.Tensor, size: int) -> torch.Tensor:
    """The same places in an image that goes on from its other end, as ones in that image with a pixel more at either end."""
    pixels = torch.remainder((places + 1) * size / 2 - 0.5, size)
    return (pixels + 1.5) * 2 / (size + 2) - 1


class _Toning(ImageLayer):
    """Changes the numbers of images within `value_range`."""

    lowest: ClassVar[float] = 0.0

    def __init__(self, factor: Any, value_range: Sequence[float] = (0, 255), seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(value_range, (list, tuple)) or len(value_range) != 2:
            raise ValueError(f"'value_range' must be two numbers, got {value_range!r}.")
        low, high = sorted(number(value, "value_range") for value in value_range)
        self.value_range = (low, high)
        self.seed = seed_of(seed)
        self.factor = range_of(factor, "factor", self.lowest, 1)


class RandomContrast(_Toning):
    """Draws the numbers of each channel of an image from their mean, or to it, in training: by 1 - `factor` to 1 + `factor` times.

    Two factors are for either end. The numbers are held to `value_range`. With a `seed` they come from a generator of the layer's
    own. For one factor Keras 3 draws from 1 on, other than its documentation says.

    >>> RandomContrast(0.0)(torch.tensor([1.0, 3.0]).view(1, 1, 2, 1)).flatten()
    tensor([1., 3.])
    """

    def __init__(self, factor: float | Sequence[float], value_range: Sequence[float] = (0, 255), seed: int | None = None, **kwargs: Any):
        ends = factor if isinstance(factor, (list, tuple)) else (factor, factor)
        super().__init__(ends, value_range, seed, **kwargs)

    def build(self, input_shape: Any) -> nn.Module:
        """Return what changes the contrast."""
        self.spatial_sizes(input_shape)
        return Tone((1 - self.factor[0], 1 + self.factor[1]), None, self.value_range, self.seed)


class RandomBrightness(_Toning):
    """Adds a number to each image in training: a share from `-factor` to `factor`, or between two, of the width of `value_range`.

    The numbers are held to `value_range`. With a `seed` they come from a generator of the layer's own.

    >>> RandomBrightness((0.5, 0.5), value_range=(0, 1))(torch.tensor([0.25, 0.75]).view(1, 1, 2, 1)).flatten()
    tensor([0.7500, 1.0000])
    """

    lowest = -1.0

    def __init__(self, factor: float | Sequence[float], value_range: Sequence[float] = (0, 255), seed: int | None = None, **kwargs: Any):
        super().__init__(factor, value_range, seed, **kwargs)

    def build(self, input_shape: Any) -> nn.Module:
        """Return what changes the brightness."""
        self.spatial_sizes(input_shape)
        return Tone(None, self.factor, self.value_range, self.seed)


class Tone(Randomized):
    """Draws numbers from the mean of their channel, or adds to them, for each image by an amount of its own, in training mode.

    >>> Tone((2.0, 2.0), None, (0.0, 10.0))(torch.tensor([[[[1.0, 3.0]]]]))
    tensor([[[[0., 4.]]]])
    """

    def __init__(self, contrast: Range | None, brightness: Range | None, value_range: Range, seed: int | None = None):
        super().__init__(seed)
        self.contrast, self.brightness, self.value_range = contrast, brightness, value_range

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Change the tone."""
        if not self.training:
            return images
        low, high = self.value_range
        if self.contrast is not None:
            mean = images.mean((2, 3), keepdim=True)
            images = (images - mean) * self._drawn(images, self.contrast) + mean
        if self.brightness is not None:
            images = images + self._drawn(images, self.brightness) * (high - low)
        return images.clamp(low, high)

    def _drawn(self, images: torch.Tensor, ends: Range) -> torch.Tensor:
        return self.draw(images, *ends).to(images.dtype)[:, None, None, None]


def range_of(factor: Any, argument: str, low: float, high: float) -> Range:
    """Return the ends of the range of a factor: two numbers, or one for the range around 0.

    Raises `ValueError` that names the argument for what is none, or not between `low` and `high`.

    >>> range_of(0.5, "factor", -1, 1), range_of([0.3, 0.1], "factor", -1, 1)
    ((-0.5, 0.5), (0.1, 0.3))
    """
    ends = tuple(factor) if isinstance(factor, (list, tuple)) else (factor,)
    wrong = ValueError(f"{argument!r} must be a number from {low:g} to {high:g}, or two, got {factor!r}.")
    try:
        numbers = [number(end, argument) for end in ends]
    except ValueError as error:
        raise wrong from error
    if len(numbers) not in (1, 2) or not all(low <= end <= high for end in numbers):
        raise wrong
    return (-abs(numbers[0]), abs(numbers[0])) if len(numbers) == 1 else (min(numbers), max(numbers))
