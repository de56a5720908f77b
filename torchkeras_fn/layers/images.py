"""Layers that give images another size: `Resizing`, `CenterCrop`, `RandomCrop`; and the base of layers over images."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn.arguments import number, one_of, positive_integer, seed_of
from torchkeras_fn.engine.drawing.incoming import as_tensors
from torchkeras_fn.engine.lowered.layout import Spatial
from torchkeras_fn.layers.randomized import Randomized

_MODES = {"bilinear": "bilinear", "bicubic": "bicubic", "nearest": "nearest-exact", "area": "area"}


class ImageLayer(Spatial):
    """The base of layers over images `(batch, height, width, channels)`. Called on tensors it also takes one image without a batch.

    >>> ImageLayer.rank
    2
    """

    mode_is_written: ClassVar[bool] = True
    """Keras notes `training=True` at each call of such a layer in a graph, and calls it in whichever mode the model is all the same."""

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.set_data_format(data_format)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Build the layer for the tensors that came, if it is not built, and call it."""
        if args and getattr(args[0], "ndim", 0) == 3:
            outputs = super().forward(as_tensors(args[0], self.dtype)[None], *args[1:], **kwargs)
            return outputs[0]
        return super().forward(*args, **kwargs)


class Resizing(ImageLayer):
    """Gives images `height` and `width`: `(batch, ..., ..., channels)` to `(batch, height, width, channels)`.

    `interpolation` is `'bilinear'`, `'nearest'`, `'bicubic'` or `'area'`; with `antialias`, the first and third are smoothed where
    images become smaller. `crop_to_aspect_ratio` cuts off, and `pad_to_aspect_ratio` adds `fill_value`s, at two sides alike, where
    the sides are not in proportion. Integers, such as bytes, stay integers.

    >>> Resizing(4, 6)(torch.ones(2, 9, 9, 3)).shape
    torch.Size([2, 4, 6, 3])
    """

    needs_floats = False

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format, **kwargs)
        self.height, self.width = positive_integer(height, "height"), positive_integer(width, "width")
        self.interpolation = one_of(interpolation, "interpolation", *_MODES)
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError("Only one of 'crop_to_aspect_ratio' and 'pad_to_aspect_ratio' can be True.")
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = bool(crop_to_aspect_ratio), bool(pad_to_aspect_ratio)
        self.fill_mode = one_of(fill_mode, "fill_mode", "constant")
        self.fill_value = number(fill_value, "fill_value")
        self.antialias = bool(antialias)

    def build(self, input_shape: Any) -> nn.Module:
        """Return the interpolation."""
        self.spatial_sizes(input_shape)
        fit = "crop" if self.crop_to_aspect_ratio else "pad" if self.pad_to_aspect_ratio else "stretch"
        return Resize((self.height, self.width), self.interpolation, fit, self.fill_value, self.antialias)


