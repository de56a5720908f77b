"""Convolutions of one, two and three dimensions: plain, transposed, depthwise and separable."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn.arguments import one_of, positive_integer
from torchkeras_fn.engine.layout import Spatial, per_axis, same_padding
from torchkeras_fn.engine.weights import Weight

_CONVOLUTIONS: Sequence[Any] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: Sequence[Any] = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def _kernel(path: str, rank: int) -> Weight:
    """A kernel that torch keeps as `(out, in, *sizes)` and Keras as `(*sizes, in, out)`."""
    return Weight(path, (*range(2, rank + 2), 1, 0))


class _Convolution(Spatial):
    """What all convolutions share: their sizes, and the zeros around the input."""

    def set_windows(self, kernel_size: Any, strides: Any, padding: Any, data_format: Any, dilation_rate: Any, *paddings: str) -> None:
        """Set and check how the kernel moves; `paddings` are the words allowed besides `'valid'` and `'same'`."""
        self.kernel_size = per_axis(kernel_size, "kernel_size", self.rank)
        self.strides = per_axis(strides, "strides", self.rank)
        self.dilation_rate = per_axis(dilation_rate, "dilation_rate", self.rank)
        self.padding = one_of(padding.lower() if isinstance(padding, str) else padding, "padding", "valid", "same", *paddings)
        self.set_data_format(data_format)
        self.windows = tuple((size - 1) * rate + 1 for size, rate in zip(self.kernel_size, self.dilation_rate, strict=True))
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{type(self).__name__} takes strides or a dilation_rate above 1, not both; "
                f"got strides={self.strides} and dilation_rate={self.dilation_rate}."
            )

    def convolution(self, inputs: int, outputs: int, groups: int, bias: bool) -> Any:
        """Return the torch module, which itself pads the axes where that is the same on both sides for inputs of every size."""
        padding = tuple(window // 2 if symmetric else 0 for window, symmetric in zip(self.windows, self._padded_by_module(), strict=True))
        return _CONVOLUTIONS[self.rank - 1](
            inputs, outputs, self.kernel_size, self.strides, padding=padding, dilation=self.dilation_rate, groups=groups, bias=bias
        )

    def _padded_by_module(self) -> list[bool]:
        same = self.padding == "same"
        return [same and stride == 1 and window % 2 == 1 for window, stride in zip(self.windows, self.strides, strict=True)]

    def prepare(self, inputs: Any) -> Any:
        """Put the channels next to the batch, and add the zeros that the torch module cannot."""
        inputs = super().prepare(inputs)
        if self.padding == "causal":
            return F.pad(inputs, [self.windows[0] - 1, 0]) if self.windows[0] > 1 else inputs
        if self.padding == "valid" or all(self._padded_by_module()) or set(self.windows) == {1}:
            return inputs
        zeros: list[Any] = []
        for axis, size in reversed(list(enumerate(self.sizes_of(inputs)))):
            by_module = self._padded_by_module()[axis] or self.windows[axis] == 1
            zeros += (0, 0) if by_module else same_padding(size, self.windows[axis], self.strides[axis])
        return inputs if all(isinstance(count, int) and count == 0 for count in zeros) else F.pad(inputs, zeros)

    def check_input(self, input_shape: Any) -> int:
        """Return the number of channels of an input in which the kernel has room."""
        channels = self.channels(input_shape)
        if self.padding == "valid":
            self.check_windows(input_shape, self.windows, "the kernel")
        return channels


class _Conv(_Convolution):
    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
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
        self.groups = positive_integer(groups, "groups")
        self.set_windows(kernel_size, strides, padding, data_format, dilation_rate, *(["causal"] if self.rank == 1 else []))
        if self.filters % self.groups:
            raise ValueError(
                f"{type(self).__name__} needs filters that are divisible by groups, got {self.filters} filters, {self.groups} groups."
            )
        self.use_bias = use_bias
        self.set_activation(activation)
        self.describe_weights(
            kernel=(kernel_initializer, kernel_regularizer, kernel_constraint), bias=(bias_initializer, bias_regularizer, bias_constraint)
        )

    def build(self, input_shape: Any) -> nn.Module:
        """Return the convolution for this many channels."""
        channels = self.check_input(input_shape)
        if channels % self.groups:
            raise ValueError(f"expected a number of channels divisible by groups={self.groups}, got {channels}")
        module: nn.Module = self.convolution(channels, self.filters, self.groups, self.use_bias)
        return module


class Conv1D(_Conv):
    """A convolution over steps: `(batch, steps, channels)` to `(batch, new_steps, filters)`.

    `padding` is `'valid'` (none), `'same'` (as many steps as went in, divided by `strides`) or `'causal'` (zeros before the
    first step only, so that no output looks ahead). Weights: `kernel` `(size, channels / groups, filters)`, `bias`
    `(filters,)`. The torch module is `nn.Conv1d`.

    >>> Conv1D(8, 3, padding="causal")(torch.ones(2, 10, 4)).shape
    torch.Size([2, 10, 8])
    """

    rank = 1
    weight_map = {"kernel": _kernel("weight", 1), "bias": Weight("bias")}


class Conv2D(_Conv):
    """A convolution over images: `(batch, height, width, channels)` to `(batch, new_height, new_width, filters)`.

    `padding` is `'valid'` (none) or `'same'` (the size that went in, divided by `strides` and rounded up). Weights:
    `kernel` `(*kernel_size, channels / groups, filters)`, `bias` `(filters,)`. The torch module is `nn.Conv2d`, in its
    `channels_last` memory format.

    >>> Conv2D(8, 3, padding="same", activation="relu")(torch.ones(2, 28, 28, 1)).shape
    torch.Size([2, 28, 28, 8])
    """

    rank = 2
    weight_map = {"kernel": _kernel("weight", 2), "bias": Weight("bias")}


class Conv3D(_Conv):
    """A convolution over volumes: `(batch, depth, height, width, channels)` to the same with `filters` channels.

    Arguments and weights are those of `Conv2D` with one axis more. The torch module is `nn.Conv3d`.

    >>> Conv3D(8, 3)(torch.ones(2, 9, 9, 9, 1)).shape
    torch.Size([2, 7, 7, 7, 8])
    """

    rank = 3
    weight_map = {"kernel": _kernel("weight", 3), "bias": Weight("bias")}


class _ConvTranspose(_Convolution):
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

    >>> Conv1DTranspose(8, 3, strides=2, padding="same")(torch.ones(2, 10, 4)).shape
    torch.Size([2, 20, 8])
    """

    rank = 1
    weight_map = {"kernel": _kernel("weight", 1), "bias": Weight("bias")}


