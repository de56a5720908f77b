"""Layers that keep the largest number or the mean of each window, or of all."""

import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn.arguments import one_of
from torchkeras_fn.engine.lowered.layout import Spatial, per_axis, same_padding

_POOLINGS: dict[str, Sequence[Any]] = {
    "max": (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    "average": (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
}
_FUNCTIONS: dict[str, Sequence[Callable[..., Any]]] = {
    "max": (F.max_pool1d, F.max_pool2d, F.max_pool3d),
    "average": (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
}


class _Pooling(Spatial):
    kind: ClassVar[str] = "max"

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.pool_size = per_axis(pool_size, "pool_size", self.rank)
        self.strides = self.pool_size if strides is None else per_axis(strides, "strides", self.rank)
        self.padding = one_of(padding.lower() if isinstance(padding, str) else padding, "padding", "valid", "same")
        self.set_data_format(data_format)

    def build(self, input_shape: Any) -> nn.Module:
        """Return the torch module: torch's own unless the padding depends on the size of the input."""
        sizes = self.spatial_sizes(input_shape)
        depends_on_size = any(stride > 1 or window % 2 == 0 for window, stride in zip(self.pool_size, self.strides, strict=True))
        is_short = any((size or 0) < window for size, window in zip(sizes, self.pool_size, strict=True))
        options = {"count_include_pad": False} if self.kind == "average" else {}
        if self.padding == "valid":
            self.check_windows(input_shape, self.pool_size, "the window")
        elif depends_on_size or is_short and self.kind == "average":
            return SamePool(self.kind, self.pool_size, self.strides)
        padding = tuple(size // 2 if self.padding == "same" else 0 for size in self.pool_size)
        module: nn.Module = _POOLINGS[self.kind][self.rank - 1](self.pool_size, self.strides, padding=padding, **options)
        return module


class SamePool(nn.Module):
    """Pooling with `ceil(size / stride)` windows along each axis; what lies outside the input counts for nothing.

    torch pads both ends alike. With strides, its `ceil_mode` adds the window that hangs over at the end; without, a
    window too many comes first, and is cut off.

    >>> SamePool("average", (2,), (1,))(torch.tensor([[[1.0, 3.0, 5.0]]]))
    tensor([[[2., 4., 5.]]])
    """

    def __init__(self, kind: str, pool_size: Sequence[int], strides: Sequence[int]):
        super().__init__()
        self.kind = kind
        self.pool_size = tuple(pool_size)
        self.strides = tuple(strides)

    def extra_repr(self) -> str:
        """Return the arguments, for printing."""
        return f"{self.kind!r}, pool_size={self.pool_size}, strides={self.strides}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Pool."""
        if self.kind == "average" and len(self.pool_size) == 3 and any(map(operator.lt, inputs.shape[2:], self.pool_size)):
            return self._average_of_small(inputs)
        padding, surplus = [], []
        for axis, (window, stride) in enumerate(zip(self.pool_size, self.strides, strict=True), start=2):
            padding.append(window // 2 if stride == 1 else same_padding(inputs.shape[axis], window, stride)[0])
            if stride == 1 and window % 2 == 0:
                surplus.append(axis)
        options = {"count_include_pad": False} if self.kind == "average" else {}
        pool = _FUNCTIONS[self.kind][len(self.pool_size) - 1]
        outputs = pool(inputs, self.pool_size, self.strides, tuple(padding), ceil_mode=True, **options)
        for axis in surplus:
            outputs = outputs.narrow(axis, 1, inputs.shape[axis])
        return outputs  # type: ignore[no-any-return]

    def _average_of_small(self, inputs: torch.Tensor) -> torch.Tensor:
        """Average where an axis of a volume is shorter than its window, which torch refuses in three dimensions only."""
        zeros: list[int] = []
        for size, window, stride in zip(inputs.shape[2:], self.pool_size, self.strides, strict=True):
            zeros = [*same_padding(size, window, stride), *zeros]
        sums, counts = (
            F.avg_pool3d(F.pad(x, zeros), self.pool_size, self.strides, divisor_override=1) for x in (inputs, torch.ones_like(inputs))
        )
        return sums / counts


class MaxPooling1D(_Pooling):
    """The largest number of each window of steps: `(batch, steps, channels)` to `(batch, new_steps, channels)`.

    `strides` are `pool_size` unless given. With `padding='same'` there are `ceil(steps / strides)` new steps.

    >>> MaxPooling1D(2)(torch.tensor([[[1.0], [3.0], [2.0], [0.0]]])).flatten()
    tensor([3., 2.])
    """

    rank = 1


class MaxPooling2D(_Pooling):
    """The largest number of each window of an image: `(batch, height, width, channels)`, both sides divided by `strides`.

    `strides` are `pool_size` unless given; `padding` is `'valid'` or `'same'`. The torch module is `nn.MaxPool2d`.

    >>> MaxPooling2D()(torch.ones(2, 8, 8, 3)).shape
    torch.Size([2, 4, 4, 3])
    """

    rank = 2


class MaxPooling3D(_Pooling):
    """The largest number of each window of a volume: `(batch, depth, height, width, channels)`, divided by `strides`.

    >>> MaxPooling3D()(torch.ones(2, 4, 4, 4, 3)).shape
    torch.Size([2, 2, 2, 2, 3])
    """

    rank = 3


class AveragePooling1D(_Pooling):
    """The mean of each window of steps: `(batch, steps, channels)` to `(batch, new_steps, channels)`.

    `strides` are `pool_size` unless given. With `padding='same'` a window that hangs over averages the steps there are.

    >>> AveragePooling1D(2)(torch.tensor([[[1.0], [3.0], [2.0], [0.0]]])).flatten()
    tensor([2., 1.])
    """

    rank = 1
    kind = "average"


class AveragePooling2D(_Pooling):
    """The mean of each window of an image: `(batch, height, width, channels)`, both sides divided by `strides`.

    `strides` are `pool_size` unless given. With `padding='same'` a window that hangs over averages what is in the image.

    >>> AveragePooling2D()(torch.ones(2, 8, 8, 3)).shape
    torch.Size([2, 4, 4, 3])
    """

    rank = 2
    kind = "average"


class AveragePooling3D(_Pooling):
    """The mean of each window of a volume: `(batch, depth, height, width, channels)`, divided by `strides`.

    >>> AveragePooling3D()(torch.ones(2, 4, 4, 4, 3)).shape
    torch.Size([2, 2, 2, 2, 3])
    """

    rank = 3
    kind = "average"


class _GlobalPooling(Spatial):
    """One number for each channel; the axes are reduced where they are, so nothing is permuted."""

    inline = True

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.set_data_format(data_format)
        self.keepdims = keepdims

    def build(self, input_shape: Any) -> nn.Module | None:
        """Check the rank."""
        self.spatial_sizes(input_shape)
        return None

    @property
    def _axes(self) -> tuple[int, ...]:
        first = 1 if self.channels_last else 2
        return tuple(range(first, first + self.rank))


class _GlobalMax(_GlobalPooling):
    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Take the maximum."""
        return inputs.amax(self._axes, keepdim=self.keepdims)


class _GlobalAverage(_GlobalPooling):
    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Average."""
        return inputs.mean(self._axes, keepdim=self.keepdims)


class GlobalMaxPooling1D(_GlobalMax):
    """The largest number of each channel over all steps: `(batch, steps, channels)` to `(batch, channels)`.

    >>> GlobalMaxPooling1D()(torch.tensor([[[1.0], [3.0]]]))
    tensor([[3.]])
    """

    rank = 1


class GlobalMaxPooling2D(_GlobalMax):
    """The largest number of each channel of an image: `(batch, height, width, channels)` to `(batch, channels)`.

    >>> GlobalMaxPooling2D(keepdims=True)(torch.ones(2, 8, 8, 3)).shape
    torch.Size([2, 1, 1, 3])
    """

    rank = 2


class GlobalMaxPooling3D(_GlobalMax):
    """The largest number of each channel of a volume: `(batch, depth, height, width, channels)` to `(batch, channels)`.

    >>> GlobalMaxPooling3D()(torch.ones(2, 4, 4, 4, 3)).shape
    torch.Size([2, 3])
    """

    rank = 3


class GlobalAveragePooling1D(_GlobalAverage):
    """The mean of each channel over all steps, or those that the mask shows: `(batch, steps, channels)` to `(batch, channels)`.

    >>> GlobalAveragePooling1D()(torch.tensor([[[1.0], [3.0]]]))
    tensor([[2.]])
    """

    rank = 1
    supports_masking = True

    def call(self, inputs: Any, mask: Any = None, **kwargs: Any) -> Any:
        """Average."""
        if mask is None:
            return super().call(inputs)
        shown = mask.bool().unsqueeze(-1 if self.channels_last else 1)
        sums = inputs.masked_fill(~shown, 0).sum(self._axes, keepdim=self.keepdims)
        return sums / shown.to(inputs.dtype).sum(self._axes, keepdim=self.keepdims)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return no mask: no steps are left."""
        return None


class GlobalAveragePooling2D(_GlobalAverage):
    """The mean of each channel of an image: `(batch, height, width, channels)` to `(batch, channels)`.

    >>> GlobalAveragePooling2D()(torch.ones(2, 8, 8, 3)).shape
    torch.Size([2, 3])
    """

    rank = 2


class GlobalAveragePooling3D(_GlobalAverage):
    """The mean of each channel of a volume: `(batch, depth, height, width, channels)` to `(batch, channels)`.

    >>> GlobalAveragePooling3D()(torch.ones(2, 4, 4, 4, 3)).shape
    torch.Size([2, 3])
    """

    rank = 3


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalMaxPool1D, GlobalMaxPool2D, GlobalMaxPool3D = GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D
GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D = GlobalAveragePooling1D, GlobalAveragePooling2D, GlobalAveragePooling3D
