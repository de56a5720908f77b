"""`GRU`, a layer of `GRUCell`."""

from typing import Any

from torchkeras_fn.layers.recurrent.built_in import BuiltInRNN
from torchkeras_fn.layers.recurrent.cells import GRUCell


class GRU(BuiltInRNN):
    """A gated recurrent unit: `(batch, steps, inputs)` to `(batch, units)`, or `(batch, steps, units)` with `return_sequences`.

    With `reset_after` (the default) the reset gate acts after the product with the state, as in cuDNN; without, before, as
    in the paper. `dropout` and `recurrent_dropout` are shares of the inputs and of the state that are dropped in training,
    the same at all steps. What is left is as in `RNN`. Weights, with the gates in the order update, reset, new: `kernel`
    `(inputs, 3 * units)`, `recurrent_kernel` `(units, 3 * units)`, `bias` `(2, 3 * units)`, or `(3 * units,)` without
    `reset_after`. With `reset_after`, tanh and sigmoid, and no recurrent dropout, torch's kernel of `nn.GRU` runs,
    whatever the mask; otherwise a loop over the steps.

    >>> import torch
    >>> GRU(4)(torch.ones(2, 10, 3)).shape
    torch.Size([2, 4])
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
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        implementation: int = 2,
        **kwargs: Any,
    ):
        cell = GRUCell(
            *(units, activation, recurrent_activation, use_bias),
            *(kernel_initializer, recurrent_initializer, bias_initializer),
            *(kernel_regularizer, recurrent_regularizer, bias_regularizer),
            *(kernel_constraint, recurrent_constraint, bias_constraint),
            *(dropout, recurrent_dropout, reset_after),
            seed=seed,
            implementation=implementation,
            dtype=kwargs.get("dtype"),
        )
        options = (return_sequences, return_state, go_backwards, stateful, unroll)
        super().__init__(cell, *options, use_cudnn=use_cudnn, activity_regularizer=activity_regularizer, **kwargs)


CuDNNGRU = GRU