class Conv2DTranspose(_ConvTranspose):
    """The transpose of `Conv2D`, which enlarges images: `(batch, h, w, channels)` to `(batch, h * strides, w * strides, filters)`.

    With `padding='valid'` each side is `max(kernel_size - strides, 0)` longer. Weights: `kernel`
    `(*kernel_size, filters, channels)`, `bias` `(filters,)`. The torch module is `nn.ConvTranspose2d`.

    >>> Conv2DTranspose(8, 3, strides=2, padding="same")(torch.ones(2, 7, 7, 4)).shape
    torch.Size([2, 14, 14, 8])
    """

    rank = 2
    weight_map = {"kernel": _kernel("weight", 2), "bias": Weight("bias")}


class Conv3DTranspose(_ConvTranspose):
    """The transpose of `Conv3D`, which enlarges volumes. The torch module is `nn.ConvTranspose3d`.

    Arguments and weights are those of `Conv2DTranspose` with one axis more.

    >>> Conv3DTranspose(8, 2, strides=2)(torch.ones(2, 3, 3, 3, 4)).shape
    torch.Size([2, 6, 6, 6, 8])
    """

    rank = 3
    weight_map = {"kernel": _kernel("weight", 3), "bias": Weight("bias")}


def _multiplied(convolution: Any, multiplier: int) -> Any:
    """Let a depthwise convolution keep its kernel as `(in, multiplier, *sizes)`, since Keras' kernel is a view of that."""
    kernel = convolution.weight.detach()
    convolution.weight = nn.Parameter(kernel.reshape(-1, multiplier, *kernel.shape[2:]))
    return convolution


class DepthwiseConvolution1d(nn.Conv1d):
    """`nn.Conv1d` with `in_channels` groups, whose weight is `(in, multiplier, size)`.

    >>> _multiplied(DepthwiseConvolution1d(4, 8, 3, groups=4), 2)(torch.ones(1, 4, 5)).shape
    torch.Size([1, 8, 3])
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve each channel."""
        outputs: torch.Tensor = self._conv_forward(input, self.weight.flatten(0, 1).unsqueeze(1), self.bias)
        return outputs


class DepthwiseConvolution2d(nn.Conv2d):
    """`nn.Conv2d` with `in_channels` groups, whose weight is `(in, multiplier, height, width)`.

    >>> _multiplied(DepthwiseConvolution2d(4, 8, 3, groups=4), 2)(torch.ones(1, 4, 5, 5)).shape
    torch.Size([1, 8, 3, 3])
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve each channel."""
        outputs: torch.Tensor = self._conv_forward(input, self.weight.flatten(0, 1).unsqueeze(1), self.bias)
        return outputs


_DEPTHWISE: Sequence[Any] = (DepthwiseConvolution1d, DepthwiseConvolution2d)


class _Depthwise(_Convolution):
    """A convolution of each channel on its own."""

    depth_multiplier: int

    def depthwise(self, channels: int, bias: bool) -> Any:
        """Return the torch module: torch's own where every channel has one kernel."""
        module = self.convolution(channels, channels * self.depth_multiplier, channels, bias)
        if self.depth_multiplier > 1:
            module.__class__ = _DEPTHWISE[self.rank - 1]
            return _multiplied(module, self.depth_multiplier)
        return _multiplied(module, 1)


