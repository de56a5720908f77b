"""The cells: what happens at one step of a recurrent layer."""

from typing import Any, ClassVar

import torch
from torch import nn

from torchkeras_fn import activations, initializers
from torchkeras_fn.arguments import number, positive_integer, seed_of
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.layer_parts.named_weight import Weight
from torchkeras_fn.layers.core import last_dimension
from torchkeras_fn.layers.recurrent.inner import shape_of_sequence
from torchkeras_fn.layers.recurrent.steps import GRUStep, LSTMStep, SimpleStep, Step


class _Cell(Layer):
    """A cell of `units` that describes a `Step`."""

    activates_outputs = False
    needs_floats = True
    step_class: ClassVar[type[Step]]
    state_size: Any

    def set_cell(
        self, units: int, activation: Any, recurrent_activation: Any, use_bias: bool, dropout: float, recurrent_dropout: float, seed: Any
    ) -> None:
        """Check and note what all cells have."""
        self.units = positive_integer(units, "units")
        self.set_activation(recurrent_activation)
        self.recurrent_activation = self.activation
        self.set_activation(activation)
        self.use_bias = use_bias
        self.dropout = share(dropout, "dropout")
        self.recurrent_dropout = share(recurrent_dropout, "recurrent_dropout")
        self.seed = seed_of(seed)
        self.state_size = [self.units] * self.step_class.state_count if self.step_class.state_count > 1 else self.units

    def describe_weights(self, **options: Any) -> None:
        """Note the options of the weights, those of the recurrent kernel under Keras' names."""
        super().describe_weights(**options)
        for kind in ("initializer", "regularizer", "constraint"):
            object.__setattr__(self, f"recurrent_{kind}", getattr(self, f"recurrent_kernel_{kind}"))

    @property
    def output_size(self) -> int:
        """The number of outputs: `units`."""
        return self.units

    def build(self, input_shape: Any) -> nn.Module:
        """Return the step for this many features."""
        return self.step_class(last_dimension(shape_of_sequence(input_shape), rank=2), self.units, **self.step_options())

    def step_options(self) -> dict[str, Any]:
        """Return the keywords of the step."""
        return {
            "use_bias": self.use_bias,
            "activation": self.activation or activations.linear,
            "recurrent_activation": self.recurrent_activation or activations.linear,
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
            "for_each_gate": getattr(self, "implementation", 2) == 1,
        }

    def get_initial_state(self, batch_size: int | None = None, **others: Any) -> list[torch.Tensor]:
        """Return zeros for each state of a batch."""
        device = self._weight_device()
        return [torch.zeros(batch_size or 1, self.units, dtype=self.dtype, device=device) for _ in range(self.step_class.state_count)]


class SimpleRNNCell(_Cell):
    """One step of `activation(inputs @ kernel + bias + state @ recurrent_kernel)`: called as `cell(inputs, [state])`.

    `(batch, inputs)` and `[(batch, units)]` to the output and `[output]`. Weights: `kernel` `(inputs, units)`,
    `recurrent_kernel` `(units, units)`, `bias` `(units,)`.

    >>> SimpleRNNCell(4)(torch.ones(2, 3), [torch.zeros(2, 4)])[0].shape
    torch.Size([2, 4])
    """

    step_class = SimpleStep
    weight_map = {"kernel": Weight("weight_ih", (1, 0)), "recurrent_kernel": Weight("weight_hh", (1, 0)), "bias": Weight("bias")}

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.set_cell(units, activation, None, use_bias, dropout, recurrent_dropout, seed)
        self.describe_weights(
            kernel=(kernel_initializer, kernel_regularizer, kernel_constraint),
            recurrent_kernel=(recurrent_initializer, recurrent_regularizer, recurrent_constraint),
            bias=(bias_initializer, bias_regularizer, bias_constraint),
        )

    def step_options(self) -> dict[str, Any]:
        """Return the keywords of the step, which has no gates."""
        return {**super().step_options(), "recurrent_activation": activations.sigmoid}


class LSTMCell(_Cell):
    """One step of a long short-term memory: called as `cell(inputs, [hidden, carry])`, it returns the output and the new states.

    Weights, the gates in the order input, forget, cell, output: `kernel` `(inputs, 4 * units)`, `recurrent_kernel`
    `(units, 4 * units)`, `bias` `(4 * units,)`, which begins as 1 for the forget gate with `unit_forget_bias`.

    >>> output, states = LSTMCell(4)(torch.ones(2, 3), [torch.zeros(2, 4), torch.zeros(2, 4)])
    >>> output.shape, len(states)
    (torch.Size([2, 4]), 2)
    """

    step_class = LSTMStep
    weight_map = SimpleRNNCell.weight_map

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        implementation: int = 2,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.set_cell(units, activation, recurrent_activation, use_bias, dropout, recurrent_dropout, seed)
        self.implementation = implementation
        self.unit_forget_bias = unit_forget_bias
        self.describe_weights(
            kernel=(kernel_initializer, kernel_regularizer, kernel_constraint),
            recurrent_kernel=(recurrent_initializer, recurrent_regularizer, recurrent_constraint),
            bias=(ForgetBias(bias_initializer) if unit_forget_bias else bias_initializer, bias_regularizer, bias_constraint),
        )


class GRUCell(_Cell):
    """One step of a gated recurrent unit: called as `cell(inputs, [state])`, it returns the output and `[output]`.

    Weights, the gates in the order update, reset, new: `kernel` `(inputs, 3 * units)`, `recurrent_kernel`
    `(units, 3 * units)`, `bias` `(2, 3 * units)`, or `(3 * units,)` without `reset_after`.

    >>> GRUCell(4)(torch.ones(2, 3), [torch.zeros(2, 4)])[0].shape
    torch.Size([2, 4])
    """

    step_class = GRUStep
    weight_map = {
        "kernel": Weight("weight_ih", (1, 0), (1, 0, 2)),
        "recurrent_kernel": Weight("weight_hh", (1, 0), (1, 0, 2)),
        "bias": Weight("bias", None, (1, 0, 2)),
    }

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        implementation: int = 2,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.set_cell(units, activation, recurrent_activation, use_bias, dropout, recurrent_dropout, seed)
        self.implementation = implementation
        self.reset_after = reset_after
        self.describe_weights(
            kernel=(kernel_initializer, kernel_regularizer, kernel_constraint),
            recurrent_kernel=(recurrent_initializer, recurrent_regularizer, recurrent_constraint),
            bias=(bias_initializer, bias_regularizer, bias_constraint),
        )

    def step_options(self) -> dict[str, Any]:
        """Return the keywords of the step."""
        return {**super().step_options(), "reset_after": self.reset_after}


class ForgetBias(initializers.Initializer):
    """Begins the bias of an LSTM with 1 for the forget gate, the second of four, and as another initializer says for the others.

    >>> ForgetBias("zeros")((4,))
    tensor([0., 1., 0., 0.])
    """

    def __init__(self, others: Any):
        self.others = initializers.get(others)

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> torch.Tensor:
        """Return the bias."""
        units = shape[0] // 4
        first, last = (torch.as_tensor(self.others((size,), dtype=dtype)) for size in (units, 2 * units))
        return torch.cat([first, torch.ones_like(first), last])


def share(value: Any, argument: str) -> float:
    """Return `value` as a float. Raises `ValueError` that names the argument unless it is between 0 and 1.

    >>> share(0.5, "dropout")
    0.5
    """
    if number(value, argument, minimum=0) > 1:
        raise ValueError(f"{argument!r} must be between 0 and 1, got {value!r}.")
    return float(value)
