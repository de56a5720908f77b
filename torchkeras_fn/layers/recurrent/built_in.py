"""`BuiltInRNN`: what `LSTM`, `GRU` and `SimpleRNN`, which come with their cell, share."""

from typing import Any, ClassVar

from torch import nn

from torchkeras_fn.arguments import one_of
from torchkeras_fn.layers.recurrent.rnn import RNN

_OF_THE_CELL = (
    *("units", "activation", "recurrent_activation", "use_bias", "unit_forget_bias", "reset_after", "dropout", "recurrent_dropout"),
    *("implementation", "seed", "filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate"),
    *(f"{weight}_{kind}" for weight in ("kernel", "recurrent", "bias") for kind in ("initializer", "regularizer", "constraint")),
)


class BuiltInRNN(RNN):
    """The base of the layers that come with their cell, and show its arguments as their own.

    `use_cudnn` is the name that Keras gives to torch's fused kernels: `'auto'` uses them where they compute the same,
    `False` never, and `True` raises `ValueError` where there is none.

    >>> from torchkeras_fn.layers import LSTM
    >>> LSTM(4).units
    4
    """

    needs_floats = True
    input_rank: ClassVar[int] = 3

    def __init__(self, cell: Any, *args: Any, use_cudnn: Any = "auto", **kwargs: Any):
        super().__init__(cell, *args, **kwargs)
        for name in _OF_THE_CELL:
            if hasattr(cell, name):
                object.__setattr__(self, name, getattr(cell, name))
        self.use_cudnn = use_cudnn if isinstance(use_cudnn, bool) else one_of(use_cudnn, "use_cudnn", "auto")
        self.is_fused = bool(use_cudnn)

    def build(self, input_shape: Any) -> nn.Module:
        """Build the cell, and return what takes it through the steps."""
        if len(input_shape) != self.input_rank:
            raise ValueError(f"expected {self.input_rank} dimensions (batch, steps, ...), got {len(input_shape)}")
        module = super().build(input_shape)
        step: Any = module.cell
        if self.use_cudnn is True and not (step.has_kernel() and step.recurrent_dropout is None):
            raise ValueError("use_cudnn=True, but torch has no fused kernel for these activations and options; 'auto' does without")
        return module
