"""Layers that make sequences, images and volumes larger or smaller without weights: upsampling, padding, cropping."""

import numbers
from collections.abc import Sequence
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import nn

from torchkeras_fn import config
from torchkeras_fn.arguments import one_of, positive_integer
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.lowered.layout import channels_back, channels_to_front

Pairs = tuple[tuple[int, int], ...]


class _Resizing(Layer):
    """Changes the sizes of `rank` spatial axes."""

    inline = True
    rank: ClassVar[int]

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = one_of(data_format or config.image_data_format(), "data_format", "channels_last", "channels_first")

    def build(self, input_shape: Any) -> nn.Module | None:
        """Check the rank."""
        if isinstance(input_shape, list) or len(input_shape) != self.rank + 2:
            got = f"a list of {len(input_shape)} inputs" if isinstance(input_shape, list) else len(input_shape)
            raise ValueError(f"expected {self.rank + 2} dimensions, the batch included, got {got}")
        return None

    @property
    def is_channels_last(self) -> bool:
        """Whether the channels are the last axis."""
        return self.data_format == "channels_last"


class _UpSampling(_Resizing):
    """Makes the spatial axes longer by whole factors."""

    needs_floats = True

    def __init__(self, size: Any, data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.size = _integers(size, self.rank, "size", minimum=1)
        self.interpolation = one_of(interpolation, "interpolation", "nearest", "bilinear", "bicubic")

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Upsample."""
        mode = self.interpolation
        if mode == "nearest" and any(factor & (factor - 1) for factor in self.size):
            mode = "nearest-exact"  # slower, but torch's other 'nearest' rounds wrongly where a factor is no power of two
        scale = tuple(float(factor) for factor in self.size)
        if not self.is_channels_last:
            return F.interpolate(inputs, scale_factor=scale, mode=mode)
        position, rank = self.rank + 1, self.rank + 2
        return channels_back(F.interpolate(channels_to_front(inputs, position, rank), scale_factor=scale, mode=mode), position, rank)


class UpSampling1D(_UpSampling):
    """Repeats each step `size` times: `(batch, steps, features)` to `(batch, steps * size, features)`.

    >>> import torch
    >>> UpSampling1D(2)(torch.ones(1, 3, 4)).shape
    torch.Size([1, 6, 4])
    """

    rank = 1

    def __init__(self, size: int = 2, **kwargs: Any):
        super().__init__(size, "channels_last", **kwargs)


class UpSampling2D(_UpSampling):
    """Makes images `size` times higher and wider, by repeating pixels or by `'bilinear'` or `'bicubic'` interpolation.

    >>> import torch
    >>> UpSampling2D((2, 3))(torch.ones(1, 4, 5, 3)).shape
    torch.Size([1, 8, 15, 3])
    """

    rank = 2

    def __init__(self, size: int | Sequence[int] = (2, 2), data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any):
        super().__init__(size, data_format, interpolation, **kwargs)


class UpSampling3D(_UpSampling):
    """Makes volumes `size` times longer along each of the three axes, by repeating.

    >>> import torch
    >>> UpSampling3D(2)(torch.ones(1, 2, 3, 4, 1)).shape
    torch.Size([1, 4, 6, 8, 1])
    """

    rank = 3

    def __init__(self, size: int | Sequence[int] = (2, 2, 2), data_format: str | None = None, **kwargs: Any):
        super().__init__(size, data_format, **kwargs)


class _ZeroPadding(_Resizing):
    """Puts zeros around the spatial axes."""

    def __init__(self, padding: Any, data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.padding = _pairs(padding, self.rank, "padding")

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Pad."""
        from_the_last = [amount for pair in reversed(self.padding) for amount in pair]
        return F.pad(inputs, [0, 0, *from_the_last] if self.is_channels_last else from_the_last)


class ZeroPadding1D(_ZeroPadding):
    """Puts `padding` steps of zeros before and after a sequence; a pair says how many before and how many after.

    >>> import torch
    >>> ZeroPadding1D((0, 1))(torch.ones(1, 2, 1)).flatten().tolist()
    [1.0, 1.0, 0.0]
    """

    rank = 1

    def __init__(self, padding: int | Sequence[int] = 1, data_format: str | None = None, **kwargs: Any):
        super().__init__(padding, data_format, **kwargs)


class ZeroPadding2D(_ZeroPadding):
    """Puts zeros around images: `n`, `(rows, columns)`, or `((top, bottom), (left, right))`.

    >>> import torch
    >>> ZeroPadding2D(((1, 0), (2, 3)))(torch.ones(1, 4, 5, 3)).shape
    torch.Size([1, 5, 10, 3])
    """

    rank = 2

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any):
        super().__init__(padding, data_format, **kwargs)


