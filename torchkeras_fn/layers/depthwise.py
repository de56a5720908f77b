"""Depthwise convolutions, which take each channel on its own, and separable ones, which mix the results."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn.arguments import positive_integer
from torchkeras_fn.engine.layer_parts.named_weight import Weight
from torchkeras_fn.layers.convolution import CONVOLUTIONS, Convolution, kernel_weight


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


class _Depthwise(Convolution):
    """A convolution of each channel on its own."""

    depth_multiplier: int
    takes_strides_with_dilation = True

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


class SeparableConvolution(nn.Module):
    """A convolution of each channel on its own, and one that mixes the results: no `nn.Sequential`, as that would run an activation too.

    >>> SeparableConvolution(nn.Conv1d(4, 4, 3, groups=4), nn.Conv1d(4, 2, 1))(torch.ones(1, 4, 5)).shape
    torch.Size([1, 2, 3])
    """

    def __init__(self, depthwise: nn.Module, pointwise: nn.Module):
        super().__init__()
        self.depthwise, self.pointwise = depthwise, pointwise

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Convolve each channel, and mix."""
        mixed: torch.Tensor = self.pointwise(self.depthwise(inputs))
        return mixed


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
        pointwise = CONVOLUTIONS[self.rank - 1](channels * self.depth_multiplier, self.filters, 1, bias=self.use_bias)
        return SeparableConvolution(self.depthwise(channels, bias=False), pointwise)


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
        "pointwise_kernel": kernel_weight("pointwise.weight", 1),
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
        "pointwise_kernel": kernel_weight("pointwise.weight", 2),
        "bias": Weight("pointwise.bias"),
    }


SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
