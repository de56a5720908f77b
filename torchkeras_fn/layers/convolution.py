"""Convolutions of one, two and three dimensions, and what all kinds of convolution share."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import nn

from torchkeras_fn.arguments import one_of, positive_integer
from torchkeras_fn.engine.layer_parts.named_weight import Weight
from torchkeras_fn.engine.lowered.layout import Spatial, per_axis, same_padding
from torchkeras_fn.origin import is_ours

CONVOLUTIONS: Sequence[Any] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def kernel_weight(path: str, rank: int) -> Weight:
    """Return where a kernel is that torch keeps as `(out, in, *sizes)` and Keras as `(*sizes, in, out)`.

    >>> kernel_weight("weight", rank=2).axes
    (2, 3, 1, 0)
    """
    return Weight(path, (*range(2, rank + 2), 1, 0))


class Convolution(Spatial):
    """What all convolutions share: their sizes, and the zeros around the input.

    >>> Conv1D(8, 3, dilation_rate=2).windows
    (5,)
    """

    takes_strides_with_dilation: ClassVar[bool] = False

    def set_windows(self, kernel_size: Any, strides: Any, padding: Any, data_format: Any, dilation_rate: Any, *paddings: str) -> None:
        """Set and check how the kernel moves; `paddings` are the words allowed besides `'valid'` and `'same'`."""
        self.kernel_size = per_axis(kernel_size, "kernel_size", self.rank)
        self.strides = per_axis(strides, "strides", self.rank)
        self.dilation_rate = per_axis(dilation_rate, "dilation_rate", self.rank)
        self.padding = one_of(padding.lower() if isinstance(padding, str) else padding, "padding", "valid", "same", *paddings)
        self.set_data_format(data_format)
        self.windows = tuple((size - 1) * rate + 1 for size, rate in zip(self.kernel_size, self.dilation_rate, strict=True))
        if max(self.strides) > 1 and max(self.dilation_rate) > 1 and not self.takes_strides_with_dilation:
            raise ValueError(
                f"{type(self).__name__} takes strides or a dilation_rate above 1, not both; "
                f"got strides={self.strides} and dilation_rate={self.dilation_rate}."
            )

    def convolution(self, inputs: int, outputs: int, groups: int, bias: bool) -> Any:
        """Return the torch module, which itself pads the axes where that is the same on both sides for inputs of every size."""
        padding = tuple(window // 2 if symmetric else 0 for window, symmetric in zip(self.windows, self._padded_by_module(), strict=True))
        return CONVOLUTIONS[self.rank - 1](
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


class _Conv(Convolution):
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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let a user's class that has a `convolution_op` of its own, and no `call`, be called so that it runs."""
        if "convolution_op" in vars(cls) and not is_ours(cls) and is_ours(cls.call):
            cls.call = _call_with_own_convolution  # type: ignore[method-assign, assignment]
        super().__init_subclass__(**kwargs)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Return the convolution with a kernel in Keras' layout, without bias and activation; to be overridden to change either."""
        weight = kernel.permute(self.rank + 1, self.rank, *range(self.rank))
        convolve: Any = (F.conv1d, F.conv2d, F.conv3d)[self.rank - 1]
        padding: Any = self.module.padding  # type: ignore[union-attr]
        return self.restore(convolve(self.prepare(inputs), weight, None, self.strides, padding, self.dilation_rate, self.groups))


def _call_with_own_convolution(self: Any, inputs: Any) -> Any:
    outputs = self.convolution_op(inputs, self.kernel)
    if self.use_bias:
        outputs = outputs + (self.bias if self.channels_last else self.bias.reshape(-1, *[1] * self.rank))
    return super(Spatial, self).finish(outputs)


class Conv1D(_Conv):
    """A convolution over steps: `(batch, steps, channels)` to `(batch, new_steps, filters)`.

    `padding` is `'valid'` (none), `'same'` (as many steps as went in, divided by `strides`) or `'causal'` (zeros before the
    first step only, so that no output looks ahead). Weights: `kernel` `(size, channels / groups, filters)`, `bias`
    `(filters,)`. The torch module is `nn.Conv1d`.

    >>> import torch
    >>> Conv1D(8, 3, padding="causal")(torch.ones(2, 10, 4)).shape
    torch.Size([2, 10, 8])
    """

    rank = 1
    weight_map = {"kernel": kernel_weight("weight", 1), "bias": Weight("bias")}


class Conv2D(_Conv):
    """A convolution over images: `(batch, height, width, channels)` to `(batch, new_height, new_width, filters)`.

    `padding` is `'valid'` (none) or `'same'` (the size that went in, divided by `strides` and rounded up). Weights:
    `kernel` `(*kernel_size, channels / groups, filters)`, `bias` `(filters,)`. The torch module is `nn.Conv2d`, in its
    `channels_last` memory format.

    >>> import torch
    >>> Conv2D(8, 3, padding="same", activation="relu")(torch.ones(2, 28, 28, 1)).shape
    torch.Size([2, 28, 28, 8])
    """

    rank = 2
    weight_map = {"kernel": kernel_weight("weight", 2), "bias": Weight("bias")}


class Conv3D(_Conv):
    """A convolution over volumes: `(batch, depth, height, width, channels)` to the same with `filters` channels.

    Arguments and weights are those of `Conv2D` with one axis more. The torch module is `nn.Conv3d`.

    >>> import torch
    >>> Conv3D(8, 3)(torch.ones(2, 9, 9, 9, 1)).shape
    torch.Size([2, 7, 7, 7, 8])
    """

    rank = 3
    weight_map = {"kernel": kernel_weight("weight", 3), "bias": Weight("bias")}


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