class ZeroPadding3D(_ZeroPadding):
    """Puts zeros around volumes: a number, one for each axis, or a pair (before, after) for each axis.

    >>> import torch
    >>> ZeroPadding3D((1, 0, 2))(torch.ones(1, 2, 3, 4, 1)).shape
    torch.Size([1, 4, 3, 8, 1])
    """

    rank = 3

    def __init__(self, padding: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any):
        super().__init__(padding, data_format, **kwargs)


class _Cropping(_Resizing):
    """Takes the ends of the spatial axes away."""

    def __init__(self, cropping: Any, data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.cropping = _pairs(cropping, self.rank, "cropping")

    def build(self, input_shape: Any) -> nn.Module | None:
        """Check that something is left, where the sizes are known."""
        super().build(input_shape)
        spatial = input_shape[1:-1] if self.is_channels_last else input_shape[2:]
        if any(size is not None and sum(pair) >= size for size, pair in zip(spatial, self.cropping, strict=True)):
            raise ValueError(f"'cropping' must be less than the sizes {tuple(spatial)}, got {self.cropping}")
        return None

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Crop, as a view."""
        kept = [slice(before, -after if after else None) for before, after in self.cropping]
        return inputs[(slice(None), *([] if self.is_channels_last else [slice(None)]), *kept)]


class Cropping1D(_Cropping):
    """Takes the first and the last steps of a sequence away: `(batch, steps, features)`.

    >>> import torch
    >>> Cropping1D((1, 2))(torch.ones(1, 5, 4)).shape
    torch.Size([1, 2, 4])
    """

    rank = 1

    def __init__(self, cropping: int | Sequence[int] = (1, 1), **kwargs: Any):
        super().__init__(cropping, kwargs.pop("data_format", "channels_last"), **kwargs)


class Cropping2D(_Cropping):
    """Takes the borders of images away: `n`, `(rows, columns)`, or `((top, bottom), (left, right))`.

    >>> import torch
    >>> Cropping2D(((1, 0), (2, 1)))(torch.ones(1, 4, 5, 3)).shape
    torch.Size([1, 3, 2, 3])
    """

    rank = 2

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any):
        super().__init__(cropping, data_format, **kwargs)


class Cropping3D(_Cropping):
    """Takes the borders of volumes away: a number, one for each axis, or a pair (before, after) for each axis.

    >>> import torch
    >>> Cropping3D((1, 0, 2))(torch.ones(1, 4, 3, 5, 1)).shape
    torch.Size([1, 2, 3, 1, 1])
    """

    rank = 3

    def __init__(self, cropping: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any):
        super().__init__(cropping, data_format, **kwargs)


def _integers(value: Any, count: int, argument: str, minimum: int) -> tuple[int, ...]:
    parts = (value,) * count if isinstance(value, numbers.Integral) else value
    if not isinstance(parts, Sequence) or isinstance(parts, str) or len(parts) != count:
        wanted = "an integer" if count == 1 else f"an integer or {count} of them"
        raise ValueError(f"{argument!r} must be {wanted}, got {value!r}.")
    return tuple(positive_integer(part, argument, minimum) for part in parts)


def _pairs(value: Any, rank: int, argument: str) -> Pairs:
    """A pair (before, after) for each axis, from one integer, one for each axis, or the pairs themselves."""
    if rank == 1:
        before, after = _integers(value, 2, argument, minimum=0)
        return ((before, after),)
    parts = (value,) * rank if isinstance(value, numbers.Integral) else value
    if not isinstance(parts, Sequence) or isinstance(parts, str) or len(parts) != rank:
        raise ValueError(f"{argument!r} must be an integer, {rank} of them, or {rank} pairs of them; got {value!r}.")
    pairs = [_integers(part, 2, argument, minimum=0) for part in parts]
    return tuple((before, after) for before, after in pairs)
