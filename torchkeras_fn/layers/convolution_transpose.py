"""Transposed convolutions of one, two and three dimensions."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from torchkeras_fn.arguments import positive_integer
from torchkeras_fn.engine.layer_parts.named_weight import Weight
from torchkeras_fn.engine.lowered.layout import Spatial, per_axis
from torchkeras_fn.layers.convolution import Convolution, kernel_weight

_TRANSPOSED: Sequence[Any] = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class _ConvTranspose(Convolution):
    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        output_padding: int | Sequence[int] | None = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = positive_integer(filters, "filters")
        self.set_windows(kernel_size, strides, padding, data_format, dilation_rate)
        self.output_padding = None if output_padding is None else per_axis(output_padding, "output_padding", self.rank, minimum=0)
        if self.output_padding and any(extra >= stride for extra, stride in zip(self.output_padding, self.strides, strict=True)):
            raise ValueError(
                f"{type(self).__name__} needs an output_padding below the strides, got {self.output_padding} and strides={self.strides}."
            )
        self.use_bias = use_bias
        self.set_activation(activation)
        self.describe_weights(
            kernel=(kernel_initializer, kernel_regularizer, kernel_constraint), bias=(bias_initializer, bias_regularizer, bias_constraint)
        )

    def _crops(self) -> list[tuple[int, int]]:
        """How much of the full result goes at the front and at the end of each axis; less than nothing is added."""
        crops = []
        for window, stride, extra in zip(self.windows, self.strides, self.output_padding or (None,) * self.rank, strict=True):
            if self.padding == "valid":
                total = min(window - stride, 0) if extra is None else -extra
            else:
                total = window - stride if extra is None else window - window % 2 - extra
            front = max(total // 2, 0)
            crops.append((front, total - front))
        return crops

    def build(self, input_shape: Any) -> nn.Module:
        """Return the transposed convolution for this many channels."""
        channels = self.channels(input_shape)
        crops = self._crops()
        self._surplus = [max(end - front, 0) for front, end in crops]
        module: nn.Module = _TRANSPOSED[self.rank - 1](
            channels,
            self.filters,
            self.kernel_size,
            self.strides,
            padding=tuple(front for front, _ in crops),
            output_padding=tuple(max(front - end, 0) for front, end in crops),
            bias=self.use_bias,
            dilation=self.dilation_rate,
        )
        return module

    def prepare(self, inputs: Any) -> Any:
        """Put the channels next to the batch."""
        return Spatial.prepare(self, inputs)

    def restore(self, outputs: Any) -> Any:
        """Cut off what torch, which crops both ends alike, left too much at the end, and put the channels back."""
        for axis, surplus in enumerate(self._surplus):
            if surplus:
                outputs = outputs.narrow(axis + 2, 0, outputs.size(axis + 2) - surplus)
        return super().restore(outputs)


class Conv1DTranspose(_ConvTranspose):
    """The transpose of `Conv1D`, which makes steps: `(batch, steps, channels)` to `(batch, steps * strides, filters)`.

    With `padding='valid'` there are `max(kernel_size - strides, 0)` steps more. Weights: `kernel`
    `(size, filters, channels)`, `bias` `(filters,)`. The torch module is `nn.ConvTranspose1d`.

    >>> import torch
    >>> Conv1DTranspose(8, 3, strides=2, padding="same")(torch.ones(2, 10, 4)).shape
    torch.Size([2, 20, 8])
    """

    rank = 1
    weight_map = {"kernel": kernel_weight("weight", 1), "bias": Weight("bias")}


class Conv2DTranspose(_ConvTranspose):
    """The transpose of `Conv2D`, which enlarges images: `(batch, h, w, channels)` to `(batch, h * strides, w * strides, filters)`.

    With `padding='valid'` each side is `max(kernel_size - strides, 0)` longer. Weights: `kernel`
    `(*kernel_size, filters, channels)`, `bias` `(filters,)`. The torch module is `nn.ConvTranspose2d`.

    >>> import torch
    >>> Conv2DTranspose(8, 3, strides=2, padding="same")(torch.ones(2, 7, 7, 4)).shape
    torch.Size([2, 14, 14, 8])
    """

    rank = 2
    weight_map = {"kernel": kernel_weight("weight", 2), "bias": Weight("bias")}


class Conv3DTranspose(_ConvTranspose):
    """The transpose of `Conv3D`, which enlarges volumes. The torch module is `nn.ConvTranspose3d`.

    Arguments and weights are those of `Conv2DTranspose` with one axis more.

    >>> import torch
    >>> Conv3DTranspose(8, 2, strides=2)(torch.ones(2, 3, 3, 3, 4)).shape
    torch.Size([2, 6, 6, 6, 8])
    """

    rank = 3
    weight_map = {"kernel": kernel_weight("weight", 3), "bias": Weight("bias")}


Convolution1DTranspose, Convolution2DTranspose, Convolution3DTranspose = Conv1DTranspose, Conv2DTranspose, Conv3DTranspose
Deconvolution2D, Deconvolution3D = Conv2DTranspose, Conv3DTranspose