class Resize(nn.Module):
    """Interpolates images `(batch, channels, height, width)`; what is no float is rounded to its type again.

    >>> Resize((1, 2))(torch.tensor([[[[1, 3], [3, 6]]]], dtype=torch.uint8))
    tensor([[[[2, 4]]]], dtype=torch.uint8)
    """

    def __init__(
        self, size: tuple[int, int], interpolation: str = "bilinear", fit: str = "stretch", fill: float = 0.0, antialias: bool = False
    ):
        super().__init__()
        self.size = size
        self.interpolation, self.fit, self.fill = interpolation, fit, fill
        self.antialias = antialias and interpolation in ("bilinear", "bicubic")

    def extra_repr(self) -> str:
        """Return the size, for printing."""
        return f"{self.size}, {self.interpolation!r}, fit={self.fit!r}"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Resize."""
        pixels = images if images.is_floating_point() else images.float()
        if self.fit == "crop":
            pixels = in_proportion(pixels, self.size)
        elif self.fit == "pad":
            pixels = self._padded(pixels)
        align = False if self.interpolation in ("bilinear", "bicubic") else None
        resized = F.interpolate(pixels, self.size, mode=_MODES[self.interpolation], align_corners=align, antialias=self.antialias)
        if images.is_floating_point():
            return resized
        limits = torch.iinfo(images.dtype)
        return resized.round().clamp(limits.min, limits.max).to(images.dtype)

    def _padded(self, pixels: torch.Tensor) -> torch.Tensor:
        height, width = pixels.shape[2:]
        above = (max(height, int(width * self.size[0] / self.size[1])) - height) // 2
        left = (max(width, int(height * self.size[1] / self.size[0])) - width) // 2
        return F.pad(pixels, (left, left, above, above), value=self.fill)


def in_proportion(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the largest part in the middle of images `(batch, channels, height, width)` whose sides are in proportion as a size's.

    >>> in_proportion(torch.ones(1, 1, 8, 6), (2, 2)).shape
    torch.Size([1, 1, 6, 6])
    """
    height, width = images.shape[2:]
    rows = max(min(height, int(width * size[0] / size[1])), 1)
    columns = max(min(width, int(height * size[1] / size[0])), 1)
    return images.narrow(2, (height - rows) // 2, rows).narrow(3, (width - columns) // 2, columns)


class CenterCrop(ImageLayer):
    """The middle of images, of `height` and `width`: `(batch, ..., ..., channels)` to `(batch, height, width, channels)`.

    Of images that are smaller the largest part of the same proportions is taken, and resized.

    >>> CenterCrop(2, 4)(torch.ones(1, 6, 6, 3)).shape
    torch.Size([1, 2, 4, 3])
    """

    def __init__(self, height: int, width: int, data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.height, self.width = positive_integer(height, "height"), positive_integer(width, "width")

    def build(self, input_shape: Any) -> nn.Module:
        """Return the cut."""
        self.spatial_sizes(input_shape)
        return Crop((self.height, self.width))


class RandomCrop(ImageLayer):
    """A part of each image, of `height` and `width`, at a place of its own at each training step; else the middle, resized.

    In inference, and where images are smaller, the largest part in the middle of the same proportions is taken, and resized to
    `height` and `width`. With a `seed` the places come from a generator of the layer's own.

    >>> RandomCrop(4, 4)(torch.ones(2, 8, 8, 3)).shape
    torch.Size([2, 4, 4, 3])
    """

    def __init__(
        self, height: int, width: int, seed: int | None = None, data_format: str | None = None, name: str | None = None, **kwargs: Any
    ):
        super().__init__(data_format, name=name, **kwargs)
        self.height, self.width = positive_integer(height, "height"), positive_integer(width, "width")
        self.seed = seed_of(seed)

    def build(self, input_shape: Any) -> nn.Module:
        """Return the cut."""
        self.spatial_sizes(input_shape)
        return CropAnywhere((self.height, self.width), self.seed)


class Crop(nn.Module):
    """Cuts the middle out of images `(batch, channels, height, width)`, or resizes what is in proportion of smaller ones.

    >>> Crop((1, 2))(torch.arange(12.0).view(1, 1, 3, 4))
    tensor([[[[5., 6.]]]])
    """

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Cut."""
        (height, width), (rows, columns) = images.shape[2:], self.size
        if height < rows or width < columns:
            return F.interpolate(in_proportion(images, self.size), self.size, mode="bilinear", align_corners=False)
        return images.narrow(2, (height - rows) // 2, rows).narrow(3, (width - columns) // 2, columns)


class CropAnywhere(Randomized):
    """Cuts a part out of each image `(batch, channels, height, width)`, in training mode at a place of its own.

    >>> CropAnywhere((2, 2), seed=1)(torch.ones(3, 1, 4, 4)).shape
    torch.Size([3, 1, 2, 2])
    """

    def __init__(self, size: tuple[int, int], seed: int | None):
        super().__init__(seed)
        self.size = size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Cut."""
        spare = [size - wanted for size, wanted in zip(images.shape[2:], self.size, strict=True)]
        if not self.training or min(spare) < 0:
            return F.interpolate(in_proportion(images, self.size), self.size, mode="bilinear", align_corners=False)
        rows, columns = (
            ((self.draw(images) * (left + 1)).long().clamp(max=left)[:, None] + torch.arange(wanted, device=images.device))
            for left, wanted in zip(spare, self.size, strict=True)
        )
        samples = torch.arange(len(images), device=images.device)[:, None, None]
        return images.permute(0, 2, 3, 1)[samples, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
