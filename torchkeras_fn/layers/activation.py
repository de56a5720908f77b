"""Activations that are layers of their own, because they have settings or weights."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function

from torchkeras_fn import activations
from torchkeras_fn.arguments import number
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.layer_parts.named_weight import Weight
from torchkeras_fn.layers.core import axes_of


class ReLU(Layer):
    """The inputs above `threshold`, cut off at `max_value`; elsewhere `negative_slope * (inputs - threshold)`.

    Raises `ValueError` for a negative or infinite setting.

    >>> ReLU(max_value=6)(torch.tensor([[-1.0, 2.0, 9.0]]))
    tensor([[0., 2., 6.]])
    """

    inline = True
    supports_masking = True

    def __init__(self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else number(max_value, "max_value", minimum=0)
        self.negative_slope = number(negative_slope, "negative_slope", minimum=0)
        self.threshold = number(threshold, "threshold", minimum=0)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Rectify."""
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)


class LeakyReLU(Layer):
    """The inputs above zero, and `negative_slope` times the inputs below; Keras 2 calls the slope `alpha`.

    Raises `ValueError` for a slope that is negative or not finite.

    >>> LeakyReLU()(torch.tensor([[-1.0, 2.0]]))
    tensor([[-0.3000,  2.0000]])
    """

    inline = True
    supports_masking = True

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any):
        negative_slope = kwargs.pop("alpha", negative_slope)
        super().__init__(**kwargs)
        self.negative_slope = number(negative_slope, "negative_slope", minimum=0)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Rectify, leaking."""
        return F.leaky_relu(inputs, self.negative_slope)


class ELU(Layer):
    """The inputs above zero, and `alpha * (exp(inputs) - 1)` below.

    Source: Clevert et al., 2015, https://arxiv.org/abs/1511.07289. Raises `ValueError` for an `alpha` that is not finite.

    >>> ELU()(torch.tensor([[-1.0, 2.0]]))
    tensor([[-0.6321,  2.0000]])
    """

    inline = True
    supports_masking = True

    def __init__(self, alpha: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha = number(alpha, "alpha")

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Apply the exponential linear unit."""
        return F.elu(inputs, self.alpha)


class ThresholdedReLU(Layer):
    """The inputs above `theta`, and zero elsewhere. Raises `ValueError` for a negative `theta`.

    >>> ThresholdedReLU(theta=1.0)(torch.tensor([[0.5, 2.0]]))
    tensor([[0., 2.]])
    """

    inline = True
    supports_masking = True

    def __init__(self, theta: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.theta = number(theta, "theta", minimum=0)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Keep what is above the threshold."""
        return F.threshold(inputs, self.theta, 0.0)


class PReLU(Layer):
    """The inputs above zero, and `alpha` times the inputs below, where `alpha` is learned.

    Weight: `alpha`, of the inputs' shape without the batch, and of size 1 along the `shared_axes` (counted from 1, the
    batch being 0): `shared_axes=[1, 2]` learns one slope for each channel of an image.
    Source: He et al., 2015, https://arxiv.org/abs/1502.01852

    >>> PReLU(alpha_initializer="ones")(torch.tensor([[-1.0, 2.0]]))
    tensor([[-1.,  2.]], grad_fn=<ViewBackward0>)
    """

    weight_map = {"alpha": Weight("weight")}
    needs_floats = True
    supports_masking = True

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.shared_axes = () if shared_axes is None else axes_of(shared_axes, "shared_axes")
        self.describe_weights(alpha=(alpha_initializer, alpha_regularizer, alpha_constraint))

    def build(self, input_shape: Any) -> nn.Module:
        """Return the slopes for this shape."""
        rank = len(input_shape)
        if not all(-rank <= axis < rank and axis % rank for axis in self.shared_axes):
            raise ValueError(f"'shared_axes' must be axes of the input other than the batch, got {list(self.shared_axes)}")
        shared = {axis % rank for axis in self.shared_axes}
        shape = [1 if axis in shared else size for axis, size in enumerate(input_shape)][1:]
        if None in shape:
            raise ValueError(f"the size of axis {shape.index(None) + 1} must be known, or the axis be one of 'shared_axes'; got None")
        return Slopes(shape)


class Slopes(nn.Module):
    """`nn.PReLU` with slopes of any shape that broadcasts over the inputs.

    >>> Slopes((3, 1))(torch.ones(2, 3, 4)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, shape: Sequence[int]):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(tuple(shape)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scale what is below zero."""
        if self.weight.shape == inputs.shape[1:]:
            outputs: torch.Tensor = F.prelu(inputs.flatten(1), self.weight.flatten()).unflatten(1, self.weight.shape)
            return outputs
        return F.relu(inputs) + self.weight * inputs.clamp(max=0)


class Softmax(Layer):
    """Positive values that sum to one along `axis`, or over several axes together.

    Called with a `mask`, the values where it is false are 0, and the others sum to one. A mask of shape
    `(batch, steps)`, as sequences have it, hides whole steps; any other is broadcast over the inputs.

    >>> Softmax()(torch.tensor([[0.0, 0.0, 5.0]]), mask=torch.tensor([[True, True, False]]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """

    inline = True
    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any):
        super().__init__(**kwargs)
        axes = axes_of(axis, "axis")
        self.axis = axes[0] if len(axes) == 1 else axes

    def build(self, input_shape: Any) -> nn.Module | None:
        """Check the axes."""
        rank = len(input_shape)
        if not all(-rank <= axis < rank for axis in axes_of(self.axis, "axis")):
            raise ValueError(f"'axis' must be an axis of the input, got {self.axis}")
        return None

    def call(self, inputs: Any, mask: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Take the softmax."""
        return activations.softmax(inputs, self.axis) if mask is None else masked_softmax(inputs, mask, self.axis)


def masked_softmax(inputs: torch.Tensor, mask: torch.Tensor, axis: int | Sequence[int] = -1) -> torch.Tensor:
    """Return the softmax over the places where `mask` holds, and 0 elsewhere. One node of a lowered graph.

    >>> masked_softmax(torch.zeros(1, 3), torch.tensor([[True, False, False]]))
    tensor([[1., 0., 0.]])
    """
    if has_torch_function((inputs, mask)):
        masked: torch.Tensor = handle_torch_function(masked_softmax, (inputs, mask), inputs, mask, axis)
        return masked
    kept = mask if mask.dtype is torch.bool else mask > 0.5
    if kept.ndim == 2:
        kept = kept[(..., *[None] * (inputs.ndim - 2))]
    hidden = ~kept
    return activations.softmax(inputs.masked_fill(hidden, torch.finfo(inputs.dtype).min / 2), axis).masked_fill(hidden, 0.0)