class _DepthwiseConv(_Depthwise):
    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.depth_multiplier = positive_integer(depth_multiplier, "depth_multiplier")
        self.set_windows(kernel_size, strides, padding, data_format, dilation_rate)
        self.use_bias = use_bias
        self.set_activation(activation)
        self.describe_weights(
            kernel=(depthwise_initializer, depthwise_regularizer, depthwise_constraint),
            bias=(bias_initializer, bias_regularizer, bias_constraint),
        )

    def build(self, input_shape: Any) -> nn.Module:
        """Return the convolution for this many channels."""
        module: nn.Module = self.depthwise(self.check_input(input_shape), self.use_bias)
        return module


def _depthwise_kernel(path: str, rank: int) -> Weight:
    """A kernel that torch keeps as `(in, multiplier, *sizes)` and Keras as `(*sizes, in, multiplier)`."""
    return Weight(path, (*range(2, rank + 2), 0, 1))


class DepthwiseConv1D(_DepthwiseConv):
    """A convolution of each channel on its own, over steps: `channels` become `channels * depth_multiplier`.

    Weights: `kernel` `(size, channels, depth_multiplier)`, `bias`. The torch module is `nn.Conv1d` with groups.

    >>> DepthwiseConv1D(3, depth_multiplier=2)(torch.ones(2, 10, 4)).shape
    torch.Size([2, 8, 8])
    """

    rank = 1
    weight_map = {"kernel": _depthwise_kernel("weight", 1), "bias": Weight("bias")}


class DepthwiseConv2D(_DepthwiseConv):
    """A convolution of each channel on its own, over images: `channels` become `channels * depth_multiplier`.

    Weights: `kernel` `(*kernel_size, channels, depth_multiplier)`, `bias`. The torch module is `nn.Conv2d` with groups.

    >>> DepthwiseConv2D(3, padding="same")(torch.ones(2, 8, 8, 4)).shape
    torch.Size([2, 8, 8, 4])
    """

    rank = 2
    weight_map = {"kernel": _depthwise_kernel("weight", 2), "bias": Weight("bias")}


class _SeparableConv(_Depthwise):
    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = positive_integer(filters, "filters")
        self.depth_multiplier = positive_integer(depth_multiplier, "depth_multiplier")
        self.set_windows(kernel_size, strides, padding, data_format, dilation_rate, *(["causal"] if self.rank == 1 else []))
        self.use_bias = use_bias
        self.set_activation(activation)
        self.describe_weights(
            depthwise_kernel=(depthwise_initializer, depthwise_regularizer, depthwise_constraint),
            pointwise_kernel=(pointwise_initializer, pointwise_regularizer, pointwise_constraint),
            bias=(bias_initializer, bias_regularizer, bias_constraint),
        )

    def build(self, input_shape: Any) -> nn.Module:
        """Return the two convolutions, one after the other, for this many channels."""
        channels = self.check_input(input_shape)
        pointwise = _CONVOLUTIONS[self.rank - 1](channels * self.depth_multiplier, self.filters, 1, bias=self.use_bias)
        return nn.Sequential(OrderedDict(depthwise=self.depthwise(channels, bias=False), pointwise=pointwise))


class SeparableConv1D(_SeparableConv):
    """A convolution of each channel on its own, then a mixture of them into `filters`, over steps.

    Weights: `depthwise_kernel` `(size, channels, depth_multiplier)`, `pointwise_kernel`
    `(1, channels * depth_multiplier, filters)`, `bias` `(filters,)`. The torch modules are two `nn.Conv1d`.

    >>> SeparableConv1D(8, 3)(torch.ones(2, 10, 4)).shape
    torch.Size([2, 8, 8])
    """

    rank = 1
    weight_map = {
        "depthwise_kernel": _depthwise_kernel("depthwise.weight", 1),
        "pointwise_kernel": _kernel("pointwise.weight", 1),
        "bias": Weight("pointwise.bias"),
    }


class SeparableConv2D(_SeparableConv):
    """A convolution of each channel on its own, then a mixture of them into `filters`, over images.

    Weights: `depthwise_kernel` `(*kernel_size, channels, depth_multiplier)`, `pointwise_kernel`
    `(1, 1, channels * depth_multiplier, filters)`, `bias` `(filters,)`. The torch modules are two `nn.Conv2d`.

    >>> SeparableConv2D(8, 3, padding="same")(torch.ones(2, 7, 7, 4)).shape
    torch.Size([2, 7, 7, 8])
    """

    rank = 2
    weight_map = {
        "depthwise_kernel": _depthwise_kernel("depthwise.weight", 2),
        "pointwise_kernel": _kernel("pointwise.weight", 2),
        "bias": Weight("pointwise.bias"),
    }


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
Convolution1DTranspose, Convolution2DTranspose, Convolution3DTranspose = Conv1DTranspose, Conv2DTranspose, Conv3DTranspose
SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
Deconvolution2D, Deconvolution3D = Conv2DTranspose, Conv3DTranspose
