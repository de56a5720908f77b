"""Layers that pool to a size that is given, with windows that follow from it."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from torchkeras_fn.engine.lowered.layout import Spatial, per_axis

_POOLINGS: dict[str, Sequence[Any]] = {
    "max": (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    "average": (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
}


class _AdaptivePooling(Spatial):
    kind: ClassVar[str] = "max"

    def __init__(self, output_size: int | Sequence[int], data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.output_size = per_axis(output_size, "output_size", self.rank)
        self.set_data_format(data_format)

    def build(self, input_shape: Any) -> nn.Module:
        """Return the torch module."""
        self.spatial_sizes(input_shape)
        module: nn.Module = _POOLINGS[self.kind][self.rank - 1](self.output_size)
        return module


class _AdaptiveAverage(_AdaptivePooling):
    kind = "average"


class AdaptiveMaxPooling1D(_AdaptivePooling):
    """The largest numbers of `output_size` windows over all steps: `(batch, steps, channels)` to `(batch, output_size, channels)`.

    >>> import torch
    >>> AdaptiveMaxPooling1D(2)(torch.arange(5.0).view(1, 5, 1)).flatten()
    tensor([2., 4.])
    """

    rank = 1


class AdaptiveMaxPooling2D(_AdaptivePooling):
    """The largest numbers of `output_size` windows over an image: `(batch, height, width, channels)` to `(batch, *output_size, channels)`.

    >>> import torch
    >>> AdaptiveMaxPooling2D((2, 3))(torch.ones(1, 7, 8, 4)).shape
    torch.Size([1, 2, 3, 4])
    """

    rank = 2


class AdaptiveMaxPooling3D(_AdaptivePooling):
    """The largest numbers of `output_size` windows over a volume: `(batch, depth, height, width, channels)`, with the sizes given.

    >>> import torch
    >>> AdaptiveMaxPooling3D(2)(torch.ones(1, 5, 7, 8, 4)).shape
    torch.Size([1, 2, 2, 2, 4])
    """

    rank = 3


class AdaptiveAveragePooling1D(_AdaptiveAverage):
    """The means of `output_size` windows over all steps: `(batch, steps, channels)` to `(batch, output_size, channels)`.

    >>> import torch
    >>> AdaptiveAveragePooling1D(2)(torch.arange(4.0).view(1, 4, 1)).flatten()
    tensor([0.5000, 2.5000])
    """

    rank = 1


class AdaptiveAveragePooling2D(_AdaptiveAverage):
    """The means of `output_size` windows over an image: `(batch, height, width, channels)` to `(batch, *output_size, channels)`.

    >>> import torch
    >>> AdaptiveAveragePooling2D(1)(torch.ones(1, 7, 8, 4)).shape
    torch.Size([1, 1, 1, 4])
    """

    rank = 2


class AdaptiveAveragePooling3D(_AdaptiveAverage):
    """The means of `output_size` windows over a volume: `(batch, depth, height, width, channels)`, with the sizes given.

    >>> import torch
    >>> AdaptiveAveragePooling3D((1, 2, 2))(torch.ones(1, 5, 7, 8, 4)).shape
    torch.Size([1, 1, 2, 2, 4])
    """

    rank = 3
