"""The torch modules of the built-in cells: their weights, one step in Python, and all steps at once in torch's fused kernel.

A module keeps its weights as torch does, `(gates * units, inputs)` with the gates in torch's order, but one tensor for
each weight of Keras, so that optimizers and regularizers see what Keras' see.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.backends.cudnn import rnn

from torchkeras_fn import activations
from torchkeras_fn.layers.regularization import PatternedDropout

Function = Callable[[torch.Tensor], torch.Tensor]


class Patterns(NamedTuple):
    """What dropout multiplies by throughout a sequence: `(batch, inputs)` and `(batch, units)`, with a middle axis for the gates.

    >>> Patterns().inputs is None
    True
    """

    inputs: torch.Tensor | None = None
    state: torch.Tensor | None = None


NO_PATTERNS = Patterns()


class Step(nn.Module):
    """The base: weights, dropout, and the projection of the inputs of all steps in one product.

    `dropout` and `recurrent_dropout` are shares of the inputs and of the state that are set to 0 in training, the same
    throughout a sequence; `for_each_gate` makes that of the inputs another for each gate.

    >>> step = SimpleStep(3, 2)
    >>> _ = [nn.init.ones_(weight) for weight in step.parameters()]
    >>> step(torch.zeros(1, 3), [torch.zeros(1, 2)])[0].detach()
    tensor([[0.7616, 0.7616]])
    """

    gates: ClassVar[int] = 1
    state_count: ClassVar[int] = 1
    cudnn_mode: ClassVar[str | None] = None
    bias: torch.Tensor | None
    no_bias: torch.Tensor

    def __init__(
        self,
        inputs: int,
        units: int,
        use_bias: bool = True,
        activation: Function = torch.tanh,
        recurrent_activation: Function = torch.sigmoid,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        for_each_gate: bool = False,
    ):
        super().__init__()
        self.units = units
        self.activation = activations.as_torch(activation)  # a function less at every step; and torch's kernels are known by it
        self.recurrent_activation = activations.as_torch(recurrent_activation)
        self.for_each_gate = for_each_gate or recurrent_dropout > 0
        self.dropout = PatternedDropout(dropout, None, seed) if dropout else None
        self.recurrent_dropout = PatternedDropout(recurrent_dropout, None, seed) if recurrent_dropout else None
        self.weight_ih = nn.Parameter(torch.zeros(self.gates * units, inputs))
        self.weight_hh = nn.Parameter(torch.zeros(self.gates * units, units))
        self.register_parameter("bias", nn.Parameter(torch.zeros(self.gates * units)) if use_bias else None)
        # torch's kernels add a second bias, which would be trained twice as fast together with the first.
        self.register_buffer("no_bias", torch.zeros(self.gates * units) if use_bias else None, persistent=False)

    def extra_repr(self) -> str:
        """Return the sizes, for printing."""
        return f"{self.weight_ih.shape[1]}, {self.units}, bias={self.bias is not None}"

    # ------------------------------------------------------------------ one step at a time

    def initial(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """Return the states before the first step of `(batch, steps, inputs)`."""
        return [inputs.new_zeros(inputs.shape[0], self.units) for _ in range(self.state_count)]

    def forward(self, inputs: torch.Tensor, states: Any, training: bool | None = None) -> tuple[torch.Tensor, Any]:
        """Return the output and the states after one step of `(batch, inputs)`. The only state may come, and goes, without a list."""
        listed = list(states) if isinstance(states, (list, tuple)) else [states]
        patterns = self.patterns(inputs, training)
        output, listed = self.advance(self.projected(inputs.unsqueeze(1), patterns)[:, 0], listed, patterns)
        return output, listed if isinstance(states, (list, tuple)) else listed[0]

    def patterns(self, inputs: torch.Tensor, training: bool | None = None) -> Patterns:
        """Draw the dropout of a sequence."""
        if not (self.training if training is None else training) or self.dropout is None and self.recurrent_dropout is None:
            return NO_PATTERNS
        batch, gates = inputs.shape[0], (self.gates,) if self.for_each_gate else ()
        ones = inputs.new_ones(batch, *gates, inputs.shape[-1])
        return Patterns(
            None if self.dropout is None else self.dropout(ones),
            None if self.recurrent_dropout is None else self.recurrent_dropout(inputs.new_ones(batch, self.gates, self.units)),
        )

    def projected(self, inputs: torch.Tensor, patterns: Patterns) -> torch.Tensor:
        """Return `(batch, steps, gates * units)`: what the inputs of all steps contribute to the gates."""
        pattern, bias = patterns.inputs, self.input_bias()
        if pattern is None or not self.for_each_gate:
            return F.linear(self.dropped(inputs, patterns), self.weight_ih, bias)
        weight = self.weight_ih.unflatten(0, (self.gates, self.units))
        found = torch.einsum("bsgi,gui->bsgu", inputs.unsqueeze(2) * pattern.unsqueeze(1), weight).flatten(2)
        return found if bias is None else found + bias

    def dropped(self, inputs: torch.Tensor, patterns: Patterns) -> torch.Tensor:
        """Return the inputs of all steps after the dropout that is the same for all gates."""
        return inputs if patterns.inputs is None else inputs * patterns.inputs.unsqueeze(1)

    def from_state(self, hidden: torch.Tensor, weight: torch.Tensor, pattern: torch.Tensor | None) -> torch.Tensor:
        """Return what a state contributes to the gates that the rows of `weight` belong to."""
        if pattern is None:
            return F.linear(hidden, weight)
        return torch.einsum("bgi,gui->bgu", hidden.unsqueeze(1) * pattern, weight.unflatten(0, (-1, self.units))).flatten(1)

    def input_bias(self) -> torch.Tensor | None:
        """Return the bias that is added to the projection of the inputs."""
        return self.bias

    def advance(self, given: torch.Tensor, states: Sequence[torch.Tensor], patterns: Patterns) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the output and the states after one step, from the projected inputs."""
        raise NotImplementedError

    # ------------------------------------------------------------------ all steps at once

    def is_fusable(self) -> bool:
        """Return whether torch has a kernel that computes all steps, for these activations and the dropout of this mode."""
        is_dropping = self.training and (self.recurrent_dropout is not None or self.for_each_gate and self.dropout is not None)
        return not is_dropping and self.has_kernel()

    def has_kernel(self) -> bool:
        """Return whether torch has a kernel for these activations."""
        return self.activation is torch.tanh and self.recurrent_activation is torch.sigmoid

    def fused(
        self, inputs: torch.Tensor, states: Sequence[torch.Tensor], frozen: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the outputs `(batch, steps, units)` and the last states; at `frozen` steps the cell state of an LSTM stays."""
        outputs, last = self.kernel()(inputs, states[0].unsqueeze(0), *self.kernel_arguments(self.weight_ih))
        return outputs, [last[0]]

    def kernel(self) -> Callable[..., Any]:
        """Return torch's kernel."""
        raise NotImplementedError

    def kernel_arguments(self, weight_ih: torch.Tensor) -> tuple[Any, ...]:
        """Return what the kernel takes beside inputs and states: weights, and `1` layer without dropout, batch first.

        It is asked for what a gradient needs whenever one may come, not in training mode alone.
        """
        biases = self.biases()
        return [weight_ih, self.weight_hh, *biases], bool(biases), 1, 0.0, self.training or torch.is_grad_enabled(), False, True

    def biases(self) -> list[torch.Tensor]:
        """Return the two biases that the kernel adds."""
        return [] if self.bias is None else [self.bias, self.no_bias]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self.compact()
        return self

    def compact(self) -> None:
        """Put the weights into one piece of memory where cuDNN runs, which copies them at every call otherwise; as `nn.LSTM` does."""
        if self.cudnn_mode is None or not self.has_kernel():
            return
        with torch.no_grad():
            biases = [tensor.detach() for tensor in self.biases()]
            tensors = [self.weight_ih, self.weight_hh, *biases]
            if not all(tensor.is_cuda and torch.backends.cudnn.is_acceptable(tensor) for tensor in tensors):
                return
            inputs, mode = self.weight_ih.shape[1], rnn.get_cudnn_mode(self.cudnn_mode)
            with torch.cuda.device_of(self.weight_ih):
                torch._cudnn_rnn_flatten_weight(tensors, len(tensors), inputs, mode, self.units, 0, 1, True, False)
            if biases:
                self.place_biases(*biases)

    def place_biases(self, first: torch.Tensor, second: torch.Tensor) -> None:
        """Let the biases live where the kernel's now are."""
        if self.bias is not None:
            self.bias.data, self.no_bias = first, second


class SimpleStep(Step):
    """`activation(W x + b + U h)`. torch's kernels are those of `nn.RNN`, for tanh and relu.

    >>> SimpleStep(3, 2, activation=torch.sigmoid).is_fusable()
    False
    """

    def has_kernel(self) -> bool:
        """Return whether it is one of torch's two activations."""
        return self.activation in (torch.tanh, activations.relu, torch.relu, F.relu)

    def kernel(self) -> Callable[..., Any]:
        """Return torch's kernel for the activation."""
        return torch._VF.rnn_tanh if self.activation is torch.tanh else torch._VF.rnn_relu  # type: ignore[attr-defined, no-any-return]

    def advance(self, given: torch.Tensor, states: Sequence[torch.Tensor], patterns: Patterns) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the output, which is the state too."""
        output = self.activation(given + self.from_state(states[0], self.weight_hh, patterns.state))
        return output, [output]


class LSTMStep(Step):
    """Long short-term memory: the gates in the order input, forget, cell, output. torch's kernel is that of `nn.LSTM`.

    Source: Hochreiter and Schmidhuber, 1997, https://www.bioinf.jku.at/publications/older/2604.pdf

    >>> output, (hidden, cell) = LSTMStep(3, 2)(torch.ones(1, 3), [torch.ones(1, 2), torch.ones(1, 2)])
    >>> cell.detach()
    tensor([[0.5000, 0.5000]])
    """

    gates = 4
    state_count = 2
    cudnn_mode = "LSTM"

    def advance(self, given: torch.Tensor, states: Sequence[torch.Tensor], patterns: Patterns) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the output, which is the first state too, and the cell state."""
        hidden, cell = states
        enter, forget, new, leave = (given + self.from_state(hidden, self.weight_hh, patterns.state)).chunk(4, -1)
        cell = self.recurrent_activation(forget) * cell + self.recurrent_activation(enter) * self.activation(new)
        hidden = self.recurrent_activation(leave) * self.activation(cell)
        return hidden, [hidden, cell]

    def is_fusable(self) -> bool:
        """Return whether torch's kernel computes the same; on CPU, torch 2.13 refuses it while a gradient is compiled, and in float16."""
        if not self.weight_ih.is_cuda:
            is_compiled = torch.compiler.is_dynamo_compiling() and torch.is_grad_enabled()
            is_half = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.float16
            if is_compiled or is_half:
                return False
        return super().is_fusable()

    def fused(
        self, inputs: torch.Tensor, states: Sequence[torch.Tensor], frozen: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the outputs of all steps and the last states."""
        weight_ih: torch.Tensor = self.weight_ih
        if frozen is not None:  # one more input, which shuts the input gate and opens the forget gate entirely
            column = weight_ih.new_zeros(4 * self.units, 1)
            column[: self.units] = -_SHUT
            column[self.units : 2 * self.units] = _SHUT
            weight_ih = torch.cat([weight_ih, column], 1)
            inputs = torch.cat([inputs, frozen.unsqueeze(-1).to(inputs.dtype)], -1)
        before = (states[0].unsqueeze(0), states[1].unsqueeze(0))
        outputs, hidden, cell = torch._VF.lstm(inputs, before, *self.kernel_arguments(weight_ih))  # type: ignore[attr-defined]
        return outputs, [hidden.view_as(states[0]), cell.view_as(states[1])]  # up to torch 2.10, `export` sees one dimension more


_SHUT = 1e4  # a sigmoid of it is 1 exactly, of its negative 0, in every float type that holds it


class GRUStep(Step):
    """A gated recurrent unit: the gates in the order reset, update, new. torch's kernel is that of `nn.GRU`.

    With `reset_after` the reset gate acts on the projection of the state, for which there is a second bias, as in torch;
    without, on the state itself, as in the paper. Source: Cho et al., 2014, https://arxiv.org/abs/1406.1078

    >>> GRUStep(3, 2)(torch.ones(1, 3), [torch.ones(1, 2)])[0].detach()
    tensor([[0.5000, 0.5000]])
    """

    gates = 3
    cudnn_mode = "GRU"

    def __init__(self, inputs: int, units: int, *args: Any, reset_after: bool = True, **kwargs: Any):
        super().__init__(inputs, units, *args, **kwargs)
        self.reset_after = reset_after
        if reset_after and self.bias is not None:  # a row for the inputs, and one for the state
            self.bias = nn.Parameter(torch.zeros(2, 3 * units))

    def input_bias(self) -> torch.Tensor | None:
        """Return the bias of the inputs."""
        return self.bias if self.bias is None or not self.reset_after else self.bias[0]

    def has_kernel(self) -> bool:
        """Return whether it is torch's formula."""
        return self.reset_after and super().has_kernel()

    def kernel(self) -> Callable[..., Any]:
        """Return torch's kernel."""
        return torch._VF.gru  # type: ignore[attr-defined, no-any-return]

    def biases(self) -> list[torch.Tensor]:
        """Return the bias of the inputs and that of the state."""
        return [] if self.bias is None else list(self.bias.unbind())

    def place_biases(self, first: torch.Tensor, second: torch.Tensor) -> None:
        """Let the bias live where the kernel's two now are, one after the other."""
        if self.bias is not None and second.data_ptr() == first.data_ptr() + first.nbytes:
            self.bias.data = first.as_strided(self.bias.shape, (len(first), 1))

    def advance(self, given: torch.Tensor, states: Sequence[torch.Tensor], patterns: Patterns) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the output, which is the state too."""
        hidden, pattern, both = states[0], patterns.state, 2 * self.units
        if self.reset_after:
            inner = self.from_state(hidden, self.weight_hh, pattern)
            inner = inner if self.bias is None else inner + self.bias[1]
            reset, update = self.recurrent_activation(given[:, :both] + inner[:, :both]).chunk(2, -1)
            inner = reset * inner[:, both:]
        else:
            first, second = (None, None) if pattern is None else (pattern[:, :2], pattern[:, 2:])
            inner = self.from_state(hidden, self.weight_hh[:both], first)
            reset, update = self.recurrent_activation(given[:, :both] + inner).chunk(2, -1)
            inner = self.from_state(reset * hidden, self.weight_hh[both:], second)
        hidden = update * hidden + (1 - update) * self.activation(given[:, both:] + inner)
        return hidden, [hidden]
