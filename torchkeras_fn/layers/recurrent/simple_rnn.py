"""`SimpleRNN`, a layer of `SimpleRNNCell`."""

from typing import Any

from torchkeras_fn.layers.recurrent.built_in import BuiltInRNN
from torchkeras_fn.layers.recurrent.cells import SimpleRNNCell


class SimpleRNN(BuiltInRNN):
    """Feeds its output back: `(batch, steps, inputs)` to `(batch, units)`, or `(batch, steps, units)` with `return_sequences`.

    `dropout` and `recurrent_dropout` are shares of the inputs and of the state that are dropped in training, the same at
    all steps. What is left is as in `RNN`. Weights: `kernel` `(inputs, units)`, `recurrent_kernel` `(units, units)`, `bias`
    `(units,)`. With tanh or relu, and no recurrent dropout, torch's kernel of `nn.RNN` runs.

    >>> import torch
    >>> SimpleRNN(4)(torch.ones(2, 10, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        kwargs.pop("implementation", None)  # Keras 2 takes it, to no effect
        cell = SimpleRNNCell(
            *(units, activation, use_bias),
            *(kernel_initializer, recurrent_initializer, bias_initializer),
            *(kernel_regularizer, recurrent_regularizer, bias_regularizer),
            *(kernel_constraint, recurrent_constraint, bias_constraint),
            *(dropout, recurrent_dropout),
            seed=seed,
            dtype=kwargs.get("dtype"),
        )
        options = (return_sequences, return_state, go_backwards, stateful, unroll)
        super().__init__(cell, *options, activity_regularizer=activity_regularizer, **kwargs)
