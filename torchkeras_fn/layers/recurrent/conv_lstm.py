"""`ConvLSTM1D`, `ConvLSTM2D` and `ConvLSTM3D`: an LSTM over images, whose products with the kernels are convolutions."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from torchkeras_fn import activations
from torchkeras_fn.arguments import positive_integer, seed_of
from torchkeras_fn.engine.layer_parts.named_weight import Weight
from torchkeras_fn.layers.convolution import Convolution
from torchkeras_fn.layers.recurrent.built_in import BuiltInRNN
from torchkeras_fn.layers.recurrent.cells import ForgetBias, share
from torchkeras_fn.layers.recurrent.conv_lstm_step import ConvLSTMStep


class ConvLSTMCell(Convolution):
    """One step of an LSTM over images: called as `cell(inputs, [hidden, carry])`, it returns the output and the new states.

    `rank` is the number of axes beside batch and channels. Weights, with the gates in the order input, forget, cell,
    output: `kernel` `(*kernel_size, channels, 4 * filters)`, `recurrent_kernel` `(*kernel_size, filters, 4 * filters)`,
    `bias` `(4 * filters,)`. Source: Shi et al., 2015, https://arxiv.org/abs/1506.04214

    >>> import torch
    >>> states = [torch.zeros(2, 8, 8, 4)] * 2
    >>> ConvLSTMCell(2, 4, 3, padding="same")(torch.ones(2, 8, 8, 3), states)[0].shape
    torch.Size([2, 8, 8, 4])
    """

    activates_outputs = False

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.rank = rank  # type: ignore[misc]
        self.filters = positive_integer(filters, "filters")
        self.set_windows(kernel_size, strides, padding, data_format, dilation_rate)
        self.set_activation(recurrent_activation)
        self.recurrent_activation = self.activation
        self.set_activation(activation)
        self.use_bias = use_bias
        self.unit_forget_bias = unit_forget_bias
        self.dropout = share(dropout, "dropout")
        self.recurrent_dropout = share(recurrent_dropout, "recurrent_dropout")
        self.seed = seed_of(seed)
        self.state_size = [self.filters, self.filters]
        self.output_size = self.filters
        self.describe_weights(
            kernel=(kernel_initializer, kernel_regularizer, kernel_constraint),
            recurrent_kernel=(recurrent_initializer, recurrent_regularizer, recurrent_constraint),
            bias=(ForgetBias(bias_initializer) if unit_forget_bias else bias_initializer, bias_regularizer, bias_constraint),
        )

    @property
    def weight_map(self) -> Mapping[str, Weight]:  # type: ignore[override]
        """Where the weights are: torch keeps kernels as `(out, in, *sizes)`."""
        axes = (*range(2, self.rank + 2), 1, 0)
        return {"kernel": Weight("weight_ih", axes), "recurrent_kernel": Weight("weight_hh", axes), "bias": Weight("bias")}

    def build(self, input_shape: Any) -> nn.Module:
        """Return the step for this many channels."""
        return ConvLSTMStep(
            self.check_input(input_shape[0] if isinstance(input_shape, list) else input_shape),
            self.filters,
            self.kernel_size,
            self.strides,
            self.padding == "same",
            self.dilation_rate,
            self.channels_last,
            self.use_bias,
            self.activation or activations.linear,
            self.recurrent_activation or activations.linear,
            self.dropout,
            self.recurrent_dropout,
            self.seed,
        )

    def prepare(self, inputs: Any) -> Any:
        """Leave the axes to the step."""
        return inputs

    def finish(self, outputs: Any) -> Any:
        """Leave the axes to the step."""
        return outputs


class _ConvLSTM(BuiltInRNN):
    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Any,
    ):
        cell = ConvLSTMCell(
            *(self.input_rank - 3, filters, kernel_size, strides, padding, data_format, dilation_rate),
            *(activation, recurrent_activation, use_bias),
            *(kernel_initializer, recurrent_initializer, bias_initializer, unit_forget_bias),
            *(kernel_regularizer, recurrent_regularizer, bias_regularizer),
            *(kernel_constraint, recurrent_constraint, bias_constraint),
            *(dropout, recurrent_dropout, seed),
            dtype=kwargs.get("dtype"),
        )
        options = (return_sequences, return_state, go_backwards, stateful)
        super().__init__(cell, *options, activity_regularizer=activity_regularizer, **kwargs)


class ConvLSTM1D(_ConvLSTM):
    """An LSTM over rows: `(batch, steps, size, channels)` to
    `(batch, new_size, filters)`, with the steps in between with `return_sequences`.

    The inputs are convolved as by `Conv1D`, the hidden state with zeros around it. Weights and dropout are those of
    `ConvLSTMCell`; what is left is as in `RNN`.

    >>> import torch
    >>> ConvLSTM1D(4, 3)(torch.ones(2, 5, 8, 3)).shape
    torch.Size([2, 6, 4])
    """

    input_rank = 4


class ConvLSTM2D(_ConvLSTM):
    """An LSTM over images: `(batch, steps, height, width, channels)` to
    `(batch, new_height, new_width, filters)`, with the steps in between with `return_sequences`.

    The inputs are convolved as by `Conv2D`, the hidden state with zeros around it. Weights and dropout are those of
    `ConvLSTMCell`; what is left is as in `RNN`.

    >>> import torch
    >>> ConvLSTM2D(4, 3)(torch.ones(2, 5, 8, 8, 3)).shape
    torch.Size([2, 6, 6, 4])
    """

    input_rank = 5


class ConvLSTM3D(_ConvLSTM):
    """An LSTM over volumes: `(batch, steps, depth, height, width, channels)` to
    `(batch, new_depth, new_height, new_width, filters)`, with the steps in between with `return_sequences`.

    The inputs are convolved as by `Conv3D`, the hidden state with zeros around it. Weights and dropout are those of
    `ConvLSTMCell`; what is left is as in `RNN`.

    >>> import torch
    >>> ConvLSTM3D(4, 3)(torch.ones(2, 5, 8, 8, 8, 3)).shape
    torch.Size([2, 6, 6, 6, 4])
    """

    input_rank = 6
