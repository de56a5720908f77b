"""`LSTM`, a layer of `LSTMCell`."""

from typing import Any

from torchkeras_fn.layers.recurrent.built_in import BuiltInRNN
from torchkeras_fn.layers.recurrent.cells import LSTMCell


class LSTM(BuiltInRNN):
    """A long short-term memory: `(batch, steps, inputs)` to `(batch, units)`, or `(batch, steps, units)` with `return_sequences`.

    `return_state` adds the last hidden and cell states, each `(batch, units)`. `dropout` and `recurrent_dropout` are shares
    of the inputs and of the hidden state that are dropped in training, the same at all steps. What is left is as in `RNN`.
    Weights, with the gates in the order input, forget, cell, output: `kernel` `(inputs, 4 * units)`, `recurrent_kernel`
    `(units, 4 * units)`, `bias` `(4 * units,)`. With tanh and sigmoid, and no recurrent dropout, torch's kernel of
    `nn.LSTM` runs, whatever the mask; otherwise a loop over the steps.

    >>> import torch
    >>> outputs, hidden, cell = LSTM(4, return_sequences=True, return_state=True)(torch.ones(2, 10, 3))
    >>> outputs.shape, hidden.shape
    (torch.Size([2, 10, 4]), torch.Size([2, 4]))
    """

    def __init__(
        self,
        units: int,
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
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        implementation: int = 2,
        **kwargs: Any,
    ):
        cell = LSTMCell(
            *(units, activation, recurrent_activation, use_bias),
            *(kernel_initializer, recurrent_initializer, bias_initializer, unit_forget_bias),
            *(kernel_regularizer, recurrent_regularizer, bias_regularizer),
            *(kernel_constraint, recurrent_constraint, bias_constraint),
            *(dropout, recurrent_dropout),
            seed=seed,
            implementation=implementation,
            dtype=kwargs.get("dtype"),
        )
        options = (return_sequences, return_state, go_backwards, stateful, unroll)
        super().__init__(cell, *options, use_cudnn=use_cudnn, activity_regularizer=activity_regularizer, **kwargs)


CuDNNLSTM = LSTM
